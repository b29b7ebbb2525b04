//! Watching the data directory: how large it is, and whether it is still there.
//!
//! A thread of its own looks each second, so that a disk which does not answer holds up no other work. It
//! measures the sizes of the files, which bounds the journal and the decision log. It also sees that a file
//! is gone while nothing is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::journal::{DataDir, Ownership, Part, Usage};

use super::queue::{Command, Queue};
use super::replicas::ReplicaWatch;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The metrics of the data directory.
#[derive(Clone)]
pub(super) struct StorageMeter {
    size: IntGaugeVec,
    limit: IntGauge,
    trimmed: IntCounterVec,
    owner: IntGauge,
    epoch: IntGauge,
    fenced: IntGauge,
    inbox: IntGauge,
    inbox_lag: Gauge,
    replicas: IntGaugeVec,
    differ: IntGaugeVec,
}

/// The name and the help of each metric with the label `replica`. They have no series without a cluster.
pub const REPLICA_METRICS: [(&str, &str); 2] = [
    (
        "squelch_cluster_replica",
        "Each replica that reported in the last 10 s: 1 for the owner of the storage, 0 for a standby.",
    ),
    (
        "squelch_cluster_replica_config_differs",
        "Whether each of these replicas has another configuration than the owner (1) or not (0).",
    ),
];

fn of_replicas((name, help): (&str, &str)) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), &["replica"])
}

impl StorageMeter {
    /// Registers the metrics, with all their labels.
    pub(super) fn register(registry: &Registry) -> Result<StorageMeter, prometheus::Error> {
        let meter = StorageMeter {
            size: IntGaugeVec::new(
                Opts::new("squelch_storage_size_bytes", "Size of the files below --storage.path, by part."),
                &["part"],
            )?,
            limit: IntGauge::new(
                "squelch_storage_limit_bytes",
                "The bound of these files together: storage.max_size, or less where the file system is small.",
            )?,
            trimmed: IntCounterVec::new(
                Opts::new(
                    "squelch_storage_trimmed_total",
                    "Rows and files that left the data directory early because it had no more room, by part.",
                ),
                &["part"],
            )?,
            owner: IntGauge::new(
                "squelch_storage_owner",
                "Whether this process owns the storage and decides (1), or waits as a standby (0).",
            )?,
            epoch: IntGauge::new(
                "squelch_storage_epoch",
                "How often a process took the ownership of the PostgreSQL. 0 for a storage of one process.",
            )?,
            fenced: IntGauge::new(
                "squelch_storage_fenced",
                "How many owners of the PostgreSQL found that another process had taken over, ever.",
            )?,
            inbox: IntGauge::new(
                "squelch_storage_inbox_bytes",
                "Alerts that standbys have accepted and the owner has not taken yet.",
            )?,
            inbox_lag: Gauge::new(
                "squelch_storage_inbox_lag_seconds",
                "How long the oldest of these alerts has waited.",
            )?,
            replicas: of_replicas(REPLICA_METRICS[0])?,
            differ: of_replicas(REPLICA_METRICS[1])?,
        };
        meter.show(&Usage::default());
        for part in Part::ALL {
            meter.trimmed.with_label_values(&[part.as_str()]);
        }
        let collectors: [Box<dyn Collector>; 10] = [
            Box::new(meter.size.clone()),
            Box::new(meter.limit.clone()),
            Box::new(meter.trimmed.clone()),
            Box::new(meter.owner.clone()),
            Box::new(meter.epoch.clone()),
            Box::new(meter.fenced.clone()),
            Box::new(meter.inbox.clone()),
            Box::new(meter.inbox_lag.clone()),
            Box::new(meter.replicas.clone()),
            Box::new(meter.differ.clone()),
        ];
        collectors.into_iter().try_for_each(|c| registry.register(c))?;
        Ok(meter)
    }

    fn show(&self, usage: &Usage) {
        let parts = [
            ("journal", usage.journal),
            ("decision_log", usage.decision_log),
            ("damaged", usage.damaged),
            ("reserve", usage.reserve),
        ];
        for (part, bytes) in parts {
            self.size.with_label_values(&[part]).set(shown(bytes));
        }
    }

