//! The trait that every receiver type implements, and the types that it uses.

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use squelch_core::policy::KnownBy;

use super::attempt::{AttemptError, failure_of};
use super::render::{Renderer, Templated};
use super::{Answer, View};
use crate::model::{Timestamp, hash64};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, TlsConfig};
use crate::templates::{Escape, as_it_is};

/// Of so many alerts of one incident a message for people tells at most.
const MOST_ALERTS: u32 = 1_000;

/// A type of receiver, as the configuration knows it.
pub struct ReceiverType {
    /// The key of a receiver that lists integrations of this type, as in alertmanager.yml: `slack_configs`.
    pub list: &'static str,
    /// The value of the metric label `integration`, and the first part of an integration's name.
    pub name: &'static str,
    /// The default of `send_resolved`, as in Alertmanager.
    pub send_resolved: bool,
    /// The default of `send_updates`.
    pub send_updates: bool,
    /// The key by which the receiver sees that two messages are about one problem.
    pub known_by: KnownBy,
    /// Reads the keys of `global` that are this type's, and makes the reader of its integrations. `_file`
    /// keys are relative to the folder.
    pub(crate) reader: for<'b> fn(&mut Section<'_>, &'b Path) -> Reader<'b>,
}

/// Reads the keys of one integration. It notes every error, and reads the rest all the same.
pub(crate) type Reader<'b> = Box<dyn Fn(&mut Section<'_>) -> Arc<dyn Notifier> + 'b>;

/// One configured integration: how it makes a request of a notification, and how it judges the answer.
///
/// It reads no clock, file or socket: an [`Attempt`] holds everything that it may need, and the same attempt
/// gives the same request.
pub trait Notifier: Any + fmt::Debug + Send + Sync {
    /// Its type.
    fn kind(&self) -> &'static ReceiverType;

    /// The most alerts of one incident in a message.
    fn most_alerts(&self) -> u32 {
        MOST_ALERTS
    }

    /// Why it can show no digest, and the change that makes it show them. `None` if it shows them.
    fn shows_no_digest(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is told that a person acknowledged an incident.
    fn takes_acknowledgements(&self) -> bool {
        false
    }

    /// Whether it speaks HTTP, and so has `http_config` and `timeout`.
    fn speaks_http(&self) -> bool {
        true
    }

    /// Its `tls_config`, if it sends mails.
    fn mail_tls(&self) -> Option<&TlsConfig> {
        None
    }

    /// How long one attempt may take, unless `timeout` overrides it.
    fn timeout(&self) -> crate::model::Duration {
        crate::model::Duration::from_secs(10)
    }

    /// The speed that the vendor allows. `None` sets no limit.
    fn pace(&self) -> Option<Pace> {
        None
    }

    /// The account that the vendor counts for [`Notifier::pace`]. Integrations with the same account share
    /// a pace. `None` is an account of its own.
    fn account(&self) -> Option<String> {
        None
    }

    /// A hash of where it leads: its type, URL and credential. A secret in a file counts by the path of the
    /// file. The journal holds the hash, so it must not tell the secret: 64 bits of SHA-256. 0 if it is not
    /// known.
    fn endpoint(&self) -> u64 {
        let leads = self.secrets().into_iter().filter(|(_, form)| *form != SecretForm::Signing);
        let secrets = leads.map(|(secret, _)| match secret {
            Secret::Inline(value) => value.to_string(),
            Secret::File(file) => format!("file {}", file.path.display()),
        });
        let mut parts: Vec<String> = self.account().into_iter().chain(secrets).collect();
        if parts.is_empty() {
            return 0;
        }
        parts.push(self.kind().name.to_owned());
        hash64(parts.join("\n").as_bytes())
    }

    /// The secrets that [`Attempt::secret`] must know. No log shows their values.
    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        Vec::new()
    }

    /// The secret with which the vendor shows that a webhook about acknowledgements comes from it.
    fn callback_secret(&self) -> Option<&Secret> {
        None
    }

    /// A valid value in a secret file that is probably a mistake.
    fn doubt(&self, secret: &Secret, value: &str) -> Option<String> {
        let _ = (secret, value);
        None
    }

    /// The templated keys: the given ones, and those with a default template.
    fn templates(&self) -> Vec<Templated> {
        Vec::new()
    }

    /// Those templated keys whose text is HTML. Values in them are escaped by where they stand.
    fn html(&self) -> &'static [&'static str] {
        &[]
    }

    /// Keeps the values in the user's own templates from calling people. Everything else in them stays, as in
    /// Alertmanager.
    fn mentions(&self) -> Escape {
        as_it_is
    }

    /// The first request of an attempt.
    ///
    /// # Errors
    /// There is nothing to send for this notification, or not now.
    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError>;

    /// Whether the body of an answer with this status is of use: it decides, or it says why not. Answers
    /// with 204 and 205 have none by their definition.
    fn reads(&self, status: u16) -> bool {
        !(200..300).contains(&status)
    }

    /// Whether it changes the message of an incident in place. Then it gets updates, which disturb no
    /// person there, unless the configuration says otherwise.
    fn edits(&self) -> bool {
        false
    }

    /// The meaning of an answer. The status decides, unless a type overrides it.
    ///
    /// # Errors
    /// The receiver did not take it, or its answer does not say so.
    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        failure_of(answer).map_or(Ok(()), Err)
    }

    /// The request after these answers, of which there is at least one. `None` once the receiver has
    /// accepted the notification. A type that needs several requests for one notification decides here by
    /// the answers so far. An attempt that fails begins anew with [`Notifier::request`].
    ///
    /// # Errors
    /// As [`Notifier::judge`].
    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        let _ = attempt;
        answers.last().map_or(Ok(()), |answer| self.judge(answer))?;
        Ok(None)
    }

    /// The receiver's name for the message that these answers took, if later notifications of the incident
    /// are to change it. Squelch remembers it, and gives it back as `message` of the notification.
    fn message(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Option<SmolStr> {
        let _ = (attempt, answers);
        None
    }
}

