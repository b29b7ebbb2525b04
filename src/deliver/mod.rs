//! The outbox's workers: each integration of each receiver has its own queue, pace and circuit.
//!
//! A notification is tried until its receiver accepts it or refuses it for good. The engine may also recall
//! it before an attempt, and then sends the present state of its incident, if that needs a message. The
//! engine lets at most one notification of an incident out at a time, so this module keeps no order among
//! them. A queue is never longer than the number of open incidents, and a digest. Nothing here is durable.
//! The next start sends the rest of the journal's outbox again, marked as possible repeats.

mod addresses;
mod backoff;
mod circuit;
mod console;
mod dial;
mod enrich;
mod error;
mod http;
mod jwt;
mod mail;
mod meter;
mod oauth2;
mod options;
mod pace;
mod pinned;
mod proxy;
mod recalls;
mod redact;
mod retry_after;
mod schedule;
mod secret;
mod tls;
mod traces;
mod transport;
mod unlinked;
mod uri;
mod wire;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;
use tokio::sync::{mpsc, oneshot};

pub use backoff::Backoff;
pub use console::{Console, ConsoleSink, Stdout};
pub use error::DeliverError;
pub use http::HttpClient;
pub use meter::{DeliveryMeter, FailedAttempt, Failing, Health};
pub use options::DeliveryOptions;
pub use pace::Pacer;
pub use recalls::Recalls;
pub use schedule::{Job, Next, Schedule, ScheduleLimits};
pub(crate) use tls::ByItself;
pub use transport::{Transport, wrong_certificates};
pub(crate) use wire::chain;

pub use crate::receivers::{Answer, AttemptError, FailureReason, Retry, Side, Verdict};

use crate::causes;
use crate::config::{Config, Integration, Location};
use crate::model::{Notification, Outcome, Rejection, Report};
use enrich::{Baselines, EnrichMeter, Enricher};
use traces::Exporter;
use unlinked::Unlinked;
use worker::{Worker, WorkerCommand};

/// Definitions that a reload removed are kept for their remaining notifications (an open incident keeps its
/// receiver). Beyond this many, the first in name order without a queue go.
const RETIRED: usize = 256;

/// The last spans may take so long at the end of the process.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Receivers that can be delivered to: their templates are compiled and their certificates read.
#[derive(Clone)]
pub struct Prepared {
    receivers: BTreeMap<SmolStr, Vec<Integration>>,
    transports: BTreeMap<Place, (Arc<Transport>, Integration)>,
    exporter: Option<Arc<Exporter>>,
    enricher: Option<Enricher>,
    location: Location,
}

/// Delivers notifications.
pub struct Deliverer {
    options: DeliveryOptions,
    meter: Arc<DeliveryMeter>,
    reports: mpsc::UnboundedSender<Report>,
    workers: Mutex<Workers>,
    pacers: Mutex<Pacers>,
    exporting: Mutex<Option<tokio::task::JoinHandle<()>>>,
    enrich_meter: EnrichMeter,
    enricher: Arc<ArcSwapOption<Enricher>>,
    baselines: Arc<Baselines>,
    unlinked: Unlinked,
}

/// A receiver, the position of an integration in it, and where that leads
/// ([`crate::receivers::Notifier::endpoint`]).
type Place = (SmolStr, SmolStr, u64);

/// The workers of all integrations that are configured, or were.
type Workers = BTreeMap<Place, Handle>;

/// Pacers by the account that the vendor counts: the notifier's account, or the integration.
type Pacers = BTreeMap<String, Arc<Pacer>>;

struct Handle {
    inbox: mpsc::UnboundedSender<WorkerCommand>,
    task: tokio::task::JoinHandle<()>,
    configured: bool,
    /// Where it led before a reload corrected that.
    before: Vec<u64>,
}

