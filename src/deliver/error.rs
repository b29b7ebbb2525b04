//! Why receivers cannot be used as configured.

/// Why receivers cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// A certificate or a key cannot be used.
    #[error("{what}: {reason}")]
    Pem {
        /// The key of the configuration, and the file.
        what: String,
        /// The error.
        reason: String,
    },
    /// A proxy cannot be used.
    #[error("{0} is not the URL of a proxy. Write one such as http://proxy:3128")]
    Proxy(String),
    /// TLS cannot be set up at all.
    #[error("TLS: {0}")]
    Tls(String),
    /// The registry holds these metrics already.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
