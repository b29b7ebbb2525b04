//! `images` and `links` of an integration.

use crate::settings::section::Section;
use crate::settings::template_check;

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
            keys.problems.add(keys.line, "images has an entry without an https src. Write src: https://…");
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
            keys.problems.add(keys.line, "links has an entry without href. Write href: https://…");
        }
        keys.finish();
        Some(link)
    };
    nodes.iter().filter_map(link).collect()
}
