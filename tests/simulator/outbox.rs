//! The delivery workers without sockets and tasks: the product's own schedules, bodies and readings of
//! answers, stepped by the scheduler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use squelch::deliver::{
    AttemptError, Backoff, DeliveryMeter, DeliveryOptions, FailureReason, Next, Pacer, Recalls, Retry,
    Schedule, ScheduleLimits, Side, Transport,
};
use squelch::model::{Notification, NotificationId, Outcome, Report};
use squelch::receivers::Request;
use tokio::time::Instant;

use crate::bugs::Bug;
use crate::pager::Reply;
use crate::plan::{LANES, Millis};
use crate::policy::{NAMES, SECRETS, configuration};

/// An attempt that begins.
pub struct Attempt {
    pub lane: usize,
    pub notification: Arc<Notification>,
    pub flagged: bool,
    pub request: (String, Vec<u8>),
    /// Each time that the outbox hands a notification over has a number.
    pub push: u64,
    /// How often the receiver may take it after this: once, or three times where its body may not decide.
    pub most: u32,
    /// The report that Squelch gets at once, for a bug.
    pub early: Option<Report>,
}

/// The workers of all integrations.
pub struct Workers {
    schedules: Vec<Schedule>,
    bug: Option<Bug>,
    attempts: BTreeMap<NotificationId, u32>,
    early: BTreeSet<NotificationId>,
    /// Of each notification how often it was handed over, and whether it was a possible repeat then.
    pushes: BTreeMap<NotificationId, (u64, bool)>,
    pub under_way: BTreeMap<NotificationId, (usize, Arc<Notification>)>,
}

impl Workers {
    pub fn new(bug: Option<Bug>, recalls: &Arc<Recalls>) -> Workers {
        let limits = ScheduleLimits {
            concurrency: 8,
            backoff: Backoff::default(),
            circuit_after: 5,
            retry_after_max: Duration::from_secs(600),
        };
        let schedule = |lane| {
            let (receiver, name) = NAMES[lane];
            let integrations = &configuration(0, false, false).receivers[receiver];
            let integration = integrations.iter().find(|i| i.name == name);
            let pace = integration.unwrap_or_else(|| panic!("{name}")).notifier.pace();
            let pacer = Pacer::new(pace, at(0));
            Schedule::new(limits, Arc::new(pacer)).with_recalls(recalls.clone())
        };
        Workers {
            schedules: (0..LANES).map(schedule).collect(),
            bug,
            attempts: BTreeMap::new(),
            early: BTreeSet::new(),
            pushes: BTreeMap::new(),
            under_way: BTreeMap::new(),
        }
    }

    pub fn push(&mut self, notification: Notification, possible_repeat: bool) {
        let possible_repeat = possible_repeat && self.bug != Some(Bug::RepeatUnmarked);
        if let Some(lane) = lane_of(&notification) {
            let id = notification.id;
            if self.schedules[lane].push(notification, possible_repeat, None) {
                let push = self.pushes.entry(id).or_default();
                *push = (push.0 + 1, possible_repeat);
            }
        }
    }

    /// Starts the deliveries that may leave at `now`. It returns the reports about recalled ones, and when to
    /// ask again.
    pub fn pump(&mut self, now: Millis) -> (Vec<Attempt>, Vec<Report>, Option<Millis>) {
        let (mut begun, mut recalled, mut wake) = (Vec::new(), Vec::new(), None);
        for (lane, secret) in SECRETS.iter().enumerate() {
            loop {
                let id = match self.schedules[lane].next(at(now)) {
                    Next::Start(id) => id,
                    Next::Recalled(_, report) => {
                        self.attempts.remove(&report.id);
                        recalled.push(report);
                        continue;
                    }
                    Next::At(instant) => {
                        let due = since(instant).max(now + 1);
                        wake = Some(wake.map_or(due, |w: Millis| w.min(due)));
                        break;
                    }
                    Next::Nothing => break,
                };
                let Some(job) = self.schedules[lane].job(id) else { break };
                let (n, flagged) = (job.notification.clone(), job.possible_repeat);
                let flagged = flagged && self.bug != Some(Bug::RepeatUnmarked);
                *self.attempts.entry(id).or_default() += 1;
                self.under_way.insert(id, (lane, n.clone()));
                let (push, repeat) = self.pushes.get(&id).copied().unwrap_or_default();
                let early = matches!(self.bug, Some(Bug::AcceptedWhenSent | Bug::ResolveOvertakes))
                    && self.early.insert(id);
                begun.push(Attempt {
                    lane,
                    request: request(lane, &n, flagged, secret),
                    notification: n,
                    flagged,
                    push,
                    most: if lane == 1 && !repeat { 3 } else { 1 },
                    early: early.then_some(Report {
                        id,
                        outcome: Outcome::Accepted,
                        attempts: 1,
                        message: None,
                    }),
                });
            }
        }
        (begun, recalled, wake)
    }

