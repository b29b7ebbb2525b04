//! What came of words that were said before, so that a repeat need not be read.

use std::collections::HashMap;

use crate::engine::{Engine, Seen, SeenOccurrence};
use crate::ingest::Said;
use crate::model::{AlertId, Source, Status};

/// Words remembered beyond twice as many as there are alerts (both members of a pair), before all are
/// forgotten and learnt anew.
const SPARE: u64 = 10_000;

/// Whose alerts words were about, as they were read when they were said first. Nothing here decides: the
/// engine is asked each time whether what it knows still stands.
#[derive(Debug, Default)]
pub struct Words {
    /// By the sender and the words of the labels.
    known: HashMap<u128, Known>,
}

/// What was read.
#[derive(Debug, Clone, Copy)]
struct Known {
    alert: AlertId,
    instance: AlertId,
    /// The words of the rest that were taken last.
    what: u64,
    /// Whether they said that it fires. The same words are news once it does not: a re-fire may be said in
    /// the very words of before.
    status: Status,
}

impl Words {
    /// What the engine must be told, sooner or later, of a body in which all alerts say what they said
    /// before and nothing has happened since; nothing if the body must be read.
    pub fn repeats(&self, engine: &Engine, source: Source, said: &[Said]) -> Option<Seen> {
        let (mut occurrences, mut statuses) =
            (Vec::with_capacity(said.len()), Vec::with_capacity(said.len()));
        for said in said {
            let known = self.known.get(&said.who).filter(|known| known.what == said.what)?;
            let (alert, instance, ends_at) = (known.alert, known.instance, said.ends_at);
            occurrences.push(SeenOccurrence { alert, instance, count: 1, ends_at });
            statuses.push(known.status);
        }
        let known = occurrences.iter().zip(statuses).map(|(one, status)| (one.alert, one.instance, status));
        engine.repeats_still(source, known).then_some(Seen { source, occurrences })
    }

    /// Remembers what the words of a body were about that was read and only repeated what is known: `seen`
    /// is what the engine made of it. What is said once is not remembered.
    pub fn learn(&mut self, engine: &Engine, said: &[Said], seen: &Seen) {
        if said.len() != seen.occurrences.len() {
            return;
        }
        if self.known.len() as u64 > 2 * engine.alerts_known() + SPARE {
            self.known.clear();
        }
        for (said, one) in said.iter().zip(&seen.occurrences) {
            let Some(status) = engine.status_of(seen.source, one.alert, one.instance) else { continue };
            let known = Known { alert: one.alert, instance: one.instance, what: said.what, status };
            self.known.insert(said.who, known);
        }
    }
}
