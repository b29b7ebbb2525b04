//! The ledger: every observation at every (route, receiver) is disposed once, and counted.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::alerts::Alert;
use super::lanes::Lane;
use super::stats::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
use crate::config::Policy;
use crate::model::{AlertId, Basis, Decision, Disposition, Duration, Kind, Source, Status, Timestamp};

/// Counts, and writes down what was decided in the event at hand.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Ledger {
    stats: Stats,
    /// Unchanged repeats that are counted and not written down yet, by alert, route and receiver. Their
    /// bound is that of the alerts; see [`WRITE_REPEATS`].
    #[serde(default, with = "super::pairs")]
    repeats: BTreeMap<(AlertId, SmolStr, SmolStr), Decision>,
    /// When the labels of an alert were written down last.
    #[serde(default, with = "super::pairs")]
    named: BTreeMap<AlertId, Timestamp>,
    /// When the two above were last looked through.
    #[serde(default)]
    swept: Timestamp,
    #[serde(skip)]
    decisions: Vec<Decision>,
    /// As they came.
    #[serde(skip)]
    disposed_repeats: Vec<Decision>,
}

/// Unchanged repeats are written down once in this time, and before anything else that is decided about
/// their alert: a month of them would otherwise be most of the journal.
const WRITE_REPEATS: Duration = Duration::from_hours(1);

/// Labels are written down once in this time, so that what is kept of the journal names its alerts.
const NAME_AGAIN: Duration = Duration::from_hours(24);

/// What was decided about observations of one alert, before it is written down.
pub(super) struct Verdict<'a> {
    pub(super) alert: AlertId,
    pub(super) known: Option<&'a Alert>,
    pub(super) lane: &'a Lane,
    pub(super) incident: SmolStr,
    pub(super) disposition: Disposition,
    pub(super) rule: SmolStr,
    pub(super) release: Option<Timestamp>,
    /// Its labels and the start of the occurrence are added when it is written down.
    pub(super) basis: Basis,
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

    /// An alert is forgotten: of its repeats nothing more will be heard.
    pub(super) fn forget(&mut self, now: Timestamp, alert: AlertId) {
        self.named.remove(&alert);
        let all = (alert, SmolStr::default(), SmolStr::default())..;
        let left = self.repeats.range(all).map(|(key, _)| key).take_while(|key| key.0 == alert);
        for key in left.cloned().collect::<Vec<_>>() {
            let last = self.repeats.remove(&key);
            self.decisions.extend(last.map(|repeats| Decision { at: now, ..repeats }));
        }
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
        self.count(&verdict, count);
        let key = (verdict.alert, verdict.lane.route.clone(), verdict.lane.receiver.clone());
        if let Some(repeats) = self.repeats.remove(&key) {
            self.decisions.push(Decision { at: now, ..repeats });
        }
        let decision = self.decision(now, count, verdict);
        self.decisions.push(decision);
    }

    /// Disposes `count` pending observations that repeat what is known: they are written down later, as
    /// one.
    pub(super) fn dispose_repeats(&mut self, now: Timestamp, count: u64, verdict: Verdict<'_>) {
        if count == 0 {
            return;
        }
        self.count(&verdict, count);
        let key = (verdict.alert, verdict.lane.route.clone(), verdict.lane.receiver.clone());
        let mut first = self.decision(now, count, verdict);
        first.basis.repeats_since = Some(now);
        self.disposed_repeats.push(first.clone());
        match self.repeats.get_mut(&key) {
            Some(known) if known.disposition == first.disposition => {
                known.count += count;
                if !first.basis.labels.is_empty() {
                    known.basis.labels = first.basis.labels;
                }
            }
            _ => {
                if let Some(other) = self.repeats.insert(key, first) {
                    self.decisions.push(Decision { at: now, ..other });
                }
            }
        }
        if now >= self.swept + WRITE_REPEATS {
            self.swept = now;
            let old = |d: &Decision| d.basis.repeats_since.is_none_or(|since| since + WRITE_REPEATS <= now);
            let (written, kept): (BTreeMap<_, _>, _) =
                std::mem::take(&mut self.repeats).into_iter().partition(|(_, d)| old(d));
            self.repeats = kept;
            self.decisions.extend(written.into_values().map(|repeats| Decision { at: now, ..repeats }));
            self.named.retain(|_, at| *at + NAME_AGAIN > now);
        }
    }

    fn count(&mut self, verdict: &Verdict<'_>, count: u64) {
        let receiver = self.receiver(&verdict.lane.receiver);
        debug_assert!(receiver.pending >= count, "disposed more than was routed");
        receiver.pending = receiver.pending.saturating_sub(count);
        *receiver.disposed.entry(verdict.disposition).or_default() += count;
    }

    fn decision(&mut self, now: Timestamp, count: u64, verdict: Verdict<'_>) -> Decision {
        let mut basis = verdict.basis;
        if let Some(known) = verdict.known {
            basis.starts_at = Some(known.starts_at);
            if self.named.get(&verdict.alert).is_none_or(|at| *at + NAME_AGAIN <= now) {
                self.named.insert(verdict.alert, now);
                basis.labels = known.labels.clone();
            }
        }
        Decision {
            at: now,
            alert: verdict.alert,
            route: verdict.lane.route.clone(),
            receiver: verdict.lane.receiver.clone(),
            disposition: verdict.disposition,
            count,
            incident: verdict.incident,
            rule: verdict.rule,
            release: verdict.release,
            basis,
        }
    }

    /// Counts a notification that was decided.
    pub(super) fn notified(&mut self, receiver: &SmolStr, integration: &SmolStr, kind: Kind) {
        let receiver = self.receiver(receiver);
        *receiver.notifications.entry((integration.clone(), kind)).or_default() += 1;
    }

    /// Counts an observation of an alert that there is no room for.
    pub(super) fn overflow(&mut self) {
        self.stats.overflow += 1;
    }

    /// Counts what a bound made go.
    pub(super) fn bound(&mut self, bound: Bound, count: u64) {
        *self.stats.bounds.entry(bound).or_default() += count;
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

    /// Takes out the repeats that were disposed since the last call.
    pub(super) fn take_repeats(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.disposed_repeats)
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
