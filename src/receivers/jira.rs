//! `jira_configs`: one issue for each incident, found again by its label `ALERT{KEY}`.
//!
//! An attempt looks at the issue whose key Squelch remembers, or searches for one. It creates or updates the
//! issue, and then takes it through the configured transition. Jira takes a summary of 255 characters, a
//! description of 32,767, and labels without blanks.

use std::path::Path;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use smol_str::SmolStr;
use squelch_core::policy::KnownBy;

use super::field::{self, Field};
use super::form::{below, encoded};
use super::text::{PLAIN, clean_line, clean_text, cut, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpMethod, HttpRequest, Notifier, Pace, Reader,
    ReceiverType, Request, Templated, failure_of,
};
use crate::model::{self, Kind};
use crate::settings::http::url;
use crate::settings::section::{Section, Text};
use crate::settings::yaml;
use crate::settings::{Url, template_check};

/// `jira_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "jira_configs",
    name: "jira",
    send_resolved: true,
    send_updates: true,
    // By the label.
    known_by: KnownBy::DedupKey,
    reader,
};

const SUMMARY_CHARS: usize = 255;
const DESCRIPTION_CHARS: usize = 32_767;
const LABEL_CHARS: usize = 255;
/// Jira's own keys are shorter than 30 characters.
const KEY_BYTES: usize = 255;
/// So many issues a resolve closes. An incident has one, unless answers of Jira were lost.
const MOST_ISSUES: usize = 5;
/// The templated keys with Alertmanager's defaults.
const TEXTS: [(&str, &str); 3] =
    [("project", ""), ("issue_type", ""), ("priority", r#"{{ template "jira.default.priority" . }}"#)];
const SUMMARY: &str = r#"{{ template "jira.default.summary" . }}"#;
const DESCRIPTION: &str = r#"{{ template "jira.default.description" . }}"#;

/// A project of Jira. `http_config` has the credentials.
#[derive(Clone, Debug)]
pub struct JiraConfig {
    /// `api_url`, such as `https://example.atlassian.net/rest/api/2/`.
    pub api_url: Url,
    /// `api_type`
    pub api_type: ApiType,
    /// The templated keys, `labels[0]` and `fields.NAME` among them.
    pub texts: Texts,
    /// Whether an update replaces the summary: `summary.enable_update`.
    pub updates_summary: bool,
    /// Whether an update replaces the description: `description.enable_update`.
    pub updates_description: bool,
    /// How many `labels` there are.
    pub labels: usize,
    /// `resolve_transition`: its name, or nothing.
    pub resolve_transition: String,
    /// `reopen_transition`: its name, or nothing.
    pub reopen_transition: String,
    /// `reopen_duration`: an issue that was resolved longer ago stays as it is.
    pub reopen_duration: Duration,
    /// `wont_fix_resolution`: issues with this resolution do not count.
    pub wont_fix_resolution: String,
    /// `fields`: further fields of the issue.
    pub fields: Vec<(String, Field)>,
}

/// `api_type`: which of its two searches Jira has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiType {
    /// Cloud for a host below `atlassian.net`, else a data center.
    Auto,
    /// `search/jql` of version 3.
    Cloud,
    /// `search`
    Datacenter,
}

fn reader<'b>(global: &mut Section<'_>, _: &'b Path) -> Reader<'b> {
    let default = url(global, "jira_api_url");
    Box::new(move |keys| Arc::new(read(keys, default.as_ref())))
}

fn read(keys: &mut Section<'_>, default: Option<&Url>) -> JiraConfig {
    let api_url = url(keys, "api_url").or_else(|| default.cloned());
    if api_url.is_none() {
        let message = "jira_configs has no URL. Write api_url here, or jira_api_url in global";
        keys.problems.add(keys.line, message);
    }
    let mut texts = Texts::read(keys, &TEXTS);
    for key in ["project", "issue_type"] {
        if texts.source(key).is_empty() {
            keys.problems.add(keys.line, format!("jira_configs has no {key}. Write one"));
        }
    }
    let updates_summary = read_field(keys, "summary", SUMMARY, &mut texts);
    let updates_description = read_field(keys, "description", DESCRIPTION, &mut texts);
    let labels = keys.texts("labels").unwrap_or_default();
    for (i, label) in labels.iter().enumerate() {
        let source = template_check::check(keys.problems, "labels", *label).unwrap_or_default();
        texts.set(format!("labels[{i}]"), source);
    }
    let fields = field::read(keys, "fields", &mut texts);
    let right = "auto, cloud or datacenter";
    let api_type = keys.parsed("api_type", right, |text| match text {
        "auto" => Some(ApiType::Auto),
        "cloud" => Some(ApiType::Cloud),
        "datacenter" => Some(ApiType::Datacenter),
        _ => None,
    });
    let reopen_duration = keys.duration("reopen_duration").map(model::Duration::to_std);
    let mut name = |key| keys.text(key).map_or_else(String::new, |text| text.text.trim().to_owned());
    JiraConfig {
        resolve_transition: name("resolve_transition"),
        reopen_transition: name("reopen_transition"),
        wont_fix_resolution: name("wont_fix_resolution"),
        reopen_duration: reopen_duration.unwrap_or_default(),
        api_url: api_url.unwrap_or_else(|| Url(String::new())),
        api_type: api_type.unwrap_or(ApiType::Auto),
        labels: labels.len(),
        updates_summary,
        updates_description,
        fields,
        texts,
    }
}

/// `summary` or `description`: a template, or a mapping of `template` and `enable_update`. Says whether an
/// update replaces it.
fn read_field(keys: &mut Section<'_>, key: &'static str, default: &str, texts: &mut Texts) -> bool {
    let Some(node) = keys.node(key) else {
        texts.set(key, default);
        return true;
    };
    let mut check = |text: Text<'_>| {
        let source = template_check::check(keys.problems, key, text);
        texts.set(key, source.unwrap_or_default());
    };
    match &node.value {
        yaml::Value::Map(_) => {
            let Some(mut keys) = Section::new(node, key, keys.problems) else { return true };
            check(keys.text("template").unwrap_or(Text { line: keys.line, text: default }));
            let updates = keys.boolean("enable_update").unwrap_or(true);
            keys.finish();
            updates
        }
        yaml::Value::Scalar(text) => {
            check(Text { line: node.line, text });
            true
        }
        yaml::Value::List(_) | yaml::Value::Null => {
            let message = format!("{key} is a list. Write a text, or template and enable_update");
            keys.problems.add(node.line, message);
            true
        }
    }
}

