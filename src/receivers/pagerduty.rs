//! `pagerduty_configs`: PagerDuty's Events API v2.
//!
//! Limits and answers are those of PagerDuty's developer documentation: summary 1,024 characters,
//! dedup_key 255, event 512 KB, answered 202. A digest goes out as a change event, which PagerDuty
//! shows and never notifies about. An integration with a `service_key` uses the Events API v1 instead.

mod lists;
mod passing;
mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use lists::{PagerdutyImage, PagerdutyLink};
use serde::Serialize;
use serde_json::Value;
use squelch_core::policy::KnownBy;

use super::field::{self, Field};
use super::keyed::{known_as, read_key, secret_template};
use super::passed::Passed;
use super::text::{alert_list, clean_text, cut, http_url, one_line, subject};
use super::texts::Texts;
use super::{
    Answer, Attempt, AttemptError, FailureReason, HttpRequest, Notifier, Pace, Reader, ReceiverType,
    Renderer, Request, Side, Templated, View, callback_secret, failure_of,
};
use crate::causes;
use crate::model::Kind;
use crate::settings::http::{secret, url};
use crate::settings::section::{Problems, Section, Text, shown};
use crate::settings::{Secret, SecretForm, Url, is_template, template_check};

/// `pagerduty_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "pagerduty_configs",
    name: "pagerduty",
    send_resolved: true,
    send_updates: true,
    known_by: KnownBy::DedupKey,
    reader,
};

const SUMMARY_CHARS: usize = 1024;
/// PagerDuty's 512 KB, as Alertmanager counts them.
const EVENT_BYTES: usize = 512_000;
const SHORT_CHARS: usize = 255;
const LINKS: usize = 20;
/// The severities that PagerDuty accepts.
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
const ROUTING_KEY: &str = "routing_key";

/// PagerDuty, Events API v2. Templated keys are Go templates. `None` = the default text.
#[derive(Clone, Debug)]
pub struct PagerdutyConfig {
    /// `routing_key` / `routing_key_file`: the integration key of 32 characters. The inline one is templated.
    pub routing_key: Secret,
    /// `service_key` / `service_key_file`: then the Events API v1 takes the events, with or without a
    /// routing key. The inline one is templated.
    pub service_key: Option<Secret>,
    /// `url`. Default `https://events.pagerduty.com/v2/enqueue`.
    pub url: Url,
    /// `client`, templated.
    pub client: Option<String>,
    /// `client_url`, templated.
    pub client_url: Option<String>,
    /// `description` (the summary), templated, cut to 1,024 characters.
    pub description: Option<String>,
    /// `severity`, templated: critical, error, warning or info.
    pub severity: Option<String>,
    /// `source`, templated.
    pub source: Option<String>,
    /// `component`, templated.
    pub component: Option<String>,
    /// `group`, templated.
    pub group: Option<String>,
    /// `class`, templated.
    pub class: Option<String>,
    /// `details`, values templated. They come on top of the default ones.
    pub details: Vec<(String, Field)>,
    /// The templates in `details`, by their paths.
    pub texts: Texts,
    /// `images`, each value templated.
    pub images: Vec<PagerdutyImage>,
    /// `links`, each value templated.
    pub links: Vec<PagerdutyLink>,
    /// `webhook_secret` / `webhook_secret_file`: the signing secret of a v3 webhook subscription, by which
    /// acknowledgements come back.
    pub webhook_secret: Option<Secret>,
}

impl PagerdutyConfig {
    /// An integration by its key, with the default texts.
    pub fn new(routing_key: Secret, url: Url) -> Self {
        PagerdutyConfig {
            routing_key,
            service_key: None,
            url,
            client: None,
            client_url: None,
            description: None,
            severity: None,
            source: None,
            component: None,
            group: None,
            class: None,
            details: Vec::new(),
            texts: Texts::default(),
            images: Vec::new(),
            links: Vec::new(),
            webhook_secret: None,
        }
    }

