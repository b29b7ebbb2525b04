//! One integration, ready to send: templates compiled, client built.

use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::{AttemptError, failure_of};
use super::console::Console;
use super::http::{Answer, HttpClient};
use super::meter::Meter;
use super::redact::Redactor;
use super::secret::reveal;
use super::template::{Renderer, Templates};
use super::text::{clean_text, cut};
use super::view::View;
use super::{DeliverError, Options, console, pagerduty, signature, slack, slack_answer, webhook};
use crate::config::{Integration, IntegrationKind, Problem, SigningKeys};
use crate::model::{Notification, Timestamp};

/// What makes one attempt.
pub struct Transport {
    receiver: smol_str::SmolStr,
    integration: Integration,
    templates: Templates,
    http: Option<HttpClient>,
    external_url: Arc<str>,
    console: Console,
    meter: Arc<Meter>,
    wall: fn() -> Timestamp,
}

impl Transport {
    /// A transport of one integration.
    ///
    /// # Errors
    /// A template, a `ca_file` or TLS cannot be used.
    pub fn new(
        receiver: &str,
        integration: &Integration,
        options: &Options,
        meter: Arc<Meter>,
    ) -> Result<Self, DeliverError> {
        let templates = templates(receiver, integration)?;
        let http = match integration.kind {
            IntegrationKind::Console(_) => None,
            _ => Some(HttpClient::new(&integration.http, integration.timeout.to_std())?),
        };
        Ok(Transport {
            receiver: receiver.into(),
            integration: integration.clone(),
            templates,
            http,
            external_url: options.external_url.clone(),
            console: options.console.clone(),
            meter,
            wall: options.wall,
        })
    }

