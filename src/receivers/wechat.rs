//! `wechat_configs`: a message of an application of WeCom (`gettoken`, then `message/send`).
//!
//! WeCom answers 200 in any case, and gives the result in `errcode`. An access token holds for two hours,
//! and WeCom asks senders to keep it. Squelch gets another one when WeCom says that it expired.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squelch_core::policy::KnownBy;

use super::form::encoded;
use super::text::{Style, calls_nobody, cut_bytes, repeated, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, Escape, FailureReason, HttpMethod, HttpRequest, Notifier, Pace, Reader,
    ReceiverType, Request, Retry, Templated, Verdict, failure_of,
};
use crate::model::{Kind, Timestamp};
use crate::settings::http::{secret, url};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url, template_check};

/// `wechat_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "wechat_configs",
    name: "wechat",
    send_resolved: false,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

/// WeCom's limits, in bytes.
const TEXT_BYTES: usize = 2_048;
const MARKDOWN_BYTES: usize = 4_096;
/// A token that ends within this time is got anew.
const EARLY: Duration = Duration::from_secs(300);
const TEXTS: [(&str, &str); 5] = [
    ("message", r#"{{ template "wechat.default.message" . }}"#),
    ("to_user", r#"{{ template "wechat.default.to_user" . }}"#),
    ("to_party", r#"{{ template "wechat.default.to_party" . }}"#),
    ("to_tag", r#"{{ template "wechat.default.to_tag" . }}"#),
    ("agent_id", r#"{{ template "wechat.default.agent_id" . }}"#),
];
const STYLE: Style = Style {
    escape: calls_nobody,
    heading: |text| text.to_owned(),
    link: |url, text| format!("{text}: {url}"),
    block: calls_nobody,
    alerts: 10,
};

/// An application of WeCom.
#[derive(Clone, Debug)]
pub struct WechatConfig {
    /// `api_url`. Default `https://qyapi.weixin.qq.com/cgi-bin/`.
    pub api_url: Url,
    /// `api_secret` / `api_secret_file`.
    pub api_secret: Secret,
    /// `message_type`: whether the message is Markdown and no plain text.
    pub markdown: bool,
    /// `corp_id`, `message`, `to_user`, `to_party`, `to_tag` and `agent_id`, templated.
    pub texts: Texts,
    /// The access token that WeCom gave last.
    pub token: TokenStore,
}

/// An access token, its account, and the end of its validity.
#[derive(Clone, Default)]
pub struct TokenStore(Arc<Mutex<Option<Token>>>);

#[derive(Clone)]
struct Token {
    token: String,
    corp_id: String,
    until: Timestamp,
}

impl fmt::Debug for TokenStore {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl TokenStore {
    fn get(&self, corp_id: &str, now: Timestamp) -> Option<String> {
        let token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let good = token.as_ref().filter(|token| token.corp_id == corp_id && now < token.until);
        good.map(|token| token.token.clone())
    }

    fn set(&self, token: Option<Token>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let api_url = url(global, "wechat_api_url");
    let api_url = api_url.unwrap_or(Url("https://qyapi.weixin.qq.com/cgi-bin/".into()));
    let names = ("wechat_api_secret", "wechat_api_secret_file");
    let api_secret = secret(global, names, SecretForm::Password, base);
    let corp_id = template_check::read(global, "wechat_api_corp_id").unwrap_or_default();
    Box::new(move |keys| Arc::new(read(keys, (&api_url, api_secret.as_ref(), &corp_id), base)))
}

fn read(
    keys: &mut Section<'_>,
    (api_url, api_secret, corp_id): (&Url, Option<&Secret>, &str),
    base: &Path,
) -> WechatConfig {
    let own = secret(keys, ("api_secret", "api_secret_file"), SecretForm::Password, base);
    let api_secret = own.or_else(|| api_secret.cloned());
    if api_secret.is_none() {
        let message = "wechat_configs has no secret. Write api_secret_file (or api_secret) here, or wechat_api_secret_file in global";
        keys.problems.add(keys.line, message);
    }
    let mut texts = Texts::read(keys, &TEXTS);
    texts.set("corp_id", template_check::read(keys, "corp_id").unwrap_or_else(|| corp_id.to_owned()));
    if texts.source("corp_id").is_empty() {
        let message = "wechat_configs has no corp_id. Write corp_id here, or wechat_api_corp_id in global";
        keys.problems.add(keys.line, message);
    }
    let markdown = keys.parsed("message_type", "text or markdown", |text| match text {
        "text" | "" => Some(false),
        "markdown" => Some(true),
        _ => None,
    });
    WechatConfig {
        api_url: url(keys, "api_url").unwrap_or_else(|| api_url.clone()),
        api_secret: api_secret.unwrap_or_else(|| Secret::Inline("".into())),
        markdown: markdown.unwrap_or(false),
        texts,
        token: TokenStore::default(),
    }
}

impl Notifier for WechatConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// WeCom documents 30 messages a minute and 1,000 an hour to each person.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_secs(4), burst: 15 })
    }

    fn account(&self) -> Option<String> {
        let of = |key| self.texts.source(key);
        let people = [of("to_user"), of("to_party"), of("to_tag")].join(" ");
        Some(format!("wechat {} {} {} {people}", self.api_url.0, of("corp_id"), of("agent_id")))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.api_secret, SecretForm::Password)]
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(calls_nobody)
    }

    fn mentions(&self) -> Escape {
        calls_nobody
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let corp_id = corp_id(attempt);
        match self.token.get(&corp_id, attempt.now) {
            Some(token) => Ok(self.send(attempt, &token)),
            None => self.get_token(attempt, &corp_id),
        }
    }

    fn reads(&self, _: u16) -> bool {
        true
    }

    /// The body says whether WeCom took the message.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        failure_of(answer).map_or_else(|| AnswerBody::of(answer).check(answer), Err)
    }

    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        let Some((last, before)) = answers.split_last() else { return Ok(None) };
        let (said, corp_id) = (AnswerBody::of(last), corp_id(attempt));
        let has_token = |answer: &Answer| !AnswerBody::of(answer).access_token.is_empty();
        if said.is_expired() {
            self.token.set(None);
            if !before.iter().any(has_token) {
                return self.get_token(attempt, &corp_id).map(Some);
            }
        }
        self.judge(last)?;
        if said.access_token.is_empty() {
            return Ok(None);
        }
        let lasts = Duration::from_secs(said.expires_in).saturating_sub(EARLY);
        let until =
            attempt.now + crate::model::Duration::from_millis(u64::try_from(lasts.as_millis()).unwrap_or(0));
        self.token.set(Some(Token { token: said.access_token.clone(), corp_id, until }));
        Ok(Some(self.send(attempt, &said.access_token)))
    }
}

fn corp_id(attempt: &Attempt<'_>) -> String {
    attempt.texts.required("corp_id", String::new).trim().to_owned()
}

impl WechatConfig {
    fn get_token(&self, attempt: &Attempt<'_>, corp_id: &str) -> Result<Request, AttemptError> {
        let secret = encoded(attempt.secret(&self.api_secret)?);
        let query = format!("corpid={}&corpsecret={secret}", encoded(corp_id));
        let post = HttpRequest::post(self.url("gettoken", &query), Vec::new());
        Ok(Request::Http(HttpRequest { method: HttpMethod::Get, hidden: vec![secret], ..post }))
    }

    fn url(&self, method: &str, query: &str) -> String {
        format!("{}/{method}?{query}", self.api_url.0.trim().trim_end_matches('/'))
    }

    fn send(&self, attempt: &Attempt<'_>, token: &str) -> Request {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let own = || format!("{}\n{}", calls_nobody(&subject(view)), story(view, &STYLE));
        let text = match view.notification.kind {
            Kind::Digest => own(),
            _ => texts.required("message", own),
        };
        let most = if self.markdown { MARKDOWN_BYTES } else { TEXT_BYTES };
        let content = cut_bytes(repeated(text, view), most);
        let (text, markdown) = match self.markdown {
            true => (String::new(), content),
            false => (content, String::new()),
        };
        let said = |key| texts.text(key, String::new).trim().to_owned();
        let message = Message {
            text: Content { content: text },
            to_user: said("to_user"),
            to_party: said("to_party"),
            to_tag: said("to_tag"),
            agent_id: said("agent_id"),
            safe: "0",
            message_type: if self.markdown { "markdown" } else { "text" },
            markdown: Content { content: markdown },
        };
        // Strings into memory: nothing here can fail.
        let body = serde_json::to_vec(&message).unwrap_or_default();
        let escaped = encoded(token);
        let request = HttpRequest::post(self.url("message/send", &format!("access_token={escaped}")), body);
        Request::Http(HttpRequest { hidden: vec![token.to_owned(), escaped], ..request })
    }
}

/// The message, in the order of Alertmanager.
#[derive(Serialize)]
struct Message {
    text: Content,
    #[serde(rename = "touser", skip_serializing_if = "String::is_empty")]
    to_user: String,
    #[serde(rename = "toparty", skip_serializing_if = "String::is_empty")]
    to_party: String,
    #[serde(rename = "totag", skip_serializing_if = "String::is_empty")]
    to_tag: String,
    #[serde(rename = "agentid", skip_serializing_if = "String::is_empty")]
    agent_id: String,
    safe: &'static str,
    #[serde(rename = "msgtype")]
    message_type: &'static str,
    markdown: Content,
}

#[derive(Serialize)]
struct Content {
    content: String,
}

/// The content of a WeCom answer.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AnswerBody {
    errcode: Option<i64>,
    access_token: String,
    expires_in: u64,
}

