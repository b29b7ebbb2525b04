//! `email_configs`: mails by SMTP, one thread for each incident.
//!
//! The keys, their defaults and the form of the mail are Alertmanager's. The id of an incident's first mail
//! follows from the incident, and all later mails refer to it.

mod message;

use std::path::Path;
use std::sync::Arc;

use lettre::message::Mailbox;
use lettre::message::header::HeaderName;
pub use message::Threading;
use message::{Thread, message};
use squelch_core::policy::KnownBy;

use super::text::{Style, clean_line, clean_text, escape_html, is_report, marked, one_line, story, subject};
use super::{
    Attempt, AttemptError, FailureReason, Mail, MailAuth, MailServer, Notifier, Reader, ReceiverType,
    Request, Templated,
};
use crate::model::Duration;
use crate::settings::http::secret;
use crate::settings::section::{Section, shown};
use crate::settings::template_check;
use crate::settings::tls::{given, tls_config};
use crate::settings::{Secret, SecretForm, TlsConfig, is_template};

/// `email_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "email_configs",
    name: "email",
    send_resolved: false,
    send_updates: false,
    known_by: KnownBy::Nothing,
    reader,
};

/// Ports by the names that a smarthost may have them under.
const SERVICES: [(&str, u16); 5] =
    [("smtp", 25), ("submission", 587), ("submissions", 465), ("smtps", 465), ("urd", 465)];
/// The port on which TLS begins at once.
const SUBMISSIONS: u16 = 465;
/// Headers that describe the parts of a mail.
const OF_MIME: [&str; 3] = ["Content-Type", "Content-Transfer-Encoding", "Mime-Version"];
/// Headers that name the mails of a thread.
const OF_THREAD: [&str; 2] = ["References", "In-Reply-To"];
const STYLE: Style = Style {
    escape: escape_html,
    heading: |text| format!("<b>{text}</b>"),
    link: |url, text| format!("<a href=\"{}\">{text}</a>", escape_html(url)),
    block: escape_html,
    alerts: 50,
};

/// A mail by a mail server. Templated keys are templates. `None` = the default text.
#[derive(Clone, Debug)]
pub struct EmailConfig {
    /// `to`, templated: a list of addresses.
    pub to: String,
    /// `from`, templated: one address.
    pub from: String,
    /// `smarthost`
    pub smarthost: (String, u16),
    /// `hello`. Default `localhost`.
    pub hello: String,
    /// `auth_username`, empty for no log-in.
    pub auth_username: String,
    /// `auth_password` or `auth_password_file`: for PLAIN and LOGIN.
    pub auth_password: Option<Secret>,
    /// `auth_secret` or `auth_secret_file`: for CRAM-MD5.
    pub auth_secret: Option<Secret>,
    /// `auth_identity`: for PLAIN.
    pub auth_identity: String,
    /// `require_tls`. Default true.
    pub require_tls: bool,
    /// `force_implicit_tls`. Default: whether the port is 465.
    pub implicit_tls: bool,
    /// `tls_config`
    pub tls: TlsConfig,
    /// `headers`, each value templated, under their canonical names.
    pub headers: Vec<(String, String)>,
    /// `html`, templated, empty for no such part.
    pub html: Option<String>,
    /// `text`, templated. Default: no such part.
    pub text: Option<String>,
    /// `threading`
    pub threading: Threading,
}

/// The keys of `global` that are e-mail's.
#[derive(Clone, Default)]
struct Global {
    from: Option<String>,
    smarthost: Option<(String, u16)>,
    hello: Option<String>,
    username: Option<String>,
    password: Option<Secret>,
    secret: Option<Secret>,
    identity: Option<String>,
    require_tls: Option<bool>,
    implicit_tls: Option<bool>,
    tls: Option<TlsConfig>,
}

fn reader<'b>(keys: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let text = |keys: &mut Section<'_>, key| given(keys, key).map(str::to_owned);
    let global = Global {
        from: text(keys, "smtp_from"),
        smarthost: smarthost(keys, "smtp_smarthost"),
        hello: text(keys, "smtp_hello"),
        username: text(keys, "smtp_auth_username"),
        password: secret(keys, ("smtp_auth_password", "smtp_auth_password_file"), SecretForm::Password, base),
        secret: secret(keys, ("smtp_auth_secret", "smtp_auth_secret_file"), SecretForm::Password, base),
        identity: text(keys, "smtp_auth_identity"),
        require_tls: keys.boolean("smtp_require_tls"),
        implicit_tls: keys.boolean("smtp_force_implicit_tls"),
        tls: keys.section("smtp_tls_config").map(|tls| tls_config(tls, base)),
    };
    Box::new(move |keys| Arc::new(read(keys, &global, base)))
}

