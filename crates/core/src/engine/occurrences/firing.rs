//! A peer states that a full label set fires: the same occurrence, another one, or an old word.

use super::statement::{Statement, expiry};
use super::{
    Few, MOVES_WITHIN, Moment, NEVER, Observation, Occurrence, OccurrenceChange, PeerId, REFIRE_WAIT,
};

impl Occurrence {
    pub(super) fn unheard() -> Self {
        let peers = Few::default();
        Occurrence {
            firing: false,
            starts_at: NEVER,
            ended_at: NEVER,
            ended_on: NEVER,
            expired: false,
            peers,
        }
    }

    /// It fires, and a peer states so.
    pub(super) fn confirm(
        &mut self,
        at: Moment,
        peer: PeerId,
        before: Option<Statement>,
        said: &Observation,
    ) -> OccurrenceChange {
        let starts_at = said.starts_at.min(at.wall);
        let covered = self.peers.values().filter(|p| p.firing).map(|p| p.covers_until(at)).max();
        let covered = covered.unwrap_or(at.now);
        let (last_seen, ended_at) = (self.last_seen(), self.ended_at);
        let statement = self.state(at, peer, said);
        let Some(before) = before.filter(|before| before.firing) else {
            *statement = Statement::new(at, said);
            self.starts_at = self.starts_at.min(starts_at.max(ended_at));
            return OccurrenceChange::None;
        };
        statement.unanswered = false;
        if std::mem::take(&mut statement.doubted) {
            statement.expires_at = None;
        }
        statement.extend(said.ends_at, said.ends_at.map(|end| expiry(at, end)));
        if said.start_unknown || said.starts_at == before.starts_at {
            statement.moved = false;
            return OccurrenceChange::None;
        }
        if said.starts_at < before.starts_at && starts_at <= ended_at {
            // An old statement, said anew.
            return OccurrenceChange::None;
        }
        // A late copy of an earlier statement takes no later start back: an earlier resolve stays old.
        let believed = before.believed_start(at).unwrap_or(said.starts_at);
        statement.starts_at = said.starts_at.max(believed);
        let later = said.starts_at > before.starts_at && at.engine(starts_at) > before.last_seen;
        statement.moved = later;
        let moves = before.moved && at.engine(starts_at) <= before.last_seen + MOVES_WITHIN;
        if at.engine(starts_at) > covered && !moves {
            self.ended_at = starts_at;
            self.ended_on = at.now;
            self.starts_at = starts_at;
            return OccurrenceChange::Restarted(last_seen);
        }
        self.starts_at = self.starts_at.min(starts_at);
        OccurrenceChange::None
    }

    /// It does not fire, and a peer states that it does.
    pub(super) fn fire_again(
        &mut self,
        at: Moment,
        peer: PeerId,
        before: Option<Statement>,
        said: &Observation,
    ) -> OccurrenceChange {
        let ended_at = self.ended_at;
        let new = !said.start_unknown
            && match &before {
                None => said.starts_at > ended_at,
                Some(before) if before.firing => {
                    before.starts_at != said.starts_at && said.starts_at > ended_at
                }
                // An end that lay ahead counts as the time of its statement.
                Some(before) => before.ends_at.is_none_or(|ended| {
                    before.starts_at != said.starts_at && said.starts_at > ended.min(ended_at)
                }),
            };
        // It took its own word back. A member that shares the name of its pair does so seconds later.
        let took_back = before.as_ref().is_some_and(|before| {
            !before.firing && (said.start_unknown || self.ended_on + REFIRE_WAIT <= at.now)
        });
        let waits_since = before.as_ref().and_then(|before| before.waits_since).unwrap_or(at.now);
        // No sender says so, but that its clock is behind was found out.
        let judged = said.ends_at.is_some_and(|end| end <= at.wall);
        let expired = self.expired || judged;
        let statement = self.state(at, peer, said);
        *statement = Statement::new(at, said);
        if new || took_back || expired {
            self.begin(at, said.starts_at);
            return OccurrenceChange::Fired;
        }
        statement.waits_since = Some(waits_since);
        OccurrenceChange::None
    }
}
