//! `sns_configs`: a message to a topic of Amazon SNS, to a phone number or to one device.
//!
//! SNS takes a message of 256 KiB, an SMS of 1,600 characters, and a subject of less than 100 characters on
//! one line. With `role_arn`, STS gives the credentials of the role first, for each message anew.
//!
//! Credentials come from where AWS' SDK looks for them, in its order: `sigv4`, the environment, a web
//! identity, and the shared credentials file. Squelch asks no metadata service.

mod profile;
mod sigv4;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use squelch_core::policy::KnownBy;

use super::form::form;
use super::keyed::known_as;
use super::text::{PLAIN, clean_text, cut, cut_bytes, http_url, marked, one_line, story, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType, Request,
    Retry, Templated, failure_of,
};
use crate::model::Kind;
use crate::outside::variable;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretFile, SecretForm, Url, template_check};
use profile::{Credentials, Profile};
use sigv4::{CONTENT_TYPE, Signer};

/// `sns_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "sns_configs",
    name: "sns",
    send_resolved: true,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

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

/// `sigv4`: the identity for AWS.
#[derive(Clone, Debug)]
pub struct SigV4 {
    /// `region`, or `AWS_REGION`, or `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// The identity that signs. `None` if the section gives none.
    pub identity: Option<Identity>,
    /// `role_arn`: the role to take on.
    pub role: Option<AwsRole>,
    /// `use_fips_sts_endpoint`
    pub fips: bool,
    /// `service_name`: the service that requests are signed for. Default `sns`.
    pub service: Option<String>,
}

