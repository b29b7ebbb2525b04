//! The metrics of the workers: failures, latency, queues, circuits. Every series starts at 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use smol_str::SmolStr;

use crate::config::Integration;
use crate::model::{Notification, NotificationId, Timestamp};
use crate::receivers::{AttemptError, FailureReason};

/// Seconds. Alertmanager's 1, 5, 10, 15, 20, with finer steps below.
const LATENCY_BUCKETS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 15.0, 20.0];

/// The metrics of delivery.
#[derive(Debug)]
pub struct DeliveryMeter {
    failed: IntCounterVec,
    template_errors: IntCounterVec,
    latency: HistogramVec,
    queue_length: IntGaugeVec,
    queue_oldest: GaugeVec,
    circuit_open: IntGaugeVec,
    receivers: Mutex<BTreeMap<SmolStr, ReceiverState>>,
}

#[derive(Debug, Default)]
struct ReceiverState {
    /// By integration: the notifications that wait, the oldest first. No set is empty.
    waiting: BTreeMap<SmolStr, BTreeSet<(Timestamp, NotificationId)>>,
    open_circuits: BTreeSet<SmolStr>,
    accepted: Option<Instant>,
    failed: Option<(Instant, SmolStr, AttemptError)>,
    /// By integration: the newest failure since it last accepted something.
    failing: BTreeMap<SmolStr, (Instant, AttemptError)>,
}

impl ReceiverState {
    fn queued(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// When the oldest notification that waits was decided.
    fn oldest(&self) -> Option<Timestamp> {
        self.waiting.values().filter_map(|of_one| of_one.first()).map(|(at, _)| *at).min()
    }
}

/// How delivery to one receiver goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Notifications that it has neither accepted nor refused.
    pub queued: usize,
    /// When the oldest of them was decided.
    pub oldest: Option<Timestamp>,
    /// Integrations whose circuit is open.
    pub open_circuits: Vec<SmolStr>,
    /// How long ago it last accepted something. `None` if it has not since the program started.
    pub accepted: Option<Duration>,
    /// The newest failure of an attempt. `None` if there was none since the program started.
    pub failed: Option<FailedAttempt>,
    /// Integrations that accepted nothing since an attempt failed, and how the newest attempt failed.
    pub failing: Vec<Failing>,
}

/// An integration that accepted nothing since an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Notifications that wait for it.
    pub waiting: usize,
    /// When the oldest of them was decided, which may be before the program started.
    pub oldest: Option<Timestamp>,
    /// The newest of these attempts.
    pub last: FailedAttempt,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// How long ago.
    pub ago: Duration,
    /// The integration.
    pub integration: SmolStr,
    /// Its class.
    pub reason: FailureReason,
    /// The failure, without secrets.
    pub detail: String,
}

