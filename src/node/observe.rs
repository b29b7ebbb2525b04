//! How alerts become part of a tick, from this process's own senders and from the inbox.

use serde::{Deserialize, Serialize};

use crate::engine::{Acknowledge, Alarm, Event};
use crate::journal::Handed;
use crate::model::{Batch, Duration, Problem};
use crate::web::Acknowledgement;

use super::clock::EngineClock;
use super::poison::{TickFailure, guarded};
use super::published::Published;
use super::tick::{Open, Tick};

/// How long the incident about damaged storage stays open. Squelch cannot see whether a person looked.
pub(super) const DAMAGE_LASTS: Duration = Duration::from_hours(24);

/// One thing that a standby accepts for the owner. A row of the inbox has a list of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Accepted {
    /// Alerts.
    Alerts(Batch),
    /// An acknowledgement.
    Acknowledgement {
        /// The person's action.
        acknowledgement: Acknowledgement,
    },
}

/// Why a batch did not become part of a tick.
pub(super) enum NotTaken {
    /// There is no room for alerts that are not known yet.
    Short(String),
    /// The engine failed.
    Failed(TickFailure),
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

/// Marks incidents as taken on, or gives them back.
pub(super) fn acknowledge(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    change: Acknowledgement,
) -> Result<(), TickFailure> {
    let (source, labels, by) = match change {
        Acknowledgement::Incident(change) => {
            return tick.apply(open, clock, &Event::Acknowledge(change));
        }
        Acknowledgement::Event { source, labels, by } => (source, labels, by),
        Acknowledgement::Remark(remark) => return tick.apply(open, clock, &Event::Remark(remark)),
    };
    let listing = guarded(|| open.engine.query().incidents_of_event(source, &labels));
    for (dedup_key, receiver) in listing.unwrap_or_default() {
        let change = Acknowledge { dedup_key, receivers: vec![receiver], by: Some(by.clone()), via: None };
        tick.apply(open, clock, &Event::Acknowledge(change))?;
    }
    Ok(())
}

/// Handles the alerts that standbys have accepted. They stay in the inbox until the commit of the tick. Rows
/// stay there as long as there is no room for their alerts. True if it took rows, so that there may be more.
pub(super) fn take_inbox(
    open: &mut Open,
    clock: &EngineClock,
    published: &Published,
    tick: &mut Tick,
) -> Result<bool, TickFailure> {
    let mut took = false;
    for Handed { row, batches } in open.journal.inbox()? {
        let read = batches.and_then(|body| {
            serde_json::from_str::<Vec<Accepted>>(&body)
                .map_err(|e| format!("row {row} of squelch_handed cannot be read: {e}"))
        });
        let accepted = match read {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(error, "alerts that another replica accepted are lost");
                let problem = Problem::StorageDamaged { error };
                tick.apply(open, clock, &Event::Alarm(Alarm { problem, lasts: DAMAGE_LASTS }))?;
                Vec::new()
            }
        };
        for one in accepted {
            let batch = match one {
                Accepted::Alerts(batch) => batch,
                Accepted::Acknowledgement { acknowledgement } => {
                    acknowledge(open, clock, tick, acknowledgement)?;
                    continue;
                }
            };
            match observe(open, clock, published, tick, batch) {
                Ok(()) => {}
                Err(NotTaken::Short(_)) => return Ok(false),
                Err(NotTaken::Failed(failure)) => return Err(failure),
            }
        }
        tick.takes(row);
        took = true;
    }
    Ok(took)
}
