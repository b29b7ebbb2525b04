//! The web's view of the node: a handle over channels.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use prometheus::Registry;
use smol_str::SmolStr;
use tokio::sync::{Mutex, Semaphore};

use crate::config::{Config, ReportSchedule, Storage};
use crate::decision_log::{
    self, Baseline, DecisionLogError, DecisionPage, DecisionQuery, Flapped, NamedIncident, OnCallEntry,
    PastIncidentPage, PastIncidentQuery, Review, SentPage, Tally, WhichIncident,
};
use crate::deliver::{Deliverer, Health, Prepared};
use crate::engine::{PeriodReport, Release, Stats};
use crate::history::Priced;
use crate::ingest::{InvalidReason, NamedLabels};
use crate::journal::{DeadLetters, JournalPlace, LetterQuery, Ownership, Postgres};
use crate::model::{Batch, Duration, Matcher, NotificationId, SilenceRequest, Source, Timestamp};
use crate::settings::Secret;
use crate::spans::{TraceContext, Tracer};
use crate::web::{
    Access, Acknowledgement, Area, Bounded, BoundsInForce, BoxFuture, Callback, Gate, Labelling, Look,
    ReleaseError, ReplayError, Replicated, SearchError, Searched, SilenceFailure, Unavailable,
};

use super::clock::{EngineClock, wall};
use super::load::{InForce, Reload};
use super::metrics;
use super::published::Published;
use super::queue::{Command, Queue};
use super::suggestions::Suggestions;

/// The node for the web. It is cheap to share and never blocks.
pub struct NodeGate {
    queue: Queue,
    clock: Arc<EngineClock>,
    published: Arc<Published>,
    registry: Registry,
    in_force: Arc<InForce>,
    stopping: AtomicBool,
    reload: Arc<Reload>,
    decision_log: Arc<decision_log::Reader>,
    searches: Arc<Semaphore>,
    suggestions: Arc<Suggestions>,
    postgres: Option<Arc<Postgres>>,
}

/// The number of searches of the decision log that run at once. More wait for [`SEARCH_PATIENCE`].
const SEARCHES: usize = 4;
const SEARCH_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// The parts of a [`NodeGate`].
pub struct GateParts {
    /// To the engine's thread.
    pub queue: Queue,
    /// Engine time.
    pub clock: Arc<EngineClock>,
    /// The state that the engine's thread publishes.
    pub published: Arc<Published>,
    /// The metrics that are not the engine's.
    pub registry: Registry,
    /// The configuration of the start.
    pub config: Config,
    /// Where it was read, and is read again.
    pub config_file: PathBuf,
    /// `--web.config.file`, if there is one.
    pub web_file: Option<PathBuf>,
    /// The roles, from the start on.
    pub access: Access,
    /// Whose receivers a reload changes.
    pub deliverer: Arc<Deliverer>,
    /// Its receivers, from the start on.
    pub receivers: Prepared,
    /// Where the journal is, if it is in a database.
    pub database: Option<Secret>,
    /// The database, if the journal is in one.
    pub postgres: Option<Arc<Postgres>>,
    /// The decision log.
    pub decision_log: decision_log::Reader,
    /// How much of that is kept. It follows the configuration.
    pub keep: Arc<ArcSwap<Storage>>,
}

impl NodeGate {
    /// A gate to a running node.
    pub fn new(parts: GateParts) -> NodeGate {
        let GateParts { queue, clock, published, registry, config, deliverer, decision_log, .. } = parts;
        let (receivers, keep) = (parts.receivers, parts.keep);
        let place = match &parts.database {
            Some(url) => JournalPlace::Postgres(url.clone()),
            None => JournalPlace::Sqlite(decision_log.dir().to_owned()),
        };
        let (config_file, web_file, access) = (parts.config_file, parts.web_file, parts.access);
        published.meter.reloaded(wall());
        published.meter.configured(&config.masked);
        NodeGate {
            queue,
            clock,
            published,
            registry,
            in_force: Arc::new(InForce::new(&config, access)),
            stopping: AtomicBool::new(false),
            reload: Arc::new(Reload {
                file: config_file,
                web_file,
                deliverer,
                receivers: Mutex::new(receivers),
                masked: ArcSwap::from_pointee(config.masked),
                keep,
                database: parts.database,
                postgres: parts.postgres.clone(),
            }),
            suggestions: Arc::new(Suggestions::new(place)),
            decision_log: Arc::new(decision_log),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            postgres: parts.postgres,
        }
    }