    /// Gives it these `details`: names and templates of texts.
    #[must_use]
    pub fn with_details<'d>(mut self, details: impl IntoIterator<Item = (&'d str, &'d str)>) -> Self {
        for (name, source) in details {
            self.texts.set(format!("details.{name}"), source);
            self.details.push((name.to_owned(), Field::Text));
        }
        self
    }

    /// The address for change events. `None` if it is not known.
    pub fn change_url(&self) -> Option<String> {
        self.beside("v2/change/enqueue")
    }

    /// A place beside a `url` that ends in `/v2/enqueue`, with or without a slash and a query behind it.
    /// `None` for another `url`, beside which no such place is known.
    fn beside(&self, place: &str) -> Option<String> {
        let url = self.url.0.trim();
        let end = url.find(['?', '#']).unwrap_or(url.len());
        let (path, query) = url.split_at(end);
        let bare = path.trim_end_matches('/');
        let base = bare.strip_suffix("/v2/enqueue")?;
        let is_path = base.split_once("://").is_some_and(|(_, host)| !host.is_empty());
        is_path.then(|| format!("{base}/{place}{}{query}", &path[bare.len()..]))
    }

    /// The reason why a routing key is doubtful: PagerDuty's own have 32 characters.
    fn key_doubt(&self, key: &str) -> Option<String> {
        let host = self.url.0.split("://").nth(1)?.split(['/', ':', '?']).next()?;
        let length = key.chars().count();
        (host.ends_with("pagerduty.com") && length != 32 && !key.is_empty()).then(|| {
            format!(
                "has {length} characters, and PagerDuty's have 32. Write the integration key of a service"
            )
        })
    }
}

fn reader<'b>(global: &mut Section<'_>, base: &'b Path) -> Reader<'b> {
    let default = Url("https://events.pagerduty.com/v2/enqueue".into());
    let default = url(global, "pagerduty_url").unwrap_or(default);
    Box::new(move |keys| Arc::new(read(keys, &default, base)))
}

fn read(keys: &mut Section<'_>, default: &Url, base: &Path) -> PagerdutyConfig {
    let routing_key = secret(keys, (ROUTING_KEY, "routing_key_file"), SecretForm::RoutingKey, base);
    let service_key = read_key(keys, (v1::SERVICE_KEY, "service_key_file"), base);
    if routing_key.is_none() && service_key.is_none() {
        let message = "pagerduty_configs has no key. Write routing_key_file (or routing_key): the integration key of an Events API v2 integration";
        keys.problems.add(keys.line, message);
    }
    if let Some(Secret::Inline(key)) = &routing_key
        && is_template(key)
    {
        let text = Text { line: keys.line_of("routing_key"), text: key };
        template_check::check_place(keys.problems, "routing_key", text);
    }
    let mut texts = Texts::default();
    let details = field::read(keys, "details", &mut texts);
    let problems = keys.problems;
    let config = PagerdutyConfig {
        url: url(keys, "url").unwrap_or_else(|| default.clone()),
        client: template_check::read(keys, "client"),
        client_url: template_check::read(keys, "client_url"),
        description: template_check::read(keys, "description"),
        severity: template_check::read(keys, "severity"),
        source: template_check::read(keys, "source"),
        component: template_check::read(keys, "component"),
        group: template_check::read(keys, "group"),
        class: template_check::read(keys, "class"),
        details,
        texts,
        images: lists::read_images(keys),
        links: lists::read_links(keys),
        service_key,
        webhook_secret: callback_secret(keys, base),
        // A missing key is noted above. The rest is still read.
        routing_key: routing_key.unwrap_or_else(|| Secret::Inline("".into())),
    };
    if let Secret::Inline(key) = &config.routing_key
        && config.service_key.is_none()
    {
        let doubt = match is_template(key) {
            true => template_doubt(keys.problems, key),
            false => config.key_doubt(key),
        };
        if let Some(doubt) = doubt {
            keys.problems.doubt(keys.line_of("routing_key"), format!("routing_key {doubt}"));
        }
    }
    if let Some(severity) = config.severity.as_deref()
        && !severity.contains('{')
        && !severity.is_empty()
        && !SEVERITIES.contains(&severity)
    {
        let (line, found) = (keys.line_of("severity"), shown(severity));
        problems.add(line, format!("severity is {found}. Write one of {}", SEVERITIES.join(", ")));
    }
    config
}

/// The possible errors of a routing key that is made anew for each notification.
fn template_doubt(problems: &Problems, key: &str) -> Option<String> {
    // Labels of one group do not change while its incident is open.
    let fixed = ["GroupLabels", "Receiver"];
    if let Some(name) =
        template_check::names_of(problems, key).iter().find(|name| !fixed.contains(&name.as_str()))
    {
        return Some(format!(
            "is made of .{name}, which may change while an incident is open: then its resolve goes to another \
             service, and it stays open. Use .GroupLabels"
        ));
    }
    let empty = !template_check::says_something_without_labels(problems, key);
    empty.then(|| {
        "is empty where the label is missing, as in digests and in incidents about Squelch itself, which then \
         reach nobody. Write a default, such as {{ or .GroupLabels.pd_key \"KEY\" }}"
            .to_owned()
    })
}

