//! `enrichment`: which Prometheus Squelch asks about the alerts of a page.

use std::path::Path;

use crate::config::Enrichment;
use crate::settings::http;
use crate::settings::section::{Section, shown};
use crate::settings::url::check_url;

/// Reads the section.
pub(super) fn read(section: Option<Section<'_>>, base: &Path) -> Option<Enrichment> {
    let mut keys = section?;
    let url = keys.text("prometheus_url").filter(|url| !url.text.trim().is_empty());
    let http = http::http_config(&mut keys, base).unwrap_or_default();
    let (line, problems) = (keys.line, keys.problems);
    keys.finish();
    let Some(url) = url else {
        problems.add(line, "enrichment has no prometheus_url. Write one such as http://prometheus:9090");
        return None;
    };
    let text = url.text.trim();
    let wrong = match check_url(text) {
        Ok(None) if text.contains(['?', '#']) => "has a query".to_owned(),
        Ok(None) => {
            return Some(Enrichment { prometheus_url: text.trim_end_matches('/').to_owned(), http });
        }
        Ok(Some(wrong)) | Err(wrong) => wrong,
    };
    let found = shown(text);
    problems
        .add(url.line, format!("prometheus_url {found} {wrong}. Write one such as http://prometheus:9090"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn enrichment_names_a_prometheus_or_is_refused() {
        let config = |enrichment: &str| {
            let text =
                format!("enrichment: {enrichment}\nroute: {{receiver: a}}\nreceivers: [{{name: a}}]\n");
            parse(&text, "squelch.yml", Path::new("")).map_err(|error| error.to_string())
        };
        let read =
            config("{prometheus_url: 'https://prometheus.example/base/'}").unwrap().enrichment.unwrap();
        assert_eq!(read.prometheus_url, "https://prometheus.example/base");
        assert!(read.http.follow_redirects && config("").unwrap().enrichment.is_none());
        for (wrong, said) in [
            ("{http_config: {}}", "enrichment has no prometheus_url"),
            ("{prometheus_url: prometheus}", "is not a URL. Write one such as"),
            ("{prometheus_url: 'http://a/graph?g0.expr=up'}", "has a query"),
            ("{prometheus_url: 'ftp://a'}", "is not an http or https URL"),
        ] {
            let error = config(wrong).err().unwrap_or_default();
            assert!(error.contains("squelch.yml:1: ") && error.contains(said), "{wrong}: {error}");
        }
    }
}
