//! The web-config file of Prometheus' exporter-toolkit: TLS, headers, users.
//!
//! Rule: <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>. A setting
//! that rustls or this server cannot obey is an error, never ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use super::Problem;
use super::{ConfigErrors, read_file};
use crate::settings::section::{Problems, Section, shown};
use crate::settings::yaml;

/// The headers that exporter-toolkit lets be set.
const HEADERS: [&str; 5] = [
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
];
/// The TLS 1.2 suites that rustls has, in Go's names. As in Go, you cannot choose those of TLS 1.3.
const CIPHERS: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];
/// Go's names of the key exchange groups that rustls has.
const CURVES: [&str; 3] = ["X25519", "CurveP256", "CurveP384"];
/// A dearer hash would keep a thread busy for seconds at each log-in.
const COST_MOST: u32 = 16;

/// The content of `--web.config.file`. Its default is plain HTTP without users.
#[derive(Clone, Debug, Default)]
pub struct WebConfig {
    /// `tls_server_config`
    pub tls: Option<TlsServerConfig>,
    /// `http_server_config.headers`, added to every answer.
    pub headers: Vec<(String, String)>,
    /// `basic_auth_users`: name → bcrypt hash.
    pub users: BTreeMap<String, String>,
}

/// `tls_server_config`. Paths are complete.
#[derive(Clone, Debug)]
pub struct TlsServerConfig {
    /// PEM, the server's own certificate first.
    pub cert_file: PathBuf,
    /// PEM.
    pub key_file: PathBuf,
    /// Whether clients must show a certificate.
    pub client_auth: ClientAuth,
    /// PEM: the signers of clients' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// DNS names and IP addresses of which a client's certificate must have one. Empty = any.
    pub client_allowed_sans: Vec<String>,
    /// `min_version: TLS13`
    pub only_tls13: bool,
    /// `max_version: TLS12`
    pub only_tls12: bool,
    /// Go's names. Empty = all that rustls has.
    pub cipher_suites: Vec<String>,
    /// Default true.
    pub prefer_server_cipher_suites: bool,
    /// Go's names. Empty = all that rustls has.
    pub curves: Vec<String>,
}

/// `client_auth_type`, in the forms that prove an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// `NoClientCert`
    None,
    /// `VerifyClientCertIfGiven`
    IfGiven,
    /// `RequireAndVerifyClientCert`
    Require,
}

/// Reads and validates a web-config file.
///
/// # Errors
/// Everything that is wrong with it, with lines. Certificates are not read here.
pub fn load_web(path: &Path) -> Result<WebConfig, ConfigErrors> {
    let name = path.display().to_string();
    let whole = |message: String| ConfigErrors::of_file(&name, message);
    let text = read_file(path).map_err(whole)?;
    parse_web(&text, &name, path.parent().unwrap_or(Path::new("")))
}

/// The same for a text. Its paths are relative to the folder `base`.
///
/// # Errors
/// Everything that is wrong with it, with lines.
pub fn parse_web(text: &str, file_name: &str, base: &Path) -> Result<WebConfig, ConfigErrors> {
    read(text, base).map_err(|problems| ConfigErrors::new(file_name, problems))
}

fn read(text: &str, base: &Path) -> Result<WebConfig, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let config = Section::new(&root, "the web configuration", &problems).map(|mut top| {
        let tls = top.section("tls_server_config").and_then(|keys| tls(keys, base));
        let headers = top.section("http_server_config").map(headers).unwrap_or_default();
        let users = users(&mut top);
        if top.node("rate_limit").is_some() {
            let message =
                "rate_limit answers 429, on which Alertmanager gives an alert up for good. Remove it";
            top.problems.add(top.line_of("rate_limit"), message);
        }
        top.finish();
        WebConfig { tls, headers, users }
    });
    let found = problems.into_inner();
    config.filter(|_| found.is_empty()).ok_or(found)
}

