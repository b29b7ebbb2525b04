//! Causes as text: the one place that says in English why Squelch did something.
//!
//! The core holds causes as data. The API, the pages, the command line, the decision log and the
//! notifications show the text that this file makes of them.

use std::borrow::Cow;

use squelch_core::policy::BUSY_PAGES;

use crate::engine::NextStep;
use crate::model::{
    Cause, ClockError, Counted, Duration, HeldBack, LabelSet, NameCount, Notification, OrphanedIncident,
    Problem, Status, Timestamp,
};

/// A cause as one sentence without its full stop. Texts of senders and people stand in it unchanged.
pub fn text(cause: &Cause) -> String {
    match cause {
        Cause::UnchangedRepeats => "the sender repeats it unchanged".into(),
        Cause::Repeat { status: Status::Firing } => "the sender repeats that the alert fires".into(),
        Cause::Repeat { status: Status::Resolved } => {
            "the sender repeats that the alert resolved, or the alert still fires with other labels".into()
        }
        Cause::Disputed { within } => format!(
            "another peer resolved the alert, so it fires again only if this peer does not resolve it within \
             {within}"
        ),
        Cause::OtherPeerRepeats => "the other peer of the pair sent the same notification".into(),
        Cause::SenderRepeats => "the sender repeats a statement that the receiver knows".into(),

        Cause::UnknownAlert => "the alert resolved, and Squelch did not know that it fired".into(),
        Cause::NeverPaged => "the alert resolved, and it never paged anybody here".into(),
        Cause::NoIncident => "the alert resolved, and it is in no incident".into(),
        Cause::ResolvedWhileMuted => {
            "the alert resolved while it was muted, and it never paged anybody".into()
        }
        Cause::ResolvedWhileWaiting => {
            "the alert resolved before its hold, or the wait of its group, was over".into()
        }

        Cause::NoIntegration => "the receiver has no integration".into(),
        Cause::Heartbeat { name } => format!("only the silence of heartbeat {name} pages"),
        Cause::Silenced { id, created_by, comment } => {
            format!("silence {id} of {:?} matches: {:?}", created_by.as_str(), comment.as_str())
        }
        Cause::MuteInterval { name } => format!("time interval {:?} mutes the route", name.as_str()),
        Cause::ActiveIntervals { names } => {
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!("the route is active only in time intervals {names:?}")
        }
        Cause::Inhibited { source, labels, rule, name } => {
            let alert = if labels.is_empty() { source } else { labels };
            let rule = if name.is_empty() { rule.to_string() } else { format!("{:?}", name.as_str()) };
            format!("inhibited by alert {alert} under inhibit rule {rule}")
        }

        Cause::Flapping { changes, penalty, suppress_at, reuse_at } => format!(
            "the alert is flapping: it changed {changes} times, and its penalty is {} (suppress_at {}, reuse_at {})",
            tenths(*penalty),
            tenths((*suppress_at).into()),
            tenths((*reuse_at).into())
        ),
        Cause::ChangedBack => "the alert resolved and fired again before anybody was notified".into(),
        Cause::Usual { per_day, usual_per_day, busy_since } => format!(
            "the alert is usual: it fires {} times a day, above {} it opens no page{}",
            tenths(*per_day),
            tenths((*usual_per_day).into()),
            busy_since.map_or(String::new(), |at| format!(" while its group is busy ({})", busy(at)))
        ),
        Cause::RateLimited => {
            "the receiver had reached its limit, and the alert resolved before there was room for its page"
                .into()
        }
        Cause::Storm { pages, window, start, end } => format!(
            "storm: {pages} pages were due within {window} (it starts above {start} and ends below {end})"
        ),
        Cause::TooManyAlerts { limit } => {
            format!("Squelch knows {limit} alerts (limits.alerts), and notifies of further ones together")
        }
        Cause::Expired { after } => format!("no sender confirmed the alert for {after}, so it is stale"),
        Cause::Quarantined => "the engine failed at the alert, so Squelch passes it on undecided".into(),

        Cause::NotifiedWithOthers { cause } => {
            format!("a notification of its incident lists it ({})", text(cause))
        }
        Cause::NoUpdates => "the receiver wants no updates".into(),
        Cause::Rerouted => "the routes changed, and the alert pages at another receiver now".into(),
        Cause::OtherRoute => {
            "the alert is in its incident by another route too, which withholds the resolve".into()
        }

        Cause::SeverityHold => "the severity of the alert holds the first page".into(),
        Cause::InhibitionEnded => {
            "the inhibition of the alert ended, so its page waits for one group_interval".into()
        }
        Cause::GroupWait { others } => {
            format!("the alert waits for the rest of its group, {}", with(*others))
        }
        Cause::ProfileWait { others, per_day, busy_since } => {
            let busy = busy_since.map_or(String::new(), |at| format!("{}, and ", busy(at)));
            let often = match per_day {
                0 => String::new(),
                n => format!("the alert fires {} times a day, ", tenths(*n)),
            };
            format!("{often}{busy}the noise profile waits for more alerts, {}", with(*others))
        }
        Cause::SeriesHold => {
            "its series fired before, so its profile holds the page, and withholds it if it resolves".into()
        }
        Cause::MergeWait { others: 0 } => "a limit or a storm merges pages, so this one waits".into(),
        Cause::MergeWait { others } => {
            format!("a limit or a storm merges pages, so this one waits, merged {}", with(*others))
        }

        Cause::FirstPage => "first page".into(),
        Cause::MergedPage { alerts: 1 } => {
            "the page waited to merge with others, because more pages were due than a limit or a storm allows"
                .into()
        }
        Cause::MergedPage { alerts } => {
            format!(
                "one page has {alerts} alerts, because more pages were due than a limit or a storm allows"
            )
        }
        Cause::FlappingTogether { alerts, within } => {
            format!("{alerts} flapping alerts fire together within {within}")
        }
        Cause::StillFiring { alertname, changes } => {
            format!("{alertname} still fires after it changed {changes} times")
        }
        Cause::Lasts { alertname, after } => {
            format!("{alertname} lasts: it fires for {after} after it opened several pages alone")
        }
        Cause::PagedAlone { pages } => format!(
            "the alert was alone in its last pages (count {}, older pages count less), so it updates the last one \
             and pages once it lasts",
            tenths(*pages)
        ),
        Cause::HigherSeverity { level } => {
            format!("worse: an alert of severity {level} fires, which is higher than the page said")
        }
        Cause::MoreAlerts { firing, growth, paged } => {
            format!("worse: {firing} alerts fire, at least {growth} times the {paged} of the page")
        }
        Cause::IntegrationsReplaced => "the receiver has other integrations now".into(),
        Cause::Released { by } => format!("released by {by}"),
        Cause::Acknowledged { by } => format!("acknowledged by {by}"),
        Cause::AlertsChanged => "the alerts of the incident changed".into(),
        Cause::AlertFlaps { changes } => format!(
            "an alert is flapping: it changed {changes} times, and the next update follows once it stops"
        ),
        Cause::Repeated { interval } => format!("repeated: the incident is still open after {interval}"),
        Cause::AllResolved => "all alerts of the incident resolved".into(),
        Cause::MovedElsewhere => "the alerts that still fire are in another incident now".into(),
        Cause::Superseded { cause } => format!("another incident took its place ({})", text(cause)),
        Cause::Fallback { receiver, cause } => {
            format!("fallback, because receiver {:?} was not reached: {}", receiver.as_str(), text(cause))
        }
        Cause::Escalated { receiver, within, cause } => format!(
            "escalated, because no person acknowledged it at receiver {:?} within {within}: {}",
            receiver.as_str(),
            text(cause)
        ),
        Cause::WithoutStorage { cause } => {
            format!("sent without storage, which is unusable: {}", text(cause))
        }
        Cause::PassedOn => "Squelch forwards the sender's statement".into(),
        Cause::SenderResolved => "the sender says that all alerts of the group resolved".into(),
        Cause::Digest { period, held_back, withheld, unnamed } => {
            digest(period, held_back, withheld, *unnamed)
        }
        Cause::Report { text } => text.to_string(),
        Cause::Problem { problem } => self::problem(problem),
        Cause::ProblemOver => "the problem is over".into(),
        Cause::WatcherChanged => "another receiver is notified of it now".into(),
        Cause::BelowAlertLimit { lasted } => format!("no alert came above limits.alerts for {lasted}"),
        Cause::HeartbeatHeard => "the heartbeat came again".into(),
        Cause::HeartbeatRemoved => "the configuration does not have the heartbeat any more".into(),
        Cause::HeartbeatGone { after } => {
            format!("the heartbeat did not come for {after}, so Squelch takes its sender to be gone for good")
        }
    }
}

