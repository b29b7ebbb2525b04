//! The frame round every page.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::standing::Notices;
use super::{assets, text};
use crate::config::Role;
use crate::engine::Engine;
use crate::model::Timestamp;
use crate::web::access::Caller;
use crate::web::app::App;
use crate::web::problem::Problem;

/// An HTML document with this title. `head` is the rest of its head, and `body` the element of that name.
pub(crate) fn html_document(title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                (head)
            }
            (body)
        }
    }
}

/// The permissions of htmx: no eval, no style of its own, and only this server.
const HTMX: &str = r#"{"includeIndicatorStyles":false,"allowEval":false,"selfRequestsOnly":true,
"historyCacheSize":0,"allowScriptTags":false,"timeout":10000}"#;

/// The views, by their keys 1 to 7, and where they are below the root.
const VIEWS: [(&str, &str); 7] = [
    ("Now", "./"),
    ("Noise", "noise"),
    ("Decisions", "decisions"),
    ("Flapping", "flapping"),
    ("Routing", "routing"),
    ("History", "history"),
    ("On-call", "on-call"),
];

/// One request for a page.
pub(super) struct Frame {
    /// The way back to `/`, from this page: links are relative, so that they work under any prefix, also
    /// one that a proxy takes off.
    root: String,
    gzip: bool,
    said: Option<Markup>,
    /// When the page is made.
    now: Timestamp,
    standing: Notices,
    /// The caller, if the configuration has users.
    caller: Option<Caller>,
}

impl FromRequestParts<App> for Frame {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Frame, Infallible> {
        let caller = parts.extensions.get::<Caller>().cloned();
        Ok(Frame::new(app, &parts.uri, &parts.headers, caller).await)
    }
}

impl Frame {
    /// The frame of a page at `uri`, for this caller.
    pub(super) async fn new(app: &App, uri: &Uri, headers: &HeaderMap, caller: Option<Caller>) -> Frame {
        let root = root(uri.path(), &app.prefix);
        let now = app.gate.now();
        let (said, standing) = (said(app, headers).await, Notices::of(app, now).await);
        Frame { root, gzip: assets::takes_gzip(headers), said, now, standing, caller }
    }

    /// Whether the caller may do what needs `role`.
    pub(super) fn may(&self, role: Role) -> bool {
        self.caller.as_ref().is_none_or(|caller| caller.role >= role)
    }

    /// Whether the server knows the name of the caller.
    pub(super) fn is_known(&self) -> bool {
        self.caller.is_some()
    }

    /// When the page is made. Its ages and countdowns count from this time.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// A severity in the colour of its level.
    pub(super) fn badge(&self, severity: &str) -> Markup {
        text::severity(severity, self.standing.place(severity))
    }

    /// A link to `path` below the root.
    pub(super) fn to(&self, path: &str) -> String {
        format!("{}{}", self.root, path.strip_prefix("./").unwrap_or(path))
    }

    /// The page `title`, one of the views or none of them.
    pub(super) fn page(&self, title: &str, body: Markup) -> Response {
        self.answer(StatusCode::OK, title, body)
    }

    /// A page about an error.
    pub(super) fn problem(&self, problem: &Problem) -> Response {
        let reason = problem.status.canonical_reason().unwrap_or("It did not work");
        let body = html! {
            h1 { (reason) }
            p.problem role="alert" { (super::text::tame(&problem.detail, 1_000)) }
            p { a href=(self.to("./")) { "Open incidents" } }
        };
        self.answer(problem.status, reason, body)
    }

    /// The beginning of the window's title: a sign of trouble, or the count of open incidents.
    fn mark(&self) -> String {
        match (self.standing.is_bad(), self.standing.open()) {
            (true, _) => "(!) ".into(),
            (false, 0) => String::new(),
            (false, open) => format!("({open}) "),
        }
    }

    /// The icon of the window, with the count of open incidents.
    fn icon(&self) -> String {
        match self.standing.open() {
            0 => self.to("assets/icon.svg"),
            open => self.to(&format!("assets/icon.svg?open={open}")),
        }
    }

    /// A page with this status.
    pub(super) fn answer(&self, status: StatusCode, title: &str, body: Markup) -> Response {
        let title_bar = format!("{}{title} · Squelch", self.mark());
        let head = html! {
            meta name="htmx-config" content=(HTMX);
            link rel="icon" type="image/svg+xml" href=(self.icon());
            link rel="stylesheet" href=(self.to("assets/squelch.css"));
            script src=(self.to("assets/htmx.min.js")) defer {}
            script src=(self.to("assets/squelch.js")) defer {}
        };
        let body = html! {
            body data-now=(self.now.as_millis()) {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href=(self.to("./")) { img src=(self.to("assets/icon.svg")) alt="" width="22" height="22"; "Squelch" }
                    nav aria-label="Views" {
                        @for (name, path) in VIEWS {
                            a href=(self.to(path)) aria-current=[(name == title).then_some("page")] { (name) }
                        }
                    }
                    p.made #made { "as of " (text::moment(self.now)) }
                    button.zone #zone type="button" data-key="u" aria-keyshortcuts="u" hidden { "UTC" }
                    button.keys type="button" data-keys aria-label="Keyboard shortcuts" { "?" }
                }
                p.trouble #lost role="alert" hidden {}
                (self.standing.show(self.now, &self.to("routing#receivers")))
                @if let Some(said) = &self.said { p.said role="status" { (said) } }
                p #status .unseen role="status" aria-live="polite" {}
                main #main tabindex="-1" { (body) }
                footer { "Squelch " (env!("CARGO_PKG_VERSION")) " · " a href=(self.to("metrics")) { "metrics" } " · "
                    a href=(self.to("api/v1/openapi.json")) { "API" } }
                (keys())
            }
        };
        let page = html_document(&title_bar, head, body);
        let bytes = page.into_string().into_bytes();
        let mut response = match self.gzip {
            true => {
                let small = assets::gzip(&bytes, Compression::fast());
                (status, [(header::CONTENT_ENCODING, "gzip")], small).into_response()
            }
            false => (status, bytes).into_response(),
        };
        dress(&mut response);
        if self.said.is_some() {
            response.headers_mut().insert(header::SET_COOKIE, HeaderValue::from_static(FORGET));
        }
        response
    }
}

