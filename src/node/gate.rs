//! What the web sees of the node: a handle over channels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus::Registry;
use smol_str::SmolStr;
use tokio::sync::{Mutex, oneshot};

use crate::config::{Config, Integration};
use crate::deliver::Deliverer;
use crate::engine::Stats;
use crate::ingest::InvalidReason;
use crate::journal::DeadLetter;
use crate::model::{
    Batch, Duration, NotificationId, Silence, SilenceRequest, SilenceState, Source, Timestamp,
};
use crate::web::{BoxFuture, Gate, ReplayError, SilenceFailure, Unavailable};

use super::clock::{EngineClock, wall};
use super::core::Published;
use super::metrics;
use super::queue::{Command, Queue, View};
use super::run::log_warnings;

/// The node as the web sees it. Cheap to share; never blocks.
pub struct NodeGate {
    queue: Queue,
    clock: Arc<EngineClock>,
    published: Arc<Published>,
    registry: Registry,
    /// Milliseconds; of the policy in force.
    resolve_timeout: Arc<AtomicU64>,
    stopping: AtomicBool,
    reload: Arc<Reload>,
}

/// What a reload needs; one reload at a time.
struct Reload {
    file: PathBuf,
    deliverer: Arc<Deliverer>,
    /// The receivers in force, to go back to.
    receivers: Mutex<BTreeMap<SmolStr, Vec<Integration>>>,
}

/// What a [`NodeGate`] is made of.
pub struct GateParts {
    /// To the engine's thread.
    pub queue: Queue,
    /// Engine time.
    pub clock: Arc<EngineClock>,
    /// What the engine's thread publishes.
    pub published: Arc<Published>,
    /// The metrics that are not the engine's.
    pub registry: Registry,
    /// The configuration of the start.
    pub config: Config,
    /// Where it was read, and is read again.
    pub config_file: PathBuf,
    /// Whose receivers a reload changes.
    pub deliverer: Arc<Deliverer>,
}

impl NodeGate {
    /// A gate to a running node.
    pub fn new(parts: GateParts) -> NodeGate {
        let GateParts { queue, clock, published, registry, config, config_file, deliverer } = parts;
        published.meter.reloaded(wall());
        NodeGate {
            queue,
            clock,
            published,
            registry,
            resolve_timeout: Arc::new(AtomicU64::new(config.policy.resolve_timeout.as_millis())),
            stopping: AtomicBool::new(false),
            reload: Arc::new(Reload {
                file: config_file,
                deliverer,
                receivers: Mutex::new(config.receivers),
            }),
        }
    }

    /// From now on `/-/ready` says that the node is about to end.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The counters as of the last durable tick.
    pub fn stats(&self) -> Arc<Stats> {
        self.published.stats.load_full()
    }

    fn view(&self, view: View) -> BoxFuture<'_, Result<serde_json::Value, Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { ask(&queue, |done| Command::View(view, done)).await? })
    }
}

impl Gate for NodeGate {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn resolve_timeout(&self) -> Duration {
        Duration::from_millis(self.resolve_timeout.load(Ordering::Relaxed))
    }

    fn accept(&self, batch: Batch) -> BoxFuture<'_, Result<(), Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { ask(&queue, |done| Command::Observe(batch, done)).await? })
    }

    fn ready(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("shutting down".into());
        }
        match &*self.published.trouble.load() {
            Some(reason) => Err(reason.to_string()),
            None => Ok(()),
        }
    }

    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        let (queue, published) = (self.queue.clone(), self.published.clone());
        let (reload, resolve_timeout) = (self.reload.clone(), self.resolve_timeout.clone());
        // On a task of its own: a client that goes away must not stop a reload half way.
        let task = tokio::spawn(async move {
            let outcome = reload.run(&queue, &resolve_timeout).await;
            match &outcome {
                Ok(()) => {
                    published.meter.reloaded(wall());
                    tracing::info!(file = %reload.file.display(), "configuration loaded");
                }
                Err(error) => {
                    published.meter.reload_failed();
                    tracing::error!(%error, "configuration not loaded: the one before it stays in force");
                }
            }
            outcome
        });
        Box::pin(async move { task.await.unwrap_or_else(|e| Err(format!("the reload broke off: {e}"))) })
    }

    fn metrics(&self) -> String {
        metrics::render(&self.published.stats.load(), &self.registry)
    }

    fn alerts(&self) -> BoxFuture<'_, Result<serde_json::Value, Unavailable>> {
        self.view(View::Alerts)
    }

    fn incidents(&self) -> BoxFuture<'_, Result<serde_json::Value, Unavailable>> {
        self.view(View::Incidents)
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { ask(&queue, Command::DeadLetters).await? })
    }

    fn replay(&self, id: NotificationId) -> BoxFuture<'_, Result<(), ReplayError>> {
        let queue = self.queue.clone();
        Box::pin(async move {
            ask(&queue, |done| Command::Replay(id, done)).await.map_err(ReplayError::Unavailable)?
        })
    }

    fn silence(&self, request: SilenceRequest) -> BoxFuture<'_, Result<SmolStr, SilenceFailure>> {
        let queue = self.queue.clone();
        Box::pin(async move { ask(&queue, |done| Command::Silence(request, done)).await? })
    }

    fn silences(&self) -> BoxFuture<'_, Result<Vec<(Silence, SilenceState)>, Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { ask(&queue, Command::Silences).await? })
    }

    fn rejected(&self, _source: Source, reason: InvalidReason) {
        self.published.meter.refused(reason.as_str(), 1);
    }

    fn answered(&self, path: &str, code: u16) {
        self.published.meter.answered(path, code);
    }

    fn crowded(&self) {
        self.published.meter.crowded();
    }
}

impl Reload {
    /// Loads the file and puts it in force: deliverer first, since the engine may send to a new
    /// receiver the moment it knows of it, and back again if the engine could not be told.
    async fn run(&self, queue: &Queue, resolve_timeout: &AtomicU64) -> Result<(), String> {
        let mut receivers = self.receivers.lock().await;
        let file = self.file.clone();
        let config = tokio::task::spawn_blocking(move || crate::config::load(&file))
            .await
            .map_err(|e| format!("the loading broke off: {e}"))?
            .map_err(|e| e.to_string())?;
        log_warnings(&config);
        self.deliverer.reload(&config.receivers).map_err(|e| e.to_string())?;
        let timeout = config.policy.resolve_timeout;
        let policy = Box::new(config.policy);
        if let Err(e) = ask(queue, |done| Command::Policy(policy, done)).await.and_then(|told| told) {
            if let Err(e) = self.deliverer.reload(&receivers) {
                tracing::error!(error = %e, "receivers could not be set back");
            }
            return Err(e.to_string());
        }
        *receivers = config.receivers;
        resolve_timeout.store(timeout.as_millis(), Ordering::Relaxed);
        Ok(())
    }
}

/// Hands a command over and waits for its answer.
async fn ask<T>(
    queue: &Queue,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Unavailable> {
    let (done, answer) = oneshot::channel();
    queue.push(command(done)).map_err(|e| Unavailable(e.to_string()))?;
    answer.await.map_err(|_| Unavailable("the engine has ended".into()))
}
