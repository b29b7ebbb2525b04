//! What came of words that were said before, so that a repeat need not be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::engine::{Engine, PeerId, Seen, SeenOccurrence};
use crate::ingest::Said;
use crate::model::{AlertId, Source, Status};

/// Words remembered beyond twice as many as there are alerts (both members of a pair), before all are
/// forgotten and learnt anew.
const SPARE: u64 = 10_000;

/// Whose alerts words were about, as they were read when they were said first. Nothing here decides: the
/// engine is asked each time whether what it knows still stands.
#[derive(Debug)]
pub struct Words {
    /// By the sender and the words of the labels.
    known: HashMap<u128, Known>,
    heard: Heard,
}

/// So many bits tell what was heard: of a million words four in ten are taken for heard that were not.
const HEARD: usize = 1 << 21;

/// Whether words were perhaps said before, for any thread to ask: in a storm of new alerts the engine need
/// not be asked, and woken, to hear that they are new. Cheap to share.
#[derive(Debug, Clone)]
pub struct Heard(Arc<[AtomicU64]>);

impl Default for Heard {
    fn default() -> Self {
        Heard((0..HEARD / 64).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Heard {
    /// Where a hash stands, and its bit there.
    fn place(&self, who: u128) -> (&AtomicU64, u64) {
        let bit = who as usize % HEARD;
        (&self.0[bit / 64], 1 << (bit % 64))
    }

    /// False if any of the words was never learnt.
    pub fn all(&self, said: &[Said]) -> bool {
        said.iter().all(|said| {
            let (bits, bit) = self.place(said.who);
            bits.load(Ordering::Relaxed) & bit != 0
        })
    }

    fn add(&self, who: u128) {
        let (bits, bit) = self.place(who);
        bits.fetch_or(bit, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.iter().for_each(|bits| bits.store(0, Ordering::Relaxed));
    }
}

/// What was read.
#[derive(Debug, Clone, Copy)]
struct Known {
    peer: PeerId,
    alert: AlertId,
    instance: AlertId,
    /// The words of the rest that were taken last.
    what: u64,
    /// Whether they said that it fires. The same words are news once it does not: a re-fire may be said in
    /// the very words of before.
    status: Status,
}

impl Words {
    /// That knows nothing yet, and shows in `heard` what it knows.
    pub fn new(heard: Heard) -> Words {
        heard.clear();
        Words { known: HashMap::new(), heard }
    }

    /// What the engine must be told, sooner or later, of a body in which all alerts say what they said
    /// before and nothing has happened since; nothing if the body must be read.
    pub fn repeats(&self, engine: &Engine, source: Source, said: &[Said]) -> Option<Seen> {
        let (mut occurrences, mut statuses) =
            (Vec::with_capacity(said.len()), Vec::with_capacity(said.len()));
        let mut peer = PeerId::default();
        for said in said {
            let known = self.known.get(&said.who).filter(|known| known.what == said.what)?;
            let (alert, instance, ends_at) = (known.alert, known.instance, said.ends_at);
            occurrences.push(SeenOccurrence { alert, instance, count: 1, ends_at });
            statuses.push(known.status);
            peer = known.peer;
        }
        let known = occurrences.iter().zip(statuses).map(|(one, status)| (one.alert, one.instance, status));
        engine.repeats_still((source, peer), known).then_some(Seen { source, peer, occurrences })
    }

    /// Remembers what the words of a body were about that was read and only repeated what is known: `seen`
    /// is what the engine made of it. What is said once is not remembered.
    pub fn learn(&mut self, engine: &Engine, said: &[Said], seen: &Seen) {
        if said.len() != seen.occurrences.len() {
            return;
        }
        if self.known.len() as u64 > 2 * engine.alerts_known() + SPARE {
            self.known.clear();
            self.heard.clear();
        }
        for (said, one) in said.iter().zip(&seen.occurrences) {
            let peer = (seen.source, seen.peer);
            let Some(status) = engine.status_of(peer, one.alert, one.instance) else { continue };
            let known =
                Known { peer: seen.peer, alert: one.alert, instance: one.instance, what: said.what, status };
            self.known.insert(said.who, known);
            self.heard.add(said.who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_never_taken_for_new() {
        let heard = Heard::default();
        let said = |who| Said { who, what: 0, ends_at: None };
        let all: Vec<Said> = (0..1000).map(|n: u128| said(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        assert!(!heard.all(&all));
        for one in &all {
            heard.add(one.who);
        }
        assert!(heard.all(&all));
        assert!(!heard.all(&[all[5], said(5)]), "one that was not is enough");
        Words::new(heard.clone());
        assert!(!heard.all(&all[..1]), "a new engine has heard nothing");
    }
}
