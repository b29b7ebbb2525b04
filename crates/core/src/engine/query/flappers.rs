//! Alerts that flap, or that are close to it, with their numbers.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::engine::ids::DestinationId;
use crate::engine::query::Query;
use crate::model::{AlertId, Duration, LabelSet, Timestamp};
use crate::policy::Flapping;

/// An alert that flaps at a receiver, or is about to.
#[derive(Clone, Debug)]
pub struct Flapper {
    /// Identity.
    pub alert: AlertId,
    /// Its labels.
    pub labels: LabelSet,
    /// Where.
    pub receiver: SmolStr,
    /// Whether it fires now.
    pub firing: bool,
    /// How often it changed since it was last calm.
    pub changes: u32,
    /// The times of its newest changes, oldest first.
    pub recent: Vec<Timestamp>,
    /// Its penalty now, in thousandths of a change.
    pub penalty: u64,
    /// The penalty from which it flaps, in thousandths.
    pub suppress_at: u32,
    /// The penalty below which it stops flapping, in thousandths.
    pub reuse_at: u32,
    /// The time in which the penalty halves.
    pub half_life: Duration,
    /// Whether the setting `alone` applies to its severity. Then flap damping does not.
    pub by_alone: bool,
    /// Since when it flaps, if it does.
    pub since: Option<Timestamp>,
    /// When it is calm at the latest, if it changes no more.
    pub until: Option<Timestamp>,
}

impl Query<'_> {
    /// The alerts that flap, then those that changed most recently, and the number of all of them. `now` is
    /// the time of the query.
    pub fn flappers(&self, now: Timestamp, offset: usize, limit: usize) -> (Vec<Flapper>, usize) {
        let mut keys: BTreeSet<(bool, Reverse<u64>, AlertId, DestinationId)> = BTreeSet::new();
        for (alert, destination, state) in self.world.alerts.states() {
            let penalty =
                state.damping.penalty_at(now, &self.world.destinations.get(destination).noise.flapping);
            let flaps = state.damping.since().is_some();
            if flaps || (state.damping.count() >= 3 && penalty >= 1000) {
                keys.insert((!flaps, Reverse(penalty), alert, destination));
            }
        }
        let all = keys.len();
        let rows = keys.into_iter().skip(offset).take(limit);
        let rows =
            rows.filter_map(|(_, _, alert, destination)| self.flapper(now, alert, destination)).collect();
        (rows, all)
    }

    pub(crate) fn flapper(&self, now: Timestamp, id: AlertId, destination: DestinationId) -> Option<Flapper> {
        let (alert, state) = (self.world.alerts.alert(id)?, self.world.alerts.state(id, destination)?);
        let settings = self.world.destinations.get(destination);
        Some(Flapper {
            alert: id,
            labels: alert.told().clone(),
            receiver: settings.receiver.clone(),
            firing: alert.firing(),
            changes: state.damping.count(),
            recent: state.damping.changed_at(),
            penalty: state.damping.penalty_at(now, &settings.noise.flapping),
            suppress_at: settings.noise.flapping.suppress_at,
            reuse_at: Flapping::REUSE_AT,
            half_life: settings.noise.flapping.half_life,
            by_alone: settings.noise.alone.applies(self.world.policy.severities.level(&alert.labels)),
            since: state.damping.since(),
            until: state.damping.reuse_deadline(&settings.noise.flapping),
        })
    }
}
