//! Silences. Rules: Alertmanager `silence/silence.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::mutes::silence_index::SilenceIndex;
use crate::model::{
    AlertId, Duration, LabelSet, MatchOp, Matcher, Silence, SilenceChange, SilenceError, SilenceRequest,
    SilenceState, Timestamp, hex, sha256,
};
use crate::policy::Limits;

/// How many silences are kept. For a new one the expired one that ended first makes room.
const MOST: usize = 10_000;
/// How many silences are tried to be compiled after one had no room. More would make a start slow.
const MOST_TRIED: usize = 64;
/// The most bytes of all texts of one silence.
const MOST_BYTES: usize = 8 << 10;
/// How long an expired silence is kept, for people to look at and to make again.
pub(crate) const RETENTION: Duration = Duration::from_hours(120);

/// All silences, and which firing alerts they are about.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silences {
    known: BTreeMap<SmolStr, KnownSilence>,
    /// The number of silences ever made. No id comes twice.
    made: u64,
    /// The silences that are not expired, by the firing alerts that they match. Other alerts are not in
    /// here. It follows from `known` and the alerts, so it is no part of a snapshot.
    #[serde(skip)]
    matched: BTreeMap<AlertId, BTreeSet<SmolStr>>,
    /// The silences that are compiled and not expired. It follows from `known`.
    #[serde(skip)]
    index: SilenceIndex,
    /// Follows from the policy.
    #[serde(skip)]
    room: SilenceRoom,
    /// The memory that all silences take together, and the number of unexpired ones that are not compiled.
    /// It follows from `known`.
    #[serde(skip)]
    sums: Sums,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    taken: u64,
    without_room: u64,
}

impl Sums {
    fn add(&mut self, entry: &KnownSilence) {
        self.taken += entry.cost;
        self.without_room += u64::from(entry.has_no_room());
    }

    fn remove(&mut self, entry: &KnownSilence) {
        self.taken -= entry.cost;
        self.without_room -= u64::from(entry.has_no_room());
    }
}

/// The memory that silences may take, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SilenceRoom(u64);

impl Default for SilenceRoom {
    fn default() -> Self {
        SilenceRoom(Limits::default().silences)
    }
}

impl SilenceRoom {
    /// The memory that granted silences may take. It is larger, so that a version that compiles them larger
    /// does not lose any.
    fn granted(&self) -> u64 {
        self.0 + self.0 / 4
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSilence {
    /// Compiled unless it is expired, or there is no room for it: then it silences nothing.
    silence: Silence,
    /// At the last look at the clock.
    state: SilenceState,
    /// The memory that it takes as it is compiled now.
    #[serde(skip)]
    cost: u64,
}

impl KnownSilence {
    fn is_live(&self) -> bool {
        self.state != SilenceState::Expired
    }

    fn has_no_room(&self) -> bool {
        self.is_live() && !self.silence.is_compiled()
    }

    /// After it was compiled or given up.
    fn weigh(&mut self) {
        self.cost = self.silence.cost() as u64;
    }
}

impl Silences {
    /// The changes that granting `request` at `now` would make.
    ///
    /// A silence is changed in place if its matchers stay the same. Otherwise it ends and another one
    /// begins, so that people still see the earlier silence as it was.
    pub(crate) fn plan(
        &self,
        now: Timestamp,
        request: &SilenceRequest,
    ) -> Result<SilenceChange, SilenceError> {
        let wanted = match request {
            SilenceRequest::Expire(id) if !self.known.contains_key(id) => {
                return Err(SilenceError::Unknown(id.clone()));
            }
            SilenceRequest::Expire(id) => return Ok(SilenceChange::Expire { id: id.clone() }),
            SilenceRequest::Set(wanted) => wanted,
        };
        check(now, wanted)?;
        let old = match self.known.get(&wanted.id) {
            None if !wanted.id.is_empty() => return Err(SilenceError::Unknown(wanted.id.clone())),
            old => old.map(|entry| &entry.silence),
        };
        let mut silence = Silence { updated_at: now, ..wanted.clone() };
        if old.is_some_and(|old| changes_in_place(now, old, wanted)) {
            return Ok(SilenceChange::Set { silence, replaces: None });
        }
        let others = self.known.values().filter(|e| e.silence.state(now) != SilenceState::Expired);
        let others = others.filter(|e| e.silence.id != wanted.id).map(|e| e.cost).sum::<u64>();
        let (cost, left) = (wanted.cost() as u64, self.room.0.saturating_sub(others));
        if cost > self.room.0 {
            return Err(SilenceError::TooCostly(cost >> 10, self.room.0 >> 10));
        }
        if cost > left {
            return Err(SilenceError::NoRoom(cost >> 10, left >> 10));
        }
        let replaces = old.filter(|old| old.state(now) != SilenceState::Expired).map(|old| old.id.clone());
        let live = self.known.values().filter(|e| e.silence.state(now) != SilenceState::Expired).count();
        if live >= MOST && replaces.is_none() {
            return Err(SilenceError::TooMany(live));
        }
        silence.starts_at = silence.starts_at.max(now);
        silence.id = self.new_id(&silence);
        Ok(SilenceChange::Set { silence, replaces })
    }

    /// Nothing here is random. The count makes the id unlike all others.
    fn new_id(&self, silence: &Silence) -> SmolStr {
        let text = format!("{} {} {:?}", self.made, silence.updated_at, silence.matchers);
        let digits = hex(&sha256(text.as_bytes()));
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        // RFC 9562, version 8 (a custom layout) and variant 10.
        format_smolstr!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
    }

    /// Applies a change. `firing` are the alerts that fire. Those that the change concerns go to `dirty`.
    pub(crate) fn apply<'a>(
        &mut self,
        now: Timestamp,
        change: &SilenceChange,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)> + Clone,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        match change {
            SilenceChange::Expire { id } => self.expire(now, id, dirty),
            SilenceChange::Set { silence, replaces } => {
                if let Some(id) = replaces {
                    self.expire(now, id, dirty);
                }
                self.set(now, silence, firing.clone(), dirty);
            }
        }
        self.settle(firing, dirty);
    }