/// The cookie with the result of an action. The next page shows it and deletes it, so a page that is loaded
/// again shows nothing false.
const COOKIE: &str = "squelch-said";
const FORGET: &str = "squelch-said=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict";

/// Leads to `next`, which says `word` of [`SAID`].
pub(super) fn led(next: &str, word: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let cookie = format!("{COOKIE}={word}; Path=/; Max-Age=60; HttpOnly; SameSite=Strict");
    for (name, value) in [(header::LOCATION, next), (header::SET_COOKIE, &cookie)] {
        // A key, a number and a word are always a header.
        response.headers_mut().extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
    }
    response
}

/// The text of the cookie. A silence that was made follows its word.
async fn said(app: &App, headers: &HeaderMap) -> Option<Markup> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split("; ")).filter_map(|pair| pair.split_once('='));
    let value = pairs.find(|(name, _)| *name == COOKIE)?.1;
    let (word, id) = value.split_once('.').unwrap_or((value, ""));
    let text = SAID.iter().find(|(known, _)| *known == word)?.1;
    let id = id.to_owned();
    let find = move |engine: &Engine| engine.query().silence_by_id(&id).map(|(silence, _)| silence.clone());
    let silence = super::look(app, find).await.ok().flatten();
    Some(html! {
        (text)
        @if let Some(silence) = silence {
            " It ends at " (super::text::moment(silence.ends_at)) ": "
            code { bdi { (super::text::tame(&super::text::written_sets(&silence), 300)) } }
        }
    })
}

/// A part of a page, which its script asks for.
pub(super) fn fragment(part: Markup) -> Response {
    let mut response = part.into_string().into_bytes().into_response();
    dress(&mut response);
    response
}

fn dress(response: &mut Response) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // With `no-referrer` a browser sends the forms of these pages as if from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept-Encoding"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The way from `path` to the root of the paths under `prefix`.
pub(super) fn root(path: &str, prefix: &str) -> String {
    let below = path.strip_prefix(prefix).unwrap_or(path);
    match below.matches('/').count() {
        // `/squelch` for `/squelch/`.
        0 => format!("{}/", path.rsplit('/').next().unwrap_or_default()),
        1 => "./".into(),
        deeper => "../".repeat(deeper - 1),
    }
}

/// The message after an action, by the word of its cookie.
const SAID: [(&str, &str); 8] = [
    ("released", "Released: the alert leaves now."),
    ("silenced", "The silence is in force."),
    ("expired", "The silence is ended."),
    ("changed", "Done."),
    ("acknowledged", "The incident is acknowledged."),
    (
        "unacknowledged",
        "Squelch counts the incident as unacknowledged. A pager that shows it as acknowledged goes on showing that.",
    ),
    ("noted", "The note is saved."),
    ("rated", "Thank you. The report counts it."),
];

/// The part of a page that the browser fetches again and again. `summary` is read out when it changes.
pub(super) fn live(url: &str, every: &str, now: Timestamp, summary: &str, body: Markup) -> Markup {
    html! {
        div #live hx-get=(url) hx-trigger=(format!("every {every}")) hx-select="#live" hx-swap="outerHTML"
            data-now=(now.as_millis()) data-summary=(summary) { (body) }
        noscript { p.dim { "This page shows the time as of which it holds. Load it again to see what is true then." } }
    }
}

/// Links to the pages of a long list.
pub(super) fn pager(all: usize, page: usize, link: impl Fn(usize) -> String) -> Markup {
    let pages = all.div_ceil(super::ROWS).max(1);
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages of the list" {
                @if page > 1 { a rel="prev" href=(link(page - 1)) { "← previous" } }
                span { "page " (page) " of " (pages) " · " (all) " in all" }
                @if page < pages { a rel="next" href=(link(page + 1)) { "next →" } }
            }
        }
    }
}

fn keys() -> Markup {
    let keys = [
        ("/", "search, or write a silence"),
        ("↓ ↑  or  j k", "next and previous row"),
        ("Enter", "open the row"),
        ("1 … 7", "the views"),
        ("o  w  c", "open incidents, withheld alerts, closed incidents"),
        ("r  g  d  s", "runbook, graph, dashboard and silence of the row, or of the incident"),
        ("a", "acknowledge the incident that is shown"),
        ("u", "times in UTC, or in your zone"),
        ("Esc", "leave the search, close this"),
        ("?", "this list"),
    ];
    html! {
        dialog #keys aria-labelledby="keys-title" {
            h2 #keys-title { "Keys" }
            dl { @for (key, what) in keys { div { dt { kbd { (key) } } dd { (what) } } } }
            form method="dialog" { button { "Close" } }
        }
        (PreEscaped("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::root;

    #[test]
    fn links_lead_to_the_root_from_everywhere() {
        for (path, prefix, way) in [
            ("/", "", "./"),
            ("/noise", "", "./"),
            ("/act/release", "", "../"),
            ("/a/b", "/a/b", "b/"),
            ("/a/b/", "/a/b", "./"),
            ("/a/b/noise", "/a/b", "./"),
            ("/a/b/act/release", "/a/b", "../"),
        ] {
            assert_eq!(root(path, prefix), way, "{path} under {prefix:?}");
        }
    }
}
