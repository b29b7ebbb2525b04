//! Where traces go.

use crate::model::Duration;
use crate::settings::HttpConfig;

/// `tracing`: a collector of OpenTelemetry that takes OTLP over gRPC or HTTP.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Where spans are posted: `endpoint`, with the scheme that `insecure` says.
    pub url: String,
    /// `client_type` is grpc, the default.
    pub grpc: bool,
    /// `tls_config` and `headers`.
    pub http: HttpConfig,
    /// `sampling_fraction`: the share of requests without a `traceparent` that are traced. Default 0.
    pub fraction: f64,
    /// `compression` is gzip.
    pub gzip: bool,
    /// `timeout` of one request. Default 10s.
    pub timeout: Duration,
}
