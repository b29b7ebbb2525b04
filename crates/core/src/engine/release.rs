//! A person lets go what is held back: an alert that waits for its page, or one whose flapping withholds
//! the truth.

use super::event::Release;
use super::groups::GroupKey;
use super::lanes::LaneId;
use super::pages::Pages;
use super::query::Query;
use super::timers::Timer;
use super::world::World;
use crate::model::{AlertId, Cause};

impl Query<'_> {
    /// Whether anything of `alert` is held back at `receiver` that [`super::Event::Release`] would let go.
    pub fn can_release(&self, alert: AlertId, receiver: &str) -> bool {
        self.world.lanes_to(alert, receiver).any(|lane| {
            let track = self.world.alerts.track(alert, lane);
            track.is_some_and(|t| {
                t.held_until().is_some()
                    || t.waits_in().is_some()
                    || (t.damping.flaps().is_some() && t.muted().is_none())
            })
        })
    }
}

impl Pages {
    /// Lets it go. What is muted stays so: a silence is ended where it is listed.
    pub(super) fn released(&mut self, world: &mut World, release: &Release) {
        let Release { alert, receiver, by } = release;
        for lane in world.lanes_to(*alert, receiver).collect::<Vec<_>>() {
            if world.track(*alert, lane).end_hold() {
                world.timers.clear(&Timer::Hold(lane, *alert));
                world.gauges(lane).held -= 1;
                self.admit(world, *alert, lane);
            } else if world.track(*alert, lane).damping.flaps().is_some()
                && world.track(*alert, lane).muted().is_none()
            {
                self.calmed(world, *alert, lane);
            }
            if let Some(key) = world.track(*alert, lane).waits_in().cloned() {
                self.page_now(world, &key, Cause::Released { by: by.clone() });
            }
        }
    }

    /// The next page of a group leaves, past the receiver's storm and limit: a person wants it.
    fn page_now(&mut self, world: &mut World, key: &GroupKey, cause: Cause) {
        let all = self.take_page(world, key);
        if *key == world.merged_key(key.0) {
            self.flow(world, key.0).merged_at = Some(world.now);
        }
        if !all.is_empty() {
            self.open_with(world, key, all, cause);
        }
    }
}

impl World {
    fn lanes_to(&self, alert: AlertId, receiver: &str) -> impl Iterator<Item = LaneId> {
        let lanes = self.taken_lanes(alert).into_iter();
        lanes.filter(move |lane| self.lanes.lane(*lane).receiver == receiver)
    }
}