    fn set<'a>(
        &mut self,
        now: Timestamp,
        silence: &Silence,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)>,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        self.made += 1;
        self.forget_matches(&silence.id, dirty);
        if let Some(old) = self.known.remove(&silence.id) {
            self.sums.remove(&old);
            self.index.remove(&old.silence);
        }
        let mut entry = KnownSilence { silence: silence.clone(), state: silence.state(now), cost: 0 };
        // A silence from the journal is not compiled. A live one was compiled for the check. The outcome is
        // the same.
        let left = self.room.granted().saturating_sub(self.sums.taken);
        let mut left = usize::try_from(left).unwrap_or(usize::MAX);
        let fits = entry.is_live() && entry.silence.compile(&mut left).is_ok();
        if fits {
            self.begin(&entry.silence, firing, dirty);
        } else {
            entry.silence.release();
        }
        entry.weigh();
        self.sums.add(&entry);
        self.known.insert(silence.id.clone(), entry);
    }

    /// A silence is in force for alerts from now on.
    fn begin<'a>(
        &mut self,
        silence: &Silence,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)>,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        self.index.add(silence);
        for (alert, _) in firing.filter(|(_, labels)| silence.matches(labels)) {
            self.matched.entry(alert).or_default().insert(silence.id.clone());
            dirty.insert(alert);
        }
    }

    /// Makes room by forgetting expired silences, the oldest first. Then it chooses the silences in force
    /// that have room, which a change may make more or fewer. The choice follows from `known` alone.
    fn settle<'a>(
        &mut self,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)> + Clone,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        while self.known.len() > MOST || self.sums.taken > self.room.granted() {
            let expired = self.known.values().filter(|e| !e.is_live());
            let Some(oldest) = expired.min_by_key(|e| e.silence.ends_at) else { break };
            let id = oldest.silence.id.clone();
            if let Some(gone) = self.known.remove(&id) {
                self.sums.remove(&gone);
            }
        }
        if self.sums.without_room == 0 && self.sums.taken <= self.room.granted() {
            return;
        }
        for (id, fits) in self.fit() {
            match self.known.get(&id).map(|e| e.silence.clone()).filter(|_| fits) {
                Some(silence) => self.begin(&silence, firing.clone(), dirty),
                None => self.forget_matches(&id, dirty),
            }
        }
    }

    /// Compiles the silences that have room, the ones with the oldest change first, and drops the compiled
    /// form of the others. It returns those whose state changed, and whether each has room now.
    fn fit(&mut self) -> Vec<(SmolStr, bool)> {
        let order = |e: &KnownSilence| (e.silence.updated_at, e.silence.id.clone());
        let mut all: Vec<&mut KnownSilence> = self.known.values_mut().collect();
        all.sort_by_cached_key(|e| order(e));
        let mut left = usize::try_from(self.room.granted()).unwrap_or(usize::MAX);
        let (mut failed, mut changed) = (0, Vec::new());
        for entry in all {
            if !entry.is_live() {
                entry.silence.release();
                entry.weigh();
                continue;
            }
            let before = entry.silence.is_compiled();
            let indexed = before.then(|| entry.silence.clone());
            if failed >= MOST_TRIED {
                entry.silence.release();
            } else if entry.silence.compile(&mut left).is_err() {
                failed += 1;
            }
            entry.weigh();
            let after = entry.silence.is_compiled();
            if before != after {
                changed.push((entry.silence.id.clone(), after));
            }
            if let Some(gone) = indexed.filter(|_| !after) {
                self.index.remove(&gone);
            }
        }
        self.sums = Sums::default();
        for entry in self.known.values() {
            self.sums.add(entry);
        }
        changed
    }

    /// Builds everything that follows from `known` anew, within `room` bytes.
    pub(crate) fn refit(&mut self, room: u64) {
        self.room = SilenceRoom(room);
        self.fit();
        self.index = SilenceIndex::default();
        let in_force = self.known.values().filter(|e| e.is_live() && e.silence.is_compiled());
        in_force.for_each(|e| self.index.add(&e.silence));
    }

    /// The unexpired silences without room. They silence no alert.
    pub(crate) fn without_room(&self) -> impl Iterator<Item = &Silence> {
        self.known.values().filter(|e| e.has_no_room()).map(|e| &e.silence)
    }

    fn expire(&mut self, now: Timestamp, id: &SmolStr, dirty: &mut BTreeSet<AlertId>) {
        let Some(entry) = self.known.get_mut(id).filter(|e| e.state != SilenceState::Expired) else { return };
        self.sums.remove(entry);
        entry.silence.starts_at = entry.silence.starts_at.min(now);
        entry.silence.ends_at = now;
        entry.silence.updated_at = now;
        entry.state = SilenceState::Expired;
        self.index.remove(&entry.silence);
        entry.silence.release();
        entry.weigh();
        self.sums.add(entry);
        self.forget_matches(id, dirty);
    }

    fn forget_matches(&mut self, id: &SmolStr, dirty: &mut BTreeSet<AlertId>) {
        self.matched.retain(|alert, silences| {
            if silences.remove(id) {
                dirty.insert(*alert);
            }
            !silences.is_empty()
        });
    }

    /// Looks at the clock: some begin, some end, some are forgotten. One that ended stays so, also if the
    /// clock was set back.
    pub(crate) fn pass<'a>(
        &mut self,
        now: Timestamp,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)> + Clone,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        let (known, sums) = (&mut self.known, &mut self.sums);
        known.retain(|_, entry| {
            let stays = now < entry.silence.ends_at + RETENTION || entry.is_live();
            if !stays {
                sums.remove(entry);
            }
            stays
        });
        let mut began = BTreeSet::new();
        let mut ended = Vec::new();
        for (id, entry) in &mut self.known {
            let state = match entry.state {
                SilenceState::Expired => SilenceState::Expired,
                _ => entry.silence.state(now),
            };
            self.sums.remove(entry);
            match std::mem::replace(&mut entry.state, state) {
                old if old == state => {}
                _ if state == SilenceState::Expired => {
                    self.index.remove(&entry.silence);
                    entry.silence.release();
                    entry.weigh();
                    ended.push(id.clone());
                }
                _ => drop(began.insert(id.clone())),
            }
            self.sums.add(entry);
        }
        for id in &ended {
            self.forget_matches(id, dirty);
        }
        if !began.is_empty() {
            let concerned = self.matched.iter().filter(|(_, silences)| !silences.is_disjoint(&began));
            dirty.extend(concerned.map(|(alert, _)| *alert));
        }
        if !ended.is_empty() {
            self.settle(firing, dirty);
        }
    }

    /// When to look at the clock next.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        let next = |entry: &KnownSilence| match entry.state {
            SilenceState::Pending => entry.silence.starts_at,
            SilenceState::Active => entry.silence.ends_at,
            SilenceState::Expired => entry.silence.ends_at + RETENTION,
        };
        self.known.values().map(next).min()
    }

    /// Takes in that an alert fires with these labels, or, without, that it does not.
    pub(crate) fn heard(&mut self, alert: AlertId, labels: Option<&LabelSet>) {
        let about = |labels: &LabelSet| -> BTreeSet<SmolStr> {
            let known = self.index.about(labels).filter_map(|id| self.known.get(id));
            known.map(|e| &e.silence).filter(|s| s.matches(labels)).map(|s| s.id.clone()).collect()
        };
        let silences = labels.map(about).unwrap_or_default();
        match silences.is_empty() {
            true => self.matched.remove(&alert),
            false => self.matched.insert(alert, silences),
        };
    }

    /// The silences that may match an alert with these labels, for a copy of the engine.
    pub(crate) fn only(&self, labels: &LabelSet) -> Silences {
        let about = self.index.about(labels).filter_map(|id| self.known.get_key_value(id));
        let about = about.filter(|(_, e)| e.silence.matches(labels));
        let known = about.map(|(id, entry)| (id.clone(), entry.clone())).collect();
        // The copy is indexed anew, so it leaves out everything that follows from the rest.
        Silences { known, made: self.made, ..Silences::default() }
    }

    /// The active silence that matches a firing alert. Of several it is the one that ends last.
    pub(crate) fn silence_of(&self, alert: AlertId) -> Option<&Silence> {
        let all = self.matched.get(&alert)?.iter().filter_map(|id| self.known.get(id));
        let active = all.filter(|e| e.state == SilenceState::Active).map(|e| &e.silence);
        active.max_by_key(|s| s.ends_at)
    }

    /// The active silence that matches these labels, of an alert that need not fire.
    pub(crate) fn silence_about(&self, labels: &LabelSet) -> Option<&Silence> {
        let all = self.index.about(labels).filter_map(|id| self.known.get(id));
        let active = all.filter(|e| e.state == SilenceState::Active).map(|e| &e.silence);
        active.filter(|silence| silence.matches(labels)).max_by_key(|silence| silence.ends_at)
    }

    /// The ids of the silences in force that match an alert that fires.
    pub(crate) fn in_force(&self, alert: AlertId) -> impl Iterator<Item = &SmolStr> {
        let all = self.matched.get(&alert).into_iter().flatten();
        all.filter(|id| self.known.get(*id).is_some_and(|e| e.state == SilenceState::Active))
    }

    /// The silences behind `id` in the order of their ids. Without `id`, all silences.
    pub(crate) fn after(&self, id: Option<&str>) -> impl Iterator<Item = (&Silence, SilenceState)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.known.range::<str, _>((from, Bound::Unbounded)).map(|(_, e)| (&e.silence, e.state))
    }

    /// The one of this id.
    pub(crate) fn one(&self, id: &str) -> Option<(&Silence, SilenceState)> {
        self.known.get(id).map(|e| (&e.silence, e.state))
    }

    /// Every silence, with its state.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Silence, SilenceState)> {
        self.known.values().map(|e| (&e.silence, e.state))
    }
}