/// The inputs of one attempt.
pub struct Attempt<'a> {
    /// The notification as its texts need it.
    pub view: View<'a>,
    /// The templates of the integration, with the data of the notification.
    pub texts: Renderer<'a>,
    /// The wall clock, for signatures.
    pub now: Timestamp,
    /// The secrets of the notifier and their values.
    secrets: Vec<(&'a Secret, Arc<str>)>,
}

impl<'a> Attempt<'a> {
    /// An attempt with these values of [`Notifier::secrets`], in that order.
    pub(crate) fn new(
        notifier: &'a dyn Notifier,
        values: &[Arc<str>],
        view: View<'a>,
        texts: Renderer<'a>,
        now: Timestamp,
    ) -> Self {
        let secrets = notifier.secrets().into_iter().map(|(secret, _)| secret);
        Attempt { view, texts, now, secrets: secrets.zip(values.iter().cloned()).collect() }
    }

    /// The value of a secret of the notifier.
    ///
    /// # Errors
    /// [`Notifier::secrets`] does not list it.
    pub fn secret(&self, secret: &Secret) -> Result<&str, AttemptError> {
        let found = self.secrets.iter().find(|(known, _)| std::ptr::eq(*known, secret));
        let value = found.map(|(_, value)| &**value);
        value.ok_or_else(|| AttemptError::ours("a secret of this receiver type is not listed. This is a bug"))
    }
}

/// The data to send, and its carrier. A carrier is common to all types that use it.
#[derive(Debug)]
pub enum Request {
    /// By HTTP.
    Http(HttpRequest),
    /// By SMTP.
    Mail(Box<Mail>),
    /// As one line on standard output.
    Line(String),
}

/// A mail, ready to send.
pub struct Mail {
    /// The server that takes it.
    pub server: MailServer,
    /// The address of the sender.
    pub from: String,
    /// The addresses of the recipients.
    pub to: Vec<String>,
    /// `Message-Id`: the same for the same mail.
    pub id: String,
    /// Headers and body.
    pub message: Vec<u8>,
}

impl fmt::Debug for Mail {
    /// Without the log-in, the recipients and the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.server.host, self.server.port);
        write!(f, "mail by {host}:{port} {} bytes", self.message.len())
    }
}

/// A mail server, and how to speak to it.
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The name by which Squelch greets it.
    pub hello: String,
    /// TLS begins at once.
    pub implicit_tls: bool,
    /// No mail goes out in the clear.
    pub require_tls: bool,
    /// The log-in.
    pub auth: Option<MailAuth>,
}

impl MailServer {
    /// Whether mails to it need STARTTLS or a log-in, which only a server that knows EHLO offers.
    pub fn needs_ehlo(&self) -> bool {
        self.auth.is_some() || (self.require_tls && !self.implicit_tls)
    }
}

/// A log-in at a mail server.
pub struct MailAuth {
    /// The user.
    pub username: String,
    /// The password for PLAIN and LOGIN.
    pub password: Option<Arc<str>>,
    /// The secret for CRAM-MD5.
    pub secret: Option<Arc<str>>,
    /// The person for whom the user acts. It is usually empty.
    pub identity: String,
}

/// A request by HTTP. The carrier adds the credentials and headers of `http_config`.
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// Where it goes. No log shows it.
    pub url: String,
    /// `Content-Type`, where there is a body.
    pub content_type: &'static str,
    /// Headers on top of the configured ones. They replace those of the same name, and no log shows them.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Values in this request, beside the notifier's secrets, that no log may show.
    pub hidden: Vec<String>,
}

/// The methods that receivers ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpMethod {
    /// Asks, and sends no body.
    Get,
    /// Sends.
    Post,
    /// Replaces.
    Put,
}

impl HttpRequest {
    /// Posts JSON.
    pub fn post(url: impl Into<String>, body: Vec<u8>) -> Self {
        HttpRequest {
            method: HttpMethod::Post,
            url: url.into(),
            content_type: "application/json",
            headers: Vec::new(),
            body,
            hidden: Vec::new(),
        }
    }
}

impl fmt::Debug for HttpRequest {
    /// Without the URL, the headers and the body, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} bytes", self.method, self.body.len())
    }
}

/// How fast a vendor lets one account send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// One message each time that this has passed.
    pub every: Duration,
    /// So many at once, after a pause.
    pub burst: u32,
}