impl Deliverer {
    /// Starts a worker for each integration. To be called inside a tokio runtime.
    ///
    /// Each notification's end comes out of `reports`, once.
    pub fn new(
        receivers: &BTreeMap<SmolStr, Vec<Integration>>,
        reports: mpsc::UnboundedSender<Report>,
        options: DeliveryOptions,
    ) -> Result<Self, DeliverError> {
        let meter = Arc::new(DeliveryMeter::new(&options.registry)?);
        let (workers, pacers, exporting) = (Mutex::default(), Mutex::default(), Mutex::default());
        let enrich_meter = EnrichMeter::new(&options.registry)?;
        let enricher = Arc::default();
        let baselines = Arc::new(Baselines::new(options.history.clone(), enrich_meter.clone()));
        let deliverer = Deliverer {
            options,
            meter,
            reports,
            workers,
            pacers,
            exporting,
            enrich_meter,
            enricher,
            baselines,
            unlinked: Unlinked::default(),
        };
        deliverer.reload(receivers)?;
        Ok(deliverer)
    }

    /// Takes a notification over and returns at once. `possible_repeat`: it may have been sent before, as
    /// after a crash. Keyless receivers say so.
    ///
    /// Where neither the present nor an earlier configuration of this process has its integration, it
    /// becomes a dead letter.
    pub fn send(&self, mut notification: Notification, possible_repeat: bool) {
        causes::complete(&mut notification);
        self.unlinked.log(&notification);
        let (receiver, integration) = (notification.receiver.clone(), notification.integration.clone());
        let id = notification.id;
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = worker_of(&workers, &notification).is_some_and(|w| {
            w.inbox.send(WorkerCommand::Send(Box::new(notification), possible_repeat)).is_ok()
        });
        if !sent {
            let detail = format!("receiver {receiver:?} has no integration {integration} any more");
            tracing::error!(id = id.0, %detail, "the notification is a dead letter");
            let reason = FailureReason::Other.as_str().into();
            let outcome = Outcome::Rejected(Rejection { reason, detail, ambiguous: possible_repeat });
            let _ = self.reports.send(Report { id, outcome, attempts: 0, message: None });
        }
    }

    /// Delivers by a new configuration from now on. It is [`Deliverer::prepare`] and [`Deliverer::adopt`]
    /// in one. On error nothing has changed.
    pub fn reload(&self, receivers: &BTreeMap<SmolStr, Vec<Integration>>) -> Result<(), DeliverError> {
        self.adopt(&self.prepare(receivers)?);
        Ok(())
    }

    /// Compiles the templates of these receivers and reads their certificates. Reading may block the thread
    /// for as long as [`crate::outside::read`] may.
    pub fn prepare(&self, receivers: &BTreeMap<SmolStr, Vec<Integration>>) -> Result<Prepared, DeliverError> {
        let mut transports = BTreeMap::new();
        for (receiver, integrations) in receivers {
            for integration in integrations {
                let transport = Transport::new(receiver, integration, &self.options, self.meter.clone())?;
                let key = (receiver.clone(), integration.name.clone(), integration.notifier.endpoint());
                transports.insert(key, (Arc::new(transport), integration.clone()));
            }
        }
        let receivers = receivers.clone();
        Ok(Prepared { receivers, transports, exporter: None, enricher: None, location: Location::default() })
    }

    /// The same for a whole configuration.
    pub fn prepare_all(&self, config: &Config) -> Result<Prepared, DeliverError> {
        let exporter = config.tracing.as_ref().map(|tracing| Exporter::new(tracing, self.options.wall));
        let exporter = exporter.transpose()?.map(Arc::new);
        let enricher = config.enrichment.as_ref();
        let enricher =
            enricher.map(|config| Enricher::new(config, self.enrich_meter.clone(), self.options.wall));
        let (enricher, location) = (enricher.transpose()?, config.on_call.location.clone());
        Ok(Prepared { exporter, enricher, location, ..self.prepare(&config.receivers)? })
    }

