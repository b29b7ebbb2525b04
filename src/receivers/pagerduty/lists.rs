//! `images` and `links` of an integration.

use crate::settings::section::Section;
use crate::settings::template_check;
use crate::templates::scheme;

/// A picture in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyImage {
    /// `src`: https only. An empty one is left out.
    pub src: String,
    /// `href`
    pub href: String,
    /// `alt`
    pub alt: String,
}

/// A link in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyLink {
    /// `href`. A link without one is left out.
    pub href: String,
    /// `text`
    pub text: String,
}

pub(super) fn read_images(keys: &mut Section<'_>) -> Vec<PagerdutyImage> {
    let nodes = keys.list("images").unwrap_or_default();
    let image = |node| {
        let mut keys = Section::new(node, "images", keys.problems)?;
        let mut read = |key| template_check::read(&mut keys, key).unwrap_or_default();
        let mut image = PagerdutyImage { src: read("src"), href: read("href"), alt: read("alt") };
        let src = image.src.trim();
        if src.is_empty() || scheme(src).eq_ignore_ascii_case("http") {
            let message = "images has an entry without an https src, for which PagerDuty would refuse the \
                           page. Squelch leaves the entry out of the message. Write src: https://…";
            keys.problems.doubt(keys.line, message);
            image.src.clear();
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
        if link.href.trim().is_empty() {
            let message = "links has an entry without href, for which PagerDuty would refuse the page. \
                           Squelch leaves the entry out of the message. Write href: https://…";
            keys.problems.doubt(keys.line, message);
        }
        keys.finish();
        Some(link)
    };
    nodes.iter().filter_map(link).collect()
}
