//! `sns_configs`: a message to a topic of Amazon SNS, to a phone number or to one device.
//!
//! SNS takes a message of 256 KiB, an SMS of 1,600 characters, and a subject of less than 100 characters on
//! one line. With `role_arn`, STS gives the credentials of the role first, for each message anew.

mod sigv4;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use squelch_core::policy::KnownBy;

use super::form::form;
use super::text::{PLAIN, clean_line, clean_text, cut, cut_bytes, http_url, marked, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request,
    Retry, Templated, failure_of,
};
use crate::model::Kind;
use crate::outside::variable;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, Url, template_check};
use sigv4::{CONTENT_TYPE, Signer};

/// `sns_configs`
pub static TYPE: ReceiverType =
    ReceiverType { list: "sns_configs", name: "sns", send_resolved: true, send_updates: false, reader };

const MESSAGE_BYTES: usize = 256 * 1024;
const SMS_CHARS: usize = 1_600;
const SUBJECT_CHARS: usize = 99;
/// Where a message goes: exactly one of these.
const TARGETS: [(&str, &str); 3] =
    [("topic_arn", "TopicArn"), ("target_arn", "TargetArn"), ("phone_number", "PhoneNumber")];
/// The templated keys with Alertmanager's defaults.
const TEXTS: [(&str, &str); 6] = [
    ("api_url", ""),
    ("topic_arn", ""),
    ("target_arn", ""),
    ("phone_number", ""),
    ("subject", r#"{{ template "sns.default.subject" . }}"#),
    ("message", r#"{{ template "sns.default.message" . }}"#),
];

/// A topic, a phone number or a device.
#[derive(Clone, Debug)]
pub struct SnsConfig {
    /// The templated keys. `attributes[0].name` and `attributes[0].value` are among them.
    pub texts: Texts,
    /// How many `attributes` there are.
    pub attributes: usize,
    /// `sigv4`
    pub sigv4: SigV4,
}

/// `sigv4`: who asks AWS.
#[derive(Clone, Debug)]
pub struct SigV4 {
    /// `region`, or `AWS_REGION`, or `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// `access_key` and `secret_key`, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub keys: Option<Keys>,
    /// `role_arn`: the role to take on.
    pub role: Option<Role>,
    /// `use_fips_sts_endpoint`
    pub fips: bool,
    /// `service_name`: the service that requests are signed for. Default `sns`.
    pub service: Option<String>,
}

/// Long-lived or temporary credentials.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The name of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// `AWS_SESSION_TOKEN`, where the credentials are temporary.
    pub session_token: Option<Secret>,
}

/// A role of AWS.
#[derive(Clone, Debug)]
pub struct Role {
    /// `role_arn`
    pub arn: String,
    /// `external_id`
    pub external_id: Option<String>,
    /// Where STS answers; `None` = the endpoint of the region.
    pub sts_url: Option<Url>,
}

fn reader<'b>(_: &mut Section<'_>, _: &'b Path) -> Reader<'b> {
    Box::new(|keys| Arc::new(read(keys)))
}

fn read(keys: &mut Section<'_>) -> SnsConfig {
    let mut texts = Texts::read(keys, &TEXTS);
    if TARGETS.iter().filter(|(key, _)| !texts.source(key).is_empty()).count() != 1 {
        let message =
            "sns_configs needs exactly one place to send to; write topic_arn, target_arn or phone_number";
        keys.problems.add(keys.line, message);
    }
    let attributes = keys.text_map("attributes");
    for (i, (name, text)) in attributes.iter().enumerate() {
        let value = template_check::check(keys.problems, name, *text).unwrap_or_default();
        texts.set(format!("attributes[{i}].name"), *name);
        texts.set(format!("attributes[{i}].value"), value);
    }
    // The same client speaks to AWS either way.
    let _ = keys.boolean("use_aws_http_client");
    let sigv4 = read_sigv4(keys);
    if sigv4.region.is_none() && texts.source("api_url").is_empty() {
        let message = "sns_configs has no region; write sigv4: {region: us-east-1}, or set AWS_REGION";
        keys.problems.doubt(keys.line, message);
    }
    if sigv4.keys.is_none() {
        let message = "sns_configs has no credentials; write access_key and secret_key in sigv4, or set \
                       AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        keys.problems.doubt(keys.line, message);
    }
    SnsConfig { attributes: attributes.len(), texts, sigv4 }
}

fn read_sigv4(keys: &mut Section<'_>) -> SigV4 {
    let problems = keys.problems;
    let mut keys = keys.section("sigv4").unwrap_or_else(|| Section::empty(problems));
    let mut text = |key: &'static str| {
        let text = keys.text(key).filter(|text| !text.text.trim().is_empty());
        text.map(|text| text.text.trim().to_owned())
    };
    let (region, access_key) = (text("region"), text("access_key"));
    let (arn, external_id) = (text("role_arn"), text("external_id"));
    let (profile, service) = (text("profile"), text("service_name"));
    let secret_key = keys.text("secret_key").filter(|text| !text.text.trim().is_empty());
    let secret_key = secret_key.map(|text| {
        problems.secret(text);
        Secret::Inline(text.text.trim().into())
    });
    if access_key.is_some() != secret_key.is_some() {
        problems.add(keys.line, "sigv4 has one half of the credentials; write access_key and secret_key");
    }
    if external_id.is_some() && arn.is_none() {
        problems
            .add(keys.line_of("external_id"), "external_id is for role_arn; write role_arn, or remove it");
    }
    if profile.is_some() && (access_key.is_none() || secret_key.is_none()) {
        let message = "profile is not in force, because Squelch reads no shared credentials file; write \
                       access_key and secret_key, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        problems.add(keys.line_of("profile"), message);
    }
    let inline = access_key.zip(secret_key).map(|(access_key, secret_key)| Keys {
        access_key,
        secret_key,
        session_token: None,
    });
    let fips = keys.boolean("use_fips_sts_endpoint").unwrap_or(false);
    let role = arn.map(|arn| Role { arn, external_id, sts_url: None });
    if keys.line > 0 {
        keys.finish();
    }
    let region = region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    SigV4 { region, keys: inline.or_else(keys_of_environment), role, fips, service }
}

