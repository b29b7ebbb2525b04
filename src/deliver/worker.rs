//! The task of one integration. It asks the schedule which notifications may leave, and reports the
//! results.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::enrich::{Baselines, Enricher};
use super::meter::DeliveryMeter;
use super::pace::Pacer;
use super::schedule::{Next, Schedule};
use super::transport::Transport;
use crate::model::{
    FailedDelivery, Kind, Notification, NotificationId, Outcome, Rejection, Report, beginning,
};
use crate::receivers::{AttemptError, FailureReason};
use crate::spans::{Span, SpanRole, Tracer};
use crate::templates::Readings;

/// A command to a worker.
pub(super) enum WorkerCommand {
    /// Deliver this.
    Send(Box<Notification>, bool),
    /// From now on deliver like this, at this pace.
    Use(Arc<Transport>, Arc<Pacer>),
    /// Finish, and answer with the number of notifications left.
    Drain(oneshot::Sender<usize>),
    /// Nothing more will come: end after the last notification here.
    Retire,
}

/// The state of the task.
pub(super) struct Worker {
    pub receiver: SmolStr,
    pub name: SmolStr,
    pub transport: Arc<Transport>,
    pub schedule: Schedule,
    pub meter: Arc<DeliveryMeter>,
    pub reports: mpsc::UnboundedSender<Report>,
    pub may_send: Arc<dyn Fn() -> bool + Send + Sync>,
    pub took_over: Arc<dyn Fn() -> Option<std::time::Instant> + Send + Sync>,
    pub failed: Arc<dyn Fn(FailedDelivery) + Send + Sync>,
    pub tracer: Tracer,
    pub enricher: Arc<ArcSwapOption<Enricher>>,
    pub baselines: Arc<Baselines>,
    /// The notifications that have not ended.
    pub arrived: HashMap<NotificationId, Arrived>,
}

/// A notification on its way.
pub(super) struct Arrived {
    /// When it was handed over.
    at: Instant,
    /// Its delivery, from then on.
    delivery: Span,
    /// Its wait for the first attempt, until that begins.
    queue: Option<Span>,
    /// When its first attempt failed, and the newest error. `None` = none failed.
    failed: Option<(Instant, String)>,
    /// The readings of Prometheus before the first attempt. Further attempts use the same.
    readings: Arc<OnceCell<Readings>>,
}

/// How often an attempt that may not begin asks again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The history gets so many bytes of an error.
const DETAIL: usize = 1_024;

type Done = (NotificationId, Result<Option<SmolStr>, AttemptError>);

