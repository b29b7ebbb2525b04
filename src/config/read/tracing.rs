//! `tracing`, as Alertmanager reads it.
//!
//! Source: Alertmanager `tracing/config.go`.

use std::path::Path;

use crate::config::{HttpConfig, Tracing};
use crate::model::Duration;
use crate::settings::section::{Section, shown};
use crate::settings::{http, tls};

use super::not_in_force::one_of;

/// The collector's requests end after this time, as in the OpenTelemetry SDK.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The path at which a collector takes OTLP over HTTP.
const OVER_HTTP: &str = "/v1/traces";
/// The path of its method over gRPC.
const OVER_GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Reads the section.
pub(super) fn read(section: Option<Section<'_>>, base: &Path) -> Option<Tracing> {
    let mut keys = section?;
    let client = one_of(&mut keys, "client_type", &["http", "grpc"]).unwrap_or("grpc");
    let gzip = one_of(&mut keys, "compression", &["gzip"]).is_some();
    let endpoint = keys.text("endpoint").filter(|text| !text.text.is_empty());
    if endpoint.is_none() {
        keys.problems.add(keys.line, "tracing has no endpoint. Write endpoint: HOST:PORT");
    }
    let fraction = keys.parsed("sampling_fraction", "a number such as 0.1", |text| text.parse::<f64>().ok());
    let insecure = keys.boolean("insecure").unwrap_or(false);
    let timeout = keys.duration("timeout").filter(|timeout| !timeout.is_zero()).unwrap_or(TIMEOUT);
    let tls = keys.section("tls_config").map(|tls| tls::tls_config(tls, base)).unwrap_or_default();
    let headers = keys.section("headers").map(|headers| http::headers(&headers, base)).unwrap_or_default();
    let problems = keys.problems;
    keys.finish();
    let endpoint = endpoint?;
    let scheme = if insecure { "http" } else { "https" };
    let path = if client == "grpc" { OVER_GRPC } else { OVER_HTTP };
    let url = url::Url::parse(&format!("{scheme}://{}{path}", endpoint.text)).ok();
    let Some(url) = url.filter(|url| url.path() == path && url.query().is_none()) else {
        let found = shown(endpoint.text);
        problems.doubt(
            endpoint.line,
            format!("tracing is not in force. The endpoint is {found}. Write HOST:PORT"),
        );
        return None;
    };
    let http = HttpConfig { tls, headers, follow_redirects: false, ..HttpConfig::default() };
    let (grpc, fraction) = (client == "grpc", fraction.unwrap_or(0.0));
    Some(Tracing { url: url.into(), grpc, http, fraction, gzip, timeout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};

    fn config(tracing: &str) -> Config {
        let text = format!("tracing: {tracing}\nroute: {{receiver: a}}\nreceivers: [{{name: a}}]\n");
        parse(&text, "squelch.yml", Path::new("")).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_collector_has_a_url_and_the_defaults_of_alertmanager() {
        let plain = config("{client_type: http, endpoint: 'otel:4318'}").tracing.unwrap();
        assert_eq!(plain.url, "https://otel:4318/v1/traces");
        assert_eq!((plain.fraction, plain.gzip, plain.timeout), (0.0, false, TIMEOUT));
        let keys = "insecure: true, sampling_fraction: 0.5, compression: gzip, timeout: 3s, headers: {X-A: {values: [b]}}";
        let full = config(&format!("{{client_type: http, endpoint: '[::1]:4318', {keys}}}")).tracing.unwrap();
        assert_eq!(full.url, "http://[::1]:4318/v1/traces");
        assert_eq!((full.fraction, full.gzip, full.timeout), (0.5, true, Duration::from_secs(3)));
        assert_eq!(full.http.headers.len(), 1);
    }

    #[test]
    fn without_a_client_type_the_collector_is_called_over_grpc() {
        let export = "//otel:4317/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        for (keys, scheme) in [("", "https"), (", client_type: grpc, insecure: true", "http")] {
            let tracing = config(&format!("{{endpoint: 'otel:4317'{keys}}}")).tracing.unwrap();
            assert_eq!((tracing.url, tracing.grpc), (format!("{scheme}:{export}"), true));
        }
        assert!(!config("{client_type: http, endpoint: 'otel:4318'}").tracing.unwrap().grpc);
    }

    #[test]
    fn what_is_not_in_force_is_said() {
        for (tracing, said) in [
            ("{endpoint: 'http://otel:4317'}", "Write HOST:PORT"),
            ("{client_type: http, endpoint: 'http://otel:4318/a'}", "Write HOST:PORT"),
        ] {
            let config = config(tracing);
            assert!(config.tracing.is_none(), "{tracing}");
            let [doubt] = &config.doubts[..] else { panic!("{tracing}: {:?}", config.doubts) };
            let message = &doubt.message;
            assert!(message.starts_with("tracing is not in force.") && message.contains(said), "{message}");
        }
    }
}
