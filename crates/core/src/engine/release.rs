//! A person lets go what is held back: an alert that waits for its page, or one whose flapping withholds
//! the truth.

use super::Engine;
use super::event::Release;
use super::groups::GroupKey;
use super::lanes::LaneId;
use super::timers::Timer;
use crate::model::{AlertId, Cause};

impl Engine {
    /// Whether anything of `alert` is held back at `receiver` that [`super::Event::Release`] would let go.
    pub fn can_release(&self, alert: AlertId, receiver: &str) -> bool {
        self.lanes_to(alert, receiver).any(|lane| {
            let track = self.alerts.track(alert, lane);
            track.is_some_and(|t| {
                t.held_until().is_some()
                    || t.waits_in().is_some()
                    || (t.damping.flaps().is_some() && t.muted().is_none())
            })
        })
    }

    /// Lets it go. What is muted stays so: a silence is ended where it is listed.
    pub(super) fn released(&mut self, release: &Release) {
        let Release { alert, receiver, by } = release;
        for lane in self.lanes_to(*alert, receiver).collect::<Vec<_>>() {
            if self.track(*alert, lane).end_hold() {
                self.timers.clear(&Timer::Hold(lane, *alert));
                self.gauges(lane).held -= 1;
                self.admit(*alert, lane);
            } else if self.track(*alert, lane).damping.flaps().is_some()
                && self.track(*alert, lane).muted().is_none()
            {
                self.calmed(*alert, lane);
            }
            if let Some(key) = self.track(*alert, lane).waits_in().cloned() {
                self.page_now(&key, Cause::Released { by: by.clone() });
            }
        }
    }

    fn lanes_to(&self, alert: AlertId, receiver: &str) -> impl Iterator<Item = LaneId> {
        let lanes = self.taken_lanes(alert).into_iter();
        lanes.filter(move |lane| self.lanes.lane(*lane).receiver == receiver)
    }

    /// The next page of a group leaves, past the receiver's storm and limit: a person wants it.
    fn page_now(&mut self, key: &GroupKey, cause: Cause) {
        let all = self.take_page(key);
        if *key == self.merged_key(key.0) {
            self.flow(key.0).merged_at = Some(self.now);
        }
        if !all.is_empty() {
            self.open_with(key, all, cause);
        }
    }
}