    fn stands(&self, ownership: &Ownership) {
        self.owner.set(i64::from(ownership.owner));
        self.epoch.set(ownership.epoch);
        self.fenced.set(ownership.fenced);
        let cluster = &ownership.cluster;
        self.inbox.set(shown(cluster.waiting_bytes));
        self.inbox_lag.set(seconds(cluster.waiting_ms));
        self.replicas.reset();
        self.differ.reset();
        for replica in cluster.live() {
            self.replicas.with_label_values(&[&replica.name]).set(replica.owner.into());
            self.differ.with_label_values(&[&replica.name]).set(cluster.differs(replica).into());
        }
    }

    fn look(&self, data: &DataDir, usage: &Usage) {
        self.show(usage);
        self.limit.set(shown(data.limit()));
        for part in Part::ALL {
            let counter = self.trimmed.with_label_values(&[part.as_str()]);
            counter.inc_by(data.trimmed(part).saturating_sub(counter.get()));
        }
    }
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

fn shown(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The thread that looks.
pub(super) struct StorageWatch {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl StorageWatch {
    /// Starts it, named `storage`. `max_size` returns the configured size of that time, and `ownership` the
    /// current owner of the storage.
    pub(super) fn start(
        data: Arc<DataDir>,
        meter: StorageMeter,
        queue: Queue,
        max_size: impl Fn() -> u64 + Send + 'static,
        ownership: impl Fn() -> Ownership + Send + 'static,
    ) -> std::io::Result<StorageWatch> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut replicas = ReplicaWatch::default();
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                data.allow(max_size());
                let ownership = ownership();
                meter.stands(&ownership);
                let (differ, alarm) = replicas.look(Instant::now(), &ownership);
                for replica in differ {
                    tracing::warn!(
                        replica,
                        "a replica has another configuration than the owner of the storage: give all of them the same"
                    );
                }
                if let Some(alarm) = alarm {
                    let _ = queue.push(Command::Alarm(alarm));
                }
                look(&data, &meter, &queue);
                std::thread::park_timeout(EVERY);
            }
        };
        let thread = std::thread::Builder::new().name("storage".into()).spawn(run)?;
        Ok(StorageWatch { stop, thread: thread.thread().clone() })
    }

    /// Ends it soon. Waits for nothing: it may be the disk that does not answer.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn look(data: &DataDir, meter: &StorageMeter, queue: &Queue) {
    if data.check().is_err() {
        // The engine's thread looks for itself.
        let _ = queue.push(Command::CheckStorage);
        return;
    }
    match data.measure() {
        Ok(usage) => meter.look(data, &usage),
        Err(error) => tracing::warn!(%error, "the data directory cannot be measured"),
    }
    if let Err(error) = data.keep_reserve() {
        tracing::debug!(%error, "there is no reserve for a full disk");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Cluster, Replica};

    #[test]
    fn a_replica_that_is_gone_is_no_standby() {
        let registry = Registry::new();
        let meter = StorageMeter::register(&registry).unwrap();
        let replica = |name: &str, owner, seen_ms| Replica {
            name: name.to_owned(),
            owner,
            seen_ms,
            ..Replica::default()
        };
        let replicas = vec![replica("a", true, 0), replica("b", false, 10_000), replica("c", false, 10_001)];
        let cluster = Arc::new(Cluster { replicas, ..Cluster::default() });
        meter.stands(&Ownership { cluster, ..Ownership::default() });
        let families = registry.gather();
        let shown = families.iter().find(|f| f.name() == "squelch_cluster_replica").unwrap();
        let shown = shown.get_metric().iter();
        let shown: Vec<_> =
            shown.map(|m| (m.get_label()[0].value().to_owned(), m.get_gauge().get_value())).collect();
        assert_eq!(shown, [("a".to_owned(), 1.0), ("b".to_owned(), 0.0)]);
    }
}