impl Notifier for PagerdutyConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn shows_no_digest(&self) -> Option<&'static str> {
        if self.service_key.is_some() {
            return Some(
                "the Events API v1 has no digests. Write the routing_key of an Events API v2 integration",
            );
        }
        let why = "PagerDuty takes one beside a url that ends in /v2/enqueue. Write such a url";
        self.change_url().is_none().then_some(why)
    }

    fn takes_acknowledgements(&self) -> bool {
        true
    }

    /// PagerDuty documents 120 a minute for each integration key.
    fn pace(&self) -> Option<Pace> {
        Some(Pace { every: Duration::from_millis(500), burst: 120 })
    }

    /// A key in a file is known by the file's name: its content may change.
    fn account(&self) -> Option<String> {
        let key = self.service_key.as_ref().unwrap_or(&self.routing_key);
        Some(format!("pagerduty {} {}", self.url.0, known_as(key)))
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        // A key that is not there is no secret.
        let key = self.service_key.as_ref().unwrap_or(&self.routing_key);
        vec![(key, SecretForm::RoutingKey)]
    }

    fn callback_secret(&self) -> Option<&Secret> {
        self.webhook_secret.as_ref()
    }

    fn doubt(&self, _: &Secret, value: &str) -> Option<String> {
        self.key_doubt(value)
    }

    fn templates(&self) -> Vec<Templated> {
        let escape = clean_text;
        let defaults = [
            ("description", &self.description, "pagerduty.default.description"),
            ("client", &self.client, "pagerduty.default.client"),
            ("client_url", &self.client_url, "pagerduty.default.clientURL"),
        ];
        let defaults = defaults.map(|(key, source, name)| Templated::or_default(key, source, name, escape));
        let given = templates(self).into_iter().map(|(key, source)| Templated { key, source, escape });
        let service_key = self.service_key.as_ref().and_then(|key| secret_template(v1::SERVICE_KEY, key));
        defaults.into_iter().chain(given).chain(service_key).collect()
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        if let Some(service_key) = &self.service_key {
            let key = attempt.templated_secret(v1::SERVICE_KEY, service_key)?;
            let body = v1::event(self, &key, &attempt.view, &attempt.texts);
            let url = self.beside(v1::PLACE).unwrap_or_else(|| v1::URL.into());
            return Ok(Request::Http(HttpRequest { hidden: vec![key], ..HttpRequest::post(url, body) }));
        }
        let templated = routing_key(self, &attempt.texts);
        let key = match &templated {
            None => attempt.secret(&self.routing_key)?,
            Some(key) if key.is_empty() => return Err(no_routing_key()),
            Some(key) => key,
        };
        let body = event(self, key, &attempt.view, &attempt.texts);
        let hidden = templated.iter().cloned().collect();
        let url = url_of(self, attempt.view.notification.kind);
        Ok(Request::Http(HttpRequest { hidden, ..HttpRequest::post(url, body) }))
    }

    fn judge(&self, answer: &Answer) -> Result<(), AttemptError> {
        match failure_of(answer) {
            Some(error) if self.service_key.is_some() => Err(v1::refusal(answer, error)),
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Event<'a> {
    routing_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    class: String,
    custom_details: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Link {
    href: String,
    text: String,
}

#[derive(Serialize)]
struct Image {
    src: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    href: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    alt: String,
}

/// The templated keys that are given and have no default template, and their templates.
fn templates(config: &PagerdutyConfig) -> Vec<(String, String)> {
    let single = [
        ("severity", &config.severity),
        ("source", &config.source),
        ("component", &config.component),
        ("group", &config.group),
        ("class", &config.class),
    ];
    let mut all: Vec<(String, String)> =
        single.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?))).collect();
    all.extend(config.texts.sources());
    for (i, image) in config.images.iter().enumerate() {
        all.push((format!("images[{i}].src"), image.src.clone()));
        all.push((format!("images[{i}].href"), image.href.clone()));
        all.push((format!("images[{i}].alt"), image.alt.clone()));
    }
    for (i, link) in config.links.iter().enumerate() {
        all.push((format!("links[{i}].href"), link.href.clone()));
        all.push((format!("links[{i}].text"), link.text.clone()));
    }
    if let Secret::Inline(key) = &config.routing_key
        && is_template(key)
    {
        all.push((ROUTING_KEY.to_owned(), key.to_string()));
    }
    all
}

