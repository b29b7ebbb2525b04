//! `opsgenie_configs`: alerts of Opsgenie, or of Jira Service Management, which speaks the same API.
//!
//! Limits are those of Opsgenie's Alert API: message 130 characters, description 15,000, note 25,000,
//! source 100, entity 512. It takes 20 tags and 10 actions of 50, 50 responders, and 8,000 characters of
//! details. Opsgenie answers 202 before it works on a request, so no answer says that an alert is missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::form::{below, encoded};
use super::keyed::{Vendor, known_as, read_key, secret_template};
use super::passed::{
    ACTIONS as ACTIONS_OF_EVENT, DESCRIPTION, NOTE, PRIORITY, Passed, SUMMARY, TAGS as TAGS_OF_EVENT,
};
use super::text::{PLAIN, clean_line, clean_text, cut, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpMethod, HttpRequest, Notifier, Pace, Reader,
    ReceiverType, Request, Templated,
};
use crate::model::{Cause, Kind};
use crate::settings::section::{Section, shown};
use crate::settings::{Secret, SecretForm, Url, is_template};

/// `opsgenie_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "opsgenie_configs",
    name: "opsgenie",
    send_resolved: true,
    send_updates: true,
    // By the alias.
    known_by: KnownBy::DedupKey,
    reader,
};

const API_KEY: &str = "api_key";
const MESSAGE_CHARS: usize = 130;
const DESCRIPTION_CHARS: usize = 15_000;
const NOTE_CHARS: usize = 25_000;
const SOURCE_CHARS: usize = 100;
const USER_CHARS: usize = 100;
const ENTITY_CHARS: usize = 512;
const DETAILS_CHARS: usize = 8_000;
const WORD_CHARS: usize = 50;
const TAGS: usize = 20;
const ACTIONS: usize = 10;
const RESPONDERS: usize = 50;
const PRIORITIES: [&str; 5] = ["P1", "P2", "P3", "P4", "P5"];
const RESPONDER_TYPES: [&str; 5] = ["team", "teams", "user", "escalation", "schedule"];
/// The templated keys with Alertmanager's defaults.
const TEXTS: [(&str, &str); 8] = [
    ("message", r#"{{ template "opsgenie.default.message" . }}"#),
    ("description", r#"{{ template "opsgenie.default.description" . }}"#),
    ("source", r#"{{ template "opsgenie.default.source" . }}"#),
    ("entity", ""),
    ("actions", ""),
    ("tags", ""),
    ("note", ""),
    ("priority", ""),
];

/// An integration of Opsgenie.
#[derive(Clone, Debug)]
pub struct OpsgenieConfig {
    /// `api_key` / `api_key_file`. The inline one is templated.
    pub api_key: Secret,
    /// `api_url`. Default `https://api.opsgenie.com/`.
    pub api_url: Url,
    /// The templated keys, `details.NAME` and `responders[0].type` among them.
    pub texts: Texts,
    /// The names of `details`.
    pub details: Vec<String>,
    /// How many `responders` there are.
    pub responders: usize,
    /// `update_alerts`: whether each notification also replaces the message and the description.
    pub update_alerts: bool,
    /// `webhook_secret` / `webhook_secret_file`: the bearer token of Opsgenie's webhook, by which
    /// acknowledgements come back.
    pub webhook_secret: Option<Secret>,
}

const VENDOR: Vendor = Vendor {
    list: "opsgenie_configs",
    url: ("opsgenie_api_url", "https://api.opsgenie.com/"),
    key: ("opsgenie_api_key", "opsgenie_api_key_file"),
    read: read_key,
};

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let account = VENDOR.reader(global, base);
    Box::new(move |keys| {
        let own = account(keys);
        Arc::new(read(keys, own, base))
    })
}

fn read(keys: &mut Section<'_>, (api_url, api_key): (Url, Secret), base: &Path) -> OpsgenieConfig {
    // Old versions of Alertmanager had it.
    keys.removed(&[("teams", "Write responders: [{name: NAME, type: team}]")]);
    let mut texts = Texts::read(keys, &TEXTS);
    let config = OpsgenieConfig {
        api_url,
        api_key,
        details: texts.read_free(keys, "details", &[]),
        responders: read_responders(keys, &mut texts),
        update_alerts: keys.boolean("update_alerts").unwrap_or(false),
        webhook_secret: super::callback_secret(keys, base),
        texts,
    };
    let priority = config.texts.source("priority");
    if !priority.is_empty() && !is_template(priority) && !PRIORITIES.contains(&priority.trim()) {
        let (line, found) = (keys.line_of("priority"), shown(priority));
        let right = PRIORITIES.join(", ");
        keys.problems
            .doubt(line, format!("priority is {found}, which Opsgenie does not know. Write one of {right}"));
    }
    config
}

fn read_responders(keys: &mut Section<'_>, texts: &mut Texts) -> usize {
    let nodes = keys.list("responders").unwrap_or_default();
    for (i, node) in nodes.iter().enumerate() {
        let Some(mut keys) = Section::new(node, "responders", keys.problems) else { continue };
        let place = format!("responders[{i}]");
        texts.read_below(&place, &mut keys, &["id", "name", "username", "type"]);
        let source = |key: &str| texts.source(&format!("{place}.{key}"));
        if ["id", "name", "username"].into_iter().all(|key| source(key).is_empty()) {
            let message = "responders has an entry that names nobody. Write id, name or username";
            keys.problems.add(keys.line, message);
        }
        let kind = source("type");
        if !is_template(kind) && !RESPONDER_TYPES.contains(&kind.to_lowercase().as_str()) {
            let (line, found) = (keys.line_of("type"), shown(kind));
            let right = RESPONDER_TYPES.join(", ");
            keys.problems.add(line, format!("the type of a responder is {found}. Write one of {right}"));
        }
        keys.finish();
    }
    nodes.len()
}

impl Notifier for OpsgenieConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        Some("every alert of Opsgenie may call a person. Write a second receiver, such as a chat")
    }

    fn takes_acknowledgements(&self) -> bool {
        true
    }

    /// Opsgenie's limit depends on the plan and is at least some hundred a minute for an account.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 10 })
    }

    fn account(&self) -> Option<String> {
        Some(format!("opsgenie {} {}", self.api_url.0, known_as(&self.api_key)))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.api_key, SecretForm::RoutingKey)]
    }

    fn callback_secret(&self) -> Option<&Secret> {
        self.webhook_secret.as_ref()
    }

    fn templates(&self) -> Vec<Templated> {
        let mut all = self.texts.templated(clean_text);
        all.extend(secret_template(API_KEY, &self.api_key));
        all
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        match attempt.view.notification.kind {
            Kind::Page | Kind::Update => {
                let alert = self.alert(attempt);
                self.send(attempt, HttpMethod::Post, below(&self.api_url.0, "v2/alerts"), &alert)
            }
            Kind::Resolve => {
                let source = self.source(attempt);
                self.send(attempt, HttpMethod::Post, self.alert_url(attempt, "close"), &Close { source })
            }
            Kind::Acknowledge => {
                let acknowledge =
                    Acknowledge { user: acknowledged_by(attempt), source: self.source(attempt) };
                self.send(attempt, HttpMethod::Post, self.alert_url(attempt, "acknowledge"), &acknowledge)
            }
            Kind::Digest => {
                Err(AttemptError::refused(FailureReason::Other, "Opsgenie has no place for a digest"))
            }
        }
    }

    /// With `update_alerts`, the message and the description follow the alert: Opsgenie changes neither when
    /// the alert of an alias comes again.
    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        answers.last().map_or(Ok(()), |answer| self.judge(answer))?;
        let changes = matches!(attempt.view.notification.kind, Kind::Page | Kind::Update);
        if !self.update_alerts || !changes {
            return Ok(None);
        }
        let put = |place, body: &BTreeMap<&str, String>| {
            self.send(attempt, HttpMethod::Put, self.alert_url(attempt, place), body).map(Some)
        };
        match answers.len() {
            1 => put("message", &BTreeMap::from([("message", self.message(attempt))])),
            2 => put("description", &BTreeMap::from([("description", self.description(attempt))])),
            _ => Ok(None),
        }
    }
}

