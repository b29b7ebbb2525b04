//! When a critical alert may end without a page of its own.

use std::collections::{BTreeMap, BTreeSet};

use squelch::engine::{Engine, RowState};
use squelch::model::{AlertId, Cause, Decision, Duration, Kind, Notification, Status, Timestamp};

/// The longest time for which a storm or a limit merges the page of a critical alert.
const MERGE_WITHIN: Duration = Duration::from_mins(1);

/// The critical alerts that may end without a page.
#[derive(Default)]
pub struct Excused {
    /// The alerts that were inhibited, with the end of the inhibition. `None` while it lasts.
    inhibited: BTreeMap<AlertId, Option<Timestamp>>,
    /// When a page last told a receiver that an alert fires.
    paged: BTreeMap<(AlertId, String), Timestamp>,
}

impl Excused {
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
                self.inhibited.insert(*id, None);
            } else if let Some(ended) = self.inhibited.get_mut(id) {
                ended.get_or_insert(now);
            }
        }
    }

    /// Notes which alerts a commit pages for.
    pub fn pages(&mut self, notifications: &[Notification]) {
        for page in notifications.iter().filter(|n| n.kind == Kind::Page) {
            let firing = page.alerts.iter().filter(|alert| alert.status == Status::Firing);
            self.paged.extend(firing.map(|alert| ((alert.id, page.receiver.to_string()), page.at)));
        }
    }

    /// Whether an alert ended while it waited after an inhibition, or while a storm kept its page. In the
    /// first case, the alert that inhibited it paged for the outage. In the second, the alert fired again on
    /// another route, and paged there.
    pub fn excuses(&self, engine: &Engine, decision: &Decision) -> bool {
        let wait = engine.policy().routes.iter().map(|route| route.group_interval).max();
        let ended = self.inhibited.get(&decision.alert).copied().flatten();
        let in_time = |at: Timestamp, wait| decision.at <= at + wait;
        let paged = self.paged.get(&(decision.alert, decision.receiver.to_string()));
        let paged = paged.is_some_and(|at| in_time(*at, MERGE_WITHIN));
        decision.disposition.reason() == "self_resolved"
            && (paged || ended.is_some_and(|at| in_time(at, wait.unwrap_or_default())))
    }
}
