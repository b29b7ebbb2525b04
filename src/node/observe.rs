//! How alerts become part of a tick, from this process's own senders and from the inbox.

use crate::engine::{Alarm, Event};
use crate::journal::Handed;
use crate::model::{Batch, Problem};

use super::clock::EngineClock;
use super::down::DAMAGE_LASTS;
use super::poison::{Failure, guarded};
use super::published::Published;
use super::tick::{Open, Tick};

/// Why a batch did not become part of a tick.
pub(super) enum NotTaken {
    /// There is no room for alerts that are not known yet.
    Short(String),
    /// The engine broke.
    Failed(Failure),
}

/// Handles one batch. Pure repeats are gathered. Alerts that are known may say how they stand while there is
/// no room for new ones.
pub(super) fn observe(
    open: &mut Open,
    clock: &EngineClock,
    published: &Published,
    tick: &mut Tick,
    batch: Batch,
) -> Result<(), NotTaken> {
    if let Some(repeats) = guarded(|| open.engine.query().repeats(&batch)).ok().flatten() {
        open.repeats.add(clock.now(), repeats);
        return Ok(());
    }
    let short = published.memory.refusal().map(|reason| reason.to_string());
    let short = short.or_else(|| open.journal.full().map(str::to_owned));
    match short.filter(|_| open.engine.query().has_unknown(&batch)) {
        Some(reason) => Err(NotTaken::Short(reason)),
        None => tick.apply(open, clock, &Event::Observe(batch)).map_err(NotTaken::Failed),
    }
}

/// Handles the alerts that standbys have accepted. They stay in the inbox until the commit of the tick. Rows
/// stay there as long as there is no room for their alerts.
pub(super) fn take_inbox(
    open: &mut Open,
    clock: &EngineClock,
    published: &Published,
    tick: &mut Tick,
) -> Result<(), Failure> {
    for Handed { row, batches } in open.journal.inbox()? {
        let read = batches.and_then(|body| {
            serde_json::from_str::<Vec<Batch>>(&body)
                .map_err(|e| format!("row {row} of squelch_handed cannot be read: {e}"))
        });
        let batches = match read {
            Ok(batches) => batches,
            Err(error) => {
                tracing::error!(error, "alerts that another replica accepted are lost");
                let problem = Problem::StorageDamaged { error };
                tick.apply(open, clock, &Event::Alarm(Alarm { problem, lasts: DAMAGE_LASTS }))?;
                Vec::new()
            }
        };
        for batch in batches {
            match observe(open, clock, published, tick, batch) {
                Ok(()) => {}
                Err(NotTaken::Short(_)) => return Ok(()),
                Err(NotTaken::Failed(failure)) => return Err(failure),
            }
        }
        tick.takes(row);
    }
    Ok(())
}