/// The subject of an internal incident: the annotation `summary` of its alert.
pub fn problem(problem: &Problem) -> String {
    match problem {
        Problem::AlertsUnheard { alerts, names } => {
            let others = if *alerts > names.len() { " and others" } else { "" };
            let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            format!(
                "{alerts} alerts fire, and no receiver was notified in time: {}{others}. Tell the people whom they \
                 concern. `squelch explain` says why",
                names.join(", ")
            )
        }
        Problem::PagesUndelivered { after, receivers } => {
            format!(
                "receivers did not accept these pages within {after}: {}. Squelch keeps trying. Until then, tell \
                 the people there in another way",
                of_each(receivers).join(", ")
            )
        }
        Problem::DeadLetters { incidents, digests, reports } => {
            let of = |what: &str, of: &NameCount| match of.count {
                1 => format!("the {what} of {:?}", of.name.as_str()),
                n => format!("the {what} of {:?} at {n} integrations", of.name.as_str()),
            };
            let mut parts = of_each(incidents);
            parts.extend(digests.iter().map(|one| of("digest", one)));
            parts.extend(reports.iter().map(|one| of("report", one)));
            format!(
                "receivers refused these notifications for good (dead letters): {}. The page Now of Squelch has \
                 their answers. Correct the settings of the receivers",
                parts.join(", ")
            )
        }
        Problem::IncidentsOrphaned { orphans, others } => {
            let mut named: Vec<String> = orphans.iter().map(orphan).collect();
            named.extend((*others > 0).then(|| format!("and {others} more")));
            format!(
                "these incidents are open at integrations that the configuration does not have any more: {}. \
                 Close them there by hand, or put the integration back",
                named.join(", ")
            )
        }
        Problem::SenderClocksWrong { senders, others } => {
            format!(
                "the clocks of these senders differ from the clock of this machine: {}. Check that all of \
                 them use NTP",
                clocks(senders, *others)
            )
        }
        Problem::ReplicaClocksWrong { owner, standbys, others } => {
            let owner = owner.as_ref().map(|owner| {
                format!(
                    "the owner of the storage has a wrong clock: {}. Silences and time intervals follow it. Set it, \
                     or stop this replica, so that another one takes over",
                    clocks(std::slice::from_ref(owner), 0)
                )
            });
            let standbys = (!standbys.is_empty()).then(|| {
                format!(
                    "standbys have wrong clocks: {}. They take over last. Check that all of them use NTP",
                    clocks(standbys, *others)
                )
            });
            let parts: Vec<String> = owner.into_iter().chain(standbys).collect();
            format!("compared with the clock of PostgreSQL, {}", parts.join(". Also, "))
        }
        Problem::TooManyAlerts { known, limit, beyond } => format!(
            "Squelch knows {known} alerts and remembers no more (limits.alerts {limit}). Senders stated {beyond} \
             times that a further alert fires here. Raise limits.alerts, or correct the rule that makes so many"
        ),
        Problem::HeartbeatNeverHeard { name, after } => {
            format!(
                "heartbeat {name} did not come for {after} and never came before: alerts may not get here. Check \
                 that its rule exists and that its sender reaches Squelch"
            )
        }
        Problem::HeartbeatSilent { name, source, after, labels } => format!(
            "heartbeat {name} from {source} did not come for {after}: alerts may not get here. Check that this \
             sender runs and reaches Squelch. If it is an Alertmanager that runs, give the route of the heartbeat \
             a repeat_interval well below {after}. It sent {labels} last"
        ),
        Problem::Quarantined { summary } => {
            let note = text(&Cause::Quarantined);
            if summary.is_empty() { note } else { format!("{summary} ({note})") }
        }
        Problem::QuarantineFull { limit, beyond, newest } => format!(
            "the engine failed at more than {limit} alerts. Senders stated {beyond} times that a further one \
             fires here. Squelch passes these on together and undecided. The newest is {newest}. \
             Report the bug, with the log"
        ),
        Problem::InputRefused { lasted } => format!(
            "for {lasted}, alerts or requests came that Squelch cannot read, or came to a path that takes none. \
             The log says which, and from whom"
        ),
        Problem::StorageGone { error, rescue_after } => format!(
            "{error}. Squelch refuses alerts until the files are there again. After {rescue_after} it writes its \
             data to --storage.path again. Find out who removed or moved the files"
        ),
        Problem::StorageDamaged { error } => error.clone(),
        Problem::EngineFailed { event, count, first } => {
            let about = match (event.as_str(), count) {
                ("observe" | "aside", count) => format!("{count} alerts, the first of them {first}"),
                ("repeats", 1) => format!("a repeat of the alert {first}"),
                ("repeats", count) => format!("repeats of {count} alerts"),
                (kind, _) => self::event(kind).to_owned(),
            };
            format!(
                "the engine broke on {about}. Squelch read its state from the storage again. This is a bug, and \
                 the log has the input"
            )
        }
        Problem::MemoryShort { budget } => format!(
            "memory is short: more than nine tenths of {} MiB are in use. Squelch refuses new alerts until it is \
             less. Give it more memory, or lower limits.alerts",
            budget / (1 << 20)
        ),
    }
}

