//! From what is on disk back to the engine that wrote it.

use crate::config::Policy;
use crate::engine::{Effects, Engine, Event};
use crate::journal::{JournalError, Recovered, Seq};

/// Why the engine cannot be brought up from what is stored.
///
/// None of these is passed over: an engine that forgot its open incidents would never close them.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The newest snapshot is whole, and this program does not understand it.
    #[error("the snapshot at event {seq} cannot be restored: {reason}; run the version that wrote it")]
    Snapshot {
        /// The last event in the snapshot.
        seq: Seq,
        /// What the engine said.
        reason: String,
    },
    /// A stored event is whole, and this program does not understand it.
    #[error("event {seq} cannot be read: {reason}; run the version that wrote it")]
    Event {
        /// Its number.
        seq: Seq,
        /// What was wrong with it.
        reason: String,
    },
}

/// An engine in the state in which the last durable event left it.
pub struct Rebuilt {
    /// The engine.
    pub engine: Engine,
    /// The number of the last durable event; 0 if there is none.
    pub last_seq: Seq,
    /// How many events were replayed.
    pub replayed: u64,
    /// There was nothing: the journal is new.
    pub fresh: bool,
}

/// Restores the snapshot and replays what came after it. Effects are discarded: what followed from
/// these events is in the outbox and the ledger already, written in the same transactions.
///
/// An empty journal gives an engine under `policy`.
pub fn rebuild(recovered: &Recovered, policy: &Policy) -> Result<Rebuilt, RecoverError> {
    let (mut engine, mut last_seq) = match &recovered.snapshot {
        Some((seq, body)) => {
            let engine = Engine::restore(body)
                .map_err(|e| RecoverError::Snapshot { seq: *seq, reason: e.to_string() })?;
            (Some(engine), *seq)
        }
        None => (None, 0),
    };
    let mut replayed = 0;
    let mut effects = Effects::default();
    for record in &recovered.records {
        let event: Event = serde_json::from_slice(&record.event)
            .map_err(|e| RecoverError::Event { seq: record.seq, reason: e.to_string() })?;
        // A journal begins with the policy of its first start: the engine must be born under the
        // policy it was born under then, whatever the configuration says today.
        let engine = engine.get_or_insert_with(|| {
            Engine::new(match &event {
                Event::Policy(first) => (**first).clone(),
                Event::Observe(_)
                | Event::Seen(_)
                | Event::Delivered(_)
                | Event::Replay(_)
                | Event::Silence(_)
                | Event::Alarm(_)
                | Event::Started
                | Event::Release(_)
                | Event::Tick => policy.clone(),
            })
        });
        engine.handle(record.now, &event, &mut effects);
        effects = Effects::default();
        last_seq = record.seq;
        replayed += 1;
    }
    let fresh = engine.is_none();
    let engine = engine.unwrap_or_else(|| Engine::new(policy.clone()));
    Ok(Rebuilt { engine, last_seq, replayed, fresh })
}