impl Notifier for JiraConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        Some("a digest would be an issue that never closes. Write a second receiver, such as a chat")
    }

    /// Jira Cloud documents no number and asks senders to go by `Retry-After`, which comes on top.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 5 })
    }

    fn account(&self) -> Option<String> {
        Some(format!("jira {} {}", self.api_url.0, self.texts.source("project")))
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(clean_text)
    }

    /// Looks at the issue that the incident has, or for one.
    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        if attempt.view.notification.kind == Kind::Digest {
            return Err(AttemptError::refused(FailureReason::Other, "Jira has no place for a digest"));
        }
        let first = self.next(attempt, &[])?;
        first.ok_or_else(|| AttemptError::ours("no request for a notification, which is a bug"))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        match self.walk(attempt, &mut Answers(answers.iter())) {
            Ok(_) => Ok(None),
            Err(Pause::Asks(request)) => Ok(Some(*request)),
            Err(Pause::Fails(error)) => Err(error),
        }
    }

    /// The key of the issue. A search may not see the issue for some seconds after its creation.
    fn message(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Option<SmolStr> {
        let key = self.walk(attempt, &mut Answers(answers.iter())).ok()?;
        key.filter(|key| !key.is_empty() && key.len() <= KEY_BYTES).map(SmolStr::from)
    }
}

/// The answers of an attempt. A walk takes them one after the other, and pauses where one is missing.
struct Answers<'a>(slice::Iter<'a, Answer>);

/// Why a walk does not reach its end.
enum Pause {
    /// It needs the answer to this request.
    Asks(Box<Request>),
    /// Jira refused, or its answer does not say what it should.
    Fails(AttemptError),
}

impl From<AttemptError> for Pause {
    fn from(error: AttemptError) -> Self {
        Pause::Fails(error)
    }
}

impl<'a> Answers<'a> {
    fn next(&mut self, request: impl FnOnce() -> Request) -> Result<&'a Answer, Pause> {
        self.0.next().ok_or_else(|| Pause::Asks(Box::new(request())))
    }

    /// The same for a request that Jira has to accept.
    fn accepted(&mut self, request: impl FnOnce() -> Request) -> Result<&'a Answer, Pause> {
        let answer = self.next(request)?;
        failure_of(answer).map_or(Ok(answer), |error| Err(error.into()))
    }
}