#[derive(Serialize)]
struct Alert {
    alias: String,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    details: BTreeMap<String, String>,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responders: Vec<Responder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

#[derive(Default, PartialEq, Eq, Serialize)]
struct Responder {
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize)]
struct Close {
    source: String,
}

#[derive(Serialize)]
struct Acknowledge {
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    source: String,
}

impl OpsgenieConfig {
    fn send(
        &self,
        attempt: &Attempt<'_>,
        method: HttpMethod,
        url: String,
        body: &impl Serialize,
    ) -> Result<Request, AttemptError> {
        let key = attempt.templated_secret(API_KEY, &self.api_key)?;
        // Strings and lists into memory: nothing here can fail.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let headers = vec![("authorization", format!("GenieKey {key}"))];
        Ok(Request::Http(HttpRequest { method, headers, hidden: vec![key], ..HttpRequest::post(url, body) }))
    }

    fn alert_url(&self, attempt: &Attempt<'_>, place: &str) -> String {
        let alias = encoded(&attempt.view.notification.dedup_key);
        let url = below(&self.api_url.0, &format!("v2/alerts/{alias}/{place}"));
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}identifierType=alias")
    }

    /// The sender's own text of an event that pages alone, if the configuration leaves `key` at its default.
    fn passed(&self, attempt: &Attempt<'_>, key: &str) -> Option<String> {
        let default = TEXTS.iter().find(|(known, _)| *known == key)?.1;
        let passed = Passed::of(&attempt.view).filter(|_| self.texts.source(key) == default)?;
        let text = match key {
            "message" => passed.annotation(SUMMARY),
            "description" => passed.annotation(DESCRIPTION),
            "source" => passed.label("source"),
            "entity" => passed.label("entity"),
            "actions" => passed.annotation(ACTIONS_OF_EVENT),
            "tags" => passed.annotation(TAGS_OF_EVENT),
            "note" => passed.annotation(NOTE),
            _ => passed.annotation(PRIORITY),
        };
        Some(text.to_owned())
    }

    fn message(&self, attempt: &Attempt<'_>) -> String {
        let text = self.passed(attempt, "message");
        let text = text.unwrap_or_else(|| attempt.texts.required("message", || subject(&attempt.view)));
        cut(one_line(&text), MESSAGE_CHARS)
    }

    fn description(&self, attempt: &Attempt<'_>) -> String {
        let text = self.passed(attempt, "description");
        let text =
            text.unwrap_or_else(|| attempt.text(&self.texts, "description", || story(&attempt.view, &PLAIN)));
        cut(clean_text(&text), DESCRIPTION_CHARS)
    }

    fn source(&self, attempt: &Attempt<'_>) -> String {
        self.line(attempt, "source", SOURCE_CHARS)
    }

    fn line(&self, attempt: &Attempt<'_>, key: &str, most: usize) -> String {
        cut(one_line(&self.text(attempt, key)), most)
    }

    fn text(&self, attempt: &Attempt<'_>, key: &str) -> String {
        self.passed(attempt, key).unwrap_or_else(|| attempt.texts.text(key, String::new))
    }

    fn alert(&self, attempt: &Attempt<'_>) -> Alert {
        let priority = self.text(attempt, "priority");
        let words = |key, most| {
            let text = self.text(attempt, key);
            words(&text).map(|word| cut(clean_line(word), WORD_CHARS)).take(most).collect()
        };
        Alert {
            alias: attempt.view.notification.dedup_key.to_string(),
            message: self.message(attempt),
            description: self.description(attempt),
            details: self.details(attempt),
            source: self.source(attempt),
            responders: self.responders(attempt),
            tags: words("tags", TAGS),
            note: cut(clean_text(&self.text(attempt, "note")), NOTE_CHARS),
            // Opsgenie refuses an alert with any other word, and takes P3 where there is none.
            priority: PRIORITIES.into_iter().find(|known| known.eq_ignore_ascii_case(priority.trim())),
            entity: self.line(attempt, "entity", ENTITY_CHARS),
            actions: words("actions", ACTIONS),
        }
    }

    /// The configured details, and the sender's own of an event that pages alone, or else the labels that the
    /// alerts share. The configured ones go first where there is no room.
    fn details(&self, attempt: &Attempt<'_>) -> BTreeMap<String, String> {
        let own = |name: &String| {
            let text = attempt.texts.text(&format!("details.{name}"), String::new);
            (name.clone(), clean_text(&text))
        };
        let shared = attempt.view.common_labels.iter();
        let shared = || shared.map(|(name, value)| (name.to_owned(), clean_text(value))).collect();
        let shared = Passed::of(&attempt.view).map_or_else(shared, |passed| passed.details());
        let (mut details, mut left) = (BTreeMap::new(), DETAILS_CHARS);
        for (name, value) in self.details.iter().map(own).chain(shared) {
            if details.contains_key(&name) {
                continue;
            }
            let room = left.saturating_sub(name.chars().count());
            if room == 0 {
                break;
            }
            let value = cut(value, room);
            left = room - value.chars().count();
            details.insert(name, value);
        }
        details
    }

    fn responders(&self, attempt: &Attempt<'_>) -> Vec<Responder> {
        let mut all = Vec::new();
        for i in 0..self.responders {
            let text = |key: &str| {
                let text = attempt.texts.text(&format!("responders[{i}].{key}"), String::new);
                one_line(&text)
            };
            let one = Responder {
                id: text("id"),
                name: text("name"),
                username: text("username"),
                kind: text("type").to_lowercase(),
            };
            match one.kind.as_str() {
                // A template may leave an entry empty, and then there is no responder.
                _ if one.id.is_empty() && one.name.is_empty() && one.username.is_empty() => {}
                "teams" => {
                    let team = |name: &str| Responder {
                        name: name.to_owned(),
                        kind: "team".into(),
                        ..Responder::default()
                    };
                    all.extend(words(&one.name).map(team));
                }
                _ => all.push(one),
            }
        }
        all.truncate(RESPONDERS);
        all
    }
}

/// The person who acknowledged the incident.
fn acknowledged_by(attempt: &Attempt<'_>) -> String {
    match &attempt.view.notification.cause {
        Cause::Acknowledged { by } => cut(clean_line(by), USER_CHARS),
        _ => String::new(),
    }
}

/// The parts of a list with commas that are not empty.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}
