//! `pagerduty_configs`: PagerDuty's Events API v2.
//!
//! Limits and answers are those of PagerDuty's developer documentation: summary 1,024 characters,
//! dedup_key 255, event 512 KB, answered 202. A digest goes out as a change event, which PagerDuty
//! shows and never notifies about.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::attempt::{AttemptError, FailureReason, Side};
use super::template::Renderer;
use super::text::{alert_list, clean_line, clean_text, cut, http_url, subject};
use super::view::View;
use crate::config::{PagerdutyConfig, Secret, is_template};
use crate::model::Kind;

const SUMMARY_CHARS: usize = 1024;
/// PagerDuty's 512 KB, as Alertmanager counts them.
const EVENT_BYTES: usize = 512_000;
const SHORT_CHARS: usize = 255;
const LINKS: usize = 20;
const ROUTING_KEY: &str = "routing_key";

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
    custom_details: BTreeMap<String, String>,
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

/// The templated keys of the configuration, for compiling.
pub(super) fn sources(config: &PagerdutyConfig) -> Vec<(String, String)> {
    let single = [
        ("client", &config.client),
        ("client_url", &config.client_url),
        ("description", &config.description),
        ("severity", &config.severity),
        ("source", &config.source),
        ("component", &config.component),
        ("group", &config.group),
        ("class", &config.class),
    ];
    let mut all: Vec<(String, String)> =
        single.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?))).collect();
    for (name, text) in &config.details {
        all.push((format!("details.{name}"), text.clone()));
    }
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
pub(super) fn routing_key(config: &PagerdutyConfig, texts: &Renderer<'_>) -> Option<String> {
    let templated = matches!(&config.routing_key, Secret::Inline(key) if is_template(key));
    templated.then(|| texts.required(ROUTING_KEY, String::new).trim().to_owned())
}

/// Without a key there is no service to page.
pub(super) fn no_routing_key() -> AttemptError {
    let detail = "the template in routing_key renders to nothing for this notification; give it a default, \
                  such as {{ group_labels.pd_key or \"KEY\" }}";
    AttemptError { side: Side::Ours, ..AttemptError::refused(FailureReason::Other, detail) }
}

/// Where the notification goes: change events have an endpoint of their own beside `url`.
pub(super) fn url(config: &PagerdutyConfig, kind: Kind) -> String {
    let change = config.change_url().filter(|_| kind == Kind::Digest);
    change.unwrap_or_else(|| config.url.0.trim().to_owned())
}

/// The event, at most 512,000 bytes: details lose alerts from the end until it fits, then give way to
/// a note, and links with them.
pub(super) fn event(config: &PagerdutyConfig, key: &str, view: &View<'_>, texts: &Renderer<'_>) -> Vec<u8> {
    let n = view.notification;
    let mut event = Event {
        routing_key: key,
        event_action: match n.kind {
            Kind::Page | Kind::Update => Some("trigger"),
            Kind::Resolve => Some("resolve"),
            Kind::Digest => None,
        },
        dedup_key: (n.kind != Kind::Digest).then_some(n.dedup_key.as_str()),
        client: None,
        client_url: None,
        payload: None,
        links: Vec::new(),
        images: Vec::new(),
    };
    if n.kind == Kind::Resolve {
        return json(&event);
    }
    if n.kind != Kind::Digest {
        event.client = Some(line(texts.text("client", || "Squelch".into()), SHORT_CHARS));
        let client_url = texts.text("client_url", || view.external_url.to_owned());
        event.client_url = http_url(&client_url).map(str::to_owned);
        event.images = images(config, texts);
    }
    event.links = links(config, view, texts);
    let mut most = n.alerts.len();
    let configured = configured_details(config, texts);
    event.payload = Some(payload(view, texts, details(view, &configured, most)));
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
            payload.custom_details = BTreeMap::from([("error".to_owned(), note)]);
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

fn payload(view: &View<'_>, texts: &Renderer<'_>, custom_details: BTreeMap<String, String>) -> Payload {
    let n = view.notification;
    let common = |names: &[&str]| {
        let found = names.iter().map(|name| view.common_labels.value(name)).find(|v| !v.is_empty());
        found.unwrap_or_default().to_owned()
    };
    let source = line(
        texts.text("source", || common(&["instance", "cluster", "job", "service", "namespace"])),
        SHORT_CHARS,
    );
    let severity = texts.required("severity", || level_severity(n.level).to_owned());
    let summary = cut(clean_line(texts.required("description", || subject(view)).trim()), SUMMARY_CHARS);
    Payload {
        summary: if summary.is_empty() { cut(subject(view), SUMMARY_CHARS) } else { summary },
        source: if source.is_empty() { "Squelch".into() } else { source },
        severity: (n.kind != Kind::Digest).then(|| known_severity(&severity, n.level)),
        timestamp: if n.kind == Kind::Digest { n.at } else { n.opened_at }.to_string(),
        component: line(texts.text("component", || common(&["service", "job"])), SHORT_CHARS),
        group: line(texts.text("group", || common(&["cluster", "namespace"])), SHORT_CHARS),
        class: line(texts.text("class", || common(&["alertname"])), SHORT_CHARS),
        custom_details,
    }
}

fn line(text: String, chars: usize) -> String {
    cut(clean_line(text.trim()), chars)
}

const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// PagerDuty's four words over our levels: the highest is critical, the lowest info, those between
/// are spread evenly; a half rounds down in severity, so that critical, warning, info stay themselves.
fn level_severity((level, levels): (u8, u8)) -> &'static str {
    let steps = usize::from(levels).saturating_sub(1).max(1);
    let at = (2 * 3 * usize::from(level) + steps) / (2 * steps);
    SEVERITIES[at.min(3)]
}

