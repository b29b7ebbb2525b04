//! Input that makes the engine fail. The caller of the engine catches the panic, which costs one input and
//! not the process.
//!
//! An engine that failed is half way through an event and is not trusted. It is read anew from durable
//! data. Then it tries the failing input once more, an alert at a time. An alert that fails again is put
//! aside, and Squelch passes it through undecided ([`Event::Quarantine`]). An alert that makes even that
//! fail is left out. A repeat only names its alert, so the engine that was read anew supplies the alert's
//! state. Each time Squelch raises an alarm about it, past the engine's stages.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::causes;
use crate::engine::{Alarm, Engine, Event, Repeats};
use crate::journal::{JournalError, Seq};
use crate::model::{AlertId, Batch, Duration, Problem, Source};

use super::clock::EngineClock;
use super::tick::{Open, Tick};

/// After this many failing alerts, the others of the same inputs are not tried any more.
const TRIED: u32 = 8;
/// After this many, they are left out: their senders were asked to send them again.
const TOLD: u32 = 32;
/// How much of an input stands in the log.
const EXCERPT: usize = 4096;
/// How long the incident about it stays open. Squelch cannot see whether a person looked.
const ALARM_LASTS: Duration = Duration::from_hours(24);

/// Runs work that may panic, and returns the panic's text if it did. The values that it changed must not be
/// used any more.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let said = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(panic) => panic.downcast_ref::<&str>().map_or("it did not say why", |said| *said).to_owned(),
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(said)
}

/// The engine failed on an event.
#[derive(Debug, thiserror::Error)]
#[error("the engine broke on {}: {reason}", causes::event(kind(event)))]
pub struct Broken {
    /// The event that it was to handle.
    pub event: Box<Event>,
    /// The text of the panic.
    pub reason: String,
}

/// Why a tick cannot go on. The engine is ahead of the disk then, or half way, and is thrown away.
#[derive(Debug, thiserror::Error)]
pub enum TickFailure {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] JournalError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] Broken),
}

impl Broken {
    /// The beginning of the event, for the log.
    pub(super) fn excerpt(&self) -> String {
        serde_json::to_string(&self.event).unwrap_or_default().chars().take(EXCERPT).collect()
    }

    /// The alarm for a person.
    pub(super) fn alarm(&self) -> Alarm {
        let (count, first) = match &*self.event {
            Event::Observe(batch) | Event::Quarantine(batch) => {
                let first = batch.observations.first().map(|o| o.labels.to_string()).unwrap_or_default();
                (batch.observations.len(), first.chars().take(500).collect())
            }
            Event::Repeats(repeats) => {
                let first = repeats.statements.first().map(|one| one.alert.to_string());
                (repeats.statements.len(), first.unwrap_or_default())
            }
            _ => (1, String::new()),
        };
        let problem = Problem::EngineFailed { event: kind(&self.event).into(), count, first };
        Alarm { problem, lasts: ALARM_LASTS }
    }
}

/// The kind of an event, as the journal names it.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Observe(_) => "observe",
        Event::Quarantine(_) => "aside",
        Event::Repeats(_) => "repeats",
        Event::Delivered(_) => "delivered",
        Event::Failed(_) => "failed",
        Event::Replay(_) => "replay",
        Event::Release(_) => "release",
        Event::Acknowledge(_) => "acknowledge",
        Event::Remark(_) => "remark",
        Event::Silence(_) => "silence",
        Event::Alarm(_) => "alarm",
        Event::Report(_) => "report",
        Event::Policy(_) => "policy",
        Event::Clocks(_) => "clocks",
        Event::Started => "started",
        Event::Tick => "tick",
    }
}

/// The inputs that made the engine fail, until they are decided or reported. The content of one tick bounds
/// them.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Each of one alert.
    waiting: Vec<Suspect>,
    /// How many of them made it fail.
    broke: u32,
    /// Stored events that were left out when the engine was read.
    stored: BTreeSet<Seq>,
}