impl Worker {
    /// Runs until drained, or until the deliverer is gone. Attempts under way end with it.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<WorkerCommand>) {
        let mut attempts: JoinSet<Done> = JoinSet::new();
        let mut under_way: HashMap<Id, NotificationId> = HashMap::new();
        let mut drain: Option<oneshot::Sender<usize>> = None;
        let mut retired = false;
        loop {
            if retired && self.schedule.len() == 0 {
                return;
            }
            let wake = self.start_what_may(&mut attempts, &mut under_way);
            if drain.is_some() && self.schedule.is_drained() {
                if let Some(done) = drain.take() {
                    let _ = done.send(self.schedule.len());
                }
                return;
            }
            tokio::select! {
                command = inbox.recv(), if !retired => match command {
                    Some(WorkerCommand::Send(notification, repeat)) => self.accept(*notification, repeat),
                    Some(WorkerCommand::Use(transport, pacer)) => self.follow(transport, pacer),
                    Some(WorkerCommand::Drain(done)) => {
                        self.schedule.drain();
                        drain = Some(done);
                    }
                    Some(WorkerCommand::Retire) => retired = true,
                    None => return,
                },
                Some(done) = attempts.join_next_with_id() => self.settle(done, &mut under_way),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// A reload may give the integration another position in its receiver.
    fn follow(&mut self, transport: Arc<Transport>, pacer: Arc<Pacer>) {
        if self.name != *transport.position() && self.schedule.circuit_is_open() {
            self.meter.circuit(&self.receiver, &self.name, false);
            self.meter.circuit(&self.receiver, transport.position(), true);
        }
        self.name = transport.position().clone();
        self.transport = transport;
        self.schedule.pace(pacer);
    }

    fn accept(&mut self, notification: Notification, possible_repeat: bool) {
        self.meter.queued(&notification);
        let id = notification.id;
        let arrived = self.arrives(&notification);
        let from = (self.took_over)()
            .filter(|_| notification.kind == Kind::Resolve)
            .map(|at| Instant::from_std(at) + self.transport.timeout());
        match self.schedule.push(notification, possible_repeat, from) {
            true => drop(self.arrived.insert(id, arrived)),
            false => tracing::debug!(
                receiver = %self.receiver, integration = %self.name, id = id.0, "already on its way"
            ),
        }
    }

    /// The delivery is a part of the request that last stated its alerts, and has links to the others.
    fn arrives(&self, n: &Notification) -> Arrived {
        let mut requests = self.tracer.told_of(&n.alerts).into_iter();
        let mut delivery = self.tracer.part(requests.next(), "notification", SpanRole::Internal);
        delivery.link(requests);
        delivery.set("squelch.receiver", self.receiver.as_str());
        delivery.set("squelch.integration", self.name.as_str());
        delivery.set("squelch.kind", n.kind.as_str());
        delivery.set("squelch.dedup_key", n.dedup_key.as_str());
        delivery.set("squelch.alerts", n.alerts.len());
        let queue = self.tracer.part(delivery.context(), "queue", SpanRole::Internal);
        Arrived { at: Instant::now(), delivery, queue: Some(queue), failed: None, readings: Arc::default() }
    }

    fn start_what_may(
        &mut self,
        attempts: &mut JoinSet<Done>,
        under_way: &mut HashMap<Id, NotificationId>,
    ) -> Option<Instant> {
        loop {
            let id = match self.schedule.next(Instant::now()) {
                Next::Start(id) => id,
                Next::Recalled(notification, report) => {
                    self.recalled(&notification, report);
                    continue;
                }
                Next::At(at) => return Some(at),
                Next::Nothing => return None,
            };
            let Some(job) = self.schedule.job(id) else { continue };
            let (notification, repeat) = (job.notification.clone(), job.possible_repeat);
            let (transport, meter) = (self.transport.clone(), self.meter.clone());
            let may_send = self.may_send.clone();
            let (tracer, attempt) = (self.tracer.clone(), self.schedule.attempts(id));
            let (delivery, readings) = match self.arrived.get_mut(&id) {
                Some(arrived) => {
                    arrived.queue = None;
                    (arrived.delivery.context(), arrived.readings.clone())
                }
                None => (None, Arc::default()),
            };
            let (enricher, baselines) = (self.enricher.load_full(), self.baselines.clone());
            let handle = attempts.spawn(async move {
                while !may_send() {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                let readings = readings.get_or_init(|| async {
                    let _span =
                        enricher.as_ref().map(|_| tracer.part(delivery, "enrichment", SpanRole::Client));
                    let n = notification.clone();
                    // On a task of its own: a page leaves even if that task fails.
                    let asked = tokio::spawn(async move {
                        let readings = async {
                            let Some(enricher) = enricher else { return Readings::default() };
                            enricher.readings(&n).await
                        };
                        let (readings, baseline) = tokio::join!(readings, baselines.of(&n));
                        Readings { baseline, ..readings }
                    });
                    asked.await.unwrap_or_default()
                });
                let readings = readings.await;
                let began = Instant::now();
                let mut span = tracer.part(delivery, "attempt", SpanRole::Client);
                span.set("squelch.attempt", attempt);
                let result = transport.attempt(&notification, repeat, readings).await;
                if let Err(error) = &result {
                    span.fail(&error.to_string());
                }
                drop(span);
                meter.attempt(transport.kind(), began.elapsed());
                (id, result)
            });
            under_way.insert(handle.id(), id);
        }
    }

    /// The engine gets a notification back before its attempt.
    fn recalled(&mut self, n: &Notification, report: Report) {
        if let Some(Arrived { mut delivery, .. }) = self.arrived.remove(&report.id) {
            delivery.set("squelch.attempts", report.attempts);
        }
        tracing::info!(
            receiver = %self.receiver, integration = %self.name, kind = n.kind.as_str(), key = %n.dedup_key,
            id = report.id.0, attempts = report.attempts,
            "notification recalled: its incident changed before the receiver accepted it"
        );
        self.meter.ended(n, false);
        let _ = self.reports.send(report);
    }

    fn settle(&mut self, done: Result<(Id, Done), JoinError>, under_way: &mut HashMap<Id, NotificationId>) {
        let (id, result) = match done {
            Ok((task, (id, result))) => {
                under_way.remove(&task);
                (id, result)
            }
            Err(error) => {
                let Some(id) = under_way.remove(&error.id()) else { return };
                let panicked = AttemptError::ours("the attempt panicked, which is a bug");
                (id, Err(AttemptError { ambiguous: true, ..panicked }))
            }
        };
        let Some(notification) = self.schedule.job(id).map(|job| job.notification.clone()) else { return };
        let attempts = self.schedule.attempts(id);
        if let Err(error) = &result {
            self.meter.failed(&self.receiver, self.transport.kind(), &self.name, error);
        }
        let was_open = self.schedule.circuit_is_open();
        let (message, result) = match result {
            Ok(message) => (message, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let error = result.as_ref().err().cloned();
        let report = self.schedule.settle(id, result, Instant::now());
        let report = report.map(|report| Report { message, ..report });
        self.count_failure(&notification, attempts, error.as_ref(), report.is_some());
        self.log(&notification, attempts, error, report.as_ref());
        let open = self.schedule.circuit_is_open();
        if open != was_open {
            self.meter.circuit(&self.receiver, &self.name, open);
            let state = if open { "open" } else { "closed" };
            tracing::warn!(receiver = %self.receiver, integration = %self.name, state, "circuit");
        }
        if let Some(report) = report {
            if let Some(Arrived { mut delivery, .. }) = self.arrived.remove(&id) {
                delivery.set("squelch.attempts", attempts);
                if let Outcome::Rejected(rejection) = &report.outcome {
                    delivery.fail(&rejection.detail);
                }
            }
            self.meter.ended(&notification, report.outcome == Outcome::Accepted);
            // The receiving end is gone only when the process is stopping.
            let _ = self.reports.send(report);
        }
    }

    /// Tells the history of the first failed attempt, and before the end of all of them.
    fn count_failure(&mut self, n: &Notification, attempts: u32, error: Option<&AttemptError>, ended: bool) {
        let Some(arrived) = self.arrived.get_mut(&n.id) else { return };
        // The report has the error of the last attempt.
        if let Some(error) = error.filter(|_| !ended) {
            let said = match error.reason {
                FailureReason::Other => error.detail.clone(),
                _ => error.to_string(),
            };
            arrived.failed.get_or_insert_with(|| (Instant::now(), String::new())).1 = said;
        }
        let failed = if ended { attempts.saturating_sub(1) } else { attempts };
        // One failed attempt has a record already when its notification ends.
        if let Some((first, error)) = arrived.failed.as_ref().filter(|_| ended == (failed > 1)) {
            let lasted = crate::model::Duration::from_millis(first.elapsed().as_millis() as u64);
            let (id, kind, error) = (n.id, n.kind, beginning(error, DETAIL).to_owned());
            (self.failed)(FailedDelivery { id, kind, attempts: failed, lasted, error });
        }
    }

    /// Writes one line about the end of an attempt. A first failure needs a person's attention. Further
    /// failures of the same notification have a lower level.
    fn log(&self, n: &Notification, attempts: u32, error: Option<AttemptError>, report: Option<&Report>) {
        let duration = self.arrived.get(&n.id).map_or(Duration::ZERO, |arrived| arrived.at.elapsed());
        macro_rules! line {
            ($level:ident, { $($fields:tt)* }, $message:literal) => {
                tracing::$level!(
                    receiver = %self.receiver, integration = %self.name, kind = n.kind.as_str(),
                    key = %n.dedup_key, id = n.id.0, attempts, duration = %Seconds(duration),
                    alerts = n.alerts.len(), $($fields)* $message
                )
            };
        }
        match (report.map(|report| &report.outcome), error) {
            (Some(Outcome::Accepted), None) => line!(info, {}, "notification accepted"),
            (Some(Outcome::Accepted), Some(error)) => {
                line!(warn, { %error, }, "notification taken as accepted: \
                the status says so, and the body says nothing that is known")
            }
            (Some(Outcome::Rejected(Rejection { reason, detail, .. })), _) => line!(
                error,
                { %reason, %detail, },
                "notification refused for good: it is a dead letter"
            ),
            (None, Some(error)) if attempts <= 1 => {
                line!(warn, { retry = ?error.retry, %error, }, "attempt failed: Squelch tries again")
            }
            (None, Some(error)) => {
                line!(debug, { retry = ?error.retry, %error, }, "attempt failed: Squelch tries again")
            }
            // An attempt that was accepted is an end, and a recall is not the end of an attempt.
            (None, None) | (Some(Outcome::Recalled { .. }), _) => {}
        }
    }
}

/// A duration in the log: seconds, to the millisecond.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
