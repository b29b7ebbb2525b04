//! The latest that one peer stated about one full label set.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::model::{Duration, Observation, Status, Timestamp, hash64};
use crate::policy::Policy;

/// One instant in engine time and in wall time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Engine time.
    pub(crate) now: Timestamp,
    /// Wall time, which a sender's times are compared with.
    pub(crate) wall: Timestamp,
}

impl Moment {
    /// The instant at which engine time is `now`, and `ahead` milliseconds ahead of wall time.
    pub(crate) fn new(now: Timestamp, ahead: i64) -> Self {
        Moment { now, wall: Timestamp::from_millis(now.as_millis().saturating_sub(ahead)) }
    }

    fn ahead(self) -> i64 {
        self.now.as_millis() - self.wall.as_millis()
    }

    /// The engine time at the wall time `wall`.
    pub(crate) fn engine(self, wall: Timestamp) -> Timestamp {
        Timestamp::from_millis(wall.as_millis().saturating_add(self.ahead()))
    }

    /// The wall time at the engine time `engine`.
    pub(super) fn wall_at(self, engine: Timestamp) -> Timestamp {
        Timestamp::from_millis(engine.as_millis().saturating_sub(self.ahead()))
    }
}

/// A sender whose clock is wrong by no more counts as right.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_secs(30);

/// How long a peer that states an old firing must go on before it is believed.
pub(crate) const REFIRE_WAIT: Duration = Duration::from_secs(60);

/// How long a sender is believed that an alert fires, if the end that it gives has passed already.
const LATE_FIRES: Duration = Duration::from_mins(5);

/// A copy of a statement arrives within this time. Senders post to several replicas, or on two ways.
const COPY: Duration = Duration::from_secs(10);

/// How long a doubtful statement holds, once it is believed. It is twice Alertmanager's default of
/// `group_interval`, after which its peer repeats the statement if the alert still fires there.
const DOUBTED_FOR: Duration = Duration::from_mins(10);

/// The latest that one peer stated about one full label set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Statement {
    pub(super) firing: bool,
    /// The start as the peer stated it.
    pub(super) starts_at: Timestamp,
    /// The end as the peer stated it.
    pub(super) ends_at: Option<Timestamp>,
    /// Firing: when the peer's word expires in engine time, if it gave a time (API v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    /// When the peer stated it last, in engine time.
    pub(super) last_seen: Timestamp,
    /// The hash of the annotations and the address that the peer stated.
    pub(super) content: u64,
    /// Firing, while the occurrence is over: since when the peer has been stating it, in engine time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) waits_since: Option<Timestamp>,
    /// Firing: another peer has resolved the same occurrence since, or the peer got no answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) doubted: bool,
    /// Firing: the peer got no answer, because the storage is unusable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unanswered: bool,
    /// The start moved with the last statement. If it soon moves again, that is no new occurrence: see
    /// [`super::MOVES_WITHIN`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) moved: bool,
    /// How often the peer stated in a row an end that had passed and was later than the one before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) goes_on: u8,
}

fn is_zero(count: &u8) -> bool {
    *count == 0
}

impl Statement {
    pub(super) fn new(at: Moment, said: &Observation) -> Self {
        let firing = said.status == Status::Firing;
        Statement {
            firing,
            starts_at: said.starts_at,
            ends_at: said.ends_at,
            expires_at: said.ends_at.filter(|_| firing).map(|end| expiry(at, end)),
            last_seen: at.now,
            content: content(said),
            waits_since: None,
            doubted: false,
            unanswered: false,
            moved: false,
            goes_on: 0,
        }
    }

    /// When a peer's word that it fires expires. None if the peer does not say so.
    pub(super) fn expires_at(&self, policy: &Policy) -> Option<Timestamp> {
        self.firing.then(|| self.expires_at.unwrap_or(self.last_seen + policy.stale_after))
    }

    /// The peer goes on to say that it fires, until `ends_at`. Its word expires at `expires_at`.
    pub(super) fn extend(&mut self, ends_at: Option<Timestamp>, expires_at: Option<Timestamp>) {
        // The same end, once it has passed, gives no more time.
        if ends_at != self.ends_at || self.expires_at.is_none() {
            self.ends_at = self.ends_at.max(ends_at);
            self.expires_at = self.expires_at.max(expires_at);
        }
    }