/// Where the credentials come from.
#[derive(Clone, Debug)]
pub enum Identity {
    /// `access_key` and `secret_key`, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Keys(Keys),
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`: STS gives credentials for a token.
    Web {
        /// The file of the token.
        token: Secret,
        /// The role to take on by it, and where STS answers.
        role: AwsRole,
    },
    /// `profile`, or `AWS_PROFILE`, or `default`.
    Profile {
        /// The shared credentials file.
        file: Secret,
        /// The name of the profile in it.
        name: String,
    },
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
pub struct AwsRole {
    /// `role_arn`
    pub arn: String,
    /// `external_id`
    pub external_id: Option<String>,
    /// The address of STS. `None` = the endpoint of the region.
    pub sts_url: Option<Url>,
}

fn reader<'b>(_: &mut Section<'_>, _: &'b Path) -> Reader<'b> {
    Box::new(|keys| Arc::new(read(keys)))
}

fn read(keys: &mut Section<'_>) -> SnsConfig {
    let mut texts = Texts::read(keys, &TEXTS);
    // Alertmanager refuses no place and two places, and takes three.
    match TARGETS.iter().filter(|(key, _)| !texts.source(key).is_empty()).count() {
        1 => {}
        count => {
            let message =
                "sns_configs needs exactly one place to send to. Write topic_arn, target_arn or phone_number";
            match count {
                3 => keys.problems.doubt(keys.line, format!("{message}, because SNS refuses all three")),
                _ => keys.problems.add(keys.line, message),
            }
        }
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
    let of_profile = matches!(sigv4.identity, Some(Identity::Profile { .. }));
    if sigv4.region.is_none() && !of_profile && texts.source("api_url").is_empty() {
        let message = "sns_configs has no region. Write sigv4: {region: us-east-1}, or set AWS_REGION";
        keys.problems.doubt(keys.line, message);
    }
    if sigv4.identity.is_none() {
        let message = "sns_configs has no credentials. Write access_key and secret_key in sigv4, or set \
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
        problems.add(keys.line, "sigv4 has one half of the credentials. Write access_key and secret_key");
    }
    if external_id.is_some() && arn.is_none() {
        problems
            .add(keys.line_of("external_id"), "external_id is for role_arn. Write role_arn, or remove it");
    }
    let inline = access_key.zip(secret_key).map(|(access_key, secret_key)| Keys {
        access_key,
        secret_key,
        session_token: None,
    });
    let line = if profile.is_some() { keys.line_of("profile") } else { keys.line };
    let identity = inline.map(Identity::Keys).or_else(|| identity(profile, line, variable));
    let fips = keys.boolean("use_fips_sts_endpoint").unwrap_or(false);
    let role = arn.map(|arn| AwsRole { arn, external_id, sts_url: None });
    if keys.line > 0 {
        keys.finish();
    }
    let region = region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    SigV4 { region, identity, role, fips, service }
}

/// The identity, where `sigv4` holds no keys. A profile that it names goes before the environment.
fn identity(
    profile: Option<String>,
    line: u32,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<Identity> {
    let file = |path: String, key: &str, form| {
        Secret::File(Arc::new(SecretFile { path: path.into(), key: key.into(), line, form }))
    };
    let secret = |name| variable(name).map(|value| Secret::Inline(value.into()));
    let keys = || {
        Some(Identity::Keys(Keys {
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            secret_key: secret("AWS_SECRET_ACCESS_KEY")?,
            session_token: secret("AWS_SESSION_TOKEN"),
        }))
    };
    let web = || {
        let token = variable("AWS_WEB_IDENTITY_TOKEN_FILE")?;
        let role = AwsRole { arn: variable("AWS_ROLE_ARN")?, external_id: None, sts_url: None };
        Some(Identity::Web { token: file(token, "AWS_WEB_IDENTITY_TOKEN_FILE", SecretForm::Password), role })
    };
    if profile.is_none()
        && let Some(found) = keys().or_else(web)
    {
        return Some(found);
    }
    let of_home = || Some(format!("{}/.aws/credentials", variable("HOME")?));
    let path = variable("AWS_SHARED_CREDENTIALS_FILE").or_else(of_home)?;
    let key = if profile.is_some() { "sigv4.profile" } else { "sigv4 without access_key" };
    let name = profile.or_else(|| variable("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    Some(Identity::Profile { file: file(path, key, SecretForm::Profiles), name })
}

impl Notifier for SnsConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        let sms = !self.texts.source("phone_number").is_empty();
        sms.then_some("an SMS calls a person. Write a second receiver, such as a chat")
    }

    /// AWS documents 20 SMS a second for an account, and hundreds of messages to topics.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(100), burst: 10 })
    }

    fn account(&self) -> Option<String> {
        let who = match &self.sigv4.identity {
            Some(Identity::Keys(keys)) => keys.access_key.clone(),
            Some(Identity::Web { role, .. }) => role.arn.clone(),
            Some(Identity::Profile { file, name }) => format!("{} {name}", known_as(file)),
            None => String::new(),
        };
        let region = self.sigv4.region.as_deref().unwrap_or_default();
        let targets: Vec<&str> = TARGETS.iter().map(|(key, _)| self.texts.source(key)).collect();
        Some(format!("sns {} {region} {who} {}", self.texts.source("api_url"), targets.join(" ")))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        match &self.sigv4.identity {
            Some(Identity::Keys(keys)) => {
                let all = std::iter::once(&keys.secret_key).chain(&keys.session_token);
                all.map(|secret| (secret, SecretForm::Password)).collect()
            }
            Some(Identity::Web { token, .. }) => vec![(token, SecretForm::Password)],
            Some(Identity::Profile { file, .. }) => vec![(file, SecretForm::Profiles)],
            None => Vec::new(),
        }
    }

    fn doubt(&self, secret: &Secret, value: &str) -> Option<String> {
        match &self.sigv4.identity {
            Some(Identity::Profile { file, name }) if std::ptr::eq(file, secret) => {
                profile::read(value, name).err()
            }
            _ => None,
        }
    }

    fn templates(&self) -> Vec<Templated> {
        self.texts.templated(clean_text)
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let Some(identity) = &self.sigv4.identity else {
            return Err(AttemptError::ours("there are no credentials of AWS. Set AWS_ACCESS_KEY_ID"));
        };
        let credentials = match identity {
            Identity::Web { token, role } => return self.ask_by_token(attempt, attempt.secret(token)?, role),
            Identity::Keys(keys) => {
                let session_token = keys.session_token.as_ref().map(|token| attempt.secret(token));
                Credentials {
                    access_key: &keys.access_key,
                    secret_key: attempt.secret(&keys.secret_key)?,
                    session_token: session_token.transpose()?,
                }
            }
            Identity::Profile { .. } => self.profile(attempt)?.credentials,
        };
        match &self.sigv4.role {
            None => self.publish(attempt, credentials),
            Some(role) => self.assume(attempt, role, credentials),
        }
    }

    /// The credentials of a role stand in the body.
    fn reads(&self, status: u16) -> bool {
        self.roles() > 0 && !matches!(status, 204 | 205) || !(200..300).contains(&status)
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
        let Some(answer) = answers.last().filter(|_| answers.len() <= self.roles()) else { return Ok(None) };
        let body = String::from_utf8_lossy(&answer.body);
        let detail = "STS answered without credentials";
        let credentials =
            credentials_in(&body).ok_or_else(|| AttemptError::passing(FailureReason::ServerError, detail))?;
        match &self.sigv4.role {
            Some(role) if answers.len() < self.roles() => self.assume(attempt, role, credentials),
            _ => self.publish(attempt, credentials),
        }
        .map(Some)
    }
}

/// The answer of STS for a role.
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
    /// How many roles are taken on before the message leaves.
    fn roles(&self) -> usize {
        let web = matches!(self.sigv4.identity, Some(Identity::Web { .. }));
        usize::from(web) + usize::from(self.sigv4.role.is_some())
    }

    /// The profile that gives the credentials.
    fn profile<'a>(&self, attempt: &'a Attempt<'_>) -> Result<Profile<'a>, AttemptError> {
        let Some(Identity::Profile { file, name }) = &self.sigv4.identity else {
            return Err(AttemptError::ours("sigv4 names no profile"));
        };
        let wrong = |why| AttemptError::ours(format!("sigv4: {} {why}", known_as(file)));
        profile::read(attempt.secret(file)?, name).map_err(wrong)
    }

    fn region<'a>(&'a self, attempt: &'a Attempt<'_>) -> Result<&'a str, AttemptError> {
        if let Some(region) = &self.sigv4.region {
            return Ok(region);
        }
        let missing =
            || AttemptError::ours("there is no region of AWS. Write sigv4.region, or set AWS_REGION");
        match self.sigv4.identity {
            Some(Identity::Profile { .. }) => self.profile(attempt)?.region.ok_or_else(missing),
            _ => Err(missing()),
        }
    }

    fn endpoint(&self, attempt: &Attempt<'_>, service: &str) -> Result<String, AttemptError> {
        let region = self.region(attempt)?;
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        Ok(format!("https://{service}.{region}.{domain}/"))
    }

    fn assume(
        &self,
        attempt: &Attempt<'_>,
        role: &AwsRole,
        credentials: Credentials<'_>,
    ) -> Result<Request, AttemptError> {
        let mut pairs = Self::role("AssumeRole", role).to_vec();
        pairs.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
        self.signed(attempt, "sts", self.sts(attempt, role)?, form(pairs), credentials)
    }

    /// A request that a token makes in place of a signature.
    fn ask_by_token(
        &self,
        attempt: &Attempt<'_>,
        token: &str,
        role: &AwsRole,
    ) -> Result<Request, AttemptError> {
        let pairs = Self::role("AssumeRoleWithWebIdentity", role).into_iter();
        let body = form(pairs.chain([("WebIdentityToken", token)]));
        let request = HttpRequest::post(self.sts(attempt, role)?, body.into_bytes());
        Ok(Request::Http(HttpRequest { content_type: CONTENT_TYPE, ..request }))
    }

    fn role<'a>(action: &'a str, role: &'a AwsRole) -> [(&'a str, &'a str); 4] {
        [
            ("Action", action),
            ("Version", "2011-06-15"),
            ("RoleArn", &role.arn),
            ("RoleSessionName", "squelch"),
        ]
    }

    fn sts(&self, attempt: &Attempt<'_>, role: &AwsRole) -> Result<String, AttemptError> {
        let service = if self.sigv4.fips { "sts-fips" } else { "sts" };
        role.sts_url.as_ref().map_or_else(|| self.endpoint(attempt, service), |url| Ok(url.0.clone()))
    }

    fn publish(&self, attempt: &Attempt<'_>, credentials: Credentials<'_>) -> Result<Request, AttemptError> {
        let own = attempt.texts.text("api_url", String::new);
        let url = match (own.trim(), http_url(&own)) {
            ("", _) => self.endpoint(attempt, "sns")?,
            (_, None) => return Err(AttemptError::ours("api_url is not an http or https URL")),
            (_, Some(url)) if url.ends_with('/') || url.contains('?') => url,
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
        let signer = Signer { access_key, secret_key, session_token, region: self.region(attempt)?, service };
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
        if !one_line(&title).is_empty() {
            pairs.push(pair("Subject", &marked(&title, view, SUBJECT_CHARS)));
        }
        pairs.push(pair("Message", &text));
        for (i, (name, value)) in attributes.iter().enumerate() {
            let place = format!("MessageAttributes.entry.{}", i + 1);
            pairs.push((format!("{place}.Name"), one_line(name)));
            pairs.push((format!("{place}.Value.DataType"), "String".into()));
            pairs.push((format!("{place}.Value.StringValue"), clean_text(value)));
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identity, with these variables of the environment.
    fn found(profile: Option<&str>, environment: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match identity(profile.map(str::to_owned), 1, variable) {
            None => "nobody".into(),
            Some(Identity::Keys(keys)) => format!("{} {}", keys.access_key, keys.session_token.is_some()),
            Some(Identity::Web { token, role }) => format!("{} {}", known_as(&token), role.arn),
            Some(Identity::Profile { file, name }) => format!("{} {name}", known_as(&file)),
        }
    }

    #[test]
    fn credentials_are_looked_for_in_the_order_of_the_sdk() {
        let file = ("AWS_SHARED_CREDENTIALS_FILE", "/c");
        let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")];
        let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn:r")];
        let home = [("HOME", "/root")];
        let all = [&keys[..], &web, &home, &[file, ("AWS_PROFILE", "other")]].concat();
        assert_eq!(found(Some("p"), &all), "file /c p");
        assert_eq!(found(None, &all), "A true");
        assert_eq!(found(None, &all[3..]), "file /t arn:r");
        assert_eq!(found(None, &all[5..]), "file /c other");
        assert_eq!(found(None, &home), "file /root/.aws/credentials default");
        assert_eq!(found(None, &keys[1..]), "nobody");
    }
}