    /// From now on `/-/ready` says that the node is about to end.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// That another process has taken over the storage, if so.
    pub fn fenced(&self) -> Option<String> {
        self.published.fenced.load().as_deref().cloned()
    }

    /// The counters as of the last durable tick.
    pub fn stats(&self) -> Arc<Stats> {
        self.published.stats.load_full()
    }

    /// The report that is due again and again, if one is.
    pub(super) fn report(&self) -> Option<Arc<ReportSchedule>> {
        self.in_force.report.load_full()
    }

    /// Hands a report to the engine. Returns when it is durable.
    pub(super) async fn send_report(&self, report: PeriodReport) -> Result<(), Unavailable> {
        self.queue.ask(|done| Command::Report(report, done)).await?
    }

    /// Runs a search of the decision log off the threads that serve, when there is room for one.
    fn searching<T: Send + 'static>(
        &self,
        work: impl FnOnce(&decision_log::Reader) -> Result<T, DecisionLogError> + Send + 'static,
    ) -> Searched<'_, T> {
        let (decision_log, searches) = (self.decision_log.clone(), self.searches.clone());
        Box::pin(async move {
            let waited = tokio::time::timeout(SEARCH_PATIENCE, searches.acquire_owned()).await;
            let Ok(Ok(place)) = waited else { return Err(SearchError::Busy) };
            let work = move || {
                let found = work(&decision_log);
                drop(place);
                found
            };
            let found = tokio::task::spawn_blocking(work).await;
            Ok(found.map_err(|e| DecisionLogError::Failed(e.to_string()))??)
        })
    }
}

/// A server that has just started has no decision log yet, and no incident in it.
fn or_none<T: Default>(found: Result<T, DecisionLogError>) -> Result<T, DecisionLogError> {
    match found {
        Err(DecisionLogError::Missing(_)) => Ok(T::default()),
        found => found,
    }
}

impl Gate for NodeGate {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn wall(&self) -> Timestamp {
        self.clock.wall()
    }

    fn resolve_timeout(&self) -> Duration {
        self.in_force.resolve_timeout()
    }

    fn named_labels(&self) -> Arc<NamedLabels> {
        self.in_force.named_labels.load_full()
    }

    fn access(&self) -> Arc<Access> {
        self.in_force.access.load_full()
    }

    fn refused(&self, area: Area) {
        self.published.meter.denied(area.as_str());
    }

    fn tracer(&self) -> Tracer {
        self.published.tracer.clone()
    }