/// A part of one alert's input that made the engine fail.
#[derive(Debug)]
enum Suspect {
    /// An event to try.
    Event(Event),
    /// A repeat made it fail. The alert is put aside, with its state in the engine.
    Known { source: Source, alert: AlertId },
}

impl Suspect {
    /// Asks the engine for the event where it follows from the engine's state.
    fn ask(&mut self, engine: &Engine) {
        let Suspect::Known { source, alert } = *self else { return };
        match guarded(|| engine.query().as_known(source, alert)).ok().flatten() {
            Some(batch) => *self = Suspect::Event(Event::Quarantine(batch)),
            None => {
                tracing::error!(%alert, "an alert whose repeats break the engine is not known, and left out")
            }
        }
    }

    fn event(&self) -> Option<&Event> {
        if let Suspect::Event(event) = self { Some(event) } else { None }
    }
}

impl Suspects {
    /// Takes in an event that made the engine fail. It keeps only the statements about alerts.
    pub(super) fn add(&mut self, event: Event) {
        let (batch, aside) = match event {
            Event::Observe(batch) => (batch, false),
            Event::Quarantine(batch) => (batch, true),
            Event::Repeats(Repeats { source, peer, statements }) => {
                self.waiting.extend(statements.into_iter().map(|one| {
                    let one = Repeats { source, peer, statements: vec![one] };
                    Suspect::Event(Event::Repeats(one))
                }));
                return;
            }
            _ => return,
        };
        let Batch { source, peer, observations, .. } = batch;
        self.waiting.extend(observations.into_iter().map(|one| {
            let one = Batch::new(source, peer.clone(), vec![one]);
            Suspect::Event(if aside { Event::Quarantine(one) } else { Event::Observe(one) })
        }));
    }

    /// Takes in a stored event that was left out. It returns false if the event is known already.
    pub(super) fn add_stored(&mut self, seq: Seq, event: Event) -> bool {
        let new = self.stored.insert(seq);
        if new {
            self.add(event);
        }
        new
    }

    /// Tries them all, or reports those that are put aside already.
    pub(super) fn apply(
        &mut self,
        tick: &mut Tick,
        open: &mut Open,
        clock: &EngineClock,
    ) -> Result<(), TickFailure> {
        self.waiting.iter_mut().for_each(|suspect| suspect.ask(&open.engine));
        self.waiting.iter().filter_map(Suspect::event).try_for_each(|event| tick.apply(open, clock, event))
    }

    /// The engine failed on one of them again: it is put aside, or left out. False if it is none of them.
    pub(super) fn broke(&mut self, event: &Event) -> bool {
        let Some(index) = self.waiting.iter().position(|s| s.event() == Some(event)) else { return false };
        self.broke += 1;
        match event {
            Event::Observe(batch) => self.waiting[index] = Suspect::Event(Event::Quarantine(batch.clone())),
            Event::Repeats(Repeats { source, statements, .. }) if !statements.is_empty() => {
                self.waiting[index] = Suspect::Known { source: *source, alert: statements[0].alert };
            }
            lost => {
                tracing::error!(event = ?lost, "an alert that cannot be reported at all is left out");
                self.waiting.remove(index);
            }
        }
        if self.broke >= TOLD {
            tracing::error!(alerts = self.waiting.len(), "alerts that came with it are left out");
            self.waiting.clear();
        } else if self.broke >= TRIED {
            // Senders will repeat their repeats.
            self.waiting.retain(|suspect| !matches!(suspect, Suspect::Event(Event::Repeats(_))));
            for suspect in &mut self.waiting {
                if let Suspect::Event(Event::Observe(batch)) = suspect {
                    *suspect = Suspect::Event(Event::Quarantine(batch.clone()));
                }
            }
        }
        true
    }

    /// All of it is durable.
    pub(super) fn settled(&mut self) {
        *self = Suspects::default();
    }
}
