//! The texts of an event that pages alone, as its sender wrote them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::passed::{self, Passed};
use super::super::text::{cut, http_url, one_line};
use super::{Event, Image, LINKS, Link, PagerdutyConfig, SEVERITIES, SHORT_CHARS, SUMMARY_CHARS, line};

/// Puts the sender's own texts in the place of the default ones. Configured texts stay.
pub(super) fn pass(
    event: &mut Event<'_>,
    config: &PagerdutyConfig,
    event_of: &Passed<'_>,
    configured: BTreeMap<String, Value>,
) {
    let own = |given: &Option<String>, text: &str| {
        given.is_none().then(|| line(text.to_owned(), SHORT_CHARS)).filter(|text| !text.is_empty())
    };
    if let Some(client) = own(&config.client, event_of.annotation(passed::CLIENT)) {
        event.client = Some(client);
    }
    if config.client_url.is_none()
        && let Some(url) = http_url(event_of.url())
    {
        event.client_url = Some(url);
    }
    let text = |value: Option<&Value>| value.and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    if config.links.is_empty() {
        let of = |link: BTreeMap<String, Value>| {
            let href = text(link.get("href"));
            let name = line(text(link.get("text")), SHORT_CHARS);
            http_url(&href).map(|href| Link { text: if name.is_empty() { href.clone() } else { name }, href })
        };
        event.links = event_of.list(passed::LINKS).into_iter().filter_map(of).take(LINKS).collect();
    }
    if config.images.is_empty() {
        let of = |image: BTreeMap<String, Value>| {
            let src = text(image.get("src"));
            let src = http_url(&src).filter(|s| s.to_ascii_lowercase().starts_with("https://"))?;
            let href = http_url(&text(image.get("href"))).unwrap_or_default();
            Some(Image { src, href, alt: line(text(image.get("alt")), SHORT_CHARS) })
        };
        event.images = event_of.list(passed::IMAGES).into_iter().filter_map(of).collect();
    }
    let Some(payload) = &mut event.payload else { return };
    if config.description.is_none() {
        payload.summary = cut(one_line(event_of.annotation(passed::SUMMARY)), SUMMARY_CHARS);
    }
    if config.severity.is_none()
        && let Some(word) = SEVERITIES.into_iter().find(|word| *word == event_of.label("severity"))
    {
        payload.severity = Some(word);
    }
    if let Some(source) = own(&config.source, event_of.label("source")) {
        payload.source = source;
    }
    for (given, field, name) in [
        (&config.component, &mut payload.component, "component"),
        (&config.group, &mut payload.group, "group"),
        (&config.class, &mut payload.class, "class"),
    ] {
        if given.is_none() {
            *field = line(event_of.label(name).to_owned(), SHORT_CHARS);
        }
    }
    let details = event_of.details().into_iter();
    payload.custom_details = details.map(|(name, text)| (name, text.into())).collect();
    payload.custom_details.extend(configured);
}
