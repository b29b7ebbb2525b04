//! Grouping: which open incident an alert that starts to fire belongs to, or none.
//!
//! A group's incidents are generations. Alerts that start within `merge_window` of an incident's page join
//! it. The window counts from the page and does not slide, so one chronic alert never swallows tomorrow's
//! outage.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::ids::IncidentId;
use crate::engine::incidents::incident::Incident;
use crate::model::{AlertId, Cause, Timestamp};
use crate::policy::{BUSY_PAGES, BUSY_WITHIN, Noise};

/// The state of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The next incident's generation. Not reused while the group is remembered.
    pub(crate) next_generation: u32,
    /// Incidents that are not over, oldest first. They include those of merged pages that list alerts of
    /// the group.
    pub(crate) open: Vec<IncidentId>,
    /// A merged page included it.
    #[serde(default)]
    pub(crate) merged: bool,
    /// The number of incidents with notifications still to send. While there are any, no generation is
    /// reused.
    pub(crate) unsettled: u32,
    /// An incident of it ended at a receiver that gets no resolves: its key may still be open there.
    pub(crate) left_open: bool,
    /// The content of the next page, in the order of arrival.
    pub(crate) pending: Vec<Pending>,
    /// Alerts that were not worth a page. The next page lists them if they still matter then.
    pub(crate) withheld: Vec<WithheldAlert>,
    /// When each series fired last, for as long as it counts for a fan-out.
    #[serde(with = "crate::engine::pairs")]
    pub(crate) recent: BTreeMap<AlertId, Timestamp>,
    /// The times of the group's pages that show whether it is busy, oldest first.
    #[serde(default)]
    pub(crate) pages: VecDeque<Timestamp>,
    /// Flapping alerts that fired again and were held, with the time, for as long as they count for a
    /// fan-out.
    #[serde(default)]
    pub(crate) held: Vec<(AlertId, Timestamp)>,
}

/// An alert in a page that has not left yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) alert: AlertId,
    /// Observations that wait with it.
    pub(crate) count: u64,
    pub(crate) fired_at: Timestamp,
    pub(crate) due: Timestamp,
    pub(crate) wait: Wait,
    pub(crate) firing: Firing,
    /// It recovered meanwhile, and the page lists it all the same.
    pub(crate) recovered: bool,
}

/// Why a page waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wait {
    /// `group_wait`, or not at all. An alert that recovers meanwhile opens no page.
    Group,
    /// The profile's `wait`: a page that leaves then tells also of an alert that recovered meanwhile.
    Gather,
    /// The same for an alert that fired before, where the profile counts firings or the group is busy. The
    /// count decides about the page, so it leaves even if the alert recovered.
    Again,
    /// The profile's `hold`: the alert is withheld if it recovers meanwhile.
    Hold,
    /// The receiver has had enough: the page is merged with others.
    Merged,
}

/// An alert that was withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WithheldAlert {
    pub(crate) alert: AlertId,
    pub(crate) count: u64,
    pub(crate) fired_at: Timestamp,
    pub(crate) series: AlertId,
    pub(crate) resolved: bool,
    pub(crate) cause: Arc<Cause>,
}

/// A firing of a series in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Firing {
    pub(crate) series: AlertId,
    /// How often the series fires in a day, in thousandths.
    pub(crate) per_day: u64,
    /// Since when the group was paged often enough to be busy, if it is.
    pub(crate) busy_since: Option<Timestamp>,
}

impl Firing {
    /// Of an alert of which only the name counts.
    pub(crate) fn of(series: AlertId) -> Firing {
        Firing { series, per_day: 0, busy_since: None }
    }
}

/// Where an alert that starts to fire goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GroupPlace {
    /// Back into the incident that it is in, or was in a moment ago.
    Rejoin(IncidentId),
    /// Into the incident whose page is recent.
    Join(IncidentId),
    /// Into the next page.
    Next,
}

