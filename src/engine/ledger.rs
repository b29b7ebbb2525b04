//! The ledger: every observation at every (route, receiver) is disposed once, and counted.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::lanes::Lane;
use super::stats::{PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
use crate::config::Policy;
use crate::model::{AlertId, Decision, Disposition, Duration, Kind, Source, Status, Timestamp};

/// Counts, and writes down what was decided in the event at hand.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Ledger {
    stats: Stats,
    #[serde(skip)]
    decisions: Vec<Decision>,
}

/// What was decided about observations of one alert, before it is written down.
pub(super) struct Verdict<'a> {
    pub(super) alert: AlertId,
    pub(super) route: &'a SmolStr,
    pub(super) receiver: &'a SmolStr,
    pub(super) incident: SmolStr,
    pub(super) disposition: Disposition,
    pub(super) rule: SmolStr,
    pub(super) release: Option<Timestamp>,
}

impl Ledger {
    /// Gives every receiver of `policy` its counters, at zero.
    pub(super) fn update(&mut self, policy: &Policy) {
        for (name, receiver) in &policy.receivers {
            counters(&mut self.stats.shadow, name);
            let stats = self.receiver(name);
            for integration in &receiver.integrations {
                for kind in Kind::ALL {
                    stats.notifications.entry((integration.name.clone(), kind)).or_default();
                }
            }
        }
        for source in Source::ALL {
            for status in [Status::Firing, Status::Resolved] {
                self.stats.received.entry((source, status)).or_default();
            }
        }
    }

    /// The counters of a receiver.
    pub(super) fn receiver(&mut self, name: &SmolStr) -> &mut ReceiverStats {
        counters(&mut self.stats.receivers, name)
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counts observations received.
    pub(super) fn received(&mut self, source: Source, status: Status, count: u64) {
        *self.stats.received.entry((source, status)).or_default() += count;
    }

    /// The counters of a lane: its receiver's, or those of its receiver's shadow.
    pub(super) fn account(&mut self, lane: &Lane) -> &mut ReceiverStats {
        match lane.observes() {
            true => counters(&mut self.stats.shadow, &lane.receiver),
            false => self.receiver(&lane.receiver),
        }
    }

    /// Disposes `count` pending observations of a lane that only observes: they are counted, and told
    /// nobody.
    pub(super) fn dispose_in_shadow(&mut self, lane: &Lane, count: u64, disposition: Disposition) {
        if count == 0 {
            return;
        }
        let account = self.account(lane);
        debug_assert!(account.pending >= count, "disposed more than was routed");
        account.pending = account.pending.saturating_sub(count);
        *account.disposed.entry(disposition).or_default() += count;
    }

    /// Disposes `count` pending observations.
    pub(super) fn dispose(&mut self, now: Timestamp, count: u64, verdict: Verdict<'_>) {
        if count == 0 {
            return;
        }
        let receiver = self.receiver(verdict.receiver);
        debug_assert!(receiver.pending >= count, "disposed more than was routed");
        receiver.pending = receiver.pending.saturating_sub(count);
        *receiver.disposed.entry(verdict.disposition).or_default() += count;
        self.decisions.push(Decision {
            at: now,
            alert: verdict.alert,
            route: verdict.route.clone(),
            receiver: verdict.receiver.clone(),
            disposition: verdict.disposition,
            count,
            incident: verdict.incident,
            rule: verdict.rule,
            release: verdict.release,
        });
    }

    /// Counts a notification that was decided.
    pub(super) fn notified(&mut self, receiver: &SmolStr, integration: &SmolStr, kind: Kind) {
        let receiver = self.receiver(receiver);
        *receiver.notifications.entry((integration.clone(), kind)).or_default() += 1;
    }

    /// Counts how long the first page of a problem waited here.
    pub(super) fn page_delay(&mut self, lane: &Lane, delay: Duration) {
        let receiver = self.account(lane);
        let seconds = delay.as_millis().div_ceil(1000);
        let bucket = PAGE_DELAY_BUCKETS.iter().position(|upper| seconds <= *upper);
        if let Some(count) = receiver.page_delay.get_mut(bucket.unwrap_or(PAGE_DELAY_BUCKETS.len())) {
            *count += 1;
        }
        receiver.page_delay_sum =
            Duration::from_millis(receiver.page_delay_sum.as_millis().saturating_add(delay.as_millis()));
    }

    /// Takes out what was decided since the last call.
    pub(super) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }
}

fn counters<'a>(of: &'a mut BTreeMap<SmolStr, ReceiverStats>, name: &SmolStr) -> &'a mut ReceiverStats {
    of.entry(name.clone()).or_insert_with(|| ReceiverStats {
        page_delay: vec![0; PAGE_DELAY_BUCKETS.len() + 1],
        ..ReceiverStats::default()
    })
}