    pub(super) fn kind(&self) -> &'static str {
        self.integration.kind.as_str()
    }

    /// Renders and sends once.
    pub(super) async fn attempt(&self, n: &Notification, possible_repeat: bool) -> Result<(), AttemptError> {
        let timeout = self.integration.timeout.to_std();
        let until = Instant::now() + timeout;
        let secret = match &self.integration.kind {
            IntegrationKind::Pagerduty(config) => {
                let key = reveal(&config.routing_key, until).await?;
                let view = View::new(n, &self.external_url, possible_repeat);
                match self.render(&view, |texts| pagerduty::routing_key(config, texts)) {
                    None => key,
                    Some(key) if key.is_empty() => return Err(pagerduty::no_routing_key()),
                    Some(key) => key.into(),
                }
            }
            IntegrationKind::Slack(config) => reveal(&config.api_url.0, until).await?,
            IntegrationKind::Webhook(config) => reveal(&config.url.0, until).await?,
            IntegrationKind::Console(_) => "".into(),
        };
        let (url, body) = self.request(n, possible_repeat, &secret);
        let mut redactor = Redactor::default();
        match &self.integration.kind {
            IntegrationKind::Pagerduty(_) => {
                redactor.hide(&secret);
                self.post(&url, body, &[], redactor, until).await
            }
            // The secret is the URL, which the client hides by itself.
            IntegrationKind::Slack(_) => self.post(&url, body, &[], redactor, until).await,
            IntegrationKind::Webhook(config) => {
                let mut headers = Vec::new();
                if let Some(secret) = &config.signing_secret {
                    let secret = reveal(secret, until).await?;
                    for one in secret.split_whitespace() {
                        redactor.hide(one);
                        redactor.hide(one.trim_start_matches("whsec_"));
                    }
                    let keys = SigningKeys::parse(&secret).map_err(|e| AttemptError::ours(e.to_string()))?;
                    headers = signature::headers(&keys, &signature::id_of(n), (self.wall)(), &body);
                }
                self.post(&url, body, &headers, redactor, until).await
            }
            IntegrationKind::Console(_) => {
                self.console.write(String::from_utf8_lossy(&body).into_owned(), until, timeout).await
            }
        }
    }

    /// What is posted, and where: URL and body. `secret` is the routing key of PagerDuty and the URL of
    /// Slack and webhooks. The console's body is its line, and it has no URL.
    pub fn request(&self, n: &Notification, possible_repeat: bool, secret: &str) -> (String, Vec<u8>) {
        let view = View::new(n, &self.external_url, possible_repeat);
        match &self.integration.kind {
            IntegrationKind::Pagerduty(config) => {
                let body = self.render(&view, |texts| pagerduty::event(config, secret, &view, texts));
                (pagerduty::url(config, n.kind), body)
            }
            IntegrationKind::Slack(_) => {
                (secret.to_owned(), self.render(&view, |texts| slack::message(&view, texts)))
            }
            IntegrationKind::Webhook(_) => (secret.to_owned(), webhook::body(&view)),
            IntegrationKind::Console(_) => (String::new(), console::line(&view).into_bytes()),
        }
    }

    /// What an answer means: the status decides. Only Slack says in the body of a 2xx what became of the
    /// message.
    ///
    /// # Errors
    /// The receiver did not take it, or its answer does not say so.
    pub fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) => Err(error),
            None if self.reads(answer.status) => slack_answer::check(answer),
            None => Ok(()),
        }
    }

    /// Whether the body of an answer with this status is of use: it decides, or it says why not. 204 and
    /// 205 have none by their definition.
    pub fn reads(&self, status: u16) -> bool {
        let accepted = (200..300).contains(&status);
        !accepted
            || matches!(self.integration.kind, IntegrationKind::Slack(_)) && !matches!(status, 204 | 205)
    }

    fn render<T>(&self, view: &View<'_>, body: impl FnOnce(&Renderer<'_>) -> T) -> T {
        let texts = Renderer::new(&self.templates, view);
        let body = body(&texts);
        for error in texts.errors() {
            tracing::warn!(
                receiver = %self.receiver, integration = %self.integration.name, %error,
                "template failed; the default text was sent"
            );
            self.meter.template_error(&self.receiver, self.kind());
        }
        body
    }

    /// Posts and judges. `redactor` knows the secrets that the client does not see for itself.
    async fn post(
        &self,
        url: &str,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
        redactor: Redactor,
        until: Instant,
    ) -> Result<(), AttemptError> {
        let Some(http) = &self.http else { return Err(AttemptError::ours("no HTTP client")) };
        let answer = http.post(url, body, headers, redactor, until, |status| self.reads(status)).await;
        let judged = answer.and_then(|answer| self.judge(&answer));
        judged.map_err(|error| AttemptError { detail: cut(error.detail, 1024), ..error })
    }
}

fn templates(receiver: &str, integration: &Integration) -> Result<Templates, DeliverError> {
    let (sources, escape) = match &integration.kind {
        IntegrationKind::Pagerduty(config) => {
            (pagerduty::sources(config), (|text: &str| clean_text(text)) as super::template::Escape)
        }
        IntegrationKind::Slack(config) => (slack::sources(config), slack::escape as super::template::Escape),
        IntegrationKind::Webhook(_) | IntegrationKind::Console(_) => {
            (Vec::new(), (|text: &str| clean_text(text)) as super::template::Escape)
        }
    };
    Templates::new(sources, escape).map_err(|(key, reason)| DeliverError::Template {
        receiver: receiver.into(),
        integration: integration.name.clone(),
        key,
        reason,
    })
}

/// What is wrong with those `ca_file`s of the receivers that are there. One that is not there may be where
/// the program runs.
pub fn wrong_ca_files(
    receivers: &std::collections::BTreeMap<smol_str::SmolStr, Vec<Integration>>,
) -> Vec<Problem> {
    let files = receivers.values().flatten().filter_map(|integration| integration.http.ca_file.as_deref());
    let files: std::collections::BTreeSet<_> = files.filter(|path| path.exists()).collect();
    let wrong = files.into_iter().filter_map(|path| super::http::roots(path).err());
    wrong.map(|error| Problem::new(0, error.to_string())).collect()
}
