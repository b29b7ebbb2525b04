//! The decision log's metrics.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge, Registry};

/// The metrics of the thread that writes the decision log.
#[derive(Debug, Clone)]
pub struct DecisionLogMeter {
    pub(super) behind: IntGauge,
    pub(super) indexed: IntCounter,
    pub(super) size: IntGauge,
    pub(super) removed: IntCounter,
    pub(super) failures: IntCounter,
}

impl DecisionLogMeter {
    /// Registers the metrics.
    ///
    /// # Errors
    /// The registry has some of that name already.
    pub fn new(registry: &Registry) -> Result<DecisionLogMeter, prometheus::Error> {
        Ok(DecisionLogMeter {
            behind: register(
                registry,
                IntGauge::new(
                    "squelch_decision_log_behind",
                    "Commits whose decisions are not in the decision log yet.",
                ),
            )?,
            indexed: register(
                registry,
                IntCounter::new(
                    "squelch_decision_log_decisions_total",
                    "Decisions written to the decision log.",
                ),
            )?,
            size: register(
                registry,
                IntGauge::new(
                    "squelch_decision_log_size_bytes",
                    "Size of the decision log's file, without its WAL.",
                ),
            )?,
            removed: register(
                registry,
                IntCounter::new(
                    "squelch_decision_log_removed_total",
                    "Rows that left the decision log by storage.retention or storage.max_size.",
                ),
            )?,
            failures: register(
                registry,
                IntCounter::new(
                    "squelch_decision_log_failures_total",
                    "Times that the decision log could not be written.",
                ),
            )?,
        })
    }
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
