//! The accounting: every observation at every (route, receiver) is disposed once, and counted.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::alerts::{Alert, Alerts};
use crate::engine::destinations::{Destination, Destinations};
use crate::engine::ids::DestinationId;
use crate::engine::renames::rename_key;
use crate::engine::repeats::cause_of_repeats;
use crate::engine::stats::{Bound, PAGE_DELAY_BUCKETS, ReceiverStats, Stats};
use crate::model::{
    AlertId, Basis, Cause, Decision, Disposition, Duration, Kind, Reason, Source, Status, Timestamp,
};
use crate::policy::Policy;

/// Counts, and writes down the decisions about the current event.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Accounting {
    stats: Stats,
    /// Unchanged repeats that are counted and not written down yet. The bound of the alerts bounds them too
    /// (see [`WRITE_REPEATS`]).
    #[serde(default, with = "crate::engine::pairs")]
    repeats: BTreeMap<(AlertId, DestinationId), RepeatCount>,
    /// When these were last looked through.
    #[serde(default)]
    swept: Timestamp,
    #[serde(skip)]
    decisions: Vec<Decision>,
    /// Unchanged repeats at the moment of their disposition, for a caller that watches the current event.
    #[serde(skip)]
    disposed_repeats: Option<Vec<Decision>>,
}

/// Unchanged repeats of one alert at one destination. There may be as many of these as alerts, so it keeps
/// nothing that can be found later.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct RepeatCount {
    count: u64,
    since: Timestamp,
    starts_at: Timestamp,
    reason: Reason,
    incident: SmolStr,
}

/// Unchanged repeats are written down once in this time, and before any other decision about their alert.
/// Otherwise a month of them would be most of the journal.
const WRITE_REPEATS: Duration = Duration::from_hours(1);

/// Labels are written down once in this time, so that the kept part of the journal names its alerts.
const NAME_AGAIN: Duration = Duration::from_hours(24);

impl RepeatCount {
    fn verdict<'a>(
        &self,
        key: (AlertId, DestinationId),
        known: Option<&'a mut Alert>,
        destination: &'a Destination,
    ) -> PendingDecision<'a> {
        PendingDecision {
            alert: key.0,
            known,
            destination: (key.1, destination),
            incident: self.incident.clone(),
            disposition: Disposition::Suppressed(self.reason),
            cause: cause_of_repeats(self.reason),
            release: None,
            basis: Basis { repeats_since: Some(self.since), ..destination.basis() },
        }
    }
}

/// A decision about observations of one alert, before it is written down.
pub(crate) struct PendingDecision<'a> {
    pub(crate) alert: AlertId,
    pub(crate) known: Option<&'a mut Alert>,
    pub(crate) destination: (DestinationId, &'a Destination),
    pub(crate) incident: SmolStr,
    pub(crate) disposition: Disposition,
    pub(crate) cause: Cause,
    pub(crate) release: Option<Timestamp>,
    /// Its labels and the start of the occurrence are added when it is written down.
    pub(crate) basis: Basis,
}

/// Whose decision it is, at a destination that only observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The engine's own decision. At a destination in observe mode it is the one that would have followed,
    /// and no receiver is notified.
    Engine,
    /// The sender's, which is passed on.
    Sender,
}

impl Accounting {
    /// Gives every receiver of `policy` its counters, at zero.
    pub(crate) fn update(&mut self, policy: &Policy) {
        for (name, receiver) in &policy.receivers {
            counters(&mut self.stats.observed, name);
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

    /// A receiver has another name: its counters go on under it. An earlier receiver of this name is idle.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        for counters in [&mut self.stats.receivers, &mut self.stats.observed] {
            let earlier = counters.remove(new);
            rename_key(counters, old, new);
            if let Some(earlier) = earlier {
                counters.entry(new.clone()).or_default().add(earlier);
            }
        }
    }

    /// Whether nothing is open or waits at a receiver of this name.
    pub(crate) fn is_idle(&self, name: &SmolStr) -> bool {
        let of = [&self.stats.receivers, &self.stats.observed];
        of.into_iter().filter_map(|counters| counters.get(name)).all(ReceiverStats::is_idle)
    }