/// A template may say anything; what PagerDuty would refuse falls back to the level's word.
fn known_severity(text: &str, level: (u8, u8)) -> &'static str {
    let known = SEVERITIES.into_iter().find(|s| s.eq_ignore_ascii_case(text.trim()));
    known.unwrap_or_else(|| level_severity(level))
}

fn details(view: &View<'_>, configured: &BTreeMap<String, String>, most: usize) -> BTreeMap<String, String> {
    let n = view.notification;
    let mut details = BTreeMap::from([
        ("firing".to_owned(), alert_list(&view.firing, most, n.truncated)),
        ("resolved".to_owned(), alert_list(&view.resolved, most, 0)),
        ("num_firing".to_owned(), view.firing.len().to_string()),
        ("num_resolved".to_owned(), view.resolved.len().to_string()),
        ("why".to_owned(), clean_text(&n.why)),
        ("generation".to_owned(), n.generation.to_string()),
    ]);
    details.extend(configured.clone());
    details.retain(|_, text| !text.is_empty());
    details
}

fn configured_details(config: &PagerdutyConfig, texts: &Renderer<'_>) -> BTreeMap<String, String> {
    let render = |name: &String| clean_text(&texts.text(&format!("details.{name}"), String::new));
    config.details.keys().map(|name| (name.clone(), render(name))).collect()
}

fn images(config: &PagerdutyConfig, texts: &Renderer<'_>) -> Vec<Image> {
    let text = |i: usize, part: &str| texts.text(&format!("images[{i}].{part}"), String::new);
    let one = |i: usize| {
        let src = text(i, "src");
        // PagerDuty refuses the whole event for a picture that is not served over https.
        let src = http_url(&src).filter(|s| s.to_ascii_lowercase().starts_with("https://"))?.to_owned();
        let href = http_url(&text(i, "href")).unwrap_or_default().to_owned();
        Some(Image { src, href, alt: line(text(i, "alt"), SHORT_CHARS) })
    };
    (0..config.images.len()).filter_map(one).collect()
}

/// The configured links, the runbooks, and the rules' own pages; each once, at most 20.
fn links(config: &PagerdutyConfig, view: &View<'_>, texts: &Renderer<'_>) -> Vec<Link> {
    let (mut links, mut seen) = (Vec::new(), BTreeSet::new());
    let mut add = |href: &str, text: String| {
        if let Some(href) = http_url(href).filter(|h| links.len() < LINKS && seen.insert((*h).to_owned())) {
            let text = if text.is_empty() { href.to_owned() } else { text };
            links.push(Link { href: href.to_owned(), text });
        }
    };
    for i in 0..config.links.len() {
        let part = |part: &str| texts.text(&format!("links[{i}].{part}"), String::new);
        add(&part("href"), line(part("text"), SHORT_CHARS));
    }
    for alert in &view.notification.alerts {
        add(alert.annotations.value("runbook_url"), "Runbook".into());
    }
    for alert in &view.notification.alerts {
        let name = line(alert.labels.value("alertname").to_owned(), 100);
        add(&alert.generator_url, format!("Source: {name}").trim_end_matches([':', ' ']).to_owned());
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_spread_over_pagerdutys_words() {
        let of = |levels: u8| (0..levels).map(|l| level_severity((l, levels))).collect::<Vec<_>>();
        assert_eq!(of(1), ["critical"]);
        assert_eq!(of(2), ["critical", "info"]);
        assert_eq!(of(3), ["critical", "warning", "info"]);
        assert_eq!(of(4), SEVERITIES);
        assert_eq!(of(5), ["critical", "error", "warning", "warning", "info"]);
        assert_eq!(known_severity(" Error ", (0, 3)), "error");
        assert_eq!(known_severity("page", (0, 3)), "critical");
    }
}