    /// Since when its peer states a firing that is not believed yet, and that no other peer resolved since.
    pub(super) fn waits_since(&self) -> Option<Timestamp> {
        self.waits_since.filter(|_| !self.doubted)
    }

    /// When a firing that waits is believed, unless its word expires before.
    pub(super) fn believed_at(&self) -> Option<Timestamp> {
        let due = self.waits_since().map(|since| since + REFIRE_WAIT);
        due.filter(|due| self.expires_at.is_none_or(|expires_at| expires_at > *due))
    }

    /// From `now` on the statement counts only for a while, unless its peer repeats it.
    pub(super) fn doubt(&mut self, now: Timestamp) {
        if self.firing && !self.doubted {
            self.doubted = true;
            let expires_at = now + DOUBTED_FOR;
            self.expires_at = Some(self.expires_at.map_or(expires_at, |before| before.min(expires_at)));
        }
    }

    /// Whether `said` repeats the resolve that the peer stated, and is not about a later occurrence.
    pub(super) fn resolves_again(&self, said: &Observation) -> bool {
        !self.firing && self.ends_at.is_none_or(|ended| said.starts_at <= ended)
    }

    /// The engine time until which the statement covers the occurrence. A later start begins another
    /// occurrence.
    pub(super) fn covers_until(&self, at: Moment) -> Timestamp {
        let end = self.expires_at.filter(|_| !self.doubted).unwrap_or(self.last_seen);
        end.max(at.engine(self.starts_at))
    }

    /// The start, unless it lay ahead when the peer stated it last.
    pub(super) fn believed_start(&self, at: Moment) -> Option<Timestamp> {
        Some(self.starts_at).filter(|start| at.engine(*start) <= self.last_seen)
    }

    /// Whether the end that the peer stated had passed when it did.
    pub(super) fn was_late(&self, at: Moment) -> bool {
        self.ends_at.is_some_and(|end| at.engine(end) <= self.last_seen)
    }

    /// Whether `said` continues a firing whose end had passed before. Its end moves on with each statement.
    /// The same end counts only as a copy of the statement that gave it, since the end of a resolved alert
    /// stays.
    pub(super) fn goes_on_late(&self, at: Moment, said: &Observation) -> bool {
        let copies_until = self.expires_at.map(|at| at - LATE_FIRES + COPY);
        match said.ends_at.cmp(&self.ends_at) {
            Ordering::Greater => true,
            Ordering::Equal => copies_until.is_none_or(|until| at.now <= until),
            Ordering::Less => false,
        }
    }

    /// Whether `said`, whose end has passed, states a later end than the peer's previous statement, whose
    /// end had passed too. The end of a resolved alert stays, and a new occurrence starts later. The end of
    /// a firing alert moves on with each repeat. It has passed only if the peer's clock is behind.
    pub(super) fn moves_on(&self, at: Moment, said: &Observation) -> bool {
        let later = said.ends_at > self.ends_at && lateness(at, said) > CLOCK_SLACK;
        let overlaps = !said.start_unknown && self.ends_at.is_some_and(|ended| said.starts_at <= ended);
        later && overlaps && self.was_late(at)
    }
}

/// The hash of the part of an observation that identifies nothing: its annotations and its address. It is the
/// same in every process, since a snapshot holds it.
pub(super) fn content(said: &Observation) -> u64 {
    let mut text = Vec::with_capacity(said.annotations.bytes() + said.generator_url.len());
    for (name, value) in said.annotations.iter() {
        text.extend_from_slice(name.as_bytes());
        text.push(0xff);
        text.extend_from_slice(value.as_bytes());
        text.push(0xff);
    }
    text.extend_from_slice(said.generator_url.as_bytes());
    hash64(&text)
}

/// When a firing statement with the end `end` expires, in engine time.
pub(super) fn expiry(at: Moment, end: Timestamp) -> Timestamp {
    if end > at.wall { at.engine(end) } else { at.now + LATE_FIRES }
}

/// How long ago the stated end has passed.
pub(crate) fn lateness(at: Moment, said: &Observation) -> Duration {
    said.ends_at.map_or(Duration::ZERO, |end| at.wall.since(end))
}