/// Puts the text of an internal incident into the annotations of its alert, where receivers look for it.
pub fn complete(notification: &mut Notification) {
    for alert in &mut notification.alerts {
        if let Some(about) = &alert.problem {
            alert.annotations = LabelSet::from_pairs([("summary", problem(about).as_str())]);
        }
    }
}

/// An incident that is open where the configuration has no integration any more.
pub fn orphan(orphan: &OrphanedIncident) -> String {
    let OrphanedIncident { receiver, integration, incident, dedup_key } = orphan;
    format!("{incident} at receiver {:?}, {integration}, key {dedup_key}", receiver.as_str())
}

/// The name of an event of this kind, for a failure of the engine.
pub fn event(kind: &str) -> &'static str {
    match kind {
        "observe" => "alerts that a sender sent",
        "aside" => "an alert that it only had to pass on",
        "repeats" => "repeats",
        "delivered" => "the end of a notification",
        "replay" => "a dead letter that somebody wants to send again",
        "release" => "a release",
        "silence" => "a silence",
        "alarm" => "an alarm",
        "policy" => "the configuration",
        "clocks" => "the clocks",
        "started" => "the start",
        "tick" => "the passing of time",
        _ => "an event",
    }
}

fn clocks(wrong: &[ClockError], others: usize) -> String {
    let each = wrong.iter().map(|wrong| {
        let side = if wrong.ahead { "ahead" } else { "behind" };
        format!("{:?} is at least {} {side}", wrong.sender.as_str(), wrong.by)
    });
    let more = if others > 0 { " and others" } else { "" };
    each.collect::<Vec<_>>().join(", ") + more
}

