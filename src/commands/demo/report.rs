//! The demo's summary at its end.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::engine::{ReceiverStats, Stats};
use crate::model::{Disposition, Kind, Timestamp};

use super::super::fake_pager::Incident;
use super::storm::Without;

/// The table at the end.
pub fn text(stats: &Stats, without: &Without, incidents: &[Incident], began: Timestamp) -> String {
    let mut out = String::new();
    let received: u64 = stats.received.values().sum();
    let (before, after) = (without.total(), pages(stats));
    row(&mut out, "alerts in, from both Alertmanagers", received);
    row(&mut out, "pages without Squelch", before);
    for (name, n) in &without.opened {
        row(&mut out, &format!("    {name}"), *n);
    }
    row(&mut out, "pages with Squelch", after);
    if let Some(removed) = before.checked_sub(after)
        && before > 0
    {
        row(&mut out, "removed, in per cent", removed * 100 / before);
    }
    out.push_str("\ndispositions of the alerts, with their reasons\n");
    let mut disposed: BTreeMap<Disposition, u64> = BTreeMap::new();
    for receiver in stats.receivers.values() {
        for (disposition, n) in &receiver.disposed {
            *disposed.entry(*disposition).or_default() += n;
        }
    }
    for (disposition, n) in disposed.iter().filter(|(_, n)| **n > 0) {
        let words = [disposition.as_str(), disposition.reason()].join(" ");
        row(&mut out, &format!("    {}", words.trim_end()), *n);
    }
    row(&mut out, "    pending", stats.receivers.values().map(|r| r.pending).sum());
    out.push_str("\nincidents at the pager\n");
    for incident in incidents {
        let at = incident.opened_at.since(began).as_secs_f64();
        let closed = if incident.closed_at.is_some() { "closed" } else { "open" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "    {at:>5.1} s  {:<8}  {closed:<6}  {}", incident.severity, incident.summary);
    }
    out
}

/// Pages that the engine decided on.
pub(super) fn pages(stats: &Stats) -> u64 {
    let pages = |r: &ReceiverStats| {
        r.notifications.iter().filter(|((_, kind), _)| *kind == Kind::Page).map(|(_, n)| n).sum::<u64>()
    };
    stats.receivers.values().map(pages).sum()
}

fn row(out: &mut String, what: &str, n: u64) {
    let _ = writeln!(out, "{what:<40}{n:>8}");
}

#[cfg(test)]
mod tests {
    use super::super::storm;
    use super::*;
    use crate::model::{Reason, Source, Status};

    #[test]
    fn the_share_removed_is_of_what_would_have_paged() {
        let mut without = Without::default();
        storm::steps().iter().for_each(|step| without.tell(step));
        let receiver = ReceiverStats {
            disposed: [(Disposition::Page, 4), (Disposition::Suppressed(Reason::Flapping), 9)].into(),
            notifications: [
                (("pagerduty[0]".into(), Kind::Page), 4),
                (("pagerduty[0]".into(), Kind::Update), 7),
            ]
            .into(),
            ..ReceiverStats::default()
        };
        let stats = Stats {
            received: [((Source::Alertmanager, Status::Firing), 100)].into(),
            receivers: [("pager".into(), receiver)].into(),
            ..Stats::default()
        };
        let text = text(&stats, &without, &[], Timestamp::ZERO);
        let line = |what: &str| text.lines().find(|l| l.trim_start().starts_with(what)).unwrap();
        assert!(line("pages without Squelch").ends_with(" 43"), "{text}");
        assert!(line("pages with Squelch").ends_with(" 4"), "{text}");
        assert!(line("removed").ends_with(" 90"), "{text}");
        assert!(line("suppressed flapping").ends_with(" 9"), "{text}");
    }
}