    /// The counters of a receiver.
    pub(crate) fn receiver(&mut self, name: &SmolStr) -> &mut ReceiverStats {
        counters(&mut self.stats.receivers, name)
    }

    /// Squelch is about to forget an alert, and records the rest of its repeats.
    pub(crate) fn forget(
        &mut self,
        now: Timestamp,
        alert: AlertId,
        (alerts, destinations): (&mut Alerts, &Destinations),
    ) {
        let all = (alert, DestinationId(0))..=(alert, DestinationId(u32::MAX));
        for key in self.repeats.range(all).map(|(key, _)| *key).collect::<Vec<_>>() {
            self.write_repeats(now, key, alerts.alert_mut(alert), destinations.get(key.1));
        }
    }

    /// The number of gathered repeats whose alert is not known.
    pub(crate) fn repeats_of_none(&self, alerts: &Alerts) -> u64 {
        self.repeats.keys().filter(|(alert, _)| alerts.alert(*alert).is_none()).count() as u64
    }

    /// Writes down the gathered repeats, if there are any.
    fn write_repeats(
        &mut self,
        now: Timestamp,
        key: (AlertId, DestinationId),
        known: Option<&mut Alert>,
        destination: &Destination,
    ) {
        if let Some(repeats) = self.repeats.remove(&key) {
            let verdict = repeats.verdict(key, known, destination);
            let mut decision = decision_of(now, repeats.count, Whose::Engine, verdict);
            decision.basis.starts_at = Some(repeats.starts_at);
            self.decisions.push(decision);
        }
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counts observations received.
    pub(crate) fn received(&mut self, source: Source, status: Status, count: u64) {
        *self.stats.received.entry((source, status)).or_default() += count;
    }

    /// The counters of a destination: its receiver's, or those of its receiver's observed.
    pub(crate) fn account(&mut self, destination: &Destination) -> &mut ReceiverStats {
        match destination.observes() {
            true => counters(&mut self.stats.observed, &destination.receiver),
            false => self.receiver(&destination.receiver),
        }
    }

    /// Disposes `count` pending observations, as the engine decided.
    pub(crate) fn dispose(&mut self, now: Timestamp, count: u64, mut verdict: PendingDecision<'_>) {
        if count == 0 {
            return;
        }
        self.count(verdict.destination.1, Whose::Engine, verdict.disposition, count);
        let known = verdict.known.as_deref_mut();
        self.write_repeats(now, (verdict.alert, verdict.destination.0), known, verdict.destination.1);
        let decision = decision_of(now, count, Whose::Engine, verdict);
        self.decisions.push(decision);
    }

    /// Disposes `count` pending observations, as a sender decided whose notifications are passed on.
    pub(crate) fn dispose_as_sent(&mut self, now: Timestamp, count: u64, verdict: PendingDecision<'_>) {
        self.count(verdict.destination.1, Whose::Sender, verdict.disposition, count);
        let decision = decision_of(now, count, Whose::Sender, verdict);
        self.decisions.push(decision);
    }

    /// Disposes `count` pending observations that are repeats, for `reason`. They are written down later,
    /// as one.
    pub(crate) fn dispose_repeats(
        &mut self,
        now: Timestamp,
        count: u64,
        (alert, destination): (AlertId, DestinationId),
        (reason, incident): (Reason, SmolStr),
        (alerts, destinations): (&mut Alerts, &Destinations),
    ) {
        if count == 0 {
            return;
        }
        let settings = destinations.get(destination);
        self.count(settings, Whose::Engine, Disposition::Suppressed(reason), count);
        let mut known = alerts.alert_mut(alert);
        let starts_at = known.as_ref().map_or(now, |known| known.starts_at);
        let new = RepeatCount { count, since: now, starts_at, reason, incident };
        if self.disposed_repeats.is_some() {
            let verdict = new.verdict((alert, destination), known.as_deref_mut(), settings);
            let decision = decision_of(now, count, Whose::Engine, verdict);
            self.disposed_repeats.iter_mut().for_each(|watched| watched.push(decision.clone()));
        }
        match self.repeats.get_mut(&(alert, destination)) {
            Some(repeats) if repeats.reason == reason => repeats.count += count,
            _ => {
                self.write_repeats(now, (alert, destination), known, settings);
                self.repeats.insert((alert, destination), new);
            }
        }
        if now >= self.swept + WRITE_REPEATS {
            self.swept = now;
            let old = self.repeats.iter().filter(|(_, r)| r.since + WRITE_REPEATS <= now);
            for key in old.map(|(key, _)| *key).collect::<Vec<_>>() {
                self.write_repeats(now, key, alerts.alert_mut(key.0), destinations.get(key.1));
            }
        }
    }

    fn count(&mut self, destination: &Destination, whose: Whose, disposition: Disposition, count: u64) {
        let account = match whose {
            Whose::Engine => self.account(destination),
            Whose::Sender => self.receiver(&destination.receiver),
        };
        debug_assert!(account.pending >= count, "disposed more than was routed");
        account.pending = account.pending.saturating_sub(count);
        *account.disposed.entry(disposition).or_default() += count;
    }

    /// Counts a notification that was decided.
    pub(crate) fn notified(&mut self, receiver: &SmolStr, integration: &SmolStr, kind: Kind) {
        let receiver = self.receiver(receiver);
        *receiver.notifications.entry((integration.clone(), kind)).or_default() += 1;
    }

    /// Counts an observation of an alert that there is no room for.
    pub(crate) fn overflow(&mut self) {
        self.stats.overflow += 1;
    }

    /// Counts the entries that a bound removed.
    pub(crate) fn bound(&mut self, bound: Bound, count: u64) {
        *self.stats.bounds.entry(bound).or_default() += count;
    }

    /// Counts how long the first page of a problem waited here.
    pub(crate) fn page_delay(&mut self, destination: &Destination, delay: Duration) {
        let receiver = self.account(destination);
        let seconds = delay.as_millis().div_ceil(1000);
        let bucket = PAGE_DELAY_BUCKETS.iter().position(|upper| seconds <= *upper);
        if let Some(count) = receiver.page_delay.get_mut(bucket.unwrap_or(PAGE_DELAY_BUCKETS.len())) {
            *count += 1;
        }
        receiver.page_delay_sum =
            Duration::from_millis(receiver.page_delay_sum.as_millis().saturating_add(delay.as_millis()));
    }

    /// Whether a caller watches the repeats of the current event.
    pub(crate) fn watch(&mut self, watched: bool) {
        self.disposed_repeats = watched.then(Vec::new);
    }

    /// Takes out the repeats that were disposed since it is watched.
    pub(crate) fn take_repeats(&mut self) -> Vec<Decision> {
        self.disposed_repeats.take().unwrap_or_default()
    }

    /// Takes out the decisions since the last call.
    pub(crate) fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }
}

fn counters<'a>(of: &'a mut BTreeMap<SmolStr, ReceiverStats>, name: &SmolStr) -> &'a mut ReceiverStats {
    of.entry(name.clone()).or_insert_with(|| ReceiverStats {
        page_delay: vec![0; PAGE_DELAY_BUCKETS.len() + 1],
        ..ReceiverStats::default()
    })
}

fn decision_of(now: Timestamp, count: u64, whose: Whose, verdict: PendingDecision<'_>) -> Decision {
    let mut basis = verdict.basis;
    if let Some(known) = verdict.known {
        basis.starts_at = Some(known.starts_at);
        if known.named.is_none_or(|at| at + NAME_AGAIN <= now) {
            known.named = Some(now);
            basis.labels = known.told().clone();
        }
    }
    Decision {
        at: now,
        alert: verdict.alert,
        route: verdict.destination.1.route.clone(),
        receiver: verdict.destination.1.receiver.clone(),
        disposition: verdict.disposition,
        observed: whose == Whose::Engine && verdict.destination.1.observes(),
        count,
        incident: verdict.incident,
        cause: verdict.cause,
        release: verdict.release,
        basis,
    }
}
