//! One integration, ready to send: templates compiled, client built.

use std::sync::Arc;

use smol_str::SmolStr;
use tokio::time::Instant;

use super::console::Console;
use super::http::HttpClient;
use super::mail::Mailer;
use super::meter::DeliveryMeter;
use super::redact::Redactor;
use super::secret::reveal;
use super::{DeliverError, DeliveryOptions};
use crate::config::{Integration, PemSource, Problem, SecretForm};
use crate::model::{Notification, Timestamp};
use crate::receivers::text::cut;
use crate::receivers::{Answer, Attempt, AttemptError, Renderer, Request, Templates, View};
use crate::templates::{NO_READINGS, Readings};

/// The most requests of one attempt: two lookups, a change, and the ends of several issues of Jira fit.
const MOST_REQUESTS: usize = 16;

/// The parts that make one attempt.
pub struct Transport {
    receiver: SmolStr,
    integration: Integration,
    templates: Templates,
    http: Option<HttpClient>,
    mail: Option<Mailer>,
    external_url: Arc<str>,
    console: Console,
    meter: Arc<DeliveryMeter>,
    wall: fn() -> Timestamp,
}

impl Transport {
    /// A transport of one integration.
    ///
    /// # Errors
    /// A certificate, a proxy or TLS cannot be used.
    pub fn new(
        receiver: &str,
        integration: &Integration,
        options: &DeliveryOptions,
        meter: Arc<DeliveryMeter>,
    ) -> Result<Self, DeliverError> {
        let own = &integration.notifier;
        let templates = Templates::new(&integration.templates, own.templates(), own.html(), own.mentions());
        let client = || HttpClient::new(&integration.http, integration.timeout.to_std(), options.wall);
        let http = integration.notifier.speaks_http().then(client).transpose()?;
        let mailer = |tls| Mailer::new(tls, &integration.http.addresses);
        let mail = integration.notifier.mail_tls().map(mailer).transpose()?;
        Ok(Transport {
            receiver: receiver.into(),
            integration: integration.clone(),
            templates,
            http,
            mail,
            external_url: options.external_url.clone(),
            console: options.console.clone(),
            meter,
            wall: options.wall,
        })
    }

    /// How long one attempt may take.
    pub(super) fn timeout(&self) -> std::time::Duration {
        self.integration.timeout.to_std()
    }

    /// Its position in the receiver, `pagerduty[0]`.
    pub(super) fn position(&self) -> &SmolStr {
        &self.integration.name
    }

