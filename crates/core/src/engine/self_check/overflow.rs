//! Bounds of the engine's memory. When a bound is reached, Squelch first forgets alerts that are over. It
//! reports the alerts beyond the bound together, as one incident for each receiver, which pages once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::accounting::PendingDecision;
use crate::engine::ids::GroupKey;
use crate::engine::pages::Pages;
use crate::engine::renames::rename_key;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Basis, Cause, Disposition, Duration, LabelSet, Observation, Problem, Reason, Status, Timestamp,
};

/// An overflow is over when nothing came beyond the bound for so long.
const OVER_AFTER: Duration = Duration::from_mins(15);

/// The alerts beyond the bound.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    overflows: BTreeMap<SmolStr, Overflow>,
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
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_key(&mut self.overflows, old, new);
    }

    /// An alert beyond the bound. It is reported with the others, and not remembered.
    pub(crate) fn overflow(&mut self, world: &mut World, observation: &Observation, alert: AlertId) {
        world.accounting.overflow();
        let limit = world.policy.limits.alerts;
        for destination in world.destinations.matching(&world.policy, &observation.labels) {
            let settings = world.destinations.get(destination);
            let receiver = settings.receiver.clone();
            let mute = settings.integrations.is_empty();
            let account = world.accounting.account(settings);
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
            let verdict = PendingDecision {
                alert,
                known: None,
                destination: (destination, settings),
                incident: SmolStr::default(),
                disposition: Disposition::Suppressed(reason),
                cause,
                release: None,
                basis,
            };
            world.accounting.dispose(world.now, 1, verdict);
            if reason == Reason::Storm {
                let now = world.now;
                let new = || Overflow { count: 0, last: now, key: None };
                let overflow = self.overflows.entry(receiver).or_insert_with(new);
                overflow.count += 1;
                overflow.last = now;
                world.timers.set_if_unset(Timer::SelfCheck, now);
            }
        }
    }

    /// Whether no alert came beyond the bound recently.
    pub(crate) fn is_empty(&self) -> bool {
        self.overflows.is_empty()
    }

    /// Says how much came beyond the bound, and when that is over.
    pub(crate) fn say(&mut self, world: &mut World, pages: &mut Pages) {
        let (now, limit) = (world.now, world.policy.limits.alerts);
        for (receiver, overflow) in self.overflows.clone() {
            if overflow.last + OVER_AFTER <= now {
                self.overflows.remove(&receiver);
                if let Some(key) = overflow.key {
                    pages.clear(world, &key, Cause::BelowAlertLimit { lasted: OVER_AFTER });
                }
                continue;
            }
            let problem = Problem::TooManyAlerts { known: world.alerts.len(), limit, beyond: overflow.count };
            // The incident goes on under its labels if the receiver has another name since.
            let labels = overflow.key.map_or_else(
                || LabelSet::from_pairs([("alertname", problem.alertname()), ("receiver", &receiver)]),
                |(_, labels)| labels,
            );
            let key = pages.raise(world, &receiver, &labels, problem);
            // A receiver that has no integrations now may have been notified before, and must get the
            // resolve.
            if let Some(overflow) = self.overflows.get_mut(&receiver).filter(|_| key.is_some()) {
                overflow.key = key;
            }
        }
    }
}
