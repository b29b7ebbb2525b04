//! How delivery works where the configuration file has no say.

use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::console::{Console, Stdout};
use super::recalls::Recalls;
use crate::decision_log;
use crate::model::{FailedDelivery, Timestamp};
use crate::spans::Tracer;

/// How delivery works where the configuration file has no say.
#[derive(Clone)]
pub struct DeliveryOptions {
    /// `--web.external-url`: links in notifications lead there. May be empty.
    pub external_url: Arc<str>,
    /// Where the metrics are registered.
    pub registry: prometheus::Registry,
    /// The wall clock, for the time in signatures. The epoch unless it is set.
    pub wall: fn() -> Timestamp,
    /// Where `console_configs` write.
    pub console: Console,
    /// Whether an attempt may begin now. The worker asks again until it may. A storage that several
    /// processes share lets only its owner send.
    pub may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    /// When this process took over from one that may still have a request under way. Resolves wait until
    /// that request has ended, for a page that arrives after its resolve would stay open.
    pub took_over: Arc<dyn Fn() -> Option<std::time::Instant> + Send + Sync>,
    /// The notifications that the engine wants back before their next attempt.
    pub recalls: Arc<Recalls>,
    /// Takes failed attempts, for the history. It must return at once.
    pub failed: Arc<dyn Fn(FailedDelivery) + Send + Sync>,
    /// Where spans come from.
    pub tracer: Tracer,
    /// Where a page asks how often its rules fire. `None` = pages say nothing about this.
    pub history: Option<Arc<decision_log::Reader>>,
    /// Attempts under way at once at one integration. Default 8.
    pub concurrency: usize,
    /// Waits between the attempts at one notification, and between the probes of a circuit.
    pub backoff: Backoff,
    /// Retryable failures in a row that open an integration's circuit. Default 5.
    pub circuit_after: u32,
    /// A `Retry-After` longer than this is cut to it. Default 10 minutes: asking again is harmless, a
    /// page that waits for a clerical error is not.
    pub retry_after_max: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        DeliveryOptions {
            external_url: "".into(),
            registry: prometheus::Registry::new(),
            wall: || Timestamp::ZERO,
            console: Console::new(Arc::new(Stdout)),
            may_send: Arc::new(|| true),
            took_over: Arc::new(|| None),
            recalls: Arc::default(),
            failed: Arc::new(|_| ()),
            tracer: Tracer::default(),
            history: None,
            concurrency: 8,
            backoff: Backoff::default(),
            circuit_after: 5,
            retry_after_max: Duration::from_secs(600),
        }
    }
}