impl DeliveryMeter {
    /// Registers the metrics. Fails if the registry has some of that name already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|m| register(registry, m))
        };
        let gauge = |name: &str, help: &str| {
            IntGaugeVec::new(Opts::new(name, help), &["receiver"]).and_then(|m| register(registry, m))
        };
        Ok(DeliveryMeter {
            failed: counter(
                "squelch_notifications_failed_total",
                "Failed attempts to deliver a notification.",
                &["receiver", "integration", "reason"],
            )?,
            template_errors: counter(
                "squelch_notification_template_errors_total",
                "Templated texts that failed and were replaced by the default text.",
                &["receiver", "integration"],
            )?,
            latency: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "squelch_notification_latency_seconds",
                        "Time that one attempt to deliver a notification took.",
                    )
                    .buckets(LATENCY_BUCKETS.to_vec()),
                    &["integration"],
                )?,
            )?,
            queue_length: gauge(
                "squelch_queue_length",
                "Notifications decided that the receiver has neither accepted nor refused.",
            )?,
            queue_oldest: register(
                registry,
                GaugeVec::new(
                    Opts::new(
                        "squelch_queue_oldest_timestamp_seconds",
                        "When the oldest queued notification was decided, 0 for an empty queue.",
                    ),
                    &["receiver"],
                )?,
            )?,
            circuit_open: gauge(
                "squelch_receiver_circuit_open",
                "Whether the circuit of an integration of the receiver is open.",
            )?,
            receivers: Mutex::default(),
        })
    }

    /// Brings every series of these receivers into being, at 0.
    pub(super) fn init(&self, receivers: &BTreeMap<SmolStr, Vec<Integration>>) {
        for (receiver, integrations) in receivers {
            self.queue_length.with_label_values(&[receiver]);
            self.queue_oldest.with_label_values(&[receiver]);
            self.circuit_open.with_label_values(&[receiver]);
            for integration in integrations.iter().map(|i| i.notifier.kind().name) {
                self.latency.with_label_values(&[integration]);
                self.template_errors.with_label_values(&[receiver.as_str(), integration]);
                for reason in FailureReason::ALL {
                    self.failed.with_label_values(&[receiver.as_str(), integration, reason.as_str()]);
                }
            }
        }
    }

    pub(super) fn attempt(&self, integration: &str, took: Duration) {
        self.latency.with_label_values(&[integration]).observe(took.as_secs_f64());
    }

    /// An attempt of the integration `name`, of this kind, failed.
    pub(super) fn failed(&self, receiver: &str, kind: &str, name: &SmolStr, error: &AttemptError) {
        self.failed.with_label_values(&[receiver, kind, error.reason.as_str()]).inc();
        self.update(receiver, |state| {
            let now = Instant::now();
            state.failed = Some((now, name.clone(), error.clone()));
            state.failing.insert(name.clone(), (now, error.clone()));
        });
    }

    pub(super) fn template_error(&self, receiver: &str, integration: &str) {
        self.template_errors.with_label_values(&[receiver, integration]).inc();
    }

    pub(super) fn queued(&self, n: &Notification) {
        self.update(&n.receiver, |state| {
            state.waiting.entry(n.integration.clone()).or_default().insert((decided_at(n), n.id));
        });
    }

    /// The health of delivery, by receiver. A receiver that never got anything is left out.
    pub fn health(&self) -> BTreeMap<SmolStr, Health> {
        let receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = |at: &Instant, integration: &SmolStr, error: &AttemptError| FailedAttempt {
            ago: at.elapsed(),
            integration: integration.clone(),
            reason: error.reason,
            detail: error.detail.clone(),
        };
        let health = |state: &ReceiverState| Health {
            queued: state.queued(),
            oldest: state.oldest(),
            open_circuits: state.open_circuits.iter().cloned().collect(),
            accepted: state.accepted.map(|at| at.elapsed()),
            failed: state.failed.as_ref().map(|(at, integration, error)| failure(at, integration, error)),
            failing: state
                .failing
                .iter()
                .map(|(name, (last, error))| Failing {
                    waiting: state.waiting.get(name).map_or(0, BTreeSet::len),
                    oldest: state.waiting.get(name).and_then(|of_one| of_one.first()).map(|(at, _)| *at),
                    last: failure(last, name, error),
                })
                .collect(),
        };
        receivers.iter().map(|(name, state)| (name.clone(), health(state))).collect()
    }

    pub(super) fn ended(&self, n: &Notification, accepted: bool) {
        self.update(&n.receiver, |state| {
            if let Some(of_one) = state.waiting.get_mut(&n.integration) {
                of_one.remove(&(decided_at(n), n.id));
                if of_one.is_empty() {
                    state.waiting.remove(&n.integration);
                }
            }
            if accepted {
                state.accepted = Some(Instant::now());
                state.failing.remove(&n.integration);
            }
        });
    }

    pub(super) fn circuit(&self, receiver: &str, integration: &str, open: bool) {
        self.update(receiver, |state| {
            if open {
                state.open_circuits.insert(integration.into());
            } else {
                state.open_circuits.remove(integration);
            }
        });
    }

    fn update(&self, receiver: &str, change: impl FnOnce(&mut ReceiverState)) {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        let state = receivers.entry(receiver.into()).or_default();
        change(state);
        let oldest = state.oldest().map_or(0.0, |at| at.as_secs_f64());
        self.queue_length.with_label_values(&[receiver]).set(state.queued() as i64);
        self.queue_oldest.with_label_values(&[receiver]).set(oldest);
        self.circuit_open.with_label_values(&[receiver]).set(i64::from(!state.open_circuits.is_empty()));
    }
}

/// When a notification was decided, or the first one whose place it took.
fn decided_at(n: &Notification) -> Timestamp {
    n.replaces.map_or(n.at, |recalled| recalled.at)
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