fn of_each(receivers: &[NameCount]) -> Vec<String> {
    receivers.iter().map(|of| format!("{} of {:?}", of.count, of.name.as_str())).collect()
}

/// The next step, as a verb: `pages`.
pub fn next_step(next: &NextStep) -> Cow<'static, str> {
    Cow::Borrowed(match next {
        NextStep::Pages => "pages",
        NextStep::Updates => "updates",
        NextStep::Repeats => "repeats",
        NextStep::Escalates { to } => return format!("escalates to {to}").into(),
        NextStep::Closes => "closes",
        NextStep::Retries => "tries again",
        NextStep::StopsFlapping => "stops flapping at the latest",
        NextStep::MayPage => "may page",
    })
}

fn digest(period: &Duration, held_back: &[HeldBack], withheld: &Counted, unnamed: u64) -> String {
    let mut parts: Vec<String> = held_back
        .iter()
        .map(|held| format!("{} {}{}", held.counted.count, held.reason.as_str(), named(&held.counted)))
        .collect();
    if withheld.count > 0 {
        parts.push(format!("{} still firing and withheld{}", withheld.count, named(withheld)));
    }
    if unnamed > 0 {
        parts.push(format!("{unnamed} of these of alerts that are counted without their names"));
    }
    format!("held back in the last {period}: {}", parts.join(", "))
}

