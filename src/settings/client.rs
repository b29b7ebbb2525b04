//! The settings of an HTTP client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{AddressPolicy, Secret};

/// `http_config`
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The credentials.
    pub auth: Option<HttpAuth>,
    /// `http_headers`: each name with its values.
    pub headers: Vec<(String, Vec<Secret>)>,
    /// `tls_config`
    pub tls: TlsConfig,
    /// `proxy_url`, `no_proxy`, `proxy_from_environment`, `proxy_connect_header`
    pub proxy: ProxyConfig,
    /// `follow_redirects`: default true.
    pub follow_redirects: bool,
    /// `allow_addresses` and `deny_addresses`: where connections may go.
    pub addresses: AddressPolicy,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            auth: None,
            headers: Vec::new(),
            tls: TlsConfig::default(),
            proxy: ProxyConfig::default(),
            follow_redirects: true,
            addresses: AddressPolicy::default(),
        }
    }
}

impl HttpConfig {
    /// Every secret that it names, but for those of certificates.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let auth = match &self.auth {
            Some(HttpAuth::Authorization { credentials, .. }) => vec![credentials],
            Some(HttpAuth::Basic { username, password }) => vec![username, password],
            Some(HttpAuth::OAuth2(oauth2)) => oauth2.grant.secret().into_iter().collect(),
            None => Vec::new(),
        };
        let headers = self.headers.iter().flat_map(|(_, values)| values);
        headers.chain(auth)
    }

    /// Every `tls_config` in it.
    pub fn tls_configs(&self) -> impl Iterator<Item = &TlsConfig> {
        let oauth2 = match &self.auth {
            Some(HttpAuth::OAuth2(oauth2)) => Some(&oauth2.tls),
            _ => None,
        };
        [&self.tls].into_iter().chain(oauth2)
    }
}

/// Credentials of an HTTP client.
#[derive(Clone, Debug)]
pub enum HttpAuth {
    /// `authorization: {type, credentials | credentials_file}`, where the type defaults to Bearer, or
    /// `bearer_token | bearer_token_file`.
    Authorization {
        /// The scheme.
        scheme: String,
        /// The credentials.
        credentials: Secret,
    },
    /// `basic_auth: {username | username_file, password | password_file}`
    Basic {
        /// User name.
        username: Secret,
        /// Password.
        password: Secret,
    },
    /// `oauth2`: a token for each request.
    OAuth2(Box<OAuth2>),
}

/// How to get a token for a client.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// `client_id`
    pub client_id: String,
    /// `grant_type`, and the keys that belong to it.
    pub grant: Grant,
    /// `scopes`
    pub scopes: Vec<String>,
    /// `token_url`
    pub token_url: String,
    /// `endpoint_params`: more parameters of the request for a token.
    pub endpoint_params: Vec<(String, String)>,
    /// `tls_config` of the token's server.
    pub tls: TlsConfig,
    /// The proxy on the way to the token's server.
    pub proxy: ProxyConfig,
}

/// By which credentials a client gets a token.
#[derive(Clone, Debug)]
pub enum Grant {
    /// `client_credentials` (RFC 6749, section 4.4): `client_secret` or `client_secret_file`.
    Secret(Option<Secret>),
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523, section 2.1): a token that the client signs.
    Jwt(Box<JwtBearer>),
}

impl Grant {
    /// The secret or the key of the client.
    pub fn secret(&self) -> Option<&Secret> {
        match self {
            Grant::Secret(secret) => secret.as_ref(),
            Grant::Jwt(jwt) => jwt.key.as_ref(),
        }
    }
}

/// The content that a client signs, and the key.
#[derive(Clone, Debug)]
pub struct JwtBearer {
    /// `client_certificate_key` or `client_certificate_key_file`: an RSA key in PEM.
    pub key: Option<Secret>,
    /// `client_certificate_key_id`: the name of the key.
    pub key_id: Option<String>,
    /// `signature_algorithm`: default RS256.
    pub algorithm: JwtAlgorithm,
    /// `iss`: the signer. Default `client_id`.
    pub issuer: String,
    /// `audience`: the party that the signature is for. Default `token_url`.
    pub audience: String,
    /// `claims`: more claims, which go before those of the same name.
    pub claims: Vec<(String, serde_json::Value)>,
}

/// RSA with PKCS #1 v1.5 and SHA-2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JwtAlgorithm {
    /// With SHA-256.
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: [JwtAlgorithm; 3] = [JwtAlgorithm::Rs256, JwtAlgorithm::Rs384, JwtAlgorithm::Rs512];

    /// Its name in RFC 7518.
    pub fn name(self) -> &'static str {
        match self {
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Rs384 => "RS384",
            JwtAlgorithm::Rs512 => "RS512",
        }
    }
}

/// Which proxy requests take.
#[derive(Clone, Debug, Default)]
pub struct ProxyConfig {
    /// Where the proxy is given.
    pub source: ProxySource,
    /// `proxy_connect_header`: headers of the request for a tunnel.
    pub connect_headers: Vec<(String, Vec<Secret>)>,
}

/// Where a proxy is given.
#[derive(Clone, Debug, Default)]
pub enum ProxySource {
    /// No proxy is used.
    #[default]
    None,
    /// `proxy_from_environment: true`: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
    Environment,
    /// `proxy_url` and `no_proxy`.
    Url {
        /// The URL, which may hold a password.
        url: Secret,
        /// The hosts that are reached without it.
        no_proxy: String,
    },
}

/// `tls_config`
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// `ca` or `ca_file`: trusted instead of the system's roots.
    pub ca: Option<Pem>,
    /// `cert` or `cert_file`: the client's certificate.
    pub cert: Option<Pem>,
    /// `key` or `key_file`: the key of that certificate.
    pub key: Option<Pem>,
    /// `server_name`: the name that the server's certificate must have, instead of the host's.
    pub server_name: Option<String>,
    /// `insecure_skip_verify`: any certificate of the server is good.
    pub insecure_skip_verify: bool,
    /// `min_version` is TLS13.
    pub only_tls13: bool,
    /// `max_version` is TLS12.
    pub only_tls12: bool,
}

impl TlsConfig {
    /// The certificates and the key that it names.
    pub fn pems(&self) -> impl Iterator<Item = &Pem> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten()
    }
}

/// Certificates or a key in PEM.
#[derive(Clone)]
pub struct Pem {
    /// The key of the configuration, such as `ca_file`.
    pub key: &'static str,
    /// Where it stands.
    pub from: PemSource,
}

/// Where a PEM text stands.
#[derive(Clone)]
pub enum PemSource {
    /// In the configuration.
    Inline(Arc<str>),
    /// In this file.
    File(PathBuf),
}

impl fmt::Debug for Pem {
    /// Without the text, which may be a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Pem {
    /// Its name in messages: `tls_config.ca_file /etc/ca.pem`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            PemSource::Inline(_) => write!(f, "tls_config.{}", self.key),
            PemSource::File(path) => write!(f, "tls_config.{} {}", self.key, path.display()),
        }
    }
}

/// A URL that is a secret as a whole.
#[derive(Clone, Debug)]
pub struct SecretUrl(pub Secret);
