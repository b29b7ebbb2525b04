//! An incident: one generation of a group. A person is interrupted for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::members::Members;
use crate::model::{
    AlertId, AlertView, Cause, Duration, Kind, LabelSet, Problem, Status, Timestamp, hex, sha256,
};
use crate::policy::{GROWTH_FROM, KnownBy, Noise, ROLLS_FOR};

/// An incident at one receiver, from its page to the last word about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Incident {
    #[serde(default)]
    pub(crate) side: Side,
    pub(crate) group: GroupKey,
    pub(crate) group_text: SmolStr,
    /// The groups of its alerts, where it stands for several: the incident of a merged page.
    #[serde(default)]
    pub(crate) merges: BTreeSet<GroupKey>,
    pub(crate) generation: u32,
    pub(crate) dedup_key: SmolStr,
    pub(crate) paged_at: Timestamp,
    /// Its group had another incident within a day.
    #[serde(default)]
    pub(crate) again: bool,
    /// Until then at most, it stays open after its alert resolved, which opened too many pages alone.
    #[serde(default)]
    pub(crate) alone_until: Timestamp,
    /// Highest severity level that the page named. 0 is the highest of all.
    pub(crate) level: usize,
    /// Alerts that the human knows of: those in the page, or that joined while it settled.
    known_alerts: usize,
    pub(crate) phase: Phase,
    pub(crate) members: Members,
    /// For `rolling`: when the last alert of each name came in that was not in it yet and does not flap. At
    /// most [`NAMES`].
    #[serde(default)]
    names: BTreeMap<SmolStr, Timestamp>,
    /// Observations that the next notification disposes of, in the order in which they came.
    pub(crate) waiting: Vec<(AlertId, u64)>,
    /// The number of issued versions. A channel with a lower version is behind.
    pub(crate) version: u64,
    /// The version that goes to every integration, wanting updates or not.
    repeat: u64,
    pub(crate) issued_at: Timestamp,
    /// Why the newest version was issued.
    pub(crate) cause: Box<Cause>,
    /// Why the first version was issued, if there is a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_cause: Option<Box<Cause>>,
    /// The incident that took this one's place.
    pub(crate) superseded_by: Option<IncidentId>,
    /// The incident whose place this one took.
    pub(crate) supersedes: Option<IncidentId>,
    /// Why it closes, if not because its alerts resolved.
    pub(crate) closing: Option<Box<Cause>>,
    pub(crate) channels: Vec<Channel>,
    /// The number of its alerts that were left out because there were too many. They were over, and
    /// notified as over.
    #[serde(default)]
    pub(crate) shed: u64,
    /// An alert resolved that its last message named as firing, since it fired elsewhere.
    #[serde(default)]
    pub(crate) owes: bool,
    /// A message of another incident called one of its alerts resolved, and its own messages may not have. If
    /// such an alert fires again, this incident says so.
    #[serde(default)]
    pub(crate) contradicted: bool,
    /// Its end waits for that of its group no longer: too many do.
    #[serde(default)]
    pub(crate) ends_alone: bool,
    /// Its content, if it is an internal incident.
    #[serde(default)]
    pub(crate) internal: Option<Internal>,
    /// The person who acknowledged it in their pager, and when. It is not repeated then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) acknowledged: Option<(SmolStr, Timestamp)>,
    /// From when on it escalates after `respond_within`, where that is not its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) respond_from: Option<Timestamp>,
    /// It counts as closing: it is over, and not all of its receivers have accepted its resolve.
    #[serde(default)]
    pub(crate) closing_counted: bool,
    /// How much of it the history has.
    #[serde(default)]
    pub(crate) recorded: Recorded,
}

/// An incident remembers the names of so many kinds of alerts.
const NAMES: usize = 1000;

/// The decider of an incident, and the receivers that are notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The engine decided, and the incident's receiver is notified.
    #[default]
    Ours,
    /// Observe mode: the engine would have sent it. No receiver is notified.
    Observed,
    /// Upstream decided, and its receiver is notified as upstream would do it.
    Forwarded,
}

/// Where an incident is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// An alert in it fires.
    Open,
    /// All alerts have resolved. `resolve_hold` runs.
    Resolving,
    /// It is over. Only its resolve remains to be sent.
    Closed,
}

/// The one alert of an internal incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Internal {
    /// The alert's labels: those of the incident, and its severity if Squelch brings the alert up itself.
    pub(crate) labels: LabelSet,
    pub(crate) problem: Box<Problem>,
    pub(crate) starts_at: Timestamp,
    /// The receivers that its pages named.
    #[serde(default)]
    pub(crate) named: BTreeSet<SmolStr>,
}

