//! What an HTTP client needs of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{AddressPolicy, Secret};

/// `http_config`, as far as it is supported.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// `authorization`, or `basic_auth`.
    pub auth: Option<HttpAuth>,
    /// `http_headers`: name → value.
    pub headers: BTreeMap<String, Secret>,
    /// `tls_config.ca_file`: trusted instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// `allow_addresses` and `deny_addresses`: where connections may go.
    pub addresses: AddressPolicy,
}

/// Credentials of an HTTP client.
#[derive(Clone, Debug)]
pub enum HttpAuth {
    /// `authorization: {type, credentials | credentials_file}`; type defaults to Bearer.
    Authorization {
        /// The scheme.
        scheme: String,
        /// The credentials.
        credentials: Secret,
    },
    /// `basic_auth: {username, password | password_file}`
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
}

/// A URL that is a secret as a whole.
#[derive(Clone, Debug)]
pub struct SecretUrl(pub Secret);
