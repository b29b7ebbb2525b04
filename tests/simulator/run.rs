//! One plan, run with ears for the log: an ERROR that no fault of the plan excuses fails it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::bugs::Bug;
use crate::outside::LogEar;
use crate::plan::{LEAD, Plan};
use crate::world::World;

/// The texts that may be logged as an ERROR, with the reason.
const ALLOWED: [(&str, &str); 2] = [
    ("storage failed: nothing is accepted until it is read again", "the disk was told to fail"),
    ("storage still fails", "the disk was told to be full, or to fail again"),
];

/// How a run went.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The broken promises. Empty if the run passed.
    pub findings: Vec<String>,
    /// The events, one line each.
    pub trace: Vec<String>,
    pub steps: u64,
    /// Requests accepted, observations that repeat, and requests refused. Then incidents at PagerDuty,
    /// decisions, failures of the disk, and alerts beyond `limits.alerts`. Then entries forgotten early for
    /// others, lines of the log dropped, attempts whose secret could not be read, and incidents at the second
    /// receiver.
    pub seen: [u64; 11],
}

pub fn run(plan: &Plan, bug: Option<Bug>) -> Outcome {
    let errors = Errors::default();
    let mut world = World::new(plan, bug);
    let subscriber = tracing_subscriber::registry().with(Ear(errors.clone(), world.log.ear.clone()));
    tracing::subscriber::with_default(subscriber, || world.run());
    let excuses = world.disk.state().excuses;
    let said = std::mem::take(&mut *errors.0.lock().unwrap_or_else(PoisonError::into_inner));
    for error in said {
        let allowed = excuses > 0 && ALLOWED.iter().any(|(message, _)| error.starts_with(message));
        if !allowed {
            world.findings.push(format!("ERROR in the log: {error}"));
        }
    }
    let opened = u64::try_from(world.pagers.opened()).unwrap_or(u64::MAX);
    let (decisions, repeats, stats) = {
        let state = world.disk.state();
        let stats = state.engine().map(|engine| engine.query().stats()).unwrap_or_default();
        (state.decisions, state.repeats, stats)
    };
    let (beyond, early) = (stats.overflow, stats.bounds.values().sum());
    let requests = &world.requests;
    let (accepted, refused) = (requests.accepted, requests.refused);
    let (unread, unanswered) = (world.log.dropped(), world.unanswered);
    let second = world.pagers.at(LEAD);
    Outcome {
        seen: [
            accepted, repeats, refused, opened, decisions, excuses, beyond, early, unread, unanswered, second,
        ],
        findings: std::mem::take(&mut world.findings),
        trace: std::mem::take(&mut world.trace),
        steps: world.steps,
    }
}

#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

struct Ear(Errors, LogEar);

impl<S: Subscriber> Layer<S> for Ear {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields);
        self.1.line(&text);
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}
