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

use crate::engine::event::Alarm;
use crate::engine::pages::Pages;
use crate::engine::self_check::churn::Churn;
use crate::engine::self_check::clocks::Clocks;
use crate::engine::self_check::heartbeats::Heartbeats;
use crate::engine::self_check::overflow::Bounds;
use crate::engine::self_check::quarantine::Quarantine;
use crate::engine::self_check::severities::UnknownSeverities;
use crate::engine::self_check::watch::{EVERY, Watch};
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{Cause, LabelSet, Problem};

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
    /// Raises a problem that was found at the receiver that watches. Closes it if it was not found.
    pub(crate) fn put(&mut self, world: &mut World, pages: &mut Pages, problem: Problem, found: bool) {
        let what = problem.alertname();
        let Some(watcher) = world.policy.watcher().cloned().filter(|_| found) else {
            return self.close_raised(world, pages, what);
        };
        let labels = LabelSet::from_pairs([("alertname", what)]);
        if let Some(key) = pages.raise(world, &watcher, &labels, problem) {
            let before = self.watch.raised.insert(what.into(), key.clone());
            // Another receiver watches now.
            if let Some(before) = before.filter(|before| *before != key) {
                pages.clear(world, &before, Cause::WatcherChanged);
            }
            world.timers.set_if_unset(Timer::SelfCheck, world.now + EVERY);
        }
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.bounds.rename_receiver(old, new);
        self.quarantine.rename_receiver(old, new);
    }

    /// Raises an alarm about a problem outside of the engine.
    pub(crate) fn alarm(&mut self, world: &mut World, pages: &mut Pages, alarm: &Alarm) {
        let what = alarm.problem.alertname();
        self.put(world, pages, alarm.problem.clone(), true);
        if self.watch.raised.contains_key(what) {
            self.watch.lapses.insert(what.into(), world.now + alarm.lasts);
        }
    }

    pub(crate) fn close_raised(&mut self, world: &mut World, pages: &mut Pages, what: &str) {
        if let Some(key) = self.watch.raised.remove(what) {
            pages.clear(world, &key, Cause::ProblemOver);
        }
    }
}
