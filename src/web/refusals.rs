//! A line in the log for each refusal, within a bound: no sender can fill the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::Method;
use moka::sync::Cache;

use crate::ingest::InvalidReason;
use crate::model::Source;
use crate::web::access::Area;

/// How long one sender's refusals of one class stay unsaid after a line about them.
const QUIET: Duration = Duration::from_secs(60);
/// How many senders get a line about one class in that time. An attacker has many addresses.
const SENDERS: u32 = 20;

/// Remembers recent lines, at most 10,000 senders and classes.
#[derive(Clone)]
pub(super) struct Refusals {
    said: Cache<(IpAddr, &'static str), ()>,
    /// How many lines there were about a class, of whomever.
    lines: Cache<&'static str, Arc<AtomicU32>>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Refusals {
            said: Cache::builder().max_capacity(10_000).time_to_live(QUIET).build(),
            lines: Cache::builder().max_capacity(1_000).time_to_live(QUIET).build(),
        }
    }

    /// Logs that input of `peer` was refused or mended, with the start of its body.
    pub(super) fn log(&self, peer: IpAddr, reason: InvalidReason, detail: &str, body: &[u8]) {
        if self.first(peer, reason.as_str()) {
            let start = start_of(body);
            let done = if reason.is_mended() { "mended, and taken" } else { "refused" };
            let reason = reason.as_str();
            tracing::warn!(%peer, reason, detail, body = %start, "{done} (not logged again for 60s)");
        }
    }

    /// Logs alerts that came where none are taken: a line a minute for each of the two forms.
    pub(super) fn log_misdirected_alerts(
        &self,
        source: Source,
        peer: IpAddr,
        method: &Method,
        path: &str,
        way: &str,
    ) {
        let class = match source {
            Source::Alertmanager => "a webhook body",
            Source::Prometheus => "API v2 alerts",
            Source::Pagerduty | Source::Opsgenie => "events",
        };
        if self.is_among(class, 1) {
            let path = start_of(path.as_bytes());
            tracing::warn!(
                %peer, %method, %path,
                "refused {class} at a path or with a method that takes none, so its alerts do not page. {way} (not \
                 logged again for 60s, counted as wrong_path)"
            );
        }
    }

    /// Logs a request to a path or with a method that is not served, or not to this caller. All senders
    /// together get a line a minute.
    pub(super) fn log_unserved(&self, peer: IpAddr, method: &Method, path: &str) {
        if self.is_among("unserved", 1) {
            let path = start_of(path.as_bytes());
            tracing::warn!(%peer, %method, %path, "no such path or method for this caller (not logged again for 60s)");
        }
    }

    /// Logs a request of a caller who is not known.
    pub(super) fn log_unknown(&self, peer: IpAddr, area: Area, path: &str) {
        let loses = if area == Area::Ingest { " A refused alert does not page." } else { "" };
        if self.first(peer, area.as_str()) {
            let (area, path) = (area.as_str(), start_of(path.as_bytes()));
            tracing::warn!(
                %peer, area, %path,
                "refused: wrong or no credentials.{loses} This is not logged again for 60s"
            );
        }
    }

    /// Logs a request of a caller whose role does not allow it.
    pub(super) fn log_not_allowed(&self, peer: IpAddr, detail: &str, path: &str) {
        if self.first(peer, "role") {
            let path = start_of(path.as_bytes());
            tracing::warn!(%peer, %path, "refused: {detail} (not logged again for 60s)");
        }
    }

    /// Logs a login that could not be checked in time.
    pub(super) fn log_busy(&self, peer: IpAddr) {
        if self.first(peer, "logins") {
            tracing::warn!(%peer, "too many logins wait for their check: answered 503 (not logged again for 60s)");
        }
    }

    /// Logs a request that a page of another site made a browser send.
    pub(super) fn log_foreign(&self, peer: IpAddr, detail: &str) {
        if self.first(peer, "foreign") {
            tracing::warn!(%peer, detail, "refused a request from another site (not logged again for 60s)");
        }
    }

    fn first(&self, peer: IpAddr, class: &'static str) -> bool {
        self.said.entry((peer, class)).or_insert(()).is_fresh() && self.is_among(class, SENDERS)
    }

    /// Whether no more than `most` lines about `class` were asked for within [`QUIET`].
    fn is_among(&self, class: &'static str, most: u32) -> bool {
        let lines = self.lines.get_with(class, Arc::default);
        lines.fetch_add(1, Ordering::Relaxed) < most
    }
}

/// The first 200 bytes, with everything escaped that could confuse a terminal. Quotes and backslashes
/// stay: the log escapes them as its format wants, and JSON escaped twice is hard to read.
fn start_of(body: &[u8]) -> String {
    let mut start = String::new();
    for c in String::from_utf8_lossy(&body[..body.len().min(200)]).chars() {
        match c {
            '"' | '\'' | '\\' => start.push(c),
            c => start.extend(c.escape_default()),
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_it_once_a_sender_and_class() {
        let refusals = Refusals::new();
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert!(refusals.first(a, "not_v4"));
        assert!(!refusals.first(a, "not_v4"));
        assert!(refusals.first(a, "bad_time") && refusals.first(b, "not_v4"));
    }

    #[test]
    fn many_addresses_do_not_fill_the_log() {
        let refusals = Refusals::new();
        let lines = (0..10_000).filter(|n| refusals.first(IpAddr::from(u128::to_be_bytes(*n)), "foreign"));
        assert_eq!(lines.count(), SENDERS as usize);
        assert!(refusals.is_among("unserved", 1) && !refusals.is_among("unserved", 1));
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(start_of(b"a\n\x1b[2J\xff"), "a\\n\\u{1b}[2J\\u{fffd}");
        assert_eq!(start_of(br#"{"a":"\d"}"#), r#"{"a":"\d"}"#, "escaped once, by the log");
        assert_eq!(start_of(&[b'x'; 500]).len(), 200);
    }
}
