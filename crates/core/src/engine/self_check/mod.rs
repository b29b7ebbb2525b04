//! The self-check: the problems of Squelch and of its senders that a person must know.

pub(crate) mod churn;
pub(crate) mod clocks;
pub(crate) mod heartbeats;
pub(crate) mod overflow;
pub(crate) mod quarantine;
pub(crate) mod severities;
pub(crate) mod watch;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::mutes::Mutes;
use crate::engine::pages::Pages;
use crate::engine::self_check::churn::Churn;
use crate::engine::self_check::clocks::Clocks;
use crate::engine::self_check::heartbeats::Heartbeats;
use crate::engine::self_check::overflow::Bounds;
use crate::engine::self_check::quarantine::Quarantine;
use crate::engine::self_check::severities::UnknownSeverities;
use crate::engine::self_check::watch::Watch;
use crate::engine::timers::{LOOK_EVERY, Timer};
use crate::engine::world::World;

/// Opens and closes internal incidents.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SelfCheck {
    pub(crate) watch: Watch,
    pub(crate) clocks: Clocks,
    pub(crate) churn: Churn,
    pub(crate) severities: UnknownSeverities,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) bounds: Bounds,
    pub(crate) quarantine: Quarantine,
}

impl SelfCheck {
    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.bounds.rename_receiver(old, new);
        self.quarantine.rename_receiver(old, new);
    }

    /// Raises the current problems, and closes those that are over.
    pub(crate) fn look(&mut self, mutes: &Mutes, world: &mut World, pages: &mut Pages) {
        self.watch.look(mutes, world, pages);
        self.clocks.say(&mut self.watch, world, pages);
        self.bounds.say(world, pages);
        self.quarantine.end(world, pages);
        self.watch.lapse(world, pages);
        let clocks_are_right = self.clocks.wrong(world.now).next().is_none();
        let idle = self.watch.is_idle() && pages.incidents.orphans.is_empty() && clocks_are_right;
        if !idle || !self.bounds.is_empty() || !self.quarantine.is_empty() {
            world.timers.set(Timer::SelfCheck, world.now + LOOK_EVERY);
        }
    }
}