impl Internal {
    /// Whether the alert has these labels.
    pub(crate) fn shows(&self, labels: &LabelSet) -> bool {
        self.labels == *labels
    }

    /// The alert, as a notification of `kind` shows it.
    pub(crate) fn view(&self, kind: Kind, now: Timestamp) -> AlertView {
        let over = kind == Kind::Resolve;
        let status = if over { Status::Resolved } else { Status::Firing };
        AlertView {
            ends_at: over.then_some(now),
            problem: Some(self.problem.clone()),
            ..AlertView::new(self.labels.clone(), status, self.starts_at)
        }
    }
}

/// How much of an incident the history has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// The newest version that is recorded. 0 = none.
    pub(crate) version: u64,
    /// The end is recorded.
    pub(crate) over: bool,
    /// The names of the rules that are recorded.
    pub(crate) rules: BTreeSet<SmolStr>,
}

/// `sha256_hex(group key)` for generation 0, as Alertmanager computes it, so that Squelch closes an
/// incident that Alertmanager opened. It is `sha256_hex(group key + "#" + n)` for the n-th.
pub(crate) fn dedup_key(group_text: &str, generation: u32) -> SmolStr {
    let text = match generation {
        0 => group_text.to_owned(),
        n => format!("{group_text}#{n}"),
    };
    hex(&sha256(text.as_bytes())).into()
}

impl Incident {
    pub(crate) fn new(
        now: Timestamp,
        (group, group_text): (GroupKey, SmolStr),
        generation: u32,
        channels: Vec<Channel>,
    ) -> Self {
        Incident {
            side: Side::Ours,
            dedup_key: dedup_key(&group_text, generation),
            group,
            group_text,
            merges: BTreeSet::new(),
            generation,
            paged_at: now,
            again: false,
            alone_until: Timestamp::ZERO,
            level: usize::MAX,
            known_alerts: 0,
            phase: Phase::Open,
            members: Members::default(),
            names: BTreeMap::new(),
            waiting: Vec::new(),
            version: 0,
            repeat: 0,
            issued_at: now,
            cause: Box::new(Cause::FirstPage),
            first_cause: None,
            superseded_by: None,
            supersedes: None,
            closing: None,
            channels,
            shed: 0,
            owes: false,
            contradicted: false,
            ends_alone: false,
            internal: None,
            acknowledged: None,
            respond_from: None,
            closing_counted: false,
            recorded: Recorded::default(),
        }
    }

    /// Notes that one more alert of this name came in.
    pub(crate) fn came(&mut self, now: Timestamp, name: &str) {
        if self.names.len() < NAMES || self.names.contains_key(name) {
            self.names.insert(name.into(), now);
        }
    }

    /// Whether an alert of this name that starts now is more of the same.
    pub(crate) fn rolls_on(&self, now: Timestamp, name: &str, rolling: Duration) -> bool {
        let last = self.names.get(name).filter(|_| !rolling.is_zero());
        last.is_some_and(|at| now <= *at + rolling) && now <= self.paged_at + ROLLS_FOR
    }

    /// The destinations of its alerts: the one that it stands at, or, for a merged page, those of its groups.
    pub(crate) fn destinations(&self) -> impl Iterator<Item = DestinationId> {
        let own = self.merges.is_empty().then_some(self.group.0);
        self.merges.iter().map(|(destination, _)| *destination).chain(own)
    }

