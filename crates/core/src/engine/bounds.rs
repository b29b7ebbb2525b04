//! Bounds of what is remembered, and what happens when they bite: what is over is forgotten first, and
//! alerts beyond the bound are told together, as one incident for each receiver that pages once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::alerts::Alert;
use super::groups::GroupKey;
use super::incidents::Incidents;
use super::lanes::LaneId;
use super::ledger::Verdict;
use super::pages::Pages;
use super::query::Query;
use super::renames::rename_key;
use super::self_check::SelfCheck;
use super::stats::Bound;
use super::timers::Timer;
use super::world::World;
use crate::model::{
    AlertId, Basis, Batch, Cause, Disposition, Duration, LabelSet, Observation, Problem, Reason, Status,
    Timestamp,
};

/// When a bound is reached, one part in this many of what may be forgotten goes at once.
const SHARE: usize = 100;
/// A search for what may be forgotten that found nothing is not made again before.
const SEARCH_AGAIN: Duration = Duration::from_secs(1);
/// An overflow is over when nothing came beyond the bound for so long.
const OVER_AFTER: Duration = Duration::from_mins(15);
/// Above so many members of one incident, those that resolved and were told of go, once they are a hundredth.
const MEMBERS: usize = 10_000;
/// Above so many alerts kept quiet in one group, those that resolved go.
const QUIET: usize = 10_000;

/// What came beyond the bound.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bounds {
    overflows: BTreeMap<SmolStr, Overflow>,
}

/// When a search for what may be forgotten found nothing, by the bound that was reached.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Searched {
    #[serde(with = "super::pairs")]
    in_vain: BTreeMap<Bound, Timestamp>,
}

impl Searched {
    /// Whether a search may find something now.
    fn may(&self, now: Timestamp, bound: Bound) -> bool {
        self.in_vain.get(&bound).is_none_or(|at| *at + SEARCH_AGAIN <= now)
    }

    /// A search found this many.
    fn found(&mut self, now: Timestamp, bound: Bound, count: usize) {
        match count {
            0 => drop(self.in_vain.insert(bound, now)),
            _ => drop(self.in_vain.remove(&bound)),
        }
    }
}

/// How full a table is whose bound holds after each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// What it holds.
    pub table: &'static str,
    /// How many.
    pub held: u64,
    /// How many it may hold.
    pub most: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Overflow {
    /// Firing observations, each time that they were said.
    count: u64,
    last: Timestamp,
    key: Option<GroupKey>,
}

impl Bounds {
    /// A receiver has another name.
    pub(super) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_key(&mut self.overflows, old, new);
    }
}

impl Query<'_> {
    /// How full the tables are whose bounds hold after each event, if `limits.alerts` was not lowered. Others
    /// lag behind: what is over in an incident, a group or a quiet list goes when the next comes.
    pub fn fills(&self) -> Vec<Fill> {
        let fill = |table, held, most| Fill { table, held, most };
        let limit = self.world.policy.limits.alerts;
        let (sets, forgotten) =
            (self.world.alerts.most_label_sets(), self.world.ledger.repeats_of_none(&self.world.alerts));
        vec![
            fill("alerts", self.world.alerts.len(), limit),
            fill("series", self.pages.series.len() as u64, limit),
            fill("label sets", sets, super::occurrences::LABEL_SETS as u64),
            fill("asides", self.checks.asides.count(), super::aside::ASIDE as u64),
            fill("unknown repeats", forgotten, 0),
        ]
    }

    /// Whether something in `batch` fires that is not known, so that one more alert would be remembered.
    pub fn has_unknown(&self, batch: &Batch) -> bool {
        let firing = |o: &&Observation| o.status == Status::Firing;
        batch.observations.iter().filter(firing).any(|o| {
            let instance = AlertId::of(&o.labels, |_| false);
            self.world
                .alerts
                .alert(self.world.alerts.owner(instance, &o.labels, &self.world.policy))
                .is_none()
        })
    }
}