fn check(now: Timestamp, wanted: &Silence) -> Result<(), SilenceError> {
    // To Alertmanager, a negative matcher alone is a valid silence.
    let says_nothing =
        |m: &Matcher| matches!(m.op(), MatchOp::Equal | MatchOp::Regex) && m.matches(&LabelSet::default());
    let matchers = || wanted.matchers.iter().flatten();
    let bytes = matchers().map(|m| m.name().len() + m.value().len()).sum::<usize>()
        + wanted.comment.len()
        + wanted.created_by.len();
    let wrong = if wanted.matchers.is_empty() || wanted.matchers.iter().any(Vec::is_empty) {
        "it needs at least one matcher"
    } else if wanted.matchers.iter().any(|set| set.iter().all(says_nothing)) {
        "at least one matcher must not match the empty string"
    } else if wanted.starts_at >= wanted.ends_at {
        "the start must be before the end"
    } else if wanted.ends_at < now {
        "the end must not be in the past"
    } else if matchers().count() > Silence::MOST_MATCHERS {
        "it has more than 100 matchers"
    } else if bytes > MOST_BYTES {
        "its comment, author and matchers have more than 8,192 bytes together. Shorten the comment"
    } else {
        return Ok(());
    };
    Err(SilenceError::Invalid(wrong))
}

fn changes_in_place(now: Timestamp, old: &Silence, wanted: &Silence) -> bool {
    let second = |t: Timestamp| t.as_millis().div_euclid(1000);
    old.matchers == wanted.matchers
        && match old.state(now) {
            SilenceState::Active => second(old.starts_at) == second(wanted.starts_at),
            SilenceState::Pending => wanted.starts_at >= now,
            SilenceState::Expired => false,
        }
}

#[cfg(test)]
mod tests;