    /// Delivers by these receivers from now on. Queued notifications go out by the new definition of their
    /// integration, or by the old one if there is none any more. An integration is known by where it leads,
    /// also at another position of its receiver. At a position whose former integration is gone, a new
    /// endpoint corrects the old one.
    pub fn adopt(&self, prepared: &Prepared) {
        let Prepared { receivers, transports, exporter, enricher, location } = prepared;
        self.baselines.adopt(location.clone());
        self.enricher.store(enricher.clone().map(Arc::new));
        self.meter.init(receivers);
        let tracer = &self.options.tracer;
        let exporting = exporter.clone().map(|exporter| exporter.start(tracer));
        if exporting.is_none() {
            tracer.stop();
        }
        // An earlier exporter sends its spans, and ends.
        *self.exporting.lock().unwrap_or_else(PoisonError::into_inner) = exporting;
        let mut pacers = self.pacers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *pacers);
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, old) in moves(&workers, transports.keys()) {
            if let Some(mut handle) = workers.remove(&old) {
                if old.2 != key.2 {
                    handle.before.push(old.2);
                }
                workers.insert(key, handle);
            }
        }
        for (key, handle) in workers.iter_mut() {
            handle.configured = transports.contains_key(key);
        }
        for (key, (transport, integration)) in transports {
            let account = account(key, integration);
            let pacer = pacers.entry(account.clone()).or_insert_with(|| {
                let new = || Arc::new(Pacer::new(integration.notifier.pace(), tokio::time::Instant::now()));
                // A reload allows no new burst.
                before.remove(&account).unwrap_or_else(new)
            });
            let taken = workers
                .get(key)
                .is_some_and(|w| w.inbox.send(WorkerCommand::Use(transport.clone(), pacer.clone())).is_ok());
            if !taken {
                let handle = self.start(key, transport.clone(), pacer.clone());
                workers.insert(key.clone(), handle);
            }
        }
        let retired: Vec<_> =
            workers.iter().filter(|(_, h)| !h.configured).map(|(key, _)| key.clone()).collect();
        for key in retired.iter().take(retired.len().saturating_sub(RETIRED)) {
            if let Some(handle) = workers.remove(key) {
                // The task drains and ends by itself, however long that takes.
                let _ = handle.inbox.send(WorkerCommand::Retire);
            }
        }
    }

    fn start(&self, key: &Place, transport: Arc<Transport>, pacer: Arc<Pacer>) -> Handle {
        let limits = ScheduleLimits {
            concurrency: self.options.concurrency,
            backoff: self.options.backoff,
            circuit_after: self.options.circuit_after,
            retry_after_max: self.options.retry_after_max,
        };
        let worker = Worker {
            receiver: key.0.clone(),
            name: key.1.clone(),
            transport,
            schedule: Schedule::new(limits, pacer).with_recalls(self.options.recalls.clone()),
            meter: self.meter.clone(),
            reports: self.reports.clone(),
            may_send: self.options.may_send.clone(),
            took_over: self.options.took_over.clone(),
            failed: self.options.failed.clone(),
            tracer: self.options.tracer.clone(),
            enricher: self.enricher.clone(),
            baselines: self.baselines.clone(),
            arrived: HashMap::new(),
        };
        let (inbox, commands) = mpsc::unbounded_channel();
        Handle { inbox, task: tokio::spawn(worker.run(commands)), configured: true, before: Vec::new() }
    }

    /// Lets notifications that are under way or never tried go out, for at most `timeout`. It starts no
    /// retries. It returns how many notifications are left, where an integration that ran out of time
    /// counts as one. The journal's outbox has them. Afterwards this deliverer sends nothing more.
    pub async fn drain(&self, timeout: Duration) -> usize {
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = tokio::time::Instant::now() + timeout;
        let asked: Vec<_> = workers
            .into_values()
            .map(|handle| {
                let (done, left) = oneshot::channel();
                let _ = handle.inbox.send(WorkerCommand::Drain(done));
                (handle, left)
            })
            .collect();
        let mut left_over = 0;
        for (handle, left) in asked {
            match tokio::time::timeout_at(deadline, left).await {
                Ok(left) => left_over += left.unwrap_or(0),
                Err(_) => {
                    handle.task.abort();
                    left_over += 1;
                }
            }
        }
        self.options.tracer.stop();
        let exporting = self.exporting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporting) = exporting {
            let _ = tokio::time::timeout(LAST_SPANS, exporting).await;
        }
        left_over
    }

    /// The metrics of delivery.
    pub fn meter(&self) -> Arc<DeliveryMeter> {
        self.meter.clone()
    }
}