fn read(keys: &mut Section<'_>, global: &Global, base: &Path) -> EmailConfig {
    let place = |keys: &mut Section<'_>, key| {
        let text = keys.text(key).filter(|text| !text.text.is_empty())?;
        template_check::check_place(keys.problems, key, text)
    };
    let from = place(keys, "from").or(global.from.clone());
    let to = place(keys, "to");
    let smarthost = smarthost(keys, "smarthost").or(global.smarthost.clone());
    let missing = |key: &str, global: &str| {
        let also = if global.is_empty() { String::new() } else { format!(", or {global} in global") };
        format!("email_configs has no {key}. Write {key}{also}")
    };
    for (found, message) in [
        (to.is_some(), missing("to", "")),
        (from.is_some(), missing("from", "smtp_from")),
        (smarthost.is_some(), missing("smarthost", "smtp_smarthost")),
    ] {
        if !found {
            keys.problems.add(keys.line, message);
        }
    }
    for (key, list) in [("to", &to), ("from", &from)] {
        let plain = list.as_deref().filter(|list| !is_template(list));
        if let Some(list) = plain.filter(|list| addresses(list).iter().any(Result::is_err)) {
            let message = format!("{key} is {}, which is no address such as ops@example.org", shown(list));
            keys.problems.doubt(keys.line_of(key), message);
        }
    }
    let smarthost = smarthost.unwrap_or_default();
    let own = |keys: &mut Section<'_>, key| given(keys, key).map(str::to_owned);
    let hello = own(keys, "hello").or(global.hello.clone()).unwrap_or_else(|| "localhost".into());
    if hello.contains(|c: char| c.is_whitespace() || c.is_control()) {
        keys.problems.add(keys.line_of("hello"), "hello has blanks. Write the name of this machine");
    }
    let password = secret(keys, ("auth_password", "auth_password_file"), SecretForm::Password, base);
    let cram = secret(keys, ("auth_secret", "auth_secret_file"), SecretForm::Password, base);
    let headers = headers(keys);
    let implicit_tls = keys.boolean("force_implicit_tls").or(global.implicit_tls);
    EmailConfig {
        to: to.unwrap_or_default(),
        from: from.unwrap_or_default(),
        hello,
        auth_username: own(keys, "auth_username").or(global.username.clone()).unwrap_or_default(),
        auth_password: password.or(global.password.clone()),
        auth_secret: cram.or(global.secret.clone()),
        auth_identity: own(keys, "auth_identity").or(global.identity.clone()).unwrap_or_default(),
        require_tls: keys.boolean("require_tls").or(global.require_tls).unwrap_or(true),
        implicit_tls: implicit_tls.unwrap_or(smarthost.1 == SUBMISSIONS),
        tls: keys
            .section("tls_config")
            .map(|tls| tls_config(tls, base))
            .or(global.tls.clone())
            .unwrap_or_default(),
        threading: threading(keys, &headers),
        headers,
        html: template_check::read_html(keys, "html"),
        text: template_check::read(keys, "text"),
        smarthost,
    }
}

/// `host:port`. Alertmanager takes any port that is not empty. When it sends, it notices one that does not
/// exist.
fn smarthost(keys: &mut Section<'_>, key: &'static str) -> Option<(String, u16)> {
    let text = given(keys, key)?;
    let line = keys.line_of(key);
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if port.is_empty() || (host.contains(':') && !text.starts_with('[')) {
        let message = format!("{key} is {}. Write host:port such as mail.example.org:587", shown(text));
        keys.problems.add(line, message);
        // The key is there, and one problem about it is enough.
        return Some((String::new(), 0));
    }
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let service = || SERVICES.iter().find(|(name, _)| *name == port).map(|(_, port)| *port);
    let number = port.trim().parse().ok().or_else(service);
    if host.is_empty() {
        let message = format!("{key} names no host. Nothing can be sent with it as it stands");
        keys.problems.doubt(line, message);
    } else if number.is_none() {
        let message = format!("{key} is {}, whose port is none. Nothing can be sent with it", shown(text));
        keys.problems.doubt(line, message);
    }
    Some((host.to_owned(), number.unwrap_or(0)))
}