fn keys_of_environment() -> Option<Keys> {
    let secret = |name| variable(name).map(|value| Secret::Inline(value.into()));
    Some(Keys {
        access_key: variable("AWS_ACCESS_KEY_ID")?,
        secret_key: secret("AWS_SECRET_ACCESS_KEY")?,
        session_token: secret("AWS_SESSION_TOKEN"),
    })
}

impl Notifier for SnsConfig {
    fn name(&self) -> &'static str {
        TYPE.name
    }

    fn known_by(&self) -> KnownBy {
        KnownBy::Nothing
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        let sms = !self.texts.source("phone_number").is_empty();
        sms.then_some("an SMS calls a person; write a second receiver, such as a chat")
    }

    /// AWS documents 20 SMS a second for an account, and hundreds of messages to topics.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(100), burst: 10 })
    }

    fn account(&self) -> Option<String> {
        let key = self.sigv4.keys.as_ref().map_or("", |keys| &keys.access_key);
        let region = self.sigv4.region.as_deref().unwrap_or_default();
        let targets: Vec<&str> = TARGETS.iter().map(|(key, _)| self.texts.source(key)).collect();
        Some(format!("sns {} {region} {key} {}", self.texts.source("api_url"), targets.join(" ")))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        let keys = self.sigv4.keys.iter();
        let all = keys.flat_map(|keys| std::iter::once(&keys.secret_key).chain(&keys.session_token));
        all.map(|secret| (secret, SecretForm::Password)).collect()
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(clean_text)
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let Some(keys) = &self.sigv4.keys else {
            return Err(AttemptError::ours("there are no credentials of AWS; set AWS_ACCESS_KEY_ID"));
        };
        let secret_key = attempt.secret(&keys.secret_key)?;
        let session_token = keys.session_token.as_ref().map(|token| attempt.secret(token)).transpose()?;
        let credentials = Credentials { access_key: &keys.access_key, secret_key, session_token };
        match &self.sigv4.role {
            None => self.publish(attempt, credentials),
            Some(role) => self.assume(attempt, role, credentials),
        }
    }

    /// The credentials of a role stand in the body.
    fn reads(&self, status: u16) -> bool {
        self.sigv4.role.is_some() && !matches!(status, 204 | 205) || !(200..300).contains(&status)
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        let Some(error) = failure_of(answer) else { return Ok(()) };
        let body = String::from_utf8_lossy(&answer.body);
        let code = element(&body, "Code").unwrap_or_default();
        if code.contains("Throttl") || code == "RequestLimitExceeded" {
            let retry = answer.retry_after.map_or(Retry::Backoff, Retry::After);
            return Err(AttemptError { retry, reason: FailureReason::RateLimited, ..error });
        }
        Err(error)
    }

    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        answers.last().map_or(Ok(()), |answer| self.judge(answer))?;
        match answers {
            [answer] if self.sigv4.role.is_some() => {
                let body = String::from_utf8_lossy(&answer.body);
                let detail = "STS answered without credentials";
                let credentials = credentials_in(&body)
                    .ok_or_else(|| AttemptError::passing(FailureReason::ServerError, detail))?;
                self.publish(attempt, credentials).map(Some)
            }
            _ => Ok(None),
        }
    }
}

#[derive(Clone, Copy)]
struct Credentials<'a> {
    access_key: &'a str,
    secret_key: &'a str,
    session_token: Option<&'a str>,
}

/// What STS answers for a role.
fn credentials_in(body: &str) -> Option<Credentials<'_>> {
    Some(Credentials {
        access_key: element(body, "AccessKeyId")?,
        secret_key: element(body, "SecretAccessKey")?,
        session_token: Some(element(body, "SessionToken")?),
    })
}

