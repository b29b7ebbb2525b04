//! `alertmanager_configs`: the alerts themselves, for an Alertmanager (`POST /api/v2/alerts`).
//!
//! An Alertmanager ends an alert by itself at `endsAt`, and knows an alert by its labels. An alert that
//! fires therefore ends in a year, and Squelch sends its end when it comes. Each Alertmanager is an
//! integration of its own, so that each of a cluster gets every alert, as Prometheus sends it.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::{
    Answer, Attempt, AttemptError, HttpRequest, Notifier, Reader, ReceiverType, Request, View, failure_of,
};
use crate::model::{AlertView, Duration, Kind, LabelSet, Status, Timestamp};
use crate::settings::http::secret_url;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `alertmanager_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "alertmanager_configs",
    name: "alertmanager",
    send_resolved: true,
    send_updates: true,
    // By the labels of each alert: it fires as long as any incident says so.
    known_by: KnownBy::Group,
    reader,
};

/// Where Alertmanager takes alerts, below its URL.
const PATH: &str = "/api/v2/alerts";

/// How long an Alertmanager lets an alert fire without a further request. It is longer than any
/// `repeat_interval`.
const FIRES_FOR: Duration = Duration::from_hours(365 * 24);

/// An Alertmanager.
#[derive(Clone, Debug)]
pub struct AlertmanagerConfig {
    /// `url` / `url_file`: its web address, with the prefix of `--web.route-prefix` if it has one. It may
    /// hold a password, so it is treated as a secret.
    pub url: SecretUrl,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| {
        let url = secret_url(keys, ("url", "url_file"), base);
        if url.is_none() {
            let message = "alertmanager_configs has no URL. Write url: http://HOST:9093 (or url_file)";
            keys.problems.add(keys.line, message);
        }
        Arc::new(AlertmanagerConfig { url: url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))) })
    })
}

impl Notifier for AlertmanagerConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn most_alerts(&self) -> u32 {
        u32::MAX
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        Some("an Alertmanager takes alerts and no digest. Add a chat or a webhook")
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.url.0, SecretForm::Url)]
    }

    /// An Alertmanager that refuses one alert with 400 takes the others of the request all the same.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        let refused = |error: AttemptError| AttemptError {
            ambiguous: error.ambiguous || answer.status == 400,
            ..error
        };
        failure_of(answer).map_or(Ok(()), |error| Err(refused(error)))
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        if attempt.view.notification.kind == Kind::Digest {
            return Err(AttemptError::ours("an Alertmanager is sent a digest. This is a bug"));
        }
        let url = endpoint(attempt.secret(&self.url.0)?);
        Ok(Request::Http(HttpRequest::post(url, body(&attempt.view, attempt.now))))
    }
}

/// The endpoint of an Alertmanager at this URL. A URL that names the endpoint itself is right too.
fn endpoint(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (path, query) = url.split_at(end);
    let base = path.trim_end_matches('/');
    format!("{}{PATH}{query}", base.strip_suffix(PATH).unwrap_or(base))
}

#[derive(Serialize)]
struct Alert<'a> {
    labels: &'a LabelSet,
    annotations: &'a LabelSet,
    #[serde(rename = "startsAt")]
    starts_at: Timestamp,
    #[serde(rename = "endsAt")]
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

/// The alerts of the incident, and those beside it: to an Alertmanager they are alerts like all others.
fn body(view: &View<'_>, now: Timestamp) -> Vec<u8> {
    let n = view.notification;
    let alerts: Vec<Alert<'_>> = n.alerts.iter().chain(&n.beside).map(|one| alert(one, n.at, now)).collect();
    // Strings and numbers into memory: nothing here can fail.
    serde_json::to_vec(&alerts).unwrap_or_default()
}

fn alert(alert: &AlertView, decided: Timestamp, now: Timestamp) -> Alert<'_> {
    let ends_at = match alert.status {
        Status::Firing => now + FIRES_FOR,
        Status::Resolved => alert.ends_at.unwrap_or(decided),
    };
    Alert {
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at,
        // Alertmanager refuses an alert that ends before it starts.
        ends_at: ends_at.max(alert.starts_at),
        generator_url: &alert.generator_url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_stands_below_any_prefix() {
        for (url, found) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("http://u:p@am/prefix/", "http://u:p@am/prefix/api/v2/alerts"),
            ("http://am/api/v2/alerts", "http://am/api/v2/alerts"),
            ("http://am/x?token=1", "http://am/x/api/v2/alerts?token=1"),
        ] {
            assert_eq!(endpoint(url), found);
        }
    }
}