fn headers(keys: &mut Section<'_>) -> Vec<(String, String)> {
    let (line, problems) = (keys.line_of("headers"), keys.problems);
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in keys.text_map("headers") {
        let canonical = canonical(name);
        if HeaderName::new_from_ascii(canonical.clone()).is_err() {
            let message = format!("{} is not the name of a header. Write letters, digits and -", shown(name));
            problems.add(line, message);
        } else if OF_MIME.contains(&canonical.as_str()) {
            let message =
                format!("header {canonical} says how the mail is encoded, and is set by Squelch alone");
            problems.doubt(value.line, message);
        } else if all.iter().any(|(other, _)| *other == canonical) {
            problems.add(value.line, format!("header {canonical} stands twice. Keep one"));
        } else if let Some(source) = template_check::check(problems, &format!("header {canonical}"), value) {
            all.push((canonical, source));
        }
    }
    all
}

fn threading(keys: &mut Section<'_>, headers: &[(String, String)]) -> Threading {
    let Some(mut section) = keys.section("threading") else { return Threading::Incident };
    let enabled = section.boolean("enabled") == Some(true);
    let by_date = section.text("thread_by_date");
    let (line, problems) = (section.line_of("thread_by_date"), section.problems);
    section.finish();
    if !enabled {
        return Threading::Incident;
    }
    if let Some((name, _)) = headers.iter().find(|(name, _)| OF_THREAD.contains(&name.as_str())) {
        let message = format!("threading is enabled and header {name} is given. Keep one");
        problems.add(line, message);
    }
    match by_date.map(|text| text.text) {
        Some("none") => Threading::Group,
        Some("daily") => Threading::Day,
        _ => {
            problems.add(line, "thread_by_date must be none or daily where threading is enabled. Write one");
            Threading::Group
        }
    }
}

/// The name of a header as Go writes it: `message-id` is `Message-Id`.
fn canonical(name: &str) -> String {
    let mut first = true;
    let each = name.chars().map(|c| {
        let c = if first { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        first = c == '-';
        c
    });
    each.collect()
}

/// The addresses of a list, and each part of it that is none.
fn addresses(list: &str) -> Vec<Result<String, String>> {
    let (mut quoted, mut escaped) = (false, false);
    // A comma in a quoted name ends no address. One part that is wrong must not cost the others.
    let parts = list.split(|c| {
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        c == ',' && !quoted
    });
    let one = |part: &str| match part.parse::<Mailbox>() {
        Ok(mailbox) => Ok(mailbox.email.to_string()),
        Err(_) => Err(clean_line(part)),
    };
    parts.map(str::trim).filter(|part| !part.is_empty()).map(one).collect()
}

impl Notifier for EmailConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn mail_tls(&self) -> Option<&TlsConfig> {
        Some(&self.tls)
    }

    /// Mail servers take their time: some make a client wait before they greet it.
    fn timeout(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn account(&self) -> Option<String> {
        Some(format!("{}:{} {}", self.smarthost.0, self.smarthost.1, self.to))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        let all = [&self.auth_password, &self.auth_secret];
        all.into_iter().flatten().map(|secret| (secret, SecretForm::Password)).collect()
    }

    fn templates(&self) -> Vec<Templated> {
        let one = |key: &str, source: &String, escape| Templated {
            key: key.into(),
            source: source.clone(),
            escape,
        };
        let mut all = vec![one("to", &self.to, clean_text), one("from", &self.from, clean_text)];
        all.extend(self.headers.iter().map(|(name, value)| one(name, value, clean_text)));
        if !self.headers.iter().any(|(name, _)| name == "Subject") {
            all.push(Templated::or_default("Subject", &None, "email.default.subject", clean_text));
        }
        all.extend(Templated::given([("text", &self.text)], clean_text));
        all.push(Templated::or_default("html", &self.html, "email.default.html", clean_text));
        all
    }

    fn html(&self) -> &'static [&'static str] {
        &["html"]
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let refused = |detail: String| AttemptError::refused(FailureReason::ClientError, detail);
        let text = |key: &str, source: &str| one_line(&attempt.texts.text(key, || source.to_owned()));
        let (from, to) = (text("from", &self.from), text("to", &self.to));
        let sender = match &addresses(&from)[..] {
            [Ok(sender)] => sender.clone(),
            _ => return Err(refused(format!("from is {}, which is not one address", shown(&from)))),
        };
        let found = addresses(&to);
        let recipients: Vec<String> = found.iter().flatten().cloned().collect();
        if recipients.is_empty() {
            return Err(refused(format!("to is {}, which holds no address", shown(&to))));
        }
        for wrong in found.iter().filter_map(|one| one.as_ref().err()) {
            tracing::warn!(recipient = %shown(wrong), "a recipient of a mail is no address");
        }
        let thread = Thread::new(&attempt.view, &sender, self.threading, attempt.now);
        let headers = self.all_headers(attempt, &from, &to);
        let parts = [
            ("text/plain", self.text.as_ref().map(|_| attempt.texts.text("text", String::new))),
            ("text/html", self.html_part(attempt)),
        ];
        let parts = parts.into_iter().filter_map(|(kind, text)| Some((kind, text?)));
        Ok(Request::Mail(Box::new(Mail {
            server: self.server(attempt)?,
            from: sender,
            to: recipients,
            message: message(&headers, &thread, parts, attempt.now),
            id: thread.id,
        })))
    }
}

