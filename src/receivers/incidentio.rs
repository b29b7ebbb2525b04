//! `incidentio_configs`: incident.io's alert source for Alertmanager, which takes the body of a webhook.
//!
//! incident.io takes 1,200 events a minute for each key, and 512 KB of body. It answers a larger body with
//! 429, so a body is made to fit before it leaves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use squelch_core::policy::KnownBy;

use super::keyed::known_as;
use super::{
    Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request, webhook,
};
use crate::model::Kind;
use crate::settings::http::{secret, secret_url};
use crate::settings::section::Section;
use crate::settings::yaml::Value;
use crate::settings::{Secret, SecretForm, SecretUrl};

/// `incidentio_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "incidentio_configs",
    name: "incidentio",
    send_resolved: true,
    send_updates: true,
    // As a webhook's: by the group key and the alerts.
    known_by: KnownBy::Group,
    reader,
};

const BODY_BYTES: usize = 512 * 1024;
/// The version of the body that incident.io reads.
const VERSION: &str = "1";

/// An alert source of incident.io.
#[derive(Clone, Debug)]
pub struct IncidentioConfig {
    /// `url` / `url_file`.
    pub url: SecretUrl,
    /// `alert_source_token` / `alert_source_token_file`.
    pub token: Option<Secret>,
    /// `max_alerts`. 0 = all.
    pub max_alerts: u64,
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let shared = has_authorization(global);
    Box::new(move |keys| Arc::new(read(keys, shared, base)))
}

/// Whether the `http_config` of a section has `authorization`. `None` if there is no `http_config`.
fn has_authorization(keys: &mut Section<'_>) -> Option<bool> {
    match &keys.node("http_config")?.value {
        Value::Map(entries) => Some(entries.iter().any(|(key, _)| key.name == "authorization")),
        _ => Some(false),
    }
}

fn read(keys: &mut Section<'_>, shared: Option<bool>, base: &Path) -> IncidentioConfig {
    let url = secret_url(keys, ("url", "url_file"), base);
    if url.is_none() {
        keys.problems.add(keys.line, "incidentio_configs has no URL. Write url or url_file");
    }
    let names = ("alert_source_token", "alert_source_token_file");
    let token = secret(keys, names, SecretForm::Header, base);
    let right = "Write alert_source_token_file (or alert_source_token)";
    match (has_authorization(keys), &token) {
        (Some(true), Some(_)) => {
            let line = keys.line_of("http_config");
            let message = "alert_source_token and http_config.authorization are both given. Keep one";
            keys.problems.add(line, message);
        }
        (Some(false), None) => {
            keys.problems.add(keys.line, format!("incidentio_configs has no token. {right}"));
        }
        (None, None) if shared != Some(true) => {
            let message =
                format!("incidentio_configs has no token, so incident.io refuses every event. {right}");
            keys.problems.doubt(keys.line, message);
        }
        _ => {}
    }
    let max_alerts = keys.whole("max_alerts", "0 (all) or a whole number");
    IncidentioConfig {
        url: url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))),
        token,
        max_alerts: max_alerts.unwrap_or(0),
    }
}

impl Notifier for IncidentioConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn most_alerts(&self) -> u32 {
        webhook::most_alerts(self.max_alerts)
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        Some("every alert of incident.io may call a person. Write a second receiver, such as a chat")
    }

    /// incident.io documents 1,200 a minute for each key.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(60), burst: 100 })
    }

    fn account(&self) -> Option<String> {
        let token = self.token.as_ref().map_or_else(|| known_as(&self.url.0), known_as);
        Some(format!("incidentio {token}"))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        let url = (&self.url.0, SecretForm::Url);
        [url].into_iter().chain(self.token.iter().map(|token| (token, SecretForm::Header))).collect()
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        if attempt.view.notification.kind == Kind::Digest {
            let why = "incident.io has no place for a digest";
            return Err(AttemptError::refused(FailureReason::Other, why));
        }
        let mut request = HttpRequest::post(attempt.secret(&self.url.0)?, body(attempt));
        if let Some(token) = &self.token {
            request.headers = vec![("authorization", format!("Bearer {}", attempt.secret(token)?))];
        }
        Ok(Request::Http(request))
    }
}

/// Alerts go from the end of the list until the body fits.
fn body(attempt: &Attempt<'_>) -> Vec<u8> {
    let mut most = usize::MAX;
    loop {
        let body = webhook::body(attempt, VERSION, most);
        let listed = attempt.view.notification.alerts.len() + attempt.view.notification.beside.len();
        if body.len() <= BODY_BYTES || most <= 1 {
            return body;
        }
        most = most.min(listed) / 2;
    }
}