/// ` (A 9, B 3, 2 other names)`.
fn named(counted: &Counted) -> String {
    let mut shown: Vec<String> =
        counted.names.iter().map(|named| format!("{} {}", named.name, named.count)).collect();
    match counted.other_names {
        0 => {}
        1 => shown.push("1 other name".into()),
        more => shown.push(format!("{more} other names")),
    }
    if shown.is_empty() { String::new() } else { format!(" ({})", shown.join(", ")) }
}

fn with(others: usize) -> String {
    match others {
        0 => "so far alone".into(),
        1 => "with 1 other alert".into(),
        n => format!("with {n} other alerts"),
    }
}

/// Thousandths as a decimal with one place.
pub(crate) fn tenths(thousandths: u64) -> String {
    format!("{}.{}", thousandths / 1000, thousandths % 1000 / 100)
}

/// Why a group is busy.
fn busy(since: Timestamp) -> String {
    format!("its group was paged {BUSY_PAGES} times since {since}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    #[test]
    fn a_digest_names_the_most_frequent_first() {
        let counted = |count, names: &[(&str, u64)], other_names| Counted {
            count,
            names: names.iter().map(|(name, n)| NameCount { name: (*name).into(), count: *n }).collect(),
            other_names,
        };
        let digest = Cause::Digest {
            period: Duration::from_hours(24),
            held_back: vec![
                HeldBack { reason: Reason::Usual, counted: counted(12, &[("D", 5), ("B", 3), ("A", 2)], 1) },
                HeldBack { reason: Reason::RateLimited, counted: counted(3, &[("Down", 3)], 0) },
            ],
            withheld: counted(2, &[("Job", 2)], 0),
            unnamed: 4,
        };
        assert_eq!(
            text(&digest),
            "held back in the last 1d: 12 usual (D 5, B 3, A 2, 1 other name), 3 rate_limited (Down 3), \
             2 still firing and withheld (Job 2), 4 of these of alerts that are counted without their names"
        );
    }

    #[test]
    fn penalties_and_surprises_are_decimals() {
        let flapping = Cause::Flapping { changes: 5, penalty: 4789, suppress_at: 3000, reuse_at: 1000 };
        assert_eq!(
            text(&flapping),
            "the alert is flapping: it changed 5 times, and its penalty is 4.7 (suppress_at 3.0, reuse_at 1.0)"
        );
    }
}