    /// An attempt ended. It returns the report, if that was the end of its notification.
    pub fn settle(&mut self, lane: usize, id: NotificationId, reply: &Reply, now: Millis) -> Option<Report> {
        self.under_way.remove(&id);
        let result = match reply {
            Reply::Answer(answer) if self.bug == Some(Bug::BodyDecides) && answer.truncated => {
                Err(no_answer())
            }
            Reply::Answer(answer) => transports()[lane].judge(answer),
            Reply::NoSecret => Err(AttemptError::late("the secret file hangs")),
            Reply::Silence => Err(no_answer()),
        };
        let result = result.map_err(|error| match error.retry {
            Retry::Undecided(_) if self.bug == Some(Bug::PuzzledWithoutEnd) => {
                AttemptError { retry: Retry::Backoff, ..error }
            }
            _ => error,
        });
        let gives_up = self.bug == Some(Bug::GivesUp) && self.attempts.get(&id).is_some_and(|n| *n >= 3);
        let once = self.bug == Some(Bug::AcceptedWhenSent);
        let result = if result.is_err() && (gives_up || once) { Ok(()) } else { result };
        let mut report = self.schedules[lane].settle(id, result, at(now))?;
        self.attempts.remove(&id);
        if self.early.remove(&id) || gives_up {
            return None;
        }
        if self.bug == Some(Bug::RefusalConfirms) {
            report.outcome = Outcome::Accepted;
        }
        Some(report)
    }
}

/// The lane of a notification.
pub fn lane_of(n: &Notification) -> Option<usize> {
    NAMES.iter().position(|known| *known == (n.receiver.as_str(), n.integration.as_str()))
}

/// The URL and the body of the first request, which is the only one of these receivers.
fn request(lane: usize, n: &Notification, flagged: bool, secret: &str) -> (String, Vec<u8>) {
    match transports()[lane].request(n, flagged, &[secret.into()]) {
        Ok(Request::Http(request)) => (request.url, request.body),
        other => panic!("{other:?}"),
    }
}

fn no_answer() -> AttemptError {
    AttemptError {
        retry: Retry::Backoff,
        side: Side::Theirs,
        reason: FailureReason::ContextDeadlineExceeded,
        ambiguous: true,
        detail: "no answer within 10s".into(),
    }
}

/// The real integrations, made once: they hold nothing of a run.
fn transports() -> &'static [Transport] {
    static ALL: OnceLock<Vec<Transport>> = OnceLock::new();
    ALL.get_or_init(|| {
        let options = DeliveryOptions::default();
        let meter = Arc::new(DeliveryMeter::new(&options.registry).unwrap_or_else(|e| panic!("{e}")));
        let make = |(receiver, name): (&str, &str)| {
            let integrations = &configuration(0, false, false).receivers[receiver];
            let integration =
                integrations.iter().find(|i| i.name == name).unwrap_or_else(|| panic!("{name}"));
            Transport::new(receiver, integration, &options, meter.clone()).unwrap_or_else(|e| panic!("{e}"))
        };
        NAMES.map(make).into_iter().collect()
    })
}

/// Virtual time as the schedules know it: only differences count.
pub fn at(now: Millis) -> Instant {
    origin() + Duration::from_millis(now)
}

pub fn since(instant: Instant) -> Millis {
    let nanos = instant.saturating_duration_since(origin()).as_nanos();
    u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