impl SelfCheck {
    /// An alert beyond the bound: it is told of with the others, and not remembered.
    pub(super) fn overflow(&mut self, world: &mut World, observation: &Observation, alert: AlertId) {
        world.ledger.overflow();
        let limit = world.policy.limits.alerts;
        for lane in world.lanes.matching(&world.policy, &observation.labels) {
            let settings = world.lanes.lane(lane);
            let receiver = settings.receiver.clone();
            let mute = settings.integrations.is_empty();
            let account = world.ledger.account(settings);
            account.routed += 1;
            account.pending += 1;
            let cause = match (observation.status, mute) {
                (Status::Resolved, _) => Cause::UnknownAlert,
                (Status::Firing, true) => Cause::NoIntegration,
                (Status::Firing, false) => Cause::TooManyAlerts { limit },
            };
            let reason = cause.reason();
            let basis = match reason {
                Reason::Storm => Basis { setting: "limits.alerts".into(), ..Basis::default() },
                _ => settings.basis(),
            };
            let verdict = Verdict {
                alert,
                known: None,
                lane: (lane, settings),
                incident: SmolStr::default(),
                disposition: Disposition::Suppressed(reason),
                cause,
                release: None,
                basis,
            };
            world.ledger.dispose(world.now, 1, verdict);
            if reason == Reason::Storm {
                let now = world.now;
                let new = || Overflow { count: 0, last: now, key: None };
                let overflow = self.bounds.overflows.entry(receiver).or_insert_with(new);
                overflow.count += 1;
                overflow.last = now;
                world.timers.set_if_unset(Timer::Watch, now);
            }
        }
    }

    /// Whether anything came beyond the bound lately.
    pub(super) fn overflows(&self) -> bool {
        !self.bounds.overflows.is_empty()
    }

    /// Says how much came beyond the bound, and when that is over.
    pub(super) fn overflow_over(&mut self, world: &mut World, pages: &mut Pages) {
        let (now, limit) = (world.now, world.policy.limits.alerts);
        for (receiver, overflow) in self.bounds.overflows.clone() {
            if overflow.last + OVER_AFTER <= now {
                self.bounds.overflows.remove(&receiver);
                if let Some(key) = overflow.key {
                    pages.clear(world, &key, Cause::BelowAlertLimit { lasted: OVER_AFTER });
                }
                continue;
            }
            let problem = Problem::TooManyAlerts { known: world.alerts.len(), limit, beyond: overflow.count };
            let labels = LabelSet::from_pairs([("alertname", problem.alertname()), ("receiver", &receiver)]);
            let key = pages.raise(world, &receiver, &labels, problem);
            // A receiver that reaches nobody now may have been told before, and is to hear of the end.
            if let Some(overflow) = self.bounds.overflows.get_mut(&receiver).filter(|_| key.is_some()) {
                overflow.key = key;
            }
        }
    }
}

impl Pages {
    /// Forgets groups that nothing is open of, if there are too many for one more.
    pub(super) fn bound_groups(&mut self, world: &mut World, new: &GroupKey) {
        let full = self.groups.len() as u64 >= world.policy.limits.alerts && !self.groups.contains_key(new);
        if !full || !world.may_search(Bound::Groups) {
            return;
        }
        let idle = self.groups.iter().filter(|(_, g)| g.is_idle() && !g.left_open);
        let due = |key: &GroupKey| world.timers.deadline(&Timer::ForgetGroup(key.clone()));
        let idle = earliest(idle.map(|(key, _)| (due(key), key.clone())).collect(), world.share());
        world.found(Bound::Groups, idle.len());
        for (_, key) in idle {
            world.timers.clear(&Timer::ForgetGroup(key.clone()));
            self.groups.remove(&key);
        }
    }

