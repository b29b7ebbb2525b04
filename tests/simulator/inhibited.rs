//! The one wait of a critical alert: one `group_interval` after an inhibition of it ended.

use std::collections::{BTreeMap, BTreeSet};

use squelch::engine::{Engine, RowState};
use squelch::model::{AlertId, Cause, Decision, Timestamp};

/// The critical alerts that were inhibited, with the end of the inhibition. `None` while it lasts.
#[derive(Default)]
pub struct Inhibited(BTreeMap<AlertId, Option<Timestamp>>);

impl Inhibited {
    /// Notes which critical alerts are inhibited after an event, and of which that ended with it.
    pub fn note(&mut self, engine: &Engine, critical: &BTreeSet<AlertId>) {
        if engine.policy().inhibit_rules.is_empty() {
            return;
        }
        let now = engine.now();
        for id in critical {
            let rows = engine.query().alert(now, *id).map_or(Vec::new(), |detail| detail.rows);
            if rows.iter().any(|row| {
                row.standing.state == RowState::Muted
                    && matches!(row.standing.cause, Some(Cause::Inhibited { .. }))
            }) {
                self.0.insert(*id, None);
            } else if let Some(ended) = self.0.get_mut(id) {
                ended.get_or_insert(now);
            }
        }
    }

    /// Whether an alert ended while it waited after an inhibition. The alert that inhibited it paged for the
    /// outage.
    pub fn excuses(&self, engine: &Engine, decision: &Decision) -> bool {
        let wait = engine.policy().routes.iter().map(|route| route.group_interval).max();
        let ended = self.0.get(&decision.alert).copied().flatten();
        let in_time = |at| decision.at <= at + wait.unwrap_or_default();
        decision.disposition.reason() == "self_resolved" && ended.is_some_and(in_time)
    }
}
