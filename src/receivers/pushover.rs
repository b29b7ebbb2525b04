//! `pushover_configs`: a push message to people's phones.
//!
//! Limits are those of Pushover's API: title 250 characters, message 1,024, URL 512 and its title 100. An
//! emergency (priority 2) comes again every `retry`, at least 30 s, for `expire`, at most 3 h. Pushover asks
//! senders to wait 5 s after a 5xx, and to keep at most two connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use squelch_core::policy::KnownBy;

use super::form::form;
use super::keyed::{known_as, read_key, secret_template};
use super::text::{PLAIN, clean_text, cut, escape_html, marked, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request,
    Retry, Templated, failure_of,
};
use crate::model::{self, Kind};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url};

/// `pushover_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "pushover_configs",
    name: "pushover",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

const API_URL: &str = "https://api.pushover.net/1/messages.json";
const USER: &str = "user_key";
const TOKEN: &str = "token";
const TITLE_CHARS: usize = 250;
const MESSAGE_CHARS: usize = 1_024;
const URL_CHARS: usize = 512;
const SHORT_CHARS: usize = 100;
const LEAST_RETRY: Duration = Duration::from_secs(30);
const MOST_EXPIRE: Duration = Duration::from_secs(3 * 60 * 60);
/// After an answer that says that Pushover itself has a problem.
const REST: Duration = Duration::from_secs(5);
const PRIORITIES: [&str; 5] = ["-2", "-1", "0", "1", "2"];
/// The templated keys with Alertmanager's defaults.
const TEXTS: [(&str, &str); 7] = [
    ("title", r#"{{ template "pushover.default.title" . }}"#),
    ("message", r#"{{ template "pushover.default.message" . }}"#),
    ("url", r#"{{ template "pushover.default.url" . }}"#),
    ("url_title", ""),
    ("device", ""),
    ("sound", ""),
    ("priority", r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#),
];

/// A user or a group of Pushover.
#[derive(Clone, Debug)]
pub struct PushoverConfig {
    /// Where messages go.
    pub api_url: Url,
    /// `user_key` / `user_key_file`. The inline one is templated.
    pub user_key: Secret,
    /// `token` / `token_file` of the application. The inline one is templated.
    pub token: Secret,
    /// The templated keys.
    pub texts: Texts,
    /// `retry`: how often an emergency comes again. Default 1m.
    pub retry: Duration,
    /// `expire`: for how long it does. Default 1h.
    pub expire: Duration,
    /// `ttl`: Pushover deletes the message after this time.
    pub ttl: Option<Duration>,
    /// `html`: the message is HTML.
    pub html: bool,
    /// `monospace`
    pub monospace: bool,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| Arc::new(read(keys, base)))
}

fn read(keys: &mut Section<'_>, base: &Path) -> PushoverConfig {
    let mut key = |name, file| {
        let found = read_key(keys, (name, file), base);
        if found.is_none() {
            keys.problems.add(keys.line, format!("pushover_configs has no {name}. Write {file} (or {name})"));
        }
        found.unwrap_or_else(|| Secret::Inline("".into()))
    };
    let (user_key, token) = (key(USER, "user_key_file"), key(TOKEN, "token_file"));
    let retry = keys.go_duration("retry").map_or(Duration::from_secs(60), model::Duration::to_std);
    let expire = keys.go_duration("expire").map_or(Duration::from_secs(3_600), model::Duration::to_std);
    if retry < LEAST_RETRY {
        keys.problems.doubt(keys.line_of("retry"), "retry is less than Pushover takes. It counts as 30s");
    }
    if expire > MOST_EXPIRE {
        keys.problems.doubt(keys.line_of("expire"), "expire is more than Pushover takes. It counts as 3h");
    }
    let config = PushoverConfig {
        api_url: Url(API_URL.into()),
        user_key,
        token,
        texts: Texts::read(keys, &TEXTS),
        retry: retry.max(LEAST_RETRY),
        expire: expire.min(MOST_EXPIRE),
        ttl: keys.go_duration("ttl").map(model::Duration::to_std).filter(|ttl| ttl.as_secs() > 0),
        html: keys.boolean("html").unwrap_or(false),
        monospace: keys.boolean("monospace").unwrap_or(false),
    };
    if config.html && config.monospace {
        keys.problems.add(keys.line_of("monospace"), "html and monospace are both true. Keep one");
    }
    config
}

impl Notifier for PushoverConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// Pushover documents two connections at a time and a number of messages for each month.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(1), burst: 2 })
    }

    fn account(&self) -> Option<String> {
        Some(format!("pushover {}", known_as(&self.token)))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.user_key, SecretForm::RoutingKey), (&self.token, SecretForm::RoutingKey)]
    }

    fn templates(&self) -> Vec<Templated> {
        let mut all = self.texts.templated(clean_text);
        all.extend(secret_template(USER, &self.user_key));
        all.extend(secret_template(TOKEN, &self.token));
        all
    }

    fn html(&self) -> &'static [&'static str] {
        if self.html { &["message"] } else { &[] }
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let token = attempt.templated_secret(TOKEN, &self.token)?;
        let user = attempt.templated_secret(USER, &self.user_key)?;
        let mut pairs = vec![("token", token.clone()), ("user", user.clone())];
        pairs.extend(self.pairs(attempt));
        let body = form(pairs.iter().map(|(name, value)| (*name, value.as_str()))).into_bytes();
        let request = HttpRequest::post(self.api_url.0.as_str(), body);
        let content_type = "application/x-www-form-urlencoded";
        Ok(Request::Http(HttpRequest { content_type, hidden: vec![token, user], ..request }))
    }

    fn reads(&self, status: u16) -> bool {
        !matches!(status, 204 | 205)
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) if answer.status >= 500 => {
                let wait = answer.retry_after.unwrap_or(REST).max(REST);
                Err(AttemptError { retry: Retry::After(wait), ..error })
            }
            Some(error) => Err(error),
            None => refusal_in(answer).map_or(Ok(()), Err),
        }
    }
}