fn tls(mut keys: Section<'_>, base: &Path) -> Option<TlsServerConfig> {
    let file = |keys: &mut Section<'_>, key| keys.text(key).map(|text| base.join(text.text));
    let (cert_file, key_file) = (file(&mut keys, "cert_file"), file(&mut keys, "key_file"));
    let client_ca_file = file(&mut keys, "client_ca_file");
    if cert_file.is_none() || key_file.is_none() {
        keys.problems.add(keys.line, "tls_server_config is incomplete. Write cert_file and key_file");
    }
    let right = "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert";
    let client_auth = keys.parsed("client_auth_type", right, |text| match text {
        "" | "NoClientCert" => Some(ClientAuth::None),
        "VerifyClientCertIfGiven" => Some(ClientAuth::IfGiven),
        "RequireAndVerifyClientCert" => Some(ClientAuth::Require),
        _ => None,
    });
    let client_auth = client_auth.unwrap_or(ClientAuth::None);
    let sans: Vec<_> = keys.texts("client_allowed_sans").unwrap_or_default();
    for san in sans.iter().filter(|san| ServerName::try_from(san.text).is_err()) {
        let message =
            format!("client_allowed_sans has {}. Write DNS names and IP addresses", shown(san.text));
        keys.problems.add(san.line, message);
    }
    match (client_auth, &client_ca_file) {
        (ClientAuth::None, Some(_)) => {
            let message =
                "client_ca_file does nothing without client_auth_type. Write RequireAndVerifyClientCert";
            keys.problems.add(keys.line_of("client_ca_file"), message);
        }
        (ClientAuth::IfGiven | ClientAuth::Require, None) => {
            let message = "client_auth_type needs client_ca_file: who signs the clients' certificates";
            keys.problems.add(keys.line_of("client_auth_type"), message);
        }
        _ => {}
    }
    if client_auth == ClientAuth::None && !sans.is_empty() {
        let message =
            "client_allowed_sans does nothing without client_auth_type. Write RequireAndVerifyClientCert";
        keys.problems.add(keys.line_of("client_allowed_sans"), message);
    }
    let min = keys.parsed("min_version", "TLS12 or TLS13 (older ones are broken)", version);
    let max = keys.parsed("max_version", "TLS12 or TLS13", version);
    let (only_tls13, only_tls12) = (min == Some(13), max == Some(12));
    if only_tls13 && only_tls12 {
        keys.problems.add(keys.line_of("max_version"), "max_version is below min_version. Write TLS13");
    }
    let cipher_suites = choice(&mut keys, "cipher_suites", &CIPHERS);
    let curves = choice(&mut keys, "curve_preferences", &CURVES);
    let prefer = keys.boolean("prefer_server_cipher_suites").unwrap_or(true);
    keys.unsupported(&["cert", "key", "client_ca", "cert_ref", "key_ref", "client_ca_ref"]);
    keys.finish();
    Some(TlsServerConfig {
        cert_file: cert_file?,
        key_file: key_file?,
        client_auth,
        client_ca_file,
        client_allowed_sans: sans.iter().map(|san| san.text.to_owned()).collect(),
        only_tls13,
        only_tls12,
        cipher_suites,
        prefer_server_cipher_suites: prefer,
        curves,
    })
}

fn version(text: &str) -> Option<u8> {
    match text {
        "TLS12" => Some(12),
        "TLS13" => Some(13),
        _ => None,
    }
}

fn choice(keys: &mut Section<'_>, key: &'static str, known: &[&str]) -> Vec<String> {
    let texts = keys.texts(key).unwrap_or_default();
    for text in texts.iter().filter(|text| !known.contains(&text.text)) {
        let message = format!("{key} has {}. There are {}", shown(text.text), known.join(", "));
        keys.problems.add(text.line, message);
    }
    texts.iter().map(|text| text.text.to_owned()).collect()
}

fn headers(mut keys: Section<'_>) -> Vec<(String, String)> {
    if keys.boolean("http2") == Some(true) {
        keys.problems
            .add(keys.line_of("http2"), "http2 is true, and this server speaks HTTP/1.1. Write false");
    }
    let mut found = Vec::new();
    for (name, value) in keys.text_map("headers") {
        let Some(known) = HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            let message = format!("headers has {}. There are {}", shown(name), HEADERS.join(", "));
            keys.problems.add(value.line, message);
            continue;
        };
        if !value.text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            let message = format!("header {known} holds what a header cannot carry. Write printable ASCII");
            keys.problems.add(value.line, message);
        }
        found.push((known.to_ascii_lowercase(), value.text.to_owned()));
    }
    keys.finish();
    found
}

fn users(top: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut users = BTreeMap::new();
    for (name, hash) in top.text_map("basic_auth_users") {
        let cost = hash.text.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost());
        // Not shown: a hash can be tried out elsewhere.
        let wrong = match cost {
            None => {
                Some("has no bcrypt hash. Write what htpasswd -nBC 10 prints behind the colon".to_owned())
            }
            Some(cost) if cost > COST_MOST => Some(format!("has a hash of cost {cost}. Write one of 10")),
            Some(_) => None,
        };
        if let Some(wrong) = wrong {
            top.problems.add(hash.line, format!("user {} {wrong}", shown(name)));
        }
        users.insert(name.to_owned(), hash.text.to_owned());
    }
    users
}
