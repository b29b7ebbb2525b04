//! A page that needs no other file: it can be mailed, kept and read anywhere.

use maud::{Markup, PreEscaped, html};

use crate::web::{ICON, STYLE, html_document};

/// The styles that the page adds to those of the other pages.
const MORE: &str = include_str!("document.css");

/// The browser loads nothing, and runs nothing that an alert may say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The page with this title around `body`.
pub fn document(title: &str, body: &Markup) -> Markup {
    let head = html! {
        meta http-equiv="Content-Security-Policy" content=(POLICY);
        link rel="icon" href="data:,";
        style { (PreEscaped(STYLE)) (PreEscaped(MORE)) }
    };
    let whole = html! {
        body {
            a.skip href="#main" { "Skip to the content" }
            header.top {
                span.brand { span.icon aria-hidden="true" { (PreEscaped(ICON)) } "Squelch" }
                p { (title) }
            }
            main #main tabindex="-1" { (body) }
            footer { "Squelch " (env!("CARGO_PKG_VERSION")) }
        }
    };
    html_document(&format!("{title} · Squelch"), head, whole)
}
