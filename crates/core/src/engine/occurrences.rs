//! The occurrences of one alert: the statements of its peers, merged.
//!
//! Squelch keeps one [`Statement`] for each peer and full label set. Only a peer itself changes its
//! statement. The statements about one full label set make one [`Occurrence`] after another:
//!
//! - Statements that overlap are one occurrence, and the earliest start wins.
//! - The first resolve ends the occurrence at once, whichever peer sends it.
//! - A peer that goes on to state the old firing is believed after [`REFIRE_WAIT`], unless it resolves it
//!   too. Alertmanagers of one cluster wake up to 15 s apart, so the copy of the other one may just be
//!   late.
//! - A resolve after such a statement makes it doubtful, until its peer states the firing again. The members
//!   of a cluster share the log of their notifications. A member whose alert still fires repeats that within
//!   one `group_interval`, and a member whose alert resolved too says nothing.
//!
//! Times of one sender are compared with times of the same sender, or with the wall time of receipt. A clock
//! that is wrong then does no harm. Engine time only orders what Squelch receives, and drives the timers.

mod firing;
mod statement;

use serde::{Deserialize, Serialize};

use crate::engine::few::Few;
use crate::model::{AlertId, Duration, Observation, Source, Status, Timestamp, hash64};
use crate::policy::Policy;

pub(crate) use statement::{CLOCK_SLACK, Moment, REFIRE_WAIT, lateness};
use statement::{Statement, content};

/// A sender that speaks for alerts: a hash of its name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PeerId(u64);

impl PeerId {
    /// The peer of this name: its credential, address or external URL.
    pub fn of(name: &str) -> PeerId {
        PeerId(hash64(name.as_bytes()))
    }
}

/// One full label set from one source.
pub(crate) type OccurrenceKey = (Source, AlertId);

/// A sender whose start moves with each statement states the same occurrence, if each start is at most this
/// long after the statement before. A later start stands for a resolve that the sender did not send:
/// Alertmanager keeps the start of an alert for as long as it fires.
pub(crate) const MOVES_WITHIN: Duration = Duration::from_mins(10);

/// An alert keeps at most this many full label sets. A new one then replaces the one whose last statement
/// is the oldest, and a resolved one before one that fires. Values that `ignore_labels` leaves out make
/// many label sets of one alert.
pub(crate) const LABEL_SETS: usize = 1000;

/// At most this many peers have a statement about one full label set. The one that spoke longest ago goes
/// first.
const PEERS: usize = 16;

/// The occurrences of one alert, by source and full label set.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Occurrences(Few<OccurrenceKey, Occurrence>);

/// The current or the last occurrence of one full label set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Occurrence {
    firing: bool,
    /// Its start. Never later than the wall time at which it was received.
    starts_at: Timestamp,
    /// The end of the last occurrence, never later than the wall time at [`Self::ended_on`]. [`NEVER`] if
    /// there was none.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    ended_at: Timestamp,
    /// When Squelch learned of that end, in engine time.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    ended_on: Timestamp,
    /// No peer stated that end: it was time that ended the occurrence.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    expired: bool,
    peers: Few<PeerId, Statement>,
}

const NEVER: Timestamp = Timestamp::ZERO;

fn never() -> Timestamp {
    NEVER
}

fn is_never(at: &Timestamp) -> bool {
    *at == NEVER
}

/// The effect of a statement on one full label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OccurrenceChange {
    None,
    /// The statement is about an occurrence before this one.
    Old,
    /// It did not fire, and does.
    Fired,
    /// It fired and fires. Its peer missed the resolve: the former occurrence was last stated at this time.
    Restarted(Timestamp),
    /// It fired, and does not.
    Resolved,
}

