//! Causes: the reason for a disposition, for a wait, or for a notification.
//!
//! A cause is data. `causes` in the program renders it as text for people.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Duration, NameCount, Problem, Reason, Status, Timestamp};

/// Why an observation was suppressed, why an alert waits, or why a notification leaves, with its numbers.
///
/// The journal, the snapshot and the API hold it as an object: `type` names the variant, and its numbers
/// stand beside it. No field may be a type that JSON and MessagePack write differently, such as a
/// [`super::Timestamp`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Cause {
    // Observations that are repeats.
    /// These observations are unchanged repeats.
    UnchangedRepeats,
    /// The observation repeats that its alert has this status. A resolve may also be of one label set of an
    /// alert that fires with another.
    Repeat {
        /// The status that the observation repeats.
        #[schema(value_type = String)]
        status: Status,
    },
    /// Another peer resolved the alert. The alert fires again if this peer does not resolve it too in time.
    Disputed {
        /// How long this peer has to resolve it.
        #[schema(value_type = String)]
        within: Duration,
    },
    /// Another peer of the pair passed on the same notification.
    OtherPeerRepeats,
    /// The notification of the sender says that nothing changed.
    SenderRepeats,

    // Resolves of alerts that no receiver was notified of.
    /// The alert resolves, and Squelch did not know it as firing.
    UnknownAlert,
    /// The alert resolves, and no page was sent for it.
    NeverPaged,
    /// The alert resolves, and it is in no incident.
    NoIncident,
    /// The alert resolved while it was muted, and no page was sent for it.
    ResolvedWhileMuted,
    /// The alert resolved before its hold or the wait of its group was over.
    ResolvedWhileWaiting,

    // Causes that mute an alert.
    /// The receiver has no integration.
    NoIntegration,
    /// The alert is a heartbeat. Only its silence pages.
    Heartbeat {
        /// The name of the heartbeat.
        #[schema(value_type = String)]
        name: SmolStr,
    },
    /// A silence matches the alert.
    Silenced {
        /// The id of the silence.
        #[schema(value_type = String)]
        id: SmolStr,
        /// The person who made it, at most 80 characters.
        #[schema(value_type = String)]
        #[serde(rename = "createdBy")]
        created_by: SmolStr,
        /// Its comment, at most 80 characters.
        #[schema(value_type = String)]
        comment: SmolStr,
    },
    /// A time interval mutes the route.
    MuteInterval {
        /// The name of the interval.
        #[schema(value_type = String)]
        name: SmolStr,
    },
    /// The route is active in other time intervals only.
    ActiveIntervals {
        /// The names of these intervals.
        #[schema(value_type = Vec<String>)]
        names: Vec<SmolStr>,
    },
    /// Another alert inhibits the alert.
    Inhibited {
        /// The fingerprint of the other alert.
        #[schema(value_type = String)]
        source: SmolStr,
        /// The labels of the other alert, at most 200 characters. Decisions of older versions have none.
        #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
        #[schema(value_type = String)]
        labels: SmolStr,
        /// The number of the inhibit rule, from 1.
        rule: usize,
        /// The name of the inhibit rule, if it has one.
        #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
        #[schema(value_type = String)]
        name: SmolStr,
    },

    // Causes that withhold an alert.
    /// The alert flaps. Penalties are in thousandths.
    Flapping {
        /// How often the alert changed since it flaps.
        changes: u32,
        /// The penalty now.
        penalty: u64,
        /// The penalty from which an alert flaps.
        #[serde(rename = "suppressAt")]
        suppress_at: u32,
        /// The penalty at which flapping ends.
        #[serde(rename = "reuseAt")]
        reuse_at: u32,
    },
    /// The alert resolved and fired again before any receiver was notified.
    ChangedBack,
    /// The series of the alert fires so often that its profile opens no page for it.
    Usual {
        /// How often it fires in a day, in thousandths.
        #[serde(rename = "perDay")]
        per_day: u64,
        /// How many firings a day are usual, in thousandths.
        #[serde(rename = "usualPerDay")]
        usual_per_day: u32,
        /// Since when its group was paged often enough to be busy, if it is.
        #[serde(rename = "busySince", default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        busy_since: Option<Timestamp>,
    },
    /// The receiver had reached its limit, and the alert resolved before there was room for its page.
    RateLimited,
    /// Too many pages were due at the receiver.
    Storm {
        /// How many pages were due.
        pages: usize,
        /// The time in which they were.
        #[schema(value_type = String)]
        window: Duration,
        /// How many pages begin a storm.
        start: u32,
        /// How many pages end it.
        end: u32,
    },
    /// More alerts fire than Squelch may remember. It reports these together.
    TooManyAlerts {
        /// `limits.alerts`.
        limit: u64,
    },
    /// No peer confirmed the alert for this long.
    Expired {
        /// `stale_after`.
        #[schema(value_type = String)]
        after: Duration,
    },
    /// The engine failed at the alert, so Squelch passes it on undecided.
    Quarantined,

    // Observations that a notification includes.
    /// Another observation made the notification leave, and it includes this one.
    NotifiedWithOthers {
        /// Why that notification left.
        #[schema(no_recursion)]
        cause: Box<Cause>,
    },
    /// The receiver wants no updates.
    NoUpdates,
    /// The alert is in one incident by two routes, and the other route withholds its resolve.
    OtherRoute,
    /// The routes changed while the alert waited for its page. It pages by the routes of today.
    Rerouted,

    // Why an alert waits.
    /// The severity of the alert holds its first page.
    SeverityHold,
    /// The inhibition of the alert ended, so its first page waits for one `group_interval`.
    InhibitionEnded,
    /// The alert waits for the rest of its group.
    GroupWait {
        /// How many other alerts wait with it.
        others: usize,
    },
    /// The alert waits as its profile says.
    ProfileWait {
        /// How many other alerts wait with it.
        others: usize,
        /// How often its series fires in a day, in thousandths.
        #[serde(rename = "perDay")]
        per_day: u64,
        /// Since when its group was paged often enough to be busy, if it is.
        #[serde(rename = "busySince", default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        busy_since: Option<Timestamp>,
    },
    /// The series fired before: its profile holds the page, and withholds the alert if it resolves meanwhile.
    SeriesHold,
    /// The receiver has reached its limit: the page waits, merged with others.
    MergeWait {
        /// How many other alerts wait with it.
        others: usize,
    },

    // Why a notification leaves.
    /// The first page of an incident.
    FirstPage,
    /// One page for many alerts, since more pages were due than a limit or a storm allows.
    MergedPage {
        /// How many alerts it has.
        alerts: usize,
    },
    /// Many flapping alerts fire together.
    FlappingTogether {
        /// How many.
        alerts: usize,
        /// The time that counts.
        #[schema(value_type = String)]
        within: Duration,
    },
    /// An alert stopped flapping and still fires.
    StillFiring {
        /// Its `alertname`.
        #[schema(value_type = String)]
        alertname: SmolStr,
        /// How often it changed.
        changes: u32,
    },
    /// An alert that opened too many pages alone lasts.
    Lasts {
        /// Its `alertname`.
        #[schema(value_type = String)]
        alertname: SmolStr,
        /// For how long.
        #[schema(value_type = String)]
        after: Duration,
    },
    /// An alert of a higher severity joined the incident.
    HigherSeverity {
        /// The name of the severity level.
        #[schema(value_type = String)]
        level: SmolStr,
    },
    /// Many more alerts fire than the page said.
    MoreAlerts {
        /// How many fire.
        firing: usize,
        /// The profile's `growth`: how many times as many count as worse.
        growth: u32,
        /// How many fired when the incident paged.
        paged: usize,
    },
    /// The configuration has other integrations for the receiver, and none of those was notified.
    IntegrationsReplaced,
    /// A person released the page.
    Released {
        /// The person.
        #[schema(value_type = String)]
        by: SmolStr,
    },
    /// A person acknowledged the incident.
    Acknowledged {
        /// Who.
        #[schema(value_type = String)]
        by: SmolStr,
    },
    /// The alerts of the incident changed.
    AlertsChanged,
    /// An alert fires again that opened too many pages alone. It updates its last incident.
    PagedAlone {
        /// The number of pages, each counted half after 12h, in thousandths.
        pages: u64,
    },
    /// An alert of the incident flaps.
    AlertFlaps {
        /// How often it changed.
        changes: u32,
    },
    /// The incident is still open after `repeat_interval`.
    Repeated {
        /// `repeat_interval`.
        #[schema(value_type = String)]
        interval: Duration,
    },
    /// All alerts of the incident resolved.
    AllResolved,
    /// The alerts that still fire are in another incident now.
    MovedElsewhere,
    /// Another incident took the place of this one.
    Superseded {
        /// Why that one paged.
        #[schema(no_recursion)]
        cause: Box<Cause>,
    },
    /// The receiver was not reached, so its fallback is notified.
    Fallback {
        /// The receiver that was not reached.
        #[schema(value_type = String)]
        receiver: SmolStr,
        /// Why that one was to be notified.
        #[schema(no_recursion)]
        cause: Box<Cause>,
    },
    /// No person acknowledged the incident in time, so a second receiver is notified.
    Escalated {
        /// The receiver that the incident is at.
        #[schema(value_type = String)]
        receiver: SmolStr,
        /// `respond_within` of the severity level.
        #[schema(value_type = String)]
        within: Duration,
        /// Why that one was to be notified.
        #[schema(no_recursion)]
        cause: Box<Cause>,
    },
    /// The storage is unusable, and the notification leaves without it.
    WithoutStorage {
        /// Why it leaves.
        #[schema(no_recursion)]
        cause: Box<Cause>,
    },
    /// Squelch forwards the sender's statement unchanged.
    PassedOn,
    /// The sender says that all alerts of its group resolved.
    SenderResolved,
    /// A digest: the alerts that Squelch held back at a receiver.
    Digest {
        /// The time that it covers.
        #[schema(value_type = String)]
        period: Duration,
        /// The observations that were suppressed, the most first.
        #[serde(rename = "heldBack")]
        held_back: Vec<HeldBack>,
        /// The alerts that fire and are withheld.
        withheld: Counted,
        /// How many of the suppressed observations are of alerts that are not counted by name: there were too
        /// many.
        unnamed: u64,
    },
    /// The report of a period.
    Report {
        /// The report as text of several lines.
        #[schema(value_type = String)]
        text: SmolStr,
    },
    /// The problem of an internal incident.
    Problem {
        /// The problem.
        problem: Problem,
    },
    /// The problem of the internal incident is over.
    ProblemOver,
    /// Another receiver is notified of the problem from now on.
    WatcherChanged,
    /// No alert came above the limit for this long.
    BelowAlertLimit {
        /// For how long.
        #[schema(value_type = String)]
        lasted: Duration,
    },
    /// The heartbeat came again.
    HeartbeatHeard,
    /// The configuration does not have the heartbeat any more.
    HeartbeatRemoved,
    /// The heartbeat did not come for so long that Squelch takes its sender to be gone.
    HeartbeatGone {
        /// For how long.
        #[schema(value_type = String)]
        after: Duration,
    },
}

