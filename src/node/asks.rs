//! The part of a tick that serves callers: replays, silences, views.

use smol_str::SmolStr;
use tokio::sync::oneshot;

use crate::engine::{Event, Release};
use crate::journal::{DeadLetters, LetterQuery};
use crate::model::{Kind, NotificationId, SilenceRequest};
use crate::web::{ReleaseError, ReplayError, SilenceFailure, Unavailable};

use super::clock::EngineClock;
use super::poison::{TickFailure, guarded};
use super::tick::{DEAD_LETTERS, Open, Tick, Waiter};

/// Has a dead letter sent again, if there is one: unchanged, or anew if its incident goes on.
pub(super) fn replay(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    id: NotificationId,
    done: oneshot::Sender<Result<(), ReplayError>>,
) -> Result<(), TickFailure> {
    let letters = open.journal.dead_letters(&LetterQuery::newest(DEAD_LETTERS))?;
    let Some(letter) = letters.iter().find(|letter| letter.notification.id == id) else {
        let _ = done.send(Err(ReplayError::NotFound));
        return Ok(());
    };
    let opens = matches!(letter.notification.kind, Kind::Page | Kind::Update);
    if opens && !guarded(|| open.engine.query().can_replay(id)).is_ok_and(|can| can) {
        let _ = done.send(Err(ReplayError::Over));
        return Ok(());
    }
    tick.wait(Box::new(move |outcome| {
        let _ = done.send(outcome.map(|_| ()).map_err(|e| Unavailable(e.into()).into()));
    }));
    tick.apply(open, clock, &Event::Replay(id))
}

/// Grants a request about silences, or says why not. A refused request is no event.
pub(super) fn silence(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    request: &SilenceRequest,
    done: oneshot::Sender<Result<SmolStr, SilenceFailure>>,
) -> Result<(), TickFailure> {
    let change = match guarded(|| open.engine.query().plan_silence(clock.wall_for_mutes(), request)) {
        Ok(Ok(change)) => change,
        Err(reason) => {
            let _ = done.send(Err(Unavailable(format!("the engine broke on it: {reason}")).into()));
            return Ok(());
        }
        Ok(Err(error)) => {
            let _ = done.send(Err(error.into()));
            return Ok(());
        }
    };
    let id = change.id().clone();
    tick.wait(Box::new(move |outcome| {
        let _ = done.send(outcome.map(|_| id).map_err(|e| Unavailable(e.into()).into()));
    }));
    tick.apply(open, clock, &Event::Silence(change))
}

/// Releases an alert that is held back, if it is.
pub(super) fn let_go(
    open: &mut Open,
    clock: &EngineClock,
    tick: &mut Tick,
    release: Release,
    done: oneshot::Sender<Result<(), ReleaseError>>,
) -> Result<(), TickFailure> {
    if !guarded(|| open.engine.query().can_release(release.alert, &release.receiver)).is_ok_and(|can| can) {
        let _ = done.send(Err(ReleaseError::NotHeld));
        return Ok(());
    }
    tick.wait(Box::new(move |outcome| {
        let _ = done.send(outcome.map(|_| ()).map_err(|e| Unavailable(e.into()).into()));
    }));
    tick.apply(open, clock, &Event::Release(release))
}

pub(super) fn dead_letters(
    wanted: LetterQuery,
    done: oneshot::Sender<Result<DeadLetters, Unavailable>>,
) -> Waiter {
    Box::new(move |outcome| {
        let found = outcome.map_err(str::to_owned).and_then(|open| {
            let letters = open.journal.dead_letters(&wanted).map_err(|e| e.to_string())?;
            let by_receiver = open.journal.dead_letter_counts().map_err(|e| e.to_string())?;
            Ok(DeadLetters { letters, by_receiver })
        });
        let _ = done.send(found.map_err(Unavailable));
    })
}

/// Answers with the result of `read` once the tick is durable.
pub(super) fn told<T: Send + 'static>(
    done: oneshot::Sender<Result<T, Unavailable>>,
    read: impl FnOnce(&mut Open) -> T + Send + 'static,
) -> Waiter {
    Box::new(move |outcome| {
        let _ = done.send(outcome.map(read).map_err(|reason| Unavailable(reason.into())));
    })
}
