//! The parts that a configuration is made of: YAML that knows its lines, sections, secrets, HTTP clients,
//! templates. [`crate::config`] puts a whole file together from them, and each receiver type its own keys.

mod addresses;
mod client;
pub(crate) mod http;
mod keys;
mod oauth2;
mod problem;
mod proxy;
mod secret;
pub(crate) mod section;
mod signing;
pub(crate) mod template_check;
pub(crate) mod tls;
pub(crate) mod url;
pub(crate) mod yaml;

pub use addresses::{AddressPolicy, Network};
pub use client::{
    Grant, HttpAuth, HttpConfig, JwtAlgorithm, JwtBearer, OAuth2, Pem, PemSource, ProxyConfig, ProxySource,
    SecretUrl, TlsConfig,
};
pub(crate) use problem::with_variables;
pub use problem::{ConfigErrors, Problem};
pub use secret::{Secret, SecretError, SecretFile, SecretForm};
pub use signing::{SigningKeys, SigningSecretError};
pub use url::Url;

pub use crate::templates::is_template;
