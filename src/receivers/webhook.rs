//! `webhook_configs`: Alertmanager's webhook body, version 4, so that a reader of Alertmanager's body reads
//! ours.
//!
//! Field order and escapes are those of Go's `encoding/json` over `template.Data`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use squelch_core::policy::KnownBy;

use super::field::{Field, field};
use super::keyed::secret_template;
use super::text::clean_line;
use super::texts::Texts;
use super::{
    Attempt, AttemptError, HttpRequest, Notifier, Reader, ReceiverType, Request, Templated, View, signature,
};
use crate::causes;
use crate::model::{
    AlertView, Cause, Duration, Fingerprint, Kind, LabelSet, Notification, Status, Timestamp,
};
use crate::settings::http::{secret, secret_url};
use crate::settings::section::Section;
use crate::settings::{Secret, SecretForm, SecretUrl, SigningKeys, is_template, template_check};
use crate::templates::{as_it_is, in_order, quote_meta, reason};

/// `webhook_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "webhook_configs",
    name: "webhook",
    send_resolved: true,
    send_updates: true,
    known_by: KnownBy::Group,
    reader,
};

/// The version of the body.
const VERSION: &str = "4";

/// A receiver of Alertmanager's v4 body.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// `url` / `url_file`: may hold a token, so it is treated as a secret.
    pub url: SecretUrl,
    /// `payload`: a body in place of Alertmanager's, with the templates in its texts.
    pub payload: Option<Field>,
    /// The templates in `payload`, by their paths.
    pub texts: Texts,
    /// `max_alerts`. 0 = all.
    pub max_alerts: u64,
    /// `signing_secret` / `signing_secret_file`: one Standard Webhooks secret, or several with blanks
    /// between them while they are being changed.
    pub signing_secret: Option<Secret>,
}

fn reader<'b>(_: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    Box::new(move |keys| Arc::new(read(keys, base)))
}

fn read(keys: &mut Section<'_>, base: &Path) -> WebhookConfig {
    let url = template_url(keys).or_else(|| secret_url(keys, (URL, "url_file"), base));
    if url.is_none() {
        keys.problems.add(keys.line, "webhook_configs has no URL. Write url or url_file");
    }
    let max_alerts = keys.whole("max_alerts", "0 (all) or a whole number");
    let names = ("signing_secret", "signing_secret_file");
    let signing_secret = secret(keys, names, SecretForm::Signing, base);
    let mut texts = Texts::default();
    let payload = keys.node(PAYLOAD).map(|node| field(PAYLOAD, node, keys, &mut texts));
    let url = url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into())));
    WebhookConfig { url, payload, texts, max_alerts: max_alerts.unwrap_or(0), signing_secret }
}

const URL: &str = "url";
const PAYLOAD: &str = "payload";

/// `url` where it is a template. One that is none is an error, since it leads nowhere.
fn template_url(keys: &mut Section<'_>) -> Option<SecretUrl> {
    let text = keys.text(URL).filter(|text| is_template(text.text))?;
    keys.problems.secret(text);
    template_check::check_place(keys.problems, URL, text);
    if keys.text("url_file").is_some() {
        keys.problems.add(keys.line_of("url_file"), "url and url_file are both given. Keep one");
    }
    Some(SecretUrl(Secret::Inline(text.text.trim().into())))
}

/// The meaning of `max_alerts`: 0 is all, as in Alertmanager.
pub(super) fn most_alerts(max_alerts: u64) -> u32 {
    match max_alerts {
        0 => u32::MAX,
        most => most.try_into().unwrap_or(u32::MAX),
    }
}

impl Notifier for WebhookConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    /// A program behind a webhook may do its work before it answers, such as to open a ticket. A request that
    /// is given up comes again, and so does the work.
    fn timeout(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn most_alerts(&self) -> u32 {
        most_alerts(self.max_alerts)
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        let url = (&self.url.0, SecretForm::Url);
        [url].into_iter().chain(self.signing_secret.iter().map(|s| (s, SecretForm::Signing))).collect()
    }

    fn templates(&self) -> Vec<Templated> {
        let mut all = self.texts.templated(as_it_is);
        all.extend(secret_template(URL, &self.url.0));
        all
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let url = attempt.templated_secret(URL, &self.url.0)?;
        let body = match &self.payload {
            Some(payload) => serde_json::to_vec(&payload.value(PAYLOAD, &attempt.texts)).unwrap_or_default(),
            None => body(attempt, VERSION, usize::MAX),
        };
        let mut request = HttpRequest::post(url.clone(), body);
        request.hidden.push(url);
        if let Some(secret) = &self.signing_secret {
            let keys = SigningKeys::parse(attempt.secret(secret)?);
            let keys = keys.map_err(|wrong| AttemptError::ours(wrong.to_string()))?;
            let id = signature::id_of(attempt.view.notification);
            request.headers = signature::headers(&keys, &id, attempt.now, &request.body);
        }
        Ok(Request::Http(request))
    }
}