    fn accept(&self, batch: Batch, trace: Option<TraceContext>) -> BoxFuture<'_, Result<(), Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move {
            // So the engine's thread frees no text of it. It would wait for the allocator's lock, which the
            // threads that read bodies hold most of the time.
            let _texts = batch.clone();
            queue.ask(|done| Command::Observe(batch, trace, done)).await?
        })
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

    fn standby(&self) -> Option<String> {
        self.published.standby.load().as_deref().cloned()
    }

    fn replicated(&self) -> Option<Replicated> {
        let Ownership { owner_url, secret, .. } = self.postgres.as_ref()?.ownership();
        let why = self.published.standby.load_full();
        let owner = owner_url.filter(|_| why.is_some());
        Some(Replicated { secret, owner, why: why.map_or_else(Arc::default, |why| why.as_str().into()) })
    }

    fn ownership(&self) -> Option<Ownership> {
        Some(self.postgres.as_ref()?.ownership())
    }

    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        let (queue, published) = (self.queue.clone(), self.published.clone());
        let (reload, in_force) = (self.reload.clone(), self.in_force.clone());
        // On a task of its own: a client that goes away must not stop a reload half way.
        let task = tokio::spawn(async move {
            let outcome = reload.run(&queue, &published, &in_force).await;
            match &outcome {
                Ok(_) => {
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

    fn counted(&self, active: u64, suppressed: u64) {
        self.published.meter.counted(active, suppressed);
    }

    fn metrics(&self) -> String {
        metrics::render(&self.published.stats.load(), &self.registry)
    }

    fn decisions(&self, query: DecisionQuery) -> Searched<'_, DecisionPage> {
        self.searching(move |decision_log| decision_log.search(&query))
    }

    fn history(&self, query: PastIncidentQuery) -> Searched<'_, PastIncidentPage> {
        self.searching(move |decision_log| or_none(decision_log.incidents(&query)))
    }

    fn incident(&self, wanted: WhichIncident) -> Searched<'_, NamedIncident> {
        self.searching(move |decision_log| or_none(decision_log.incident(&wanted)))
    }

    fn baseline(&self, matchers: Vec<Matcher>, now: Timestamp) -> Searched<'_, Baseline> {
        let on_call = self.in_force.on_call.load_full();
        self.searching(move |decision_log| decision_log.baseline(&matchers, &on_call.location, now, &[]))
    }

    fn on_call(&self, since: Timestamp, until: Timestamp) -> Searched<'_, OnCallEntry> {
        let shifts = self.in_force.on_call.load_full();
        self.searching(move |decision_log| or_none(decision_log.on_call(&shifts, since, until)))
    }

    fn pages(&self, since: Timestamp, until: Timestamp) -> Searched<'_, Vec<SentPage>> {
        self.searching(move |decision_log| or_none(decision_log.pages(since, until)))
    }

    fn review(&self, wanted: WhichIncident) -> Searched<'_, NamedIncident<Review>> {
        self.searching(move |decision_log| or_none(decision_log.review(&wanted)))
    }

    fn flapped(&self, since: Timestamp) -> Searched<'_, (Vec<Flapped>, usize)> {
        self.searching(move |decision_log| or_none(decision_log.flapped(since)))
    }

    fn noise(&self, from: Timestamp, to: Timestamp) -> Searched<'_, Tally> {
        let location = self.in_force.on_call.load().location.clone();
        self.searching(move |decision_log| match decision_log.tally(&location, from, to) {
            // A server that has just started has no decision log yet.
            Err(DecisionLogError::Missing(_)) => Ok(Tally { location, ..Tally::new(from, to) }),
            counted => counted,
        })
    }

    fn suggestions(&self) -> Arc<Priced> {
        self.suggestions.ask(self.in_force.policy.load_full())
    }

    fn dead_letters(&self, wanted: LetterQuery) -> BoxFuture<'_, Result<DeadLetters, Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { queue.ask(|done| Command::DeadLetters(wanted, done)).await? })
    }

    fn replay(&self, id: NotificationId) -> BoxFuture<'_, Result<(), ReplayError>> {
        let queue = self.queue.clone();
        Box::pin(async move {
            queue.ask(|done| Command::Replay(id, done)).await.map_err(ReplayError::Unavailable)?
        })
    }

    fn release(&self, release: Release) -> BoxFuture<'_, Result<(), ReleaseError>> {
        let queue = self.queue.clone();
        Box::pin(async move { queue.ask(|done| Command::Release(release, done)).await? })
    }

    fn acknowledge(&self, change: Acknowledgement) -> BoxFuture<'_, Result<(), Unavailable>> {
        let queue = self.queue.clone();
        Box::pin(async move { queue.ask(|done| Command::Acknowledge(change, done)).await? })
    }

    fn callbacks(&self) -> Arc<Vec<Callback>> {
        self.in_force.callbacks.load_full()
    }

    fn look(&self, look: Look) {
        // A look that is not taken drops its end of a channel, which the caller sees.
        let _ = self.queue.push(Command::Look(look));
    }

    fn labelling(&self) -> Arc<Labelling> {
        self.in_force.labelling.load_full()
    }

    fn stats(&self) -> Arc<Stats> {
        self.published.stats.load_full()
    }

    fn limits(&self) -> BoundsInForce {
        let Published { memory, meter, .. } = &*self.published;
        let short = memory.refusal().map(|reason| reason.to_string());
        BoundsInForce { alerts: meter.alerts_limit(), memory: memory.budget(), short }
    }

    fn health(&self) -> BTreeMap<SmolStr, Health> {
        self.reload.deliverer.meter().health()
    }

    fn configuration(&self) -> Arc<str> {
        self.reload.masked.load_full().as_ref().clone()
    }

    fn silence(&self, request: SilenceRequest) -> BoxFuture<'_, Result<SmolStr, SilenceFailure>> {
        let queue = self.queue.clone();
        Box::pin(async move { queue.ask(|done| Command::Silence(request, done)).await? })
    }

    fn rejected(&self, _source: Source, reason: InvalidReason) {
        self.published.meter.refused(reason.as_str(), 1);
        if !reason.is_mended() {
            self.published.meter.lost_input();
        }
    }

    fn answered(&self, path: &str, code: u16) {
        self.published.meter.answered(path, code);
    }

    fn crowded(&self) {
        self.published.meter.crowded();
    }

    fn bounded(&self, bound: Bounded) {
        self.published.meter.bounded(bound.as_str());
    }
}