#[derive(Deserialize)]
struct AnswerBody {
    status: i64,
}

/// A 2xx whose body says `"status": 0` is a refusal.
fn refusal_in(answer: &Answer) -> Option<AttemptError> {
    let said: AnswerBody = serde_json::from_slice(&answer.body).ok()?;
    let detail = format!("status {} with {:?}", answer.status, answer.excerpt());
    (said.status != 1).then(|| AttemptError::refused(FailureReason::ClientError, detail))
}

impl PushoverConfig {
    fn pairs(&self, attempt: &Attempt<'_>) -> Vec<(&'static str, String)> {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let digest = view.notification.kind == Kind::Digest;
        let line = |key: &str| cut(one_line(&texts.text(key, String::new)), SHORT_CHARS);
        let own = || match self.html {
            true => escape_html(&story(view, &PLAIN)),
            false => story(view, &PLAIN),
        };
        let (title, message) = match digest {
            true => (subject(view), own()),
            false => (texts.text("title", || subject(view)), attempt.text(&self.texts, "message", own)),
        };
        let message = cut(clean_text(message.trim()), MESSAGE_CHARS);
        let url = attempt.text(&self.texts, "url", || view.incident_url());
        let url = texts.link_of("url", &url).filter(|url| url.chars().count() <= URL_CHARS);
        let mut pairs = vec![
            ("title", marked(&title, view, TITLE_CHARS)),
            // Pushover refuses a message without a text.
            ("message", if message.is_empty() { "(no details)".into() } else { message }),
            ("url", url.unwrap_or_default()),
            ("url_title", line("url_title")),
            ("priority", self.priority(attempt).to_owned()),
            ("retry", self.retry.as_secs().to_string()),
            ("expire", self.expire.as_secs().to_string()),
            ("device", line("device")),
            ("sound", line("sound")),
        ];
        for (name, set) in [("html", self.html), ("monospace", self.monospace)] {
            if set {
                pairs.push((name, "1".into()));
            }
        }
        pairs.extend(self.ttl.map(|ttl| ("ttl", ttl.as_secs().to_string())));
        pairs
    }

    /// A digest makes no sound. Pushover refuses a message with a priority that it does not know.
    fn priority(&self, attempt: &Attempt<'_>) -> &'static str {
        let own = match attempt.view.notification.kind {
            Kind::Digest => return "-1",
            Kind::Page | Kind::Update | Kind::Acknowledge => "2",
            Kind::Resolve => "0",
        };
        let text = attempt.texts.required("priority", || own.to_owned());
        PRIORITIES.into_iter().find(|known| *known == text.trim()).unwrap_or(own)
    }
}