fn send(method: HttpMethod, url: String, body: Option<&Value>) -> Request {
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    // Names of transitions come in the language of the account otherwise.
    let headers = vec![("accept-language", "en".to_owned())];
    Request::Http(HttpRequest { method, headers, ..HttpRequest::post(url, body) })
}

#[derive(Deserialize)]
struct Found {
    issues: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    key: String,
    #[serde(default)]
    fields: IssueFields,
}

#[derive(Default, Deserialize)]
struct IssueFields {
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "statusCategory")]
    category: Category,
}

#[derive(Deserialize)]
struct Category {
    key: String,
}

#[derive(Deserialize)]
struct Transitions {
    transitions: Vec<Transition>,
}

#[derive(Deserialize)]
struct Transition {
    id: String,
    name: String,
}

impl Issue {
    fn is_done(&self) -> Option<bool> {
        Some(self.fields.status.as_ref()?.category.key == "done")
    }

    /// The name of the transition that brings the issue to the state of the incident.
    fn transition<'c>(&self, firing: bool, config: &'c JiraConfig) -> Option<&'c str> {
        let name = match (firing, self.is_done()?) {
            (true, true) => &config.reopen_transition,
            (false, false) => &config.resolve_transition,
            _ => return None,
        };
        (!name.is_empty()).then_some(name)
    }
}

fn transition_of(listed: &Answer, wanted: &str) -> Result<String, AttemptError> {
    let known = parsed::<Transitions>(listed, "the list of transitions")?.transitions;
    if let Some(found) = known.iter().find(|one| one.name == wanted) {
        return Ok(found.id.clone());
    }
    let names: Vec<String> = known.iter().map(|one| clean_line(&one.name)).collect();
    let detail = format!("the issue has no transition {wanted:?} now. It has {}", names.join(", "));
    Err(AttemptError::refused(FailureReason::ClientError, detail))
}

fn parsed<T: for<'d> Deserialize<'d>>(answer: &Answer, what: &str) -> Result<T, AttemptError> {
    serde_json::from_slice(&answer.body).map_err(|_| {
        let detail = format!("status {} and no answer to {what}: {}", answer.status, answer.excerpt());
        AttemptError::passing(FailureReason::Other, detail)
    })
}

impl JiraConfig {
    /// Brings the issue of an incident to its state, from the first request to the last. Returns its key.
    fn walk(&self, attempt: &Attempt<'_>, answers: &mut Answers<'_>) -> Result<Option<String>, Pause> {
        let firing = attempt.view.is_firing();
        let closes = !firing && !self.resolve_transition.is_empty();
        let known = attempt.view.notification.message.as_deref();
        let mut issues = Vec::new();
        if let Some(key) = known {
            let url = self.place(key, "");
            let url = format!("{url}{}fields=status", if url.contains('?') { '&' } else { '?' });
            let answer = answers.next(|| send(HttpMethod::Get, url, None))?;
            // A person may have deleted the issue.
            if answer.status != 404 {
                failure_of(answer).map_or(Ok(()), Err)?;
                let issue: Issue = parsed(answer, "the question about an issue")?;
                issues.extend(Some(issue).filter(|issue| issue.is_done() != Some(true)));
            }
        }
        if issues.is_empty() || closes {
            let most = if closes { MOST_ISSUES } else { 2 };
            let found = answers.accepted(|| self.search(attempt, most))?;
            let found = parsed::<Found>(found, "the search")?.issues.into_iter();
            // The search may still show an issue as open that is done.
            issues.extend(found.filter(|issue| firing || known != Some(&*issue.key)).take(most));
        }
        let Some(first) = issues.first() else {
            // An issue that does not exist, or that a person closed, is over.
            if !firing {
                return Ok(None);
            }
            let created = answers.accepted(|| {
                let body = json!({ "fields": self.issue(attempt, false) });
                send(HttpMethod::Post, below(&self.api_url.0, "issue"), Some(&body))
            })?;
            // Jira has made it, with any answer.
            return Ok(serde_json::from_slice::<Issue>(&created.body).ok().map(|issue| issue.key));
        };
        answers.accepted(|| {
            let body = json!({ "fields": self.issue(attempt, true) });
            send(HttpMethod::Put, self.place(&first.key, ""), Some(&body))
        })?;
        // A second issue may stand there from a creation whose answer was lost. A resolve closes it too.
        for issue in issues.iter().take(if closes { MOST_ISSUES } else { 1 }) {
            let Some(wanted) = issue.transition(firing, self) else { continue };
            let place = self.place(&issue.key, "/transitions");
            let listed = answers.accepted(|| send(HttpMethod::Get, place.clone(), None))?;
            let body = json!({ "transition": { "id": transition_of(listed, wanted)? } });
            answers.accepted(|| send(HttpMethod::Post, place, Some(&body)))?;
        }
        Ok(Some(first.key.clone()))
    }