/// The worker that delivers a notification: that of its endpoint, at its own receiver if possible. Only a
/// notification without an endpoint goes by the position of its integration.
fn worker_of<'a>(workers: &'a Workers, n: &Notification) -> Option<&'a Handle> {
    let exact = workers.get(&(n.receiver.clone(), n.integration.clone(), n.endpoint));
    let leads = |(_, _, endpoint): &Place, handle: &Handle| match n.endpoint {
        0 => true,
        known => *endpoint == known || handle.before.contains(&known),
    };
    let near =
        |(receiver, name, _): &Place| *receiver == n.receiver && (n.endpoint != 0 || *name == n.integration);
    let others = || workers.iter().filter(|(place, handle)| leads(place, handle));
    let near = || others().filter(|(place, _)| near(place)).max_by_key(|(_, handle)| handle.configured);
    let far = || others().find(|_| n.endpoint != 0);
    exact.or_else(|| near().or_else(far).map(|(_, handle)| handle))
}

/// The workers that go on at another place, each new place with the old one.
fn moves<'a>(workers: &Workers, configured: impl Iterator<Item = &'a Place> + Clone) -> Vec<(Place, Place)> {
    let mut free: Vec<&Place> =
        workers.keys().filter(|old| !configured.clone().any(|new| new == *old)).collect();
    let mut new: Vec<&Place> = configured.clone().filter(|new| !workers.contains_key(*new)).collect();
    let leads_there = |old: &Place, new: &Place| old.0 == new.0 && old.2 == new.2 && new.2 != 0;
    let gone = |endpoint| !configured.clone().any(|place| place.2 == endpoint);
    let corrected = |old: &Place, new: &Place| (&old.0, &old.1) == (&new.0, &new.1) && gone(old.2);
    let mut moved = Vec::new();
    for goes_on in [&leads_there as &dyn Fn(&Place, &Place) -> bool, &corrected] {
        new.retain(|new| {
            let Some(index) = free.iter().position(|old| goes_on(old, new)) else { return true };
            moved.push(((*new).clone(), free.remove(index).clone()));
            false
        });
    }
    moved
}

/// The account that the vendor counts.
fn account((receiver, name, _): &Place, integration: &Integration) -> String {
    integration.notifier.account().unwrap_or_else(|| format!("{receiver}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Url};
    use crate::receivers::pagerduty::PagerdutyConfig;

    /// PagerDuty with this key and the default texts.
    pub(super) fn pagerduty(key: &str) -> PagerdutyConfig {
        PagerdutyConfig::new(
            Secret::Inline(key.into()),
            Url("https://events.pagerduty.com/v2/enqueue".into()),
        )
    }

    #[test]
    fn integrations_with_one_key_share_a_pace() {
        let of = |receiver: &str, key: &str| {
            let notifier = Arc::new(pagerduty(key));
            let timeout = crate::model::Duration::from_secs(10);
            let (name, templates) = ("pagerduty[0]".into(), crate::templates::Library::built_in());
            let integration = Integration { name, notifier, timeout, http: Default::default(), templates };
            account(&(receiver.into(), "pagerduty[0]".into(), 0), &integration)
        };
        assert_eq!(of("a", "k"), of("b", "k"));
        assert_ne!(of("a", "k"), of("b", "l"));
    }
}