/// The text of the first element of this name, which has no attributes and holds no other.
fn element<'b>(xml: &'b str, name: &str) -> Option<&'b str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

impl SnsConfig {
    fn region(&self) -> Result<&str, AttemptError> {
        let missing =
            || AttemptError::ours("there is no region of AWS; write sigv4.region, or set AWS_REGION");
        self.sigv4.region.as_deref().ok_or_else(missing)
    }

    fn endpoint(&self, service: &str) -> Result<String, AttemptError> {
        let region = self.region()?;
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Ok(format!("https://{service}.{region}.{domain}/"))
    }

    fn assume(
        &self,
        attempt: &Attempt<'_>,
        role: &Role,
        credentials: Credentials<'_>,
    ) -> Result<Request, AttemptError> {
        let mut pairs = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", role.arn.as_str()),
            ("RoleSessionName", "squelch"),
        ];
        pairs.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let url = role.sts_url.as_ref().map_or_else(
            || self.endpoint(if self.sigv4.fips { "sts-fips" } else { "sts" }),
            |url| Ok(url.0.clone()),
        )?;
        self.signed(attempt, "sts", url, form(pairs), credentials)
    }

    fn publish(&self, attempt: &Attempt<'_>, credentials: Credentials<'_>) -> Result<Request, AttemptError> {
        let own = attempt.texts.text("api_url", String::new);
        let url = match (own.trim(), http_url(&own)) {
            ("", _) => self.endpoint("sns")?,
            (_, None) => return Err(AttemptError::ours("api_url is not an http or https URL")),
            (_, Some(url)) if url.ends_with('/') || url.contains('?') => url.to_owned(),
            (_, Some(url)) => format!("{url}/"),
        };
        let pairs = self.message(attempt);
        let body = form(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.signed(attempt, self.sigv4.service.as_deref().unwrap_or("sns"), url, body, credentials)
    }

    fn signed(
        &self,
        attempt: &Attempt<'_>,
        service: &str,
        url: String,
        body: String,
        Credentials { access_key, secret_key, session_token }: Credentials<'_>,
    ) -> Result<Request, AttemptError> {
        let signer = Signer { access_key, secret_key, session_token, region: self.region()?, service };
        let headers = signer.headers(&url, body.as_bytes(), attempt.now);
        let hidden = [Some(secret_key), session_token].into_iter().flatten().map(str::to_owned).collect();
        let request = HttpRequest::post(url, body.into_bytes());
        Ok(Request::Http(HttpRequest { content_type: CONTENT_TYPE, headers, hidden, ..request }))
    }

    fn message(&self, attempt: &Attempt<'_>) -> Vec<(String, String)> {
        let (view, texts) = (&attempt.view, &attempt.texts);
        let n = view.notification;
        let digest = n.kind == Kind::Digest;
        let own = || story(view, &PLAIN);
        let (title, text) = match digest {
            true => (subject(view), own()),
            false => (attempt.text(&self.texts, "subject", || subject(view)), texts.required("message", own)),
        };
        let sms = !self.texts.source("phone_number").is_empty();
        let whole = clean_text(&text);
        let text = match sms {
            true => cut(whole.clone(), SMS_CHARS),
            false => cut_bytes(whole.clone(), MESSAGE_BYTES),
        };
        let mut attributes: Vec<(String, String)> = (0..self.attributes)
            .map(|i| {
                let part = |part: &str| texts.text(&format!("attributes[{i}].{part}"), String::new);
                (part("name"), part("value"))
            })
            .filter(|(name, value)| !name.trim().is_empty() && !value.is_empty())
            .collect();
        if text != whole {
            attributes.push(("truncated".into(), "true".into()));
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pairs = vec![pair("Action", "Publish"), pair("Version", "2010-03-31")];
        for (key, name) in TARGETS.iter().filter(|(key, _)| !self.texts.source(key).is_empty()) {
            let place = texts.required(key, String::new).trim().to_owned();
            if *key == "topic_arn" && place.ends_with(".fifo") {
                // Without an id of its own, SNS would drop a resolve as a repeat of its page.
                pairs.push(pair("MessageDeduplicationId", &cut(format!("{}-{}", n.id.0, n.dedup_key), 128)));
                pairs.push(pair("MessageGroupId", &cut(n.dedup_key.to_string(), 128)));
            }
            pairs.push(pair(name, &place));
        }
        if !clean_line(title.trim()).is_empty() {
            pairs.push(pair("Subject", &marked(&title, view, SUBJECT_CHARS)));
        }
        pairs.push(pair("Message", &text));
        for (i, (name, value)) in attributes.iter().enumerate() {
            let place = format!("MessageAttributes.entry.{}", i + 1);
            pairs.push((format!("{place}.Name"), clean_line(name.trim())));
            pairs.push((format!("{place}.Value.DataType"), "String".into()));
            pairs.push((format!("{place}.Value.StringValue"), clean_text(value)));
        }
        pairs
    }
}