impl Occurrence {
    /// When it expires, if no peer confirms it. None while it does not fire.
    fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        let latest = self.last_to_expire(policy).and_then(|peer| peer.expires_at(policy));
        self.firing.then(|| latest.unwrap_or(self.last_seen() + policy.stale_after))
    }

    /// The firing statement that expires last.
    fn last_to_expire(&self, policy: &Policy) -> Option<&Statement> {
        self.peers.values().filter(|peer| peer.firing).max_by_key(|peer| peer.expires_at(policy))
    }

    /// When a peer stated it last.
    fn last_seen(&self) -> Timestamp {
        self.peers.values().map(|peer| peer.last_seen).max().unwrap_or(self.ended_on)
    }

    /// The annotations and the address that one of the peers states, as a hash, while it states a firing.
    fn content(&self) -> Option<u64> {
        self.peers.values().find(|peer| peer.firing).map(|peer| peer.content)
    }

    /// Whether a peer states a firing that is not believed yet.
    fn is_disputed(&self) -> bool {
        self.peers.values().any(|peer| peer.waits_since().is_some())
    }

    /// The statement of a peer, as of now. There is room for it.
    fn state(&mut self, at: Moment, peer: PeerId, said: &Observation) -> &mut Statement {
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS {
            let oldest = self.peers.iter().min_by_key(|(_, peer)| peer.last_seen).map(|(id, _)| *id);
            oldest.map(|id| self.peers.remove(&id));
        }
        let statement = self.peers.or_insert_with(peer, || Statement::new(at, said));
        statement.last_seen = at.now;
        statement.content = content(said);
        statement
    }

    /// It fires from `starts_at` on: the wait of every peer is over.
    fn begin(&mut self, at: Moment, starts_at: Timestamp) {
        self.firing = true;
        self.expired = false;
        self.starts_at = starts_at.min(at.wall);
        self.peers.values_mut().for_each(|peer| peer.waits_since = None);
    }

    /// It is over since `ended`. A sender's clock that is ahead does not move the end into the future.
    fn end(&mut self, at: Moment, ended: Timestamp) {
        self.firing = false;
        self.ended_at = self.ended_at.max(ended.min(at.wall));
        self.ended_on = at.now;
    }
}

impl Occurrences {
    /// Whether any fires.
    pub(crate) fn fires(&self) -> bool {
        self.0.values().any(|o| o.firing)
    }

    /// The number of full label sets that fire.
    pub(crate) fn firing(&self) -> usize {
        self.0.values().filter(|o| o.firing).count()
    }

    /// The number of full label sets.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// When a peer stated any of them last, in engine time.
    pub(crate) fn last_seen(&self) -> Option<Timestamp> {
        self.0.values().map(Occurrence::last_seen).max()
    }

