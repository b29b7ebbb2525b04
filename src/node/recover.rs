//! From the data on disk back to the engine that wrote it.

use crate::config::Policy;
use crate::engine::{Effects, Engine, Event};
use crate::journal::{JournalError, Recovered, Seq};

use super::poison::{Broken, TickFailure, guarded};

/// So many stored events may break the engine and be left out.
const LEFT_OUT: usize = 16;

/// The reason why the engine cannot be brought up from stored data.
///
/// None of these is passed over: an engine that forgot its open incidents would never close them.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The newest snapshot is whole, and this program does not understand it.
    #[error("the snapshot at event {seq} cannot be restored: {reason}. Run the version that wrote it")]
    Snapshot {
        /// The last event in the snapshot.
        seq: Seq,
        /// The error of the engine.
        reason: String,
    },
    /// A stored event is whole, and this program does not understand it.
    #[error("event {seq} cannot be read: {reason}. Run the version that wrote it")]
    Event {
        /// Its number.
        seq: Seq,
        /// The defect of the event.
        reason: String,
    },
    /// The engine failed on an event that cannot be left out.
    #[error(transparent)]
    Engine(#[from] Broken),
}

impl From<TickFailure> for RecoverError {
    fn from(failure: TickFailure) -> Self {
        match failure {
            TickFailure::Storage(error) => error.into(),
            TickFailure::Engine(broken) => broken.into(),
        }
    }
}

/// An engine in the state in which the last durable event left it.
pub struct Rebuilt {
    /// The engine.
    pub engine: Engine,
    /// The number of the last durable event. It is 0 if there is none.
    pub last_seq: Seq,
    /// How many events were replayed.
    pub replayed: u64,
    /// There was nothing: the journal is new.
    pub fresh: bool,
    /// Stored events that made the engine fail and were left out.
    pub left_out: Vec<(Seq, Broken)>,
}

/// Restores the snapshot and replays the events after it. It discards effects: they are in the outbox and
/// the decision log already, written in the same transactions.
///
/// An event that makes the engine fail is left out, and the replay begins anew. Otherwise the program would
/// end there at each start. An empty journal gives an engine under `policy`.
pub fn rebuild(recovered: &Recovered, policy: &Policy) -> Result<Rebuilt, RecoverError> {
    let mut left_out: Vec<(Seq, Broken)> = Vec::new();
    loop {
        match replay(recovered, policy, &left_out) {
            Ok(rebuilt) => return Ok(Rebuilt { left_out, ..rebuilt }),
            Err(Stop::Broke(seq, broken)) if left_out.len() < LEFT_OUT => left_out.push((seq, broken)),
            Err(Stop::Broke(_, broken)) => return Err(broken.into()),
            Err(Stop::Unreadable(error)) => return Err(error),
        }
    }
}

enum Stop {
    Broke(Seq, Broken),
    Unreadable(RecoverError),
}

fn replay(recovered: &Recovered, policy: &Policy, left_out: &[(Seq, Broken)]) -> Result<Rebuilt, Stop> {
    let (mut engine, mut last_seq) = match &recovered.snapshot {
        Some((seq, body)) => {
            let restored = guarded(|| Engine::restore(body)).and_then(|r| r.map_err(|e| e.to_string()));
            let engine = restored.map_err(|reason| RecoverError::Snapshot { seq: *seq, reason });
            (Some(engine.map_err(Stop::Unreadable)?), *seq)
        }
        None => (None, 0),
    };
    let mut replayed = 0;
    let mut effects = Effects::default();
    for record in &recovered.records {
        (last_seq, replayed) = (record.seq, replayed + 1);
        if left_out.iter().any(|(seq, _)| *seq == record.seq) {
            continue;
        }
        let event: Event = serde_json::from_slice(&record.event)
            .map_err(|e| Stop::Unreadable(RecoverError::Event { seq: record.seq, reason: e.to_string() }))?;
        // A journal begins with the policy of its first start. The engine must begin with that policy
        // again, even if the configuration differs today.
        let born_under = match &event {
            Event::Policy(first) => first,
            _ => policy,
        };
        let handled = guarded(|| {
            let engine = engine.get_or_insert_with(|| Engine::new(born_under.clone()));
            engine.handle(record.now, &event, &mut effects);
        });
        if let Err(reason) = handled {
            return Err(Stop::Broke(record.seq, Broken { event: Box::new(event), reason }));
        }
        effects = Effects::default();
    }
    let fresh = engine.is_none();
    let engine = engine.unwrap_or_else(|| Engine::new(policy.clone()));
    Ok(Rebuilt { engine, last_seq, replayed, fresh, left_out: Vec::new() })
}