    pub(super) fn kind(&self) -> &'static str {
        self.integration.notifier.kind().name
    }

    /// Renders and sends once. The receiver's name for the message, if it is to be remembered.
    pub(super) async fn attempt(
        &self,
        n: &Notification,
        possible_repeat: bool,
        readings: &Readings,
    ) -> Result<Option<SmolStr>, AttemptError> {
        let until = Instant::now() + self.integration.timeout.to_std();
        let notifier = &*self.integration.notifier;
        let (mut values, mut redactor) = (Vec::new(), Redactor::default());
        for (secret, form) in notifier.secrets() {
            let value = reveal(secret, until).await?;
            hide(&mut redactor, &value, form);
            values.push(value);
        }
        let attempt = self.begin(n, possible_repeat, readings, &values);
        let sent = self.exchange(&attempt, redactor, until).await;
        self.tell_errors(&attempt);
        sent.map_err(|error| AttemptError { detail: cut(error.detail, 1024), ..error })
    }

    /// Sends the requests of an attempt, one after the other, until the receiver has accepted.
    async fn exchange(
        &self,
        attempt: &Attempt<'_>,
        redactor: Redactor,
        until: Instant,
    ) -> Result<Option<SmolStr>, AttemptError> {
        let notifier = &*self.integration.notifier;
        let (mut request, mut answers) = (notifier.request(attempt)?, Vec::new());
        while answers.len() < MOST_REQUESTS {
            answers.push(self.carry(request, redactor.clone(), until).await?);
            match notifier.next(attempt, &answers)? {
                Some(next) => request = next,
                None => return Ok(notifier.message(attempt, &answers)),
            }
        }
        Err(AttemptError::ours(format!(
            "more than {MOST_REQUESTS} requests for one notification, which is a bug"
        )))
    }

    /// Sends one request by its carrier.
    async fn carry(
        &self,
        request: Request,
        mut redactor: Redactor,
        until: Instant,
    ) -> Result<Answer, AttemptError> {
        match request {
            Request::Http(request) => {
                request.hidden.iter().for_each(|value| redactor.hide(value));
                let Some(http) = &self.http else { return Err(AttemptError::ours("no HTTP client")) };
                let reads = |status| self.integration.notifier.reads(status);
                http.send(request, redactor, until, reads).await
            }
            Request::Mail(mail) => {
                let Some(mailer) = &self.mail else { return Err(AttemptError::ours("no mailer")) };
                mailer.send(&mail, &redactor, until).await.map(|()| Answer::new(200, None, Vec::new()))
            }
            Request::Line(line) => {
                let timeout = self.integration.timeout.to_std();
                self.console.write(line, until, timeout).await.map(|()| Answer::new(200, None, Vec::new()))
            }
        }
    }

    /// The first request of an attempt. `secrets` stand in the order of
    /// [`crate::receivers::Notifier::secrets`].
    ///
    /// # Errors There is nothing to send for this notification.
    pub fn request(
        &self,
        n: &Notification,
        possible_repeat: bool,
        secrets: &[Arc<str>],
    ) -> Result<Request, AttemptError> {
        let attempt = self.begin(n, possible_repeat, &NO_READINGS, secrets);
        let request = self.integration.notifier.request(&attempt);
        self.tell_errors(&attempt);
        request
    }

    /// The meaning of an answer.
    ///
    /// # Errors
    /// The receiver did not take it, or its answer does not say so.
    pub fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        self.integration.notifier.judge(answer)
    }

    fn begin<'a>(
        &'a self,
        n: &'a Notification,
        possible_repeat: bool,
        readings: &'a Readings,
        secrets: &[Arc<str>],
    ) -> Attempt<'a> {
        let view = View { readings, ..View::new(n, &self.external_url, possible_repeat) };
        let now = (self.wall)();
        let texts = Renderer::new(&self.templates, view.clone(), now);
        Attempt::new(&*self.integration.notifier, secrets, view, texts, now)
    }

    fn tell_errors(&self, attempt: &Attempt<'_>) {
        for error in attempt.texts.take_errors() {
            tracing::warn!(
                receiver = %self.receiver, integration = %self.integration.name, %error,
                "a template failed, so the default text was sent"
            );
            self.meter.template_error(&self.receiver, self.kind());
        }
        for link in attempt.texts.take_left_out() {
            tracing::warn!(
                receiver = %self.receiver, integration = %self.integration.name, key = %link.key,
                scheme = %link.scheme, "the message has no link here, because the receiver takes no such URL"
            );
        }
    }
}

/// Hides a secret, and the parts of it that a receiver may echo.
fn hide(redactor: &mut Redactor, value: &str, form: SecretForm) {
    match form {
        SecretForm::Url => redactor.hide_url(value),
        SecretForm::Signing => {
            for one in value.split_whitespace() {
                redactor.hide(one);
                redactor.hide(one.trim_start_matches("whsec_"));
            }
        }
        SecretForm::RoutingKey | SecretForm::Header | SecretForm::Password | SecretForm::Key => {
            redactor.hide(value);
        }
        // A request hides those that it uses.
        SecretForm::Profiles => {}
    }
}

/// The errors of existing certificates and keys of the receivers. A file that does not exist here may exist
/// where the program runs.
pub fn wrong_certificates(
    receivers: &std::collections::BTreeMap<smol_str::SmolStr, Vec<Integration>>,
) -> Vec<Problem> {
    let integrations = receivers.values().flatten();
    let all = integrations
        .flat_map(|integration| integration.http.tls_configs().chain(integration.notifier.mail_tls()));
    let there = all.filter(|tls| {
        tls.pems().all(|pem| match &pem.from {
            PemSource::File(path) => path.exists(),
            PemSource::Inline(_) => true,
        })
    });
    let wrong =
        there.filter_map(|tls| super::tls::read(tls).and_then(|t| super::tls::client_config(tls, &t)).err());
    let wrong: std::collections::BTreeSet<String> = wrong.map(|error| error.to_string()).collect();
    wrong.into_iter().map(|message| Problem::new(0, message)).collect()
}