    /// Whether it closed, or another one took its place.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Closed || self.superseded_by.is_some()
    }

    /// Whether it does not resolve yet, and no other one took its place.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.superseded_by.is_none()
    }

    /// Whether an alert in it fires.
    pub(crate) fn fires(&self) -> bool {
        !self.is_over() && (self.members.firing() > 0 || self.internal.is_some())
    }

    /// The position of the highest severity level among the alerts that fire, of so many levels. If none
    /// fires, it is that of the page.
    pub(crate) fn level_now(&self, levels: usize) -> usize {
        self.members.highest().map_or(self.level, usize::from).min(levels - 1)
    }

    /// The alerts that its messages at a channel name. `None` is an integration without a channel.
    pub(crate) fn tells_of(&self, channel: Option<&Channel>) -> impl Iterator<Item = AlertId> {
        let borrowed = channel.into_iter().flat_map(|channel| &channel.borrowed);
        self.members.listed().map(|(alert, _)| alert).chain(borrowed.copied())
    }

    /// Whether alerts may join it.
    pub(crate) fn takes_alerts(&self) -> bool {
        !self.is_over() && self.reaches_somebody()
    }

    /// Whether its page is recent, so that alerts that start now belong to it.
    pub(crate) fn is_recent(&self, now: Timestamp, noise: &Noise) -> bool {
        now <= self.paged_at + noise.merge_window
    }

    /// Whether any of its integrations is left.
    pub(crate) fn reaches_somebody(&self) -> bool {
        self.channels.iter().any(|c| !c.is_gone())
    }

    /// Whether any integration wants updates.
    pub(crate) fn takes_updates(&self) -> bool {
        self.channels.iter().any(Channel::takes_updates)
    }

    /// Issues a new version. It goes to every channel if `repeat`. A version that every channel gets also
    /// says all that the incident owes.
    pub(crate) fn issue(&mut self, now: Timestamp, cause: Cause, repeat: bool) {
        self.version += 1;
        if repeat {
            self.repeat = self.version;
        }
        let misses = |c: &Channel| c.known_by == KnownBy::Group && !c.is_gone() && !c.takes_updates();
        self.owes &= !repeat && self.channels.iter().any(misses);
        self.issued_at = now;
        let former = std::mem::replace(&mut *self.cause, cause);
        if self.version == 2 {
            self.first_cause = Some(Box::new(former));
        }
        self.members.note(self.version);
    }

    /// Why a notification of this kind leaves. A page that had to wait says why Squelch paged.
    pub(crate) fn cause_of(&self, kind: Kind) -> Cause {
        let first = self.first_cause.as_ref().filter(|_| kind == Kind::Page && self.internal.is_none());
        (**first.unwrap_or(&self.cause)).clone()
    }

    /// Fixes the content of the page: its level and the number of its alerts.
    pub(crate) fn paged(&mut self, level: usize) {
        self.level = level;
        self.known_alerts = self.members.firing();
    }

    /// Whether it got worse than its page said, and how. `firing` of its alerts fire, one of them at the
    /// level `higher` if that is above the paged level.
    pub(crate) fn worse(
        &mut self,
        now: Timestamp,
        firing: usize,
        higher: Option<&SmolStr>,
        noise: &Noise,
    ) -> Option<Cause> {
        // A fan-out that is still arriving is known, not growth.
        if now < self.paged_at + noise.growth_settle() {
            self.known_alerts = self.known_alerts.max(firing);
        }
        if let Some(level) = higher {
            return Some(Cause::HigherSeverity { level: level.clone() });
        }
        let bound = self.known_alerts.saturating_mul(noise.growth as usize);
        let grows = noise.growth > 0 && self.known_alerts > 0 && firing >= GROWTH_FROM;
        let cause = Cause::MoreAlerts { firing, growth: noise.growth, paged: self.known_alerts };
        (grows && firing >= bound).then_some(cause)
    }

    /// Whether all integrations that want updates have got the newest.
    pub(crate) fn is_known_everywhere(&self) -> bool {
        self.channels.iter().all(|channel| channel.knows(self.version))
    }

    /// The newest version, and the newest that goes to every integration, wanting updates or not.
    pub(crate) fn versions(&self) -> (u64, u64) {
        (self.version, self.repeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelSet;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minutes)
    }

    fn paged() -> Incident {
        let mut incident =
            Incident::new(at(0), ((DestinationId(0), LabelSet::default()), "{}".into()), 0, Vec::new());
        incident.known_alerts = 3;
        incident
    }

    #[test]
    fn it_rolls_on_while_its_name_comes_again_for_two_hours() {
        let (mut incident, rolling) = (paged(), Duration::from_mins(6));
        incident.came(at(115), "NodeNotReady");
        assert!(incident.rolls_on(at(120), "NodeNotReady", rolling));
        assert!(!incident.rolls_on(at(120), "DiskSlow", rolling));
        assert!(!incident.rolls_on(at(120), "NodeNotReady", Duration::ZERO));
        assert!(!incident.rolls_on(at(122), "NodeNotReady", rolling), "the last one came 7 minutes ago");
        incident.came(at(120), "NodeNotReady");
        assert!(!incident.rolls_on(at(121), "NodeNotReady", rolling), "two hours are over");
    }

    #[test]
    fn it_grew_if_twelve_alerts_fire_once_its_fan_out_has_arrived() {
        let noise = Noise { growth: 4, ..Noise::default() };
        let grew = |minute, firing| paged().worse(at(minute), firing, None, &noise).is_some();
        assert!(grew(5, 12));
        assert!(!grew(5, 11), "eleven alerts are few");
        assert!(!grew(4, 12), "a fan-out still arrives");
    }

    #[test]
    fn keys_of_generations() {
        let zero = "46bf8266969596eea1b8cd9f96e1719cfc44f71611d698977094e4482ef6d984";
        assert_eq!(dedup_key(r#"{}:{alertname="HA"}"#, 0), zero);
        assert_eq!(dedup_key(r#"{}:{alertname="HA"}"#, 2), hex(&sha256(br#"{}:{alertname="HA"}#2"#)));
    }
}