/// Finds the place of `alert`, whose last incident at this destination is `last`. By `name` it may join an
/// incident that rolls on.
pub(crate) fn place(
    now: Timestamp,
    alert: AlertId,
    last: Option<IncidentId>,
    group: &Group,
    incidents: &BTreeMap<IncidentId, Incident>,
    noise: &Noise,
    name: Option<&str>,
) -> GroupPlace {
    let alive = |id: IncidentId| incidents.get(&id).filter(|i| i.takes_alerts());
    let own = last.and_then(|id| Some((id, alive(id)?.members.get(&alert)?)));
    if let Some((id, _)) = own.filter(|(_, member)| member.firing) {
        return GroupPlace::Rejoin(id);
    }
    // An alert that is gone for a moment goes on in its own incident. A new incident of its group may be
    // about something less severe. In a busy group there are always such alerts, and an outage may begin
    // with them. There they wait as the profile says, unless their level never waits.
    let left_at = own.and_then(|(_, member)| member.resolved_at);
    let waits = name.is_some() && group.busy_since(now).is_some();
    let blips = !waits && left_at.is_some_and(|at| now <= at + noise.resolve_hold);
    if let Some((id, _)) = own.filter(|_| blips) {
        return GroupPlace::Rejoin(id);
    }
    let newest = group.newest(incidents);
    if let Some((id, _)) = newest.filter(|(_, incident)| incident.is_recent(now, noise)) {
        return GroupPlace::Join(id);
    }
    // An alert that comes back is no rollout. A rollout goes from one alert to the next.
    let rolls_on = |i: &Incident| {
        !i.members.contains_key(&alert) && name.is_some_and(|name| i.rolls_on(now, name, noise.rolling))
    };
    if let Some((id, _)) = newest.filter(|(_, incident)| rolls_on(incident)) {
        return GroupPlace::Join(id);
    }
    GroupPlace::Next
}

impl Group {
    /// The newest incident that alerts may join.
    pub(crate) fn newest<'a>(
        &self,
        incidents: &'a BTreeMap<IncidentId, Incident>,
    ) -> Option<(IncidentId, &'a Incident)> {
        let alive = |id: &IncidentId| Some((*id, incidents.get(id).filter(|i| i.takes_alerts())?));
        self.open.iter().rev().find_map(alive)
    }

    /// Counts a page of the group.
    pub(crate) fn paged(&mut self, now: Timestamp) {
        if self.pages.len() == BUSY_PAGES {
            self.pages.pop_front();
        }
        self.pages.push_back(now);
    }

    /// Since when the group was paged often enough to be busy, if it is.
    pub(crate) fn busy_since(&self, now: Timestamp) -> Option<Timestamp> {
        let first = self.pages.front().filter(|_| self.pages.len() == BUSY_PAGES);
        first.copied().filter(|at| now <= *at + BUSY_WITHIN)
    }

    /// Whether a series other than this one fired since `since`.
    pub(crate) fn has_company(&self, series: AlertId, since: Timestamp) -> bool {
        self.recent.iter().any(|(other, at)| *other != series && *at >= since)
    }

    /// How many series fired since `since`.
    pub(crate) fn fan_out(&self, since: Timestamp) -> usize {
        let pending = self.pending.iter().map(|p| (p.fired_at, p.firing.series));
        let withheld = self.withheld.iter().map(|q| (q.fired_at, q.series));
        let recent = self.recent.iter().map(|(series, at)| (*at, *series));
        let late = pending.chain(withheld).chain(recent).filter(|(at, _)| *at >= since);
        late.map(|(_, series)| series).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// An alert ended meanwhile and fires anew. It takes the alert's waiting or withheld entry out of the
    /// next page, and returns its observations, and when its page was due.
    pub(crate) fn take_ended(&mut self, alert: AlertId) -> (u64, Option<Timestamp>) {
        let pending = self.pending.extract_if(.., |p| p.alert == alert && p.recovered);
        let pending: Vec<(u64, Timestamp)> = pending.map(|p| (p.count, p.due)).collect();
        let withheld = self.withheld.extract_if(.., |q| q.alert == alert && q.resolved).map(|q| q.count);
        let count = withheld.sum::<u64>() + pending.iter().map(|(count, _)| count).sum::<u64>();
        (count, pending.iter().map(|(_, due)| *due).min())
    }

    /// Whether it has no incident with a notification still to send, and no page about to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsettled == 0 && self.pending.is_empty() && self.withheld.iter().all(|q| q.resolved)
    }
}
