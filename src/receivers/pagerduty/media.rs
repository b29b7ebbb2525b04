//! Pictures and links of an incident.

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::text::http_url;
use super::super::{Renderer, View};
use super::{PagerdutyConfig, SHORT_CHARS, line};
use crate::settings::section::Section;
use crate::settings::template_check;

const LINKS: usize = 20;

/// A picture in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyImage {
    /// `src`: https only.
    pub src: String,
    /// `href`
    pub href: String,
    /// `alt`
    pub alt: String,
}

/// A link in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyLink {
    /// `href`
    pub href: String,
    /// `text`
    pub text: String,
}

pub(super) fn read_images(keys: &mut Section<'_>) -> Vec<PagerdutyImage> {
    let nodes = keys.list("images").unwrap_or_default();
    let image = |node| {
        let mut keys = Section::new(node, "images", keys.problems)?;
        let mut read = |key| template_check::read(&mut keys, key).unwrap_or_default();
        let image = PagerdutyImage { src: read("src"), href: read("href"), alt: read("alt") };
        if image.src.is_empty() || image.src.starts_with("http:") {
            keys.problems.add(keys.line, "images has an entry without an https src; write src: https://…");
        }
        keys.finish();
        Some(image)
    };
    nodes.iter().filter_map(image).collect()
}

pub(super) fn read_links(keys: &mut Section<'_>) -> Vec<PagerdutyLink> {
    let nodes = keys.list("links").unwrap_or_default();
    let link = |node| {
        let mut keys = Section::new(node, "links", keys.problems)?;
        let mut read = |key| template_check::read(&mut keys, key).unwrap_or_default();
        let link = PagerdutyLink { href: read("href"), text: read("text") };
        if link.href.is_empty() {
            keys.problems.add(keys.line, "links has an entry without href; write href: https://…");
        }
        keys.finish();
        Some(link)
    };
    nodes.iter().filter_map(link).collect()
}

#[derive(Serialize)]
pub(super) struct Link {
    href: String,
    text: String,
}

#[derive(Serialize)]
pub(super) struct Image {
    src: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    href: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    alt: String,
}

pub(super) fn images(config: &PagerdutyConfig, texts: &Renderer<'_>) -> Vec<Image> {
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
pub(super) fn links(config: &PagerdutyConfig, view: &View<'_>, texts: &Renderer<'_>) -> Vec<Link> {
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