    /// When the last firing occurrence expires, if no peer makes a statement before, in engine time.
    pub(crate) fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        self.0.values().filter_map(|o| o.expires_at(policy)).max()
    }

    /// The earliest start of the firing ones.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.0.values().filter(|o| o.firing).map(|o| o.starts_at).min()
    }

    /// Whether a peer states a firing that is not believed yet.
    pub(crate) fn is_disputed(&self) -> bool {
        self.0.values().any(Occurrence::is_disputed)
    }

    /// When the first of them expires or is believed, if no peer speaks before.
    pub(crate) fn deadline(&self, policy: &Policy) -> Option<Timestamp> {
        let believed = |o: &Occurrence| o.peers.values().filter_map(Statement::believed_at).min();
        self.0.values().flat_map(|o| [o.expires_at(policy), believed(o)]).flatten().min()
    }

    /// The doors and full label sets.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &OccurrenceKey> {
        self.0.keys()
    }

    /// Whether `said` changes nothing but when the peer spoke last, and, unless it is `unanswered`, that the
    /// peer got an answer.
    pub(crate) fn is_repeat(
        &self,
        key: &OccurrenceKey,
        peer: PeerId,
        said: &Observation,
        unanswered: bool,
    ) -> bool {
        let Some(occurrence) = self.0.get(key) else { return false };
        let Some(statement) = occurrence.peers.get(&peer) else {
            // The first statement of another member of a pair mostly repeats the occurrence that is known.
            let same = said.starts_at == occurrence.starts_at && occurrence.content() == Some(content(said));
            return same && occurrence.firing && said.status == Status::Firing;
        };
        let unchanged = match (statement.firing, said.status) {
            (true, Status::Firing) => {
                // A peer whose start moved back goes on to state the earlier one.
                let starts = [statement.starts_at, occurrence.starts_at];
                let same_start = said.start_unknown || starts.contains(&said.starts_at);
                let counts = !statement.doubted && (unanswered || !statement.unanswered);
                same_start && occurrence.firing && !statement.moved && counts
            }
            // An end that moves on is no repeat: the sender's clock may be behind.
            (false, Status::Resolved) => {
                let stands = match key.0 {
                    Source::Prometheus => said.ends_at <= statement.ends_at,
                    // It makes the statements of other peers doubtful.
                    _ => !occurrence.peers.values().any(|peer| peer.firing && !peer.doubted),
                };
                statement.resolves_again(said) && stands
            }
            _ => false,
        };
        unchanged && statement.content == content(said)
    }

    /// A peer repeated its statement. Returns its status, if the full label set is known.
    ///
    /// Repeats are gathered, so an end that they give may have passed meanwhile. It had not when the peer
    /// spoke: otherwise it is no repeat.
    pub(crate) fn repeated(
        &mut self,
        at: Moment,
        key: &OccurrenceKey,
        peer: PeerId,
        ends_at: Option<Timestamp>,
    ) -> Option<Status> {
        let expires_at = ends_at.map(|end| at.engine(end));
        let occurrence = self.0.get_mut(key)?;
        if let Some(statement) = occurrence.peers.get_mut(&peer) {
            if !statement.firing {
                statement.last_seen = at.now;
                return Some(Status::Resolved);
            }
            let spoke = expires_at.map_or(at.now, |end| at.now.min(end - Duration::from_millis(1)));
            statement.last_seen = spoke.max(statement.last_seen);
            statement.extend(ends_at, expires_at);
            return Some(Status::Firing);
        }
        // Its repeats were gathered meanwhile: an occurrence that is over is not stated anew by them.
        let content = occurrence.content().filter(|_| occurrence.firing && occurrence.peers.len() < PEERS);
        if let Some(content) = content {
            let stated = Statement {
                firing: true,
                starts_at: occurrence.starts_at,
                ends_at,
                expires_at,
                last_seen: at.now,
                content,
                waits_since: None,
                doubted: false,
                unanswered: false,
                moved: false,
                goes_on: 0,
            };
            occurrence.peers.insert(peer, stated);
        }
        Some(Status::Firing)
    }

    /// Ends the occurrences that no peer confirmed in time. If `stale`, it ends those whose last statement to
    /// expire has no end of its own, else the others. Returns the last end in wall time, if any ended.
    pub(crate) fn expire(&mut self, at: Moment, stale: bool, policy: &Policy) -> Option<Timestamp> {
        let mut last_end = None;
        for occurrence in self.0.values_mut() {
            let last = occurrence.last_to_expire(policy);
            let endless = last.is_none_or(|peer| peer.expires_at.is_none());
            let expires = occurrence.expires_at(policy);
            let Some(due) = expires.filter(|due| *due <= at.now && endless == stale) else {
                continue;
            };
            let ended = if stale { at.wall } else { at.wall_at(due) };
            occurrence.end(at, ended);
            occurrence.expired = true;
            occurrence.peers = Few::default();
            last_end = last_end.max(Some(ended));
        }
        last_end
    }

    /// Believes the peers that went on to state an old firing for [`REFIRE_WAIT`]. Returns whether there
    /// were any.
    pub(crate) fn believe(&mut self, at: Moment) -> bool {
        let mut believed = false;
        for occurrence in self.0.values_mut() {
            let due = |peer: &&Statement| peer.believed_at().is_some_and(|due| due <= at.now);
            if let Some(starts_at) = occurrence.peers.values().filter(due).map(|peer| peer.starts_at).min() {
                occurrence.begin(at, starts_at);
                believed = true;
            }
        }
        believed
    }

    /// The last statement of a peer got no answer.
    pub(crate) fn unanswered(&mut self, key: &OccurrenceKey, peer: PeerId) {
        let statement = self.0.get_mut(key).and_then(|occurrence| occurrence.peers.get_mut(&peer));
        if let Some(statement) = statement {
            statement.unanswered = statement.firing;
        }
    }

    /// Squelch was down and received nothing, or answered nothing. No statement expires before `ends`, and
    /// none is stale before `stale`. Those without an answer become doubtful.
    pub(crate) fn restarted(&mut self, now: Timestamp, ends: Timestamp, stale: Timestamp, policy: &Policy) {
        for statement in self.0.values_mut().flat_map(|o| o.peers.values_mut()).filter(|peer| peer.firing) {
            match &mut statement.expires_at {
                Some(at) => *at = (*at).max(ends),
                None => statement.last_seen = statement.last_seen.max(stale - policy.stale_after),
            }
            if std::mem::take(&mut statement.unanswered) {
                statement.doubt(now);
            }
        }
    }

    /// Makes room for a new full label set, if there are [`LABEL_SETS`]. It returns the one that is
    /// forgotten, if no other source states it, and whether it fired.
    pub(crate) fn make_room(&mut self, key: &OccurrenceKey) -> Option<(Option<AlertId>, bool)> {
        if self.0.len() < LABEL_SETS || self.0.contains_key(key) {
            return None;
        }
        let order = |o: &Occurrence| (o.firing || o.is_disputed(), o.last_seen());
        let (least, fired) = self.0.iter().min_by_key(|(_, o)| order(o)).map(|(key, o)| (*key, o.firing))?;
        self.0.remove(&least);
        let gone = !self.0.keys().any(|(_, labels)| *labels == least.1);
        Some((gone.then_some(least.1), fired))
    }

    /// A peer states that a full label set fires.
    pub(crate) fn fire(
        &mut self,
        at: Moment,
        key: OccurrenceKey,
        peer: PeerId,
        said: &Observation,
    ) -> OccurrenceChange {
        let Some(occurrence) = self.0.get_mut(&key) else {
            let mut first = Occurrence::unheard();
            first.state(at, peer, said);
            first.begin(at, said.starts_at);
            self.0.insert(key, first);
            return OccurrenceChange::Fired;
        };
        let before = occurrence.peers.get(&peer).cloned();
        match occurrence.firing {
            true => occurrence.confirm(at, peer, before, said),
            false => occurrence.fire_again(at, peer, before, said),
        }
    }

    /// A peer states that a full label set does not fire.
    pub(crate) fn resolve(
        &mut self,
        at: Moment,
        key: OccurrenceKey,
        peer: PeerId,
        said: &Observation,
    ) -> OccurrenceChange {
        let ends_at = said.ends_at.unwrap_or(at.wall).min(at.wall);
        let Some(occurrence) = self.0.get_mut(&key) else {
            let mut first = Occurrence::unheard();
            first.state(at, peer, said);
            first.end(at, ends_at);
            self.0.insert(key, first);
            return OccurrenceChange::None;
        };
        let before = occurrence.peers.get(&peer).cloned();
        let began = before.as_ref().filter(|before| before.firing).and_then(|b| b.believed_start(at));
        let began = began.unwrap_or(occurrence.starts_at);
        if !said.start_unknown && began.min(at.wall) > ends_at {
            // It ended before the peer's present statement, or the occurrence, began.
            return OccurrenceChange::Old;
        }
        let again = before.as_ref().is_some_and(|before| before.resolves_again(said));
        let goes_on = before
            .as_ref()
            .filter(|before| before.moves_on(at, said))
            .map_or(0, |b| b.goes_on.saturating_add(1));
        *occurrence.state(at, peer, said) = Statement { goes_on, ..Statement::new(at, said) };
        occurrence.expired = false;
        if key.0 != Source::Prometheus {
            let others = occurrence.peers.values_mut().filter(|other| other.starts_at <= ends_at);
            others.for_each(|statement| statement.doubt(at.now));
        }
        if !occurrence.firing {
            occurrence.ended_at = occurrence.ended_at.max(ends_at);
            return OccurrenceChange::None;
        }
        // An end that is known takes back no more than the word of the peer that states it. So does an end
        // before the start that another peer states. A former end ahead of the clock is from before the
        // clock was set back, so it is no measure.
        let known = ends_at <= occurrence.ended_at && occurrence.ended_at <= at.wall;
        let ended_on = occurrence.ended_on;
        let supports = |peer: &Statement| {
            let later = peer.believed_start(at).is_some_and(|start| start > ends_at);
            peer.firing && (later || known && peer.last_seen > ended_on)
        };
        if again || occurrence.peers.values().any(supports) {
            return OccurrenceChange::None;
        }
        occurrence.end(at, ends_at);
        OccurrenceChange::Resolved
    }

    /// The true content of `said`, a resolve only because the end that it gives has passed. An alert whose
    /// end moved on fires. Once the alert has fired, two moves are needed, since the members of a pair may
    /// share an address and state two ends. A sender's first statement about an alert also counts as firing
    /// if its end is as `late` as the others.
    pub(crate) fn judge(
        &self,
        at: Moment,
        key: &OccurrenceKey,
        peer: PeerId,
        said: &Observation,
        late: Option<Duration>,
    ) -> Status {
        let occurrence = self.0.get(key);
        let statement = occurrence.and_then(|occurrence| occurrence.peers.get(&peer));
        let never_fired = occurrence.is_some_and(|occurrence| occurrence.starts_at == NEVER);
        let as_late = is_as_late(lateness(at, said), late);
        let Some(stated) = statement else {
            return if as_late { Status::Firing } else { Status::Resolved };
        };
        let same = stated.starts_at == said.starts_at;
        let goes_on = match stated.firing {
            true => stated.was_late(at) && stated.goes_on_late(at, said),
            false => (never_fired && same || stated.goes_on >= 1) && stated.moves_on(at, said),
        };
        let fires = goes_on || !same && as_late;
        if fires { Status::Firing } else { Status::Resolved }
    }
}

/// Whether an end is as late as those of the same sender's alerts that fire. Requests take a while to come.
fn is_as_late(lateness: Duration, late: Option<Duration>) -> bool {
    const WAY: u64 = 10_000;
    late.is_some_and(|late| lateness > CLOCK_SLACK && lateness.as_millis().abs_diff(late.as_millis()) <= WAY)
}

#[cfg(test)]
mod tests;
