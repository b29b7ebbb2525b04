//! The request that last stated an alert.

use std::collections::{BTreeMap, HashMap};

use super::TraceContext;
use crate::model::{AlertId, AlertView};

/// So many alerts are remembered. The oldest go first.
const ALERTS: usize = 16_384;

/// The requests by their alerts.
#[derive(Default)]
pub(super) struct Carried {
    by_alert: HashMap<AlertId, (u64, TraceContext)>,
    by_age: BTreeMap<u64, AlertId>,
    next: u64,
}

impl Carried {
    pub(super) fn carry(&mut self, alerts: impl IntoIterator<Item = AlertId>, context: TraceContext) {
        for alert in alerts {
            self.next += 1;
            if let Some((before, _)) = self.by_alert.insert(alert, (self.next, context)) {
                self.by_age.remove(&before);
            }
            self.by_age.insert(self.next, alert);
            if self.by_age.len() > ALERTS
                && let Some((_, oldest)) = self.by_age.pop_first()
            {
                self.by_alert.remove(&oldest);
            }
        }
    }

    /// At most `most` requests, the newest first, each once.
    pub(super) fn told_of(&self, alerts: &[AlertView], most: usize) -> Vec<TraceContext> {
        let mut found: Vec<(u64, TraceContext)> =
            alerts.iter().filter_map(|alert| self.by_alert.get(&alert.id).copied()).collect();
        found.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
        let mut contexts: Vec<TraceContext> = Vec::new();
        for (_, context) in found {
            if contexts.len() < most && !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        contexts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_requests_stay() {
        let mut carried = Carried::default();
        let context = |span| TraceContext { trace: 1, span };
        for n in 0..ALERTS as u64 + 5 {
            carried.carry([AlertId(n.into())], context(n + 1));
        }
        carried.carry([AlertId(7)], context(1));
        assert_eq!((carried.by_alert.len(), carried.by_age.len()), (ALERTS, ALERTS));
        assert!(!carried.by_alert.contains_key(&AlertId(4)) && carried.by_alert.contains_key(&AlertId(7)));
    }
}
