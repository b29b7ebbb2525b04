//! `victorops_configs`: Splunk On-Call, formerly VictorOps, by its REST endpoint.
//!
//! Alertmanager cuts the message to 20,480 characters, and so does this. A digest goes out as `INFO`, which
//! stands in the timeline and opens no incident.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use squelch_core::policy::KnownBy;

use super::form::encoded;
use super::keyed::{Vendor, known_as, plain_key};
use super::text::{PLAIN, clean_text, cut, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request,
    Retry, Templated, Verdict, failure_of,
};
use crate::model::Kind;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url};

/// `victorops_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "victorops_configs",
    name: "victorops",
    send_resolved: true,
    send_updates: true,
    // By `entity_id`.
    known_by: KnownBy::DedupKey,
    reader,
};

const MESSAGE_CHARS: usize = 20_480;
const SHORT_CHARS: usize = 1_024;
/// The types that open or change an incident.
const TYPES: [&str; 3] = ["CRITICAL", "WARNING", "INFO"];
/// Fields that Squelch sets itself.
const RESERVED: [&str; 7] = [
    "routing_key",
    "message_type",
    "state_message",
    "entity_display_name",
    "monitoring_tool",
    "entity_id",
    "entity_state",
];
/// The templated keys with Alertmanager's defaults.
const TEXTS: [(&str, &str); 5] = [
    ("routing_key", ""),
    ("message_type", "CRITICAL"),
    ("state_message", r#"{{ template "victorops.default.state_message" . }}"#),
    ("entity_display_name", r#"{{ template "victorops.default.entity_display_name" . }}"#),
    ("monitoring_tool", r#"{{ template "victorops.default.monitoring_tool" . }}"#),
];

/// A REST endpoint of Splunk On-Call.
#[derive(Clone, Debug)]
pub struct VictoropsConfig {
    /// `api_key` / `api_key_file`: a part of the URL.
    pub api_key: Secret,
    /// `api_url`. Default `https://alert.victorops.com/integrations/generic/20131114/alert/`.
    pub api_url: Url,
    /// The templated keys, `custom_fields.NAME` among them.
    pub texts: Texts,
    /// The names of `custom_fields`.
    pub custom_fields: Vec<String>,
}

const VENDOR: Vendor = Vendor {
    list: "victorops_configs",
    url: ("victorops_api_url", "https://alert.victorops.com/integrations/generic/20131114/alert/"),
    key: ("victorops_api_key", "victorops_api_key_file"),
    read: plain_key,
};

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let account = VENDOR.reader(global, base);
    Box::new(move |keys| {
        let own = account(keys);
        Arc::new(read(keys, own))
    })
}

fn read(keys: &mut Section<'_>, (api_url, api_key): (Url, Secret)) -> VictoropsConfig {
    let mut texts = Texts::read(keys, &TEXTS);
    if texts.source("routing_key").is_empty() {
        let message = "victorops_configs has no routing_key. Write the routing key of a team";
        keys.problems.add(keys.line, message);
    }
    let custom_fields = texts.read_free(keys, "custom_fields", &RESERVED);
    VictoropsConfig { api_url, api_key, texts, custom_fields }
}

impl Notifier for VictoropsConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn takes_acknowledgements(&self) -> bool {
        true
    }

    /// Splunk documents no rate for this endpoint.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 10 })
    }

    fn account(&self) -> Option<String> {
        Some(format!("victorops {} {}", self.api_url.0, known_as(&self.api_key)))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.api_key, SecretForm::RoutingKey)]
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(clean_text)
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let routing_key = attempt.texts.required("routing_key", String::new);
        let key = encoded(attempt.secret(&self.api_key)?);
        let base = self.api_url.0.trim().trim_end_matches('/');
        let url = format!("{base}/{key}/{}", encoded(routing_key.trim()));
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&self.message(attempt)).unwrap_or_default();
        Ok(Request::Http(HttpRequest { hidden: vec![key], ..HttpRequest::post(url, body) }))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    /// The body of a 2xx may say `"result": "failure"`.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) => Err(error),
            None => failure_in(answer).map_or(Ok(()), Err),
        }
    }
}

#[derive(Deserialize)]
struct AnswerBody {
    result: String,
}

fn failure_in(answer: &Answer) -> Option<AttemptError> {
    let said: AnswerBody = serde_json::from_slice(&answer.body).ok()?;
    let detail = format!("status {} with {:?}", answer.status, answer.excerpt());
    let refused = AttemptError::refused(FailureReason::ClientError, detail);
    let retry = Retry::Undecided(Verdict::Refused);
    said.result.eq_ignore_ascii_case("failure").then_some(AttemptError { retry, ..refused })
}

impl VictoropsConfig {
    fn message(&self, attempt: &Attempt<'_>) -> BTreeMap<String, String> {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let digest = view.notification.kind == Kind::Digest;
        let line = |text: String| cut(one_line(&text), SHORT_CHARS);
        let title = || subject(view);
        let own = || story(view, &PLAIN);
        let (title, state) = match digest {
            true => (title(), own()),
            false => {
                (texts.text("entity_display_name", title), attempt.text(&self.texts, "state_message", own))
            }
        };
        let set = [
            ("message_type", self.message_type(attempt).to_owned()),
            ("entity_id", view.notification.dedup_key.to_string()),
            ("entity_display_name", line(title)),
            ("state_message", cut(clean_text(&state), MESSAGE_CHARS)),
            ("monitoring_tool", line(attempt.text(&self.texts, "monitoring_tool", || "Squelch".into()))),
        ];
        let custom = self.custom_fields.iter().map(|name| {
            let text = texts.text(&format!("custom_fields.{name}"), String::new);
            (name.clone(), cut(clean_text(&text), MESSAGE_CHARS))
        });
        custom.chain(set.map(|(name, value)| (name.to_owned(), value))).collect()
    }

    /// A firing incident never says that it recovered, even if the template does.
    fn message_type(&self, attempt: &Attempt<'_>) -> &'static str {
        match attempt.view.notification.kind {
            Kind::Resolve => "RECOVERY",
            Kind::Digest => "INFO",
            Kind::Acknowledge => "ACKNOWLEDGEMENT",
            Kind::Page | Kind::Update => {
                let text = attempt.texts.required("message_type", String::new);
                TYPES.into_iter().find(|known| *known == text.trim()).unwrap_or("CRITICAL")
            }
        }
    }
}
