//! `http_config`.

use std::path::Path;

use super::keys::{inline_secret, is_token, secret_file};
pub(crate) use super::keys::{secret, secret_url, url};
use super::oauth2::oauth2;
use super::proxy::proxy;
use super::section::{Problems, Section, Text, shown};
use super::tls::{given, tls_config};
use super::yaml::{Node, Value};
use super::{AddressPolicy, HttpAuth, HttpConfig, Network, Secret, SecretForm};

/// Headers that the client sets itself.
const RESERVED: [&str; 19] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "transfer-encoding",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// `http_config`. `None` if there is none.
pub(crate) fn http_config(keys: &mut Section<'_>, base: &Path) -> Option<HttpConfig> {
    Some(client(keys.section("http_config")?, base))
}

/// The keys in an `http_config`.
pub(crate) fn client(mut keys: Section<'_>, base: &Path) -> HttpConfig {
    let mut http = HttpConfig { auth: auth(&mut keys, base), ..HttpConfig::default() };
    if let Some(headers) = keys.section("http_headers") {
        http.headers = self::headers(&headers, base);
    }
    if let Some(tls) = keys.section("tls_config") {
        http.tls = tls_config(tls, base);
    }
    http.addresses = AddressPolicy {
        allow: networks(&mut keys, "allow_addresses"),
        deny: networks(&mut keys, "deny_addresses"),
    };
    http.proxy = proxy(&mut keys);
    http.follow_redirects = keys.boolean("follow_redirects").unwrap_or(true);
    // Every server of HTTP/2 speaks HTTP/1.1 too, which the client uses.
    keys.boolean("enable_http2");
    keys.finish();
    http
}

/// The credentials, of which one kind may be given.
fn auth(keys: &mut Section<'_>, base: &Path) -> Option<HttpAuth> {
    let mut found: Vec<(&str, HttpAuth)> = Vec::new();
    if let Some(section) = keys.section("authorization") {
        found.push(("authorization", authorization(section, base)));
    }
    if let Some(section) = keys.section("basic_auth") {
        found.push(("basic_auth", basic_auth(section, base)));
    }
    if let Some(section) = keys.section("oauth2")
        && let Some(oauth2) = oauth2(section, base)
    {
        found.push(("oauth2", HttpAuth::OAuth2(Box::new(oauth2))));
    }
    if let Some(credentials) = secret(keys, ("bearer_token", "bearer_token_file"), SecretForm::Header, base) {
        let bearer = HttpAuth::Authorization { scheme: "Bearer".into(), credentials };
        found.push(("bearer_token", bearer));
    }
    if let [(first, _), (second, _), ..] = &found[..] {
        keys.problems.add(keys.line_of(second), format!("{first} and {second} are both given. Keep one"));
    }
    found.into_iter().next().map(|(_, auth)| auth)
}

fn networks(keys: &mut Section<'_>, key: &'static str) -> Vec<Network> {
    let read = |text: Text<'_>| match text.text.parse() {
        Ok(network) => Some(network),
        Err(_) => {
            let right = "Write addresses and networks such as 10.0.0.0/8";
            keys.problems.add(text.line, format!("{key} has {}. {right}", shown(text.text)));
            None
        }
    };
    let texts = keys.texts(key).unwrap_or_default();
    texts.into_iter().filter_map(read).collect()
}

fn authorization(mut keys: Section<'_>, base: &Path) -> HttpAuth {
    let scheme = given(&mut keys, "type").unwrap_or("Bearer");
    if scheme.eq_ignore_ascii_case("basic") {
        keys.problems.add(keys.line_of("type"), "authorization type is Basic. Write basic_auth instead");
    } else if !is_token(scheme) {
        keys.problems
            .add(keys.line_of("type"), format!("authorization type is {}. Write one word", shown(scheme)));
    }
    let credentials = secret(&mut keys, ("credentials", "credentials_file"), SecretForm::Header, base);
    if credentials.is_none() {
        keys.problems
            .doubt(keys.line, "authorization has no credentials. Write credentials or credentials_file");
    }
    keys.unsupported(&["credentials_ref"]);
    keys.finish();
    HttpAuth::Authorization { scheme: scheme.to_owned(), credentials: credentials.unwrap_or_else(nothing) }
}

fn basic_auth(mut keys: Section<'_>, base: &Path) -> HttpAuth {
    let username = username(&mut keys, base);
    let password = secret(&mut keys, ("password", "password_file"), SecretForm::Password, base);
    if username.is_none() || password.is_none() {
        keys.problems
            .doubt(keys.line, "basic_auth is incomplete. Write username, and password or password_file");
    }
    keys.unsupported(&["username_ref", "password_ref"]);
    keys.finish();
    HttpAuth::Basic { username: username.unwrap_or_else(nothing), password: password.unwrap_or_else(nothing) }
}

/// A name is no secret, and may stand in a file all the same.
fn username(keys: &mut Section<'_>, base: &Path) -> Option<Secret> {
    let (inline, file) = (keys.text("username"), keys.text("username_file"));
    if let (Some(_), Some(_)) = (inline, file) {
        let line = keys.line_of("username_file");
        keys.problems.add(line, "username and username_file are both given. Keep one");
    }
    let inline = inline.map(|name| Secret::Inline(name.text.into()));
    inline.or(file.map(|file| secret_file(file, "username_file", SecretForm::Password, base)))
}

fn nothing() -> Secret {
    Secret::Inline("".into())
}

/// `Name: {values: [x], secrets: [x], files: [f]}` as Prometheus has it.
pub(crate) fn headers(headers: &Section<'_>, base: &Path) -> Vec<(String, Vec<Secret>)> {
    let mut found = Vec::new();
    for (line, name, node) in headers.entries() {
        let problems = headers.problems;
        if !is_token(name) {
            problems.add(
                line,
                format!("{} is not the name of a header. Write letters, digits and -", shown(name)),
            );
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            problems.add(line, format!("header {name} is set by the client itself. Remove it"));
        }
        found.push((name.to_owned(), header(name, node, base, problems)));
    }
    found
}

fn header(name: &str, node: &Node, base: &Path, problems: &Problems) -> Vec<Secret> {
    let inline =
        |text: Text<'_>| inline_secret(problems, &format!("header {name}"), text, SecretForm::Header);
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        problems.add(node.line, format!("header {} has no value. Write values: [text]", shown(name)));
        return Vec::new();
    }
    let Some(mut keys) = Section::new(node, format!("header {}", shown(name)), problems) else {
        return Vec::new();
    };
    let mut all: Vec<Secret> = keys.texts("values").unwrap_or_default().into_iter().map(inline).collect();
    all.extend(keys.texts("secrets").unwrap_or_default().into_iter().map(inline));
    let files = keys.texts("files").unwrap_or_default();
    let file = |path| secret_file(path, &format!("header {name}"), SecretForm::Header, base);
    all.extend(files.into_iter().map(file));
    keys.finish();
    all
}