impl EmailConfig {
    fn html_part(&self, attempt: &Attempt<'_>) -> Option<String> {
        let default = || format!("<html><body><pre>{}</pre></body></html>", story(&attempt.view, &STYLE));
        match self.html.as_deref() {
            Some(html) if html.trim().is_empty() => None,
            _ if is_report(attempt.view.notification) => Some(default()),
            _ => Some(attempt.texts.text("html", default)),
        }
    }

    /// The configured headers, and those of Alertmanager that are not configured.
    fn all_headers(&self, attempt: &Attempt<'_>, from: &str, to: &str) -> Vec<(String, String)> {
        let view = &attempt.view;
        let stand_in = |name: &str| match name {
            "Subject" => subject(view),
            "To" => to.to_owned(),
            "From" => from.to_owned(),
            _ => String::new(),
        };
        let text = |name: &str| one_line(&attempt.texts.text(name, || stand_in(name)));
        let mut all: Vec<(String, String)> =
            self.headers.iter().map(|(name, _)| (name.clone(), text(name))).collect();
        let own = || match is_report(view.notification) {
            true => subject(view),
            false => attempt.texts.required("Subject", || subject(view)),
        };
        let default = || marked(&own(), view, 512);
        for (name, value) in [("Subject", None), ("To", Some(to)), ("From", Some(from))] {
            if !all.iter().any(|(other, _)| other == name) {
                all.push((name.to_owned(), value.map_or_else(default, str::to_owned)));
            }
        }
        all
    }

    fn server(&self, attempt: &Attempt<'_>) -> Result<MailServer, AttemptError> {
        let value = |secret: &Option<Secret>| {
            secret.as_ref().map(|secret| attempt.secret(secret).map(Into::into)).transpose()
        };
        let auth = match self.auth_username.is_empty() {
            true => None,
            false => Some(MailAuth {
                username: self.auth_username.clone(),
                password: value(&self.auth_password)?,
                secret: value(&self.auth_secret)?,
                identity: self.auth_identity.clone(),
            }),
        };
        Ok(MailServer {
            host: self.smarthost.0.clone(),
            port: self.smarthost.1,
            hello: self.hello.clone(),
            implicit_tls: self.implicit_tls,
            require_tls: self.require_tls,
            auth,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_addresses_is_read_as_people_write_it() {
        let read = |list| addresses(list);
        assert_eq!(
            read("Ops <ops@example.org>, \"Doe, Jane\" <jane@example.org>, root@localhost"),
            ["ops@example.org", "jane@example.org", "root@localhost"].map(|one| Ok(one.to_owned()))
        );
        assert_eq!(
            read("ops@example.org, nobody at all"),
            [Ok("ops@example.org".to_owned()), Err("nobody at all".to_owned())]
        );
        assert!(read("").is_empty());
    }

    #[test]
    fn names_of_headers_are_written_as_go_writes_them() {
        for (name, expected) in [("subject", "Subject"), ("MESSAGE-ID", "Message-Id"), ("x-a-b", "X-A-B")] {
            assert_eq!(canonical(name), expected);
        }
    }
}