#[derive(Serialize)]
struct Message<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<Alert<'a>>,
    notification_reason: &'static str,
    #[serde(rename = "groupLabels")]
    group_labels: &'a LabelSet,
    #[serde(rename = "commonLabels")]
    common_labels: LabelSet,
    #[serde(rename = "commonAnnotations")]
    common_annotations: LabelSet,
    #[serde(rename = "routeLabels")]
    route_labels: LabelSet,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    #[serde(rename = "groupKey")]
    group_key: String,
    #[serde(rename = "truncatedAlerts")]
    truncated_alerts: u64,
}

#[derive(Serialize)]
struct Alert<'a> {
    status: &'static str,
    labels: &'a LabelSet,
    annotations: &'a LabelSet,
    #[serde(rename = "startsAt")]
    starts_at: Timestamp,
    #[serde(rename = "endsAt")]
    ends_at: Timestamp,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// The body, in the version that the reader expects, with at most `most` alerts. The engine has cut the list
/// to `max_alerts` already.
///
/// The status is that of the whole group, not of the alerts that are listed (Alertmanager's mistake, its
/// issue 3396).
///
/// The common labels are those of the incident's own alerts. Other alerts of its group show that the group
/// fires. They change no summary by which a consumer knows the problem.
pub(super) fn body(attempt: &Attempt<'_>, version: &'static str, most: usize) -> Vec<u8> {
    let (view, summary) = (&attempt.view, &mut None);
    let n = match view.notification.kind {
        Kind::Digest => summary.insert(digest(view)),
        _ => view.notification,
    };
    let listed = n.alerts.iter().chain(&n.beside).take(most);
    let left_out = (n.alerts.len() + n.beside.len()).saturating_sub(most);
    let message = Message {
        receiver: quote_meta(&n.receiver),
        status: view.status(),
        alerts: in_order(listed).into_iter().map(|a| alert(a, n)).collect(),
        notification_reason: reason(n),
        group_labels: &n.group_labels,
        common_labels: LabelSet::common(n.alerts.iter().map(|a| &a.labels)),
        common_annotations: LabelSet::common(n.alerts.iter().map(|a| &a.annotations)),
        route_labels: attempt.texts.route_labels(),
        external_url: view.external_url,
        version,
        group_key: group_key(n),
        truncated_alerts: n.truncated + left_out as u64,
    };
    let mut body = Vec::with_capacity(512 + 512 * n.alerts.len());
    let mut serializer = serde_json::Serializer::with_formatter(&mut body, GoEscapes);
    // Strings, numbers and lists into memory: there is nothing here that can fail.
    let _ = message.serialize(&mut serializer);
    body.push(b'\n');
    body
}

/// A digest in a format that knows only alerts that fire or resolved. It is one internal alert, resolved,
/// with the text in its annotations. Readers take each entry of `alerts` for a change. An entry that fires
/// would open an incident that never closes, and one that resolved might close an incident that is open.
fn digest(view: &View<'_>) -> Notification {
    let n = view.notification;
    let (name, summary) = match &n.cause {
        Cause::Report { text } => ("SquelchReport", text.to_string()),
        cause => ("SquelchDigest", causes::text(cause)),
    };
    let labels = LabelSet::from_pairs([
        ("alertname", name),
        ("receiver", n.receiver.as_str()),
        ("severity", n.severity.as_str()),
    ]);
    let mut lines: Vec<String> =
        n.alerts.iter().map(|a| clean_line(&format!("{} {}", a.status.as_str(), a.labels))).collect();
    if n.truncated > 0 {
        lines.push(format!("… and {} more", n.truncated));
    }
    let description = lines.join("\n");
    let summary = AlertView {
        annotations: LabelSet::from_pairs([("summary", summary.as_str()), ("description", &description)]),
        ends_at: Some(n.at),
        ..AlertView::new(labels, Status::Resolved, n.opened_at)
    };
    Notification { alerts: vec![summary], truncated: 0, truncated_firing: 0, ..n.clone() }
}

fn alert<'a>(alert: &'a AlertView, n: &Notification) -> Alert<'a> {
    let firing = alert.status == Status::Firing;
    Alert {
        status: alert.status.as_str(),
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at,
        ends_at: if firing { Timestamp::ZERO } else { alert.ends_at.unwrap_or(n.at) },
        generator_url: &alert.generator_url,
        fingerprint: Fingerprint::of(&alert.labels).to_string(),
    }
}

/// Alertmanager's key for the first incident of a group. For readers with this key, later ones are other
/// incidents.
fn group_key(n: &Notification) -> String {
    match n.generation {
        0 => n.group_key.to_string(),
        generation => format!("{}#{generation}", n.group_key),
    }
}

/// `encoding/json` escapes characters that HTML and JavaScript would misread.
struct GoEscapes;

impl serde_json::ser::Formatter for GoEscapes {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            let code = chars.next().map_or(0, u32::from);
            write!(out, "\\u{code:04x}")?;
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_escapes_and_quote_meta() {
        let mut out = Vec::new();
        let text = "a<b>&\"c\"\\\u{2028}\u{2029}\u{8}\n\u{1}é";
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut out, GoEscapes)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#""a\u003cb\u003e\u0026\"c\"\\\u2028\u2029\b\n\u0001é""#
        );
        assert_eq!(quote_meta("raw.(x)"), r"raw\.\(x\)");
        assert_eq!(quote_meta("team-x"), "team-x");
    }
}
