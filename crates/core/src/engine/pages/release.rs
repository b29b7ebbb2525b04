//! A person releases an alert that Squelch holds back.

use crate::engine::event::Release;
use crate::engine::ids::GroupKey;
use crate::engine::pages::Pages;
use crate::engine::world::World;
use crate::model::Cause;

impl Pages {
    /// Releases the alert. A muted alert stays muted: a person ends a silence where it is listed.
    pub(crate) fn released(&mut self, world: &mut World, release: &Release) {
        let Release { alert, receiver, by } = release;
        for destination in world.destinations_to(*alert, receiver).collect::<Vec<_>>() {
            if world.end_hold(*alert, destination) {
                self.admit(world, *alert, destination);
            } else if world.state(*alert, destination).damping.flaps().is_some()
                && world.state(*alert, destination).muted().is_none()
            {
                self.calmed(world, *alert, destination);
            }
            if let Some(key) = world.state(*alert, destination).waits_in().cloned() {
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