    fn search(&self, attempt: &Attempt<'_>, most: usize) -> Request {
        let body = json!({ "jql": self.jql(attempt), "maxResults": most, "fields": ["status"] });
        send(HttpMethod::Post, self.search_url(), Some(&body))
    }

    /// A place below an issue.
    fn place(&self, key: &str, end: &str) -> String {
        below(&self.api_url.0, &format!("issue/{}{end}", encoded(key)))
    }

    fn search_url(&self) -> String {
        let host = self.api_url.0.split("://").nth(1).unwrap_or_default();
        let host = host.split(['/', ':', '?']).next().unwrap_or_default();
        let cloud = match self.api_type {
            ApiType::Auto => host.ends_with("atlassian.net"),
            ApiType::Cloud => true,
            ApiType::Datacenter => false,
        };
        match cloud {
            true => below(&self.api_url.0, "search/jql").replacen("/rest/api/2/", "/rest/api/3/", 1),
            false => below(&self.api_url.0, "search"),
        }
    }

    fn jql(&self, attempt: &Attempt<'_>) -> String {
        let minutes = self.reopen_duration.as_secs() / 60;
        let reopens = attempt.view.is_firing() && !self.reopen_transition.is_empty() && minutes > 0;
        let mut terms = Vec::new();
        if !self.wont_fix_resolution.is_empty() {
            let resolution = quoted(&self.wont_fix_resolution);
            terms.push(format!("(resolution is EMPTY OR resolution != {resolution})"));
        }
        terms.push(match reopens {
            true => format!("(resolutiondate is EMPTY OR resolutiondate >= -{minutes}m)"),
            false => "statusCategory != Done".to_owned(),
        });
        terms.push(format!("project = {}", quoted(&self.line(attempt, "project"))));
        terms.push(format!("labels = {}", quoted(&label(attempt))));
        format!("{} ORDER BY status ASC, resolutiondate DESC", terms.join(" AND "))
    }

    fn line(&self, attempt: &Attempt<'_>, key: &str) -> String {
        cut(one_line(&attempt.texts.text(key, String::new)), SUMMARY_CHARS)
    }

    /// The fields of the issue.
    fn issue(&self, attempt: &Attempt<'_>, update: bool) -> Map<String, Value> {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let mut fields: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, field)| (name.clone(), field.value(&format!("fields.{name}"), texts)))
            .collect();
        let mut labels: Vec<String> = (0..self.labels)
            .map(|i| self.line(attempt, &format!("labels[{i}]")).replace(char::is_whitespace, "_"))
            .filter(|label| !label.is_empty())
            .chain([label(attempt)])
            .collect();
        labels.sort();
        fields.insert("project".into(), json!({ "key": self.line(attempt, "project") }));
        fields.insert("issuetype".into(), json!({ "name": self.line(attempt, "issue_type") }));
        fields.insert("labels".into(), json!(labels));
        let priority = self.line(attempt, "priority");
        if !priority.is_empty() {
            fields.insert("priority".into(), json!({ "name": priority }));
        }
        if !update || self.updates_summary {
            let summary = texts.required("summary", || subject(view));
            fields.insert("summary".into(), json!(cut(one_line(&summary), SUMMARY_CHARS)));
        }
        if !update || self.updates_description {
            let text = attempt.text(&self.texts, "description", || story(view, &PLAIN));
            let text = cut(clean_text(&text), DESCRIPTION_CHARS);
            if !text.trim().is_empty() {
                fields.insert("description".into(), self.description(text));
            }
        }
        fields
    }

    /// Version 3 takes a document, and a text that is none becomes one paragraph of a document.
    fn description(&self, text: String) -> Value {
        if !self.api_url.0.trim_end_matches('/').ends_with("/3") {
            return json!(text);
        }
        let document = serde_json::from_str(&text).ok().filter(Value::is_object);
        document.unwrap_or_else(|| {
            let content = json!([{ "type": "text", "text": text.trim() }]);
            json!({
                "type": "doc", "version": 1, "content": [{ "type": "paragraph", "content": content }],
            })
        })
    }
}

/// By which the issue of an incident is found.
fn label(attempt: &Attempt<'_>) -> String {
    cut(format!("ALERT{{{}}}", attempt.view.notification.dedup_key), LABEL_CHARS)
}

/// A text of JQL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