    /// Forgets the series that would be forgotten first, if there are too many for one more.
    pub(super) fn bound_series(&mut self, world: &mut World, new: &(LaneId, AlertId)) {
        let full = self.series.len() as u64 >= world.policy.limits.alerts && !self.series.contains_key(new);
        if !full || !world.may_search(Bound::Series) {
            return;
        }
        let at = |(lane, id): &(LaneId, AlertId)| world.timers.deadline(&Timer::ForgetSeries(*lane, *id));
        let old = earliest(self.series.keys().map(|key| (at(key), *key)).collect(), world.share());
        world.found(Bound::Series, old.len());
        for (_, (lane, id)) in old {
            world.timers.clear(&Timer::ForgetSeries(lane, id));
            self.series.remove(&(lane, id));
        }
    }

    /// Forgets the alerts in a group's list of quiet ones that resolved, once the list is long. They are
    /// disposed already.
    pub(super) fn bound_quiet(&mut self, world: &mut World, key: &GroupKey) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let before = group.quiet.len();
        if before >= QUIET {
            group.quiet.retain(|q| !q.resolved);
            let gone = before - group.quiet.len();
            world.ledger.bound(Bound::Quiet, gone as u64);
        }
    }
}

impl Incidents {
    /// Leaves members out of an incident that are over and told of.
    pub(super) fn bound_members(&mut self, world: &mut World, id: super::IncidentId) {
        let Some(incident) = self.all.get_mut(&id) else { return };
        let (all, over) = (incident.members.len(), incident.members.over());
        // Few are not worth the walk.
        if all < MEMBERS || over == 0 || over < all / SHARE {
            return;
        }
        // Those that were told that they fire are told that they do not, before they are forgotten here.
        if all < 2 * MEMBERS && !incident.is_known_everywhere() {
            return;
        }
        incident.shed += over as u64;
        incident.members.leave_out_over();
        world.ledger.bound(Bound::Members, over as u64);
    }
}

impl World {
    /// Whether one more alert may be known. Those that resolved first are forgotten for it, but none of
    /// `heard`: the request at hand is about them, and has not been decided yet.
    pub(super) fn has_room(&mut self, heard: impl Iterator<Item = AlertId>) -> bool {
        if self.alerts.len() < self.policy.limits.alerts {
            return true;
        }
        if self.alerts.len() == self.alerts.firing() || !self.may_search(Bound::Alerts) {
            return false;
        }
        let idle = |alert: &AlertId| {
            let busy = |t: &super::Track| t.is_live() || t.damping.flaps().is_some();
            !self.alerts.tracks_of(*alert).any(|(_, track)| busy(track))
        };
        let heard: BTreeSet<AlertId> = heard.collect();
        let gone =
            |id: &AlertId, a: &Alert| !a.firing() && !a.is_disputed() && !heard.contains(id) && idle(id);
        let over = self.alerts.iter().filter(|(id, a)| gone(id, a));
        let over = earliest(over.map(|(id, a)| (a.ends_at, *id)).collect(), self.share());
        self.found(Bound::Alerts, over.len());
        for (_, alert) in &over {
            for lane in self.taken_lanes(*alert) {
                self.alerts.forget_track(*alert, lane);
                self.timers.clear(&Timer::ForgetTrack(lane, *alert));
            }
            self.ledger.forget(self.now, *alert, (&mut self.alerts, &self.lanes));
            self.alerts.forget(*alert, &mut self.timers);
        }
        !over.is_empty()
    }

    fn share(&self) -> usize {
        usize::try_from(self.policy.limits.alerts).unwrap_or(usize::MAX).div_ceil(SHARE)
    }

    fn may_search(&self, bound: Bound) -> bool {
        self.searched.may(self.now, bound)
    }

    /// `count` may be forgotten. If there are none, it is not looked for more before long.
    fn found(&mut self, bound: Bound, count: usize) {
        self.ledger.bound(bound, count as u64);
        self.searched.found(self.now, bound, count);
    }
}

/// The `most` smallest, in order.
fn earliest<T: Ord>(mut all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() > most {
        all.select_nth_unstable(most);
        all.truncate(most);
    }
    all.sort_unstable();
    all
}