/// Observations that were suppressed for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HeldBack {
    /// The reason.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// How many, and of which alerts.
    #[serde(flatten)]
    pub counted: Counted,
}

/// How many, and the `alertname`s with the highest counts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// How many in all.
    pub count: u64,
    /// The first names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<NameCount>,
    /// How many other names there are.
    #[serde(default)]
    pub other_names: usize,
}

impl Cause {
    /// The reason by which an observation that is suppressed for this cause is counted. The further
    /// observations that a notification reports are `grouped`.
    pub fn reason(&self) -> Reason {
        match self {
            Cause::UnchangedRepeats
            | Cause::Repeat { .. }
            | Cause::Disputed { .. }
            | Cause::OtherPeerRepeats
            | Cause::SenderRepeats => Reason::Duplicate,
            Cause::UnknownAlert | Cause::NeverPaged | Cause::NoIncident | Cause::ResolvedWhileMuted => {
                Reason::NeverPaged
            }
            Cause::ResolvedWhileWaiting | Cause::SeriesHold => Reason::SelfResolved,
            Cause::NoIntegration
            | Cause::Heartbeat { .. }
            | Cause::MuteInterval { .. }
            | Cause::ActiveIntervals { .. } => Reason::Muted,
            Cause::Silenced { .. } => Reason::Silenced,
            Cause::Inhibited { .. } => Reason::Inhibited,
            Cause::Flapping { .. } | Cause::ChangedBack => Reason::Flapping,
            Cause::Usual { .. } => Reason::Usual,
            Cause::RateLimited => Reason::RateLimited,
            Cause::Storm { .. } | Cause::TooManyAlerts { .. } => Reason::Storm,
            Cause::Expired { .. } => Reason::Stale,
            Cause::NotifiedWithOthers { .. }
            | Cause::NoUpdates
            | Cause::OtherRoute
            | Cause::Rerouted
            | Cause::Quarantined
            | Cause::SeverityHold
            | Cause::InhibitionEnded
            | Cause::GroupWait { .. }
            | Cause::ProfileWait { .. }
            | Cause::MergeWait { .. }
            | Cause::FirstPage
            | Cause::MergedPage { .. }
            | Cause::FlappingTogether { .. }
            | Cause::StillFiring { .. }
            | Cause::Lasts { .. }
            | Cause::PagedAlone { .. }
            | Cause::HigherSeverity { .. }
            | Cause::MoreAlerts { .. }
            | Cause::IntegrationsReplaced
            | Cause::Released { .. }
            | Cause::Acknowledged { .. }
            | Cause::AlertsChanged
            | Cause::AlertFlaps { .. }
            | Cause::Repeated { .. }
            | Cause::AllResolved
            | Cause::MovedElsewhere
            | Cause::Superseded { .. }
            | Cause::Fallback { .. }
            | Cause::Escalated { .. }
            | Cause::WithoutStorage { .. }
            | Cause::PassedOn
            | Cause::SenderResolved
            | Cause::Digest { .. }
            | Cause::Report { .. }
            | Cause::Problem { .. }
            | Cause::ProblemOver
            | Cause::WatcherChanged
            | Cause::BelowAlertLimit { .. }
            | Cause::HeartbeatHeard
            | Cause::HeartbeatRemoved
            | Cause::HeartbeatGone { .. } => Reason::Grouped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal is JSON, and a snapshot MessagePack.
    #[test]
    fn causes_read_back_from_json_and_from_message_pack() {
        let counted =
            Counted { count: 3, names: vec![NameCount { name: "A".into(), count: 2 }], other_names: 1 };
        let minute = Duration::from_mins(1);
        for cause in [
            Cause::FirstPage,
            Cause::Repeat { status: Status::Resolved },
            Cause::Flapping { changes: 5, penalty: u64::MAX, suppress_at: 5000, reuse_at: 1000 },
            Cause::Superseded { cause: Box::new(Cause::HigherSeverity { level: "critical".into() }) },
            Cause::Inhibited {
                source: "0123456789abcdef".into(),
                labels: "{alertname=\"Down\"}".into(),
                rule: 1,
                name: SmolStr::default(),
            },
            Cause::ActiveIntervals { names: vec!["day".into(), "night".into()] },
            Cause::Digest {
                period: minute,
                held_back: vec![HeldBack { reason: Reason::SelfResolved, counted: counted.clone() }],
                withheld: counted,
                unnamed: 4,
            },
            Cause::Report { text: "# Noise\n".into() },
            Cause::Problem { problem: Problem::StorageGone { error: "gone".into(), rescue_after: minute } },
        ] {
            let json = serde_json::to_string(&cause).unwrap();
            assert_eq!(serde_json::from_str::<Cause>(&json).unwrap(), cause, "{json}");
            let packed = rmp_serde::to_vec_named(&cause).unwrap();
            assert_eq!(rmp_serde::from_slice::<Cause>(&packed).unwrap(), cause);
        }
        let storm = Cause::Storm { pages: 11, window: minute, start: 10, end: 5 };
        assert_eq!(
            serde_json::to_string(&storm).unwrap(),
            r#"{"type":"storm","pages":11,"window":"1m","start":10,"end":5}"#
        );
    }
}