/// The routing key of a notification, where it is a template: the template's text, or nothing. `None` where
/// it is none.
fn routing_key(config: &PagerdutyConfig, texts: &Renderer<'_>) -> Option<String> {
    let templated = matches!(&config.routing_key, Secret::Inline(key) if is_template(key));
    templated.then(|| texts.required(ROUTING_KEY, String::new).trim().to_owned())
}

/// Without a key there is no service to page.
fn no_routing_key() -> AttemptError {
    let detail = "the template in routing_key renders to nothing for this notification. Give it a default, \
                  such as {{ or .GroupLabels.pd_key \"KEY\" }}";
    AttemptError { side: Side::Ours, ..AttemptError::refused(FailureReason::Other, detail) }
}

/// Where the notification goes: change events have an endpoint of their own beside `url`.
fn url_of(config: &PagerdutyConfig, kind: Kind) -> String {
    let change = config.change_url().filter(|_| kind == Kind::Digest);
    change.unwrap_or_else(|| config.url.0.trim().to_owned())
}

/// The event, at most 512,000 bytes. Details lose alerts from the end until it fits, then give way to a
/// note, and links with them.
fn event(config: &PagerdutyConfig, key: &str, view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let n = view.notification;
    let mut event = Event {
        routing_key: key,
        event_action: match n.kind {
            Kind::Page | Kind::Update => Some("trigger"),
            Kind::Resolve => Some("resolve"),
            Kind::Acknowledge => Some("acknowledge"),
            Kind::Digest => None,
        },
        dedup_key: (n.kind != Kind::Digest).then_some(n.dedup_key.as_str()),
        client: None,
        client_url: None,
        payload: None,
        links: Vec::new(),
        images: Vec::new(),
    };
    if matches!(n.kind, Kind::Resolve | Kind::Acknowledge) {
        return json(&event);
    }
    if n.kind != Kind::Digest {
        event.client = Some(line(texts.text("client", || "Squelch".into()), SHORT_CHARS));
        event.client_url = texts.link("client_url", || view.incident_url());
        event.images = images(config, texts);
    }
    event.links = links(config, view, texts);
    let mut most = n.alerts.len();
    let configured = configured_details(config, texts);
    event.payload = Some(payload(view, texts, details(view, &configured, most)));
    if let Some(passed) = Passed::of(view) {
        passing::pass(&mut event, config, &passed, configured.clone());
    }
    loop {
        let body = json(&event);
        if body.len() <= EVENT_BYTES {
            return body;
        }
        if most > 0 {
            most /= 2;
            let details = details(view, &configured, most);
            if let Some(payload) = &mut event.payload {
                payload.custom_details = details;
            }
            continue;
        }
        let note = format!("left out: with them the event would be larger than {EVENT_BYTES} bytes");
        if let Some(payload) = &mut event.payload {
            payload.custom_details = BTreeMap::from([("error".to_owned(), note.into())]);
        }
        event.links.clear();
        event.images.clear();
        return json(&event);
    }
}

fn json(event: &Event<'_>) -> Vec<u8> {
    // Strings and lists into memory: nothing here can fail.
    serde_json::to_vec(event).unwrap_or_default()
}

fn payload(view: &View<'_>, texts: &Renderer<'_>, custom_details: BTreeMap<String, Value>) -> Payload {
    let n = view.notification;
    let common = |names: &[&str]| {
        let found = names.iter().map(|name| view.common_labels.value(name)).find(|v| !v.is_empty());
        found.unwrap_or_default().to_owned()
    };
    let source = line(
        texts.text("source", || common(&["instance", "cluster", "job", "service", "namespace"])),
        SHORT_CHARS,
    );
    let severity = texts.required("severity", || DEFAULT_SEVERITY.to_owned());
    Payload {
        summary: summary(view, texts),
        source: if source.is_empty() { "Squelch".into() } else { source },
        severity: (n.kind != Kind::Digest).then(|| known_severity(&severity)),
        timestamp: if n.kind == Kind::Digest { n.at } else { n.opened_at }.to_string(),
        component: line(texts.text("component", || common(&["service", "job"])), SHORT_CHARS),
        group: line(texts.text("group", || common(&["cluster", "namespace"])), SHORT_CHARS),
        class: line(texts.text("class", || common(&["alertname"])), SHORT_CHARS),
        custom_details,
    }
}

