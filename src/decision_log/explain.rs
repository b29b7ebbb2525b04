//! Sentences about a decision: its release condition, and the disposition without it.

use std::collections::BTreeMap;

use super::{DecisionEntry, OtherwiseEntry};
use crate::model::{Cause, Disposition, Duration, IncidentChange, LabelSet, Reason, Status, Timestamp};

/// A page that a receiver accepts after this time is late.
pub(super) const LATE: Duration = Duration::from_secs(10);

/// The release condition of a suppressed observation. `None` if nothing was held.
pub(super) fn release_condition(disposition: Disposition, release: Option<Timestamp>) -> Option<String> {
    let Disposition::Suppressed(reason) = disposition else { return None };
    let what = match reason {
        Reason::Flapping => "Squelch releases it once its penalty falls to 1, or 8 half-lives are over",
        Reason::Silenced => "Squelch releases it when the silence ends",
        Reason::Muted => "Squelch releases it when the time interval, or the route, lets it through",
        Reason::Inhibited => "Squelch releases it when the alert that inhibits it resolves",
        Reason::Storm => "It is in the incident of the storm, and Squelch pages it once the storm is over",
        Reason::RateLimited => "Squelch releases it when the receiver has room for a page",
        Reason::Usual => "The next page of its group lists it, and the digest does",
        Reason::SelfResolved => "Nothing is left to release: it had resolved",
        Reason::Duplicate | Reason::Grouped | Reason::Stale | Reason::NeverPaged => return None,
    };
    Some(match release {
        Some(at) => format!("{what}, due {at}"),
        None => what.to_owned(),
    })
}

/// Why no receiver shows a page: the newest refusal or, of an incident that is over, the newest recall, as
/// the history has it. It is empty where there is none.
pub(super) fn undelivered(end: &str) -> String {
    match serde_json::from_str(end) {
        Ok(IncidentChange::Refused { of, reason }) => {
            format!(
                "no receiver has accepted the page, and {}/{} refused it ({reason})",
                of.receiver, of.integration
            )
        }
        Ok(IncidentChange::Recalled { of, .. }) => {
            let place = format!("{}/{}", of.receiver, of.integration);
            format!(
                "no receiver accepted the page, and Squelch recalled it from {place} as the incident ended"
            )
        }
        _ => "no receiver has accepted the page yet".to_owned(),
    }
}

/// The failed attempts to deliver a page, as the history has them.
pub(super) fn failed_attempts(failed: &str) -> Option<String> {
    let Ok(IncidentChange::Failed { of, attempts, since, error }) = serde_json::from_str(failed) else {
        return None;
    };
    let place = format!("{}/{}", of.receiver, of.integration);
    Some(match attempts {
        1 => format!("An attempt at {place} failed at {since}: {error}"),
        n => format!("{n} attempts at {place} failed from {since} on, the last one with: {error}"),
    })
}

/// That a receiver accepted a page late, or nothing.
fn late(entry: &DecisionEntry) -> String {
    let late = entry.accepted_at.filter(|at| at.since(entry.at) >= LATE);
    late.map_or(String::new(), |at| {
        format!(". A receiver accepted it at {at}, {} after the decision", whole_seconds(at.since(entry.at)))
    })
}

/// The failed attempts to deliver a page, as a sentence of its own, or nothing.
fn tried(entry: &DecisionEntry) -> String {
    let tried = entry.failed_attempts.as_ref().map(|failed| format!(". {failed}"));
    tried.unwrap_or_default()
}

/// A time without its milliseconds.
pub(super) fn whole_seconds(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() / 1000 * 1000)
}

/// The disposition that would have followed without the setting that decided.
pub(super) fn counterfactual(otherwise: &OtherwiseEntry) -> String {
    match otherwise {
        OtherwiseEntry::Page { at } => format!("Without this rule it would have paged at {at}"),
        OtherwiseEntry::Update { incident } => {
            let short: String = incident.chars().take(12).collect();
            format!("Without this rule it would have been an update of incident {short}")
        }
    }
}

/// The decision as one plain sentence without its time.
pub(super) fn sentence(entry: &DecisionEntry) -> String {
    let times = match entry.count {
        1 => String::new(),
        n => format!(" ×{n}"),
    };
    let incident = match &entry.incident {
        Some(key) => format!(" incident {}", key.chars().take(12).collect::<String>()),
        None => " its incident".to_owned(),
    };
    let mut text = match (entry.disposition.as_str(), entry.reason.as_deref()) {
        ("page", _) if entry.observed => format!("would have paged, and opened{incident}: {}", entry.rule),
        ("update", _) if entry.observed => format!("would have been an update of{incident}: {}", entry.rule),
        ("resolve", _) if entry.observed => format!("would have closed{incident}: {}", entry.rule),
        (_, Some(reason)) if entry.observed && entry.repeats_since.is_some() => {
            format!("would have been repeated{times}, unchanged ({reason})")
        }
        (_, Some(reason)) if entry.observed => {
            format!("would have been suppressed{times} ({reason}): {}", entry.rule)
        }
        ("page", _) => match &entry.undelivered {
            None => format!("paged, and opened{incident}: {}{}{}", entry.rule, late(entry), tried(entry)),
            Some(why) => {
                format!("decided to page, and opened{incident}: {} ({why}){}", entry.rule, tried(entry))
            }
        },
        ("update", _) => format!("notified as an update of{incident}: {}", entry.rule),
        ("resolve", _) => format!("resolved, and closed{incident}: {}", entry.rule),
        (_, Some(reason)) if entry.repeats_since.is_some() => {
            format!("repeated{times}, unchanged ({reason})")
        }
        (_, Some("grouped")) if entry.incident.is_some() => {
            format!("suppressed{times} (grouped, in{incident}): {}", entry.rule)
        }
        (_, Some(reason)) => format!("suppressed{times} ({reason}): {}", entry.rule),
        (other, None) => format!("{other}{times}: {}", entry.rule),
    };
    if entry.reason.is_some() && entry.repeats_since.is_none() {
        if let Some(setting) = entry.decided_by() {
            text.push_str(&format!(", by {setting}"));
        }
        for more in [&entry.release_condition, &entry.counterfactual].into_iter().flatten() {
            text.push_str(". ");
            text.push_str(more);
        }
    }
    if entry.observed {
        text.insert_str(0, "only observed: ");
    }
    text
}