impl AnswerBody {
    fn of(answer: &Answer) -> AnswerBody {
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Whether the access token does not hold any more.
    fn is_expired(&self) -> bool {
        matches!(self.errcode, Some(40014 | 42001 | 41001))
    }

    /// The meaning of a 200. `gettoken` of some servers gives a token and no `errcode`. An unknown code is
    /// tried three times, because WeCom adds codes.
    fn check(&self, answer: &Answer) -> Result<(), AttemptError> {
        use FailureReason::{AuthError, ClientError, Other, RateLimited};
        let detail = || format!("status {} with {:?}", answer.status, answer.excerpt());
        let code = match self.errcode {
            Some(0) => return Ok(()),
            None if !self.access_token.is_empty() => return Ok(()),
            Some(code) => code,
            None => {
                let retry = Retry::Undecided(Verdict::Accepted);
                let error = AttemptError::passing(FailureReason::Other, detail());
                return Err(AttemptError { retry, ambiguous: true, ..error });
            }
        };
        Err(match code {
            // WeCom is busy.
            -1 => AttemptError::passing(Other, detail()),
            // The token ends, which the next attempt mends.
            40014 | 41001 | 42001 => AttemptError::passing(AuthError, detail()),
            // Too many calls, or too many at once, or too many messages to one person.
            45009 | 45033 | 45011 | 45047 => AttemptError::passing(RateLimited, detail()),
            // The identity: the secret, the company, the application, its rights, the address of the
            // sender.
            40001 | 40013 | 40056 | 40082 | 40091 | 41002 | 41004 | 48002 | 60011 | 60020 | 301002 => {
                AttemptError::refused(AuthError, detail())
            }
            // The message: its type, its content, its length, its receivers.
            40003 | 40008 | 40031 | 40032 | 40035 | 40058 | 40066 | 40068 | 41011 | 43004 | 44001 | 44004
            | 45002 | 47001 | 60003 | 60111 | 81013 | 82001 => AttemptError::refused(ClientError, detail()),
            _ => {
                let retry = Retry::Undecided(Verdict::Refused);
                AttemptError { retry, ..AttemptError::passing(Other, detail()) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_in_the_body_decides() {
        let judge = |body: &str| {
            AnswerBody::of(&Answer::new(200, None, body.into())).check(&Answer::new(200, None, body.into()))
        };
        assert_eq!(judge(r#"{"errcode":0,"errmsg":"ok","invaliduser":"x"}"#), Ok(()));
        assert_eq!(judge(r#"{"access_token":"t"}"#), Ok(()));
        let retry = |body: &str| {
            let error = judge(body).unwrap_err();
            (error.reason, error.retry)
        };
        assert_eq!(retry(r#"{"errcode":-1}"#), (FailureReason::Other, Retry::Backoff));
        assert_eq!(retry(r#"{"errcode":45009}"#), (FailureReason::RateLimited, Retry::Backoff));
        assert_eq!(retry(r#"{"errcode":40001}"#), (FailureReason::AuthError, Retry::Never));
        assert_eq!(retry(r#"{"errcode":81013}"#), (FailureReason::ClientError, Retry::Never));
        let unknown = (FailureReason::Other, Retry::Undecided(Verdict::Refused));
        assert_eq!(retry(r#"{"errcode":99999}"#), unknown);
        assert_eq!(retry("<html>"), (FailureReason::Other, Retry::Undecided(Verdict::Accepted)));
    }
}
