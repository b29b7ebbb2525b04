//! A receiver that has had enough: pages beyond the limit are merged into one, and a storm is one
//! incident. Levels marked `never_hold` are merged into a page within a minute, never into an update.

use crate::engine::ids::{GroupKey, IncidentId};
use crate::engine::pages::Pages;
use crate::engine::pages::groups::{Firing, Pending, Wait};
use crate::engine::timers::Timer;
use crate::engine::world::{MERGED, World};
use crate::model::{AlertId, Cause, Duration, Timestamp};

/// Pages of levels marked `never_hold` are merged for at most this long.
const MERGE_WITHIN: Duration = Duration::from_secs(60);

/// Whether the group may be that of a receiver's merged pages: no other group has its label, unless the
/// alerts do.
pub(crate) fn is_merged((_, labels): &GroupKey) -> bool {
    !labels.value(MERGED).is_empty()
}

impl Pages {
    /// Storm, then limit: a would-be page of `key`. It returns true if the page was merged and does not
    /// leave by itself. `all` are its alerts with the observations that wait, and whether they recovered.
    pub(crate) fn merge(&mut self, world: &mut World, key: &GroupKey, all: &[(AlertId, u64, bool)]) -> bool {
        let (now, noise) = (world.now, world.destinations.get(key.0).noise.clone());
        let urgent = all.iter().any(|(alert, _, recovered)| !recovered && world.never_holds(*alert));
        if let Some(count) = self.flow(world, key.0).storm(now, &noise.storm) {
            let crate::policy::Storm { window, start, .. } = noise.storm;
            let cause = Cause::Storm { pages: count, window, start, end: noise.storm.end() };
            let merged = world.merged_key(key.0);
            match self.storm_incident(world, &merged, noise.storm.window).filter(|_| !urgent) {
                Some(id) => self.fold(world, id, key, all, &cause),
                None => {
                    let last = self.flow(world, key.0).merged_at.map_or(now, |at| at + MERGE_WITHIN);
                    self.wait_merged(world, key, &merged, all, last.max(now));
                }
            }
            return true;
        }
        if urgent {
            return false;
        }
        match self.flow(world, key.0).limit(now, &noise.limit) {
            Ok(()) => false,
            Err(free) => {
                let merged = world.merged_key(key.0);
                self.wait_merged(world, key, &merged, all, free);
                true
            }
        }
    }

    /// The newest merged incident that is open and of this storm. The rest of an earlier storm does not
    /// swallow the page.
    fn storm_incident(&self, world: &World, merged: &GroupKey, window: Duration) -> Option<IncidentId> {
        let began = self.flows.get(&world.flow_key(merged.0))?.storm_since? - window;
        let open = self.groups.get(merged)?.open.iter().rev();
        open.copied().find(|id| {
            let incident = self.incidents.all.get(id);
            incident.is_some_and(|i| !i.is_over() && i.paged_at >= began)
        })
    }

    /// Folds a would-be page into the storm's incident, which gets an update about it.
    fn fold(
        &mut self,
        world: &mut World,
        id: IncidentId,
        key: &GroupKey,
        all: &[(AlertId, u64, bool)],
        cause: &Cause,
    ) {
        for (alert, count, recovered) in all {
            let held = self.enter(world, id, key, *alert, *recovered);
            self.incidents.wait_in(id, *alert, held);
            self.suppress(world, *alert, key.0, *count, cause.clone());
        }
        self.incidents.reopen(world, id);
        self.incidents.touched.insert(id);
    }

    /// Puts the alerts of a would-be page of `key` into the receiver's next merged page, due then.
    fn wait_merged(
        &mut self,
        world: &mut World,
        key: &GroupKey,
        merged: &GroupKey,
        all: &[(AlertId, u64, bool)],
        due: Timestamp,
    ) {
        let fired_at = world.now;
        world.timers.clear(&Timer::ForgetGroup(merged.clone()));
        for (alert, count, recovered) in all {
            let (alert, count, recovered) = (*alert, *count, *recovered);
            let (wait, firing) = (Wait::Merged, Firing::of(alert));
            let group = self.groups.entry(merged.clone()).or_default();
            group.pending.push(Pending { alert, count, fired_at, due, wait, firing, recovered });
            if recovered {
                continue;
            }
            for destination in world.taken_destinations(alert) {
                let state = world.state(alert, destination);
                if state.waits_in() == Some(key) {
                    state.merge(merged.clone());
                }
            }
        }
        world.timers.set_by(Timer::GroupWait(merged.clone()), due);
    }
}
