//! The enrichment of pages: facts beside their alerts.

use crate::settings::HttpConfig;

/// `enrichment`: a Prometheus that is asked about the expressions of rules when their alerts page.
#[derive(Clone, Debug)]
pub struct Enrichment {
    /// `prometheus_url`: the address under which its API is, such as `http://prometheus:9090`.
    pub prometheus_url: String,
    /// `http_config`
    pub http: HttpConfig,
}