/// Whether the sentence of a decision says that the alert resolved. A resolve that waits has no decision of
/// its own, and that of an update names no alert.
fn tells_of_the_end(entry: &DecisionEntry) -> bool {
    let resolved = |cause: &Cause| {
        matches!(
            cause,
            Cause::NeverPaged
                | Cause::NoIncident
                | Cause::ResolvedWhileMuted
                | Cause::ResolvedWhileWaiting
                | Cause::RateLimited
                | Cause::ChangedBack
                | Cause::Expired { .. }
                | Cause::Repeat { status: Status::Resolved }
        )
    };
    entry.disposition == "resolve" || entry.cause.as_ref().is_some_and(resolved)
}

/// A timeline of `entries`, which stand newest first as a search gives them. Each alert and receiver has its
/// decisions, oldest first. `moment` writes a time. Texts of a sender cannot begin a line or steer a
/// terminal.
pub fn timeline(entries: &[DecisionEntry], moment: impl Fn(Timestamp) -> String) -> String {
    type Whose<'a> = (&'a BTreeMap<String, String>, &'a str, &'a str);
    let mut stories: BTreeMap<Whose<'_>, Vec<&DecisionEntry>> = BTreeMap::new();
    for entry in entries.iter().rev() {
        stories.entry((&entry.labels, &entry.fingerprint, &entry.receiver)).or_default().push(entry);
    }
    let mut text = String::new();
    for ((labels, fingerprint, receiver), story) in stories {
        let labels = LabelSet::from_pairs(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        text.push_str(&plain(&format!("{labels} ({fingerprint}) at {receiver}")));
        text.push('\n');
        let (mut started, mut ended) = (None, false);
        for entry in &folded(story) {
            if let Some(at) = entry.starts_at.filter(|at| started != Some(*at)) {
                let again = if started.is_some() && !ended { " again, after it resolved" } else { "" };
                text.push_str(&format!("  {}  fired{again}\n", moment(at)));
                (started, ended) = (Some(at), false);
            }
            ended |= tells_of_the_end(entry);
            let at = entry.repeats_since.unwrap_or(entry.at);
            text.push_str(&format!("  {}  {}\n", moment(at), plain(&sentence(entry))));
        }
    }
    text
}

/// Decisions of one moment that say the same become one. An alert that comes and goes while its page waits
/// has one for each time.
fn folded(story: Vec<&DecisionEntry>) -> Vec<DecisionEntry> {
    let said = |entry: &DecisionEntry| sentence(&DecisionEntry { count: 1, ..entry.clone() });
    let mut lines: Vec<DecisionEntry> = Vec::new();
    for entry in story {
        let same = |line: &&mut DecisionEntry| {
            (line.at, line.starts_at, line.repeats_since) == (entry.at, entry.starts_at, None)
                && entry.repeats_since.is_none()
                && said(line) == said(entry)
        };
        match lines.last_mut().filter(same) {
            Some(line) => line.count += entry.count,
            None => lines.push(entry.clone()),
        }
    }
    lines
}

/// `text` without characters that a terminal would act on, or that would begin a line.
pub fn plain(text: &str) -> String {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if bad(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decisions_of_one_moment_that_say_the_same_are_one_line() {
        let entry = |at: &str, count: u64| -> DecisionEntry {
            serde_json::from_value(json!({
                "id": 1, "at": at, "alert": "a", "fingerprint": "f", "labels": {"alertname": "Flappy"},
                "disposition": "suppressed", "reason": "grouped", "count": count, "receiver": "pd",
                "route": "{}", "rule": "a notification of its incident lists it", "setting": "route {}",
                "startsAt": "2026-11-29T17:42:15Z",
            }))
            .unwrap()
        };
        let newest_first = [("17:43:00", 1), ("17:42:51", 2), ("17:42:51", 1)]
            .map(|(at, n)| entry(&format!("2026-11-29T{at}Z"), n));
        let told = timeline(&newest_first, |at| at.to_string());
        assert_eq!(told.matches("lists it").count(), 2, "{told}");
        assert!(told.contains("suppressed ×3 (grouped): "), "{told}");
    }
}