fn summary(view: &View<'_>, texts: &Renderer<'_>) -> String {
    let text = cut(one_line(&texts.required("description", || subject(view))), SUMMARY_CHARS);
    if text.is_empty() { cut(subject(view), SUMMARY_CHARS) } else { text }
}

fn line(text: String, chars: usize) -> String {
    cut(one_line(&text), chars)
}

/// The word of Alertmanager for each level. A service with dynamic urgency calls no person for a lower
/// one, so another default would lose pages of those who move from Alertmanager.
const DEFAULT_SEVERITY: &str = "error";

/// A template may write any text. A value that PagerDuty would refuse falls back to the default.
fn known_severity(text: &str) -> &'static str {
    let known = SEVERITIES.into_iter().find(|s| s.eq_ignore_ascii_case(text.trim()));
    known.unwrap_or(DEFAULT_SEVERITY)
}

fn details(view: &View<'_>, configured: &BTreeMap<String, Value>, most: usize) -> BTreeMap<String, Value> {
    let n = view.notification;
    let own = [
        ("firing".to_owned(), alert_list(&view.firing, view.readings, most, n.truncated_firing)),
        ("resolved".to_owned(), alert_list(&view.resolved, view.readings, most, view.truncated_resolved())),
        ("num_firing".to_owned(), view.num_firing().to_string()),
        ("num_resolved".to_owned(), view.num_resolved().to_string()),
        ("why".to_owned(), clean_text(&causes::text(&n.cause))),
        ("baseline".to_owned(), clean_text(&view.readings.baseline)),
        ("generation".to_owned(), n.generation.to_string()),
    ];
    let mut details: BTreeMap<String, Value> = own.map(|(name, text)| (name, text.into())).into();
    details.extend(configured.clone());
    details.retain(|_, value| value.as_str() != Some(""));
    details
}

/// A text at the top stays a text. Values below it have the type that YAML reads.
fn configured_details(config: &PagerdutyConfig, texts: &Renderer<'_>) -> BTreeMap<String, Value> {
    let render = |(name, field): &(String, Field)| {
        let path = format!("details.{name}");
        let value = match field {
            Field::Text => clean_text(&texts.text(&path, String::new)).into(),
            _ => field.value(&path, texts),
        };
        (name.clone(), value)
    };
    config.details.iter().map(render).collect()
}

fn images(config: &PagerdutyConfig, texts: &Renderer<'_>) -> Vec<Image> {
    let one = |i: usize| {
        let key = |part: &str| format!("images[{i}].{part}");
        // PagerDuty refuses the whole event for a picture that is not served over https.
        let src = texts.https_link(&key("src"))?;
        let href = texts.link(&key("href"), String::new).unwrap_or_default();
        Some(Image { src, href, alt: line(texts.text(&key("alt"), String::new), SHORT_CHARS) })
    };
    (0..config.images.len()).filter_map(one).collect()
}

/// The configured links, the runbooks, and the rules' own pages, each once, at most 20.
fn links(config: &PagerdutyConfig, view: &View<'_>, texts: &Renderer<'_>) -> Vec<Link> {
    let (mut links, mut seen) = (Vec::new(), BTreeSet::new());
    let mut add = |href: Option<String>, text: String| {
        if let Some(href) = href.filter(|href| links.len() < LINKS && seen.insert(href.clone())) {
            let text = if text.is_empty() { href.clone() } else { text };
            links.push(Link { href, text });
        }
    };
    for i in 0..config.links.len() {
        let key = |part: &str| format!("links[{i}].{part}");
        let text = texts.text(&key("text"), String::new);
        add(texts.link(&key("href"), String::new), line(text, SHORT_CHARS));
    }
    for (name, href) in view.links() {
        add(http_url(&href), line(name, 100));
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_that_pagerduty_does_not_know_is_that_of_alertmanager() {
        assert_eq!(known_severity(" Warning "), "warning");
        assert_eq!(known_severity("page"), "error");
        assert_eq!(known_severity(""), "error");
    }
}
