//! Silences: what a person told to be quiet. Rules: Alertmanager `silence/silence.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::model::{
    AlertId, Duration, LabelSet, Silence, SilenceChange, SilenceError, SilenceRequest, SilenceState,
    Timestamp, hex, sha256,
};

/// How many silences are kept. For a new one the expired one that ended first makes room.
const MOST: usize = 10_000;
/// The most matchers of one silence.
const MOST_MATCHERS: usize = 100;
/// The most bytes of all texts of one silence.
const MOST_BYTES: usize = 8 << 10;
/// How long an expired silence is kept, for people to look at and to make again.
pub(super) const RETENTION: Duration = Duration::from_hours(120);

/// All silences, and which firing alerts they are about.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Silences {
    known: BTreeMap<SmolStr, Entry>,
    /// How many were ever made; no id comes twice.
    made: u64,
    /// The silences that are not expired, by the firing alerts that they match; others are not in
    /// here. Follows from `known` and the alerts, so it is no part of a snapshot.
    #[serde(skip)]
    matched: BTreeMap<AlertId, BTreeSet<SmolStr>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    silence: Silence,
    /// At the last look at the clock.
    state: SilenceState,
}

impl Silences {
    /// What granting `request` at `now` would change.
    ///
    /// One that exists is changed in place if what it silences stays the same; else it ends and another
    /// one begins, so that a silence that was in force stays to be seen as it was.
    pub(super) fn plan(
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
        let replaces = old.filter(|old| old.state(now) != SilenceState::Expired).map(|old| old.id.clone());
        let live = self.known.values().filter(|e| e.silence.state(now) != SilenceState::Expired).count();
        if live >= MOST && replaces.is_none() {
            return Err(SilenceError::TooMany(live));
        }
        silence.starts_at = silence.starts_at.max(now);
        silence.id = self.new_id(&silence);
        Ok(SilenceChange::Set { silence, replaces })
    }

    /// Nothing here is random; what makes the id unlike all others is the count.
    fn new_id(&self, silence: &Silence) -> SmolStr {
        let text = format!("{} {} {:?}", self.made, silence.updated_at, silence.matchers);
        let digits = hex(&sha256(text.as_bytes()));
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        // RFC 9562, version 8: made in a way of our own; variant 10.
        format_smolstr!("{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
    }

    /// Takes a change over. `firing` are the alerts that fire; those that it is about go to `dirty`.
    pub(super) fn apply<'a>(
        &mut self,
        now: Timestamp,
        change: &SilenceChange,
        firing: impl Iterator<Item = (AlertId, &'a LabelSet)>,
        dirty: &mut BTreeSet<AlertId>,
    ) {
        match change {
            SilenceChange::Expire { id } => self.expire(now, id, dirty),
            SilenceChange::Set { silence, replaces } => {
                if let Some(id) = replaces {
                    self.expire(now, id, dirty);
                }
                self.set(now, silence, firing, dirty);
            }
        }
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
        let state = silence.state(now);
        if state != SilenceState::Expired {
            for (alert, _) in firing.filter(|(_, labels)| silence.matches(labels)) {
                self.matched.entry(alert).or_default().insert(silence.id.clone());
                dirty.insert(alert);
            }
        }
        self.known.insert(silence.id.clone(), Entry { silence: silence.clone(), state });
        while self.known.len() > MOST {
            let expired = self.known.values().filter(|e| e.state == SilenceState::Expired);
            let Some(oldest) = expired.min_by_key(|e| e.silence.ends_at) else { break };
            let id = oldest.silence.id.clone();
            self.known.remove(&id);
        }
    }

    fn expire(&mut self, now: Timestamp, id: &SmolStr, dirty: &mut BTreeSet<AlertId>) {
        let Some(entry) = self.known.get_mut(id).filter(|e| e.state != SilenceState::Expired) else { return };
        entry.silence.starts_at = entry.silence.starts_at.min(now);
        entry.silence.ends_at = now;
        entry.silence.updated_at = now;
        entry.state = SilenceState::Expired;
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

    /// Looks at the clock: some begin, some end, some are forgotten.
    pub(super) fn pass(&mut self, now: Timestamp, dirty: &mut BTreeSet<AlertId>) {
        self.known.retain(|_, e| now < e.silence.ends_at + RETENTION || e.state != SilenceState::Expired);
        let mut began = BTreeSet::new();
        let mut ended = Vec::new();
        for (id, entry) in &mut self.known {
            let state = entry.silence.state(now);
            match std::mem::replace(&mut entry.state, state) {
                old if old == state => {}
                _ if state == SilenceState::Expired => ended.push(id.clone()),
                _ => drop(began.insert(id.clone())),
            }
        }
        for id in &ended {
            self.forget_matches(id, dirty);
        }
        if !began.is_empty() {
            let concerned = self.matched.iter().filter(|(_, silences)| !silences.is_disjoint(&began));
            dirty.extend(concerned.map(|(alert, _)| *alert));
        }
    }

    /// When to look at the clock next.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let next = |entry: &Entry| match entry.state {
            SilenceState::Pending => entry.silence.starts_at,
            SilenceState::Active => entry.silence.ends_at,
            SilenceState::Expired => entry.silence.ends_at + RETENTION,
        };
        self.known.values().map(next).min()
    }

    /// Takes in that an alert fires with these labels, or, without, that it does not.
    pub(super) fn heard(&mut self, alert: AlertId, labels: Option<&LabelSet>) {
        let live = self.known.values().filter(|e| e.state != SilenceState::Expired);
        let silences: BTreeSet<SmolStr> = match labels {
            Some(labels) => {
                live.map(|e| &e.silence).filter(|s| s.matches(labels)).map(|s| s.id.clone()).collect()
            }
            None => BTreeSet::new(),
        };
        match silences.is_empty() {
            true => self.matched.remove(&alert),
            false => self.matched.insert(alert, silences),
        };
    }

    /// Those that are about an alert with these labels, for a copy of the engine.
    pub(super) fn only(&self, labels: &LabelSet) -> Silences {
        let about = self.known.iter().filter(|(_, e)| e.silence.matches(labels));
        let known = about.map(|(id, entry)| (id.clone(), entry.clone())).collect();
        Silences { known, made: self.made, matched: BTreeMap::new() }
    }

    /// The active silence about a firing alert; of several the one that ends last.
    pub(super) fn silence_of(&self, alert: AlertId) -> Option<&Silence> {
        let all = self.matched.get(&alert)?.iter().filter_map(|id| self.known.get(id));
        let active = all.filter(|e| e.state == SilenceState::Active).map(|e| &e.silence);
        active.max_by_key(|s| s.ends_at)
    }

    /// Those behind `id` in the order of their ids; all without.
    pub(super) fn after(&self, id: Option<&str>) -> impl Iterator<Item = (&Silence, SilenceState)> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.known.range::<str, _>((from, Bound::Unbounded)).map(|(_, e)| (&e.silence, e.state))
    }

    /// The one of this id.
    pub(super) fn one(&self, id: &str) -> Option<(&Silence, SilenceState)> {
        self.known.get(id).map(|e| (&e.silence, e.state))
    }

    /// Every silence, with its state.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Silence, SilenceState)> {
        self.known.values().map(|e| (&e.silence, e.state))
    }
}

fn check(now: Timestamp, wanted: &Silence) -> Result<(), SilenceError> {
    let nothing = LabelSet::default();
    let matchers = || wanted.matchers.iter().flatten();
    let bytes = matchers().map(|m| m.name().len() + m.value().len()).sum::<usize>()
        + wanted.comment.len()
        + wanted.created_by.len();
    let wrong = if wanted.matchers.is_empty() || wanted.matchers.iter().any(Vec::is_empty) {
        "it needs at least one matcher"
    } else if wanted.matchers.iter().any(|set| set.iter().all(|m| m.matches(&nothing))) {
        "at least one matcher must not match the empty string"
    } else if wanted.starts_at >= wanted.ends_at {
        "the start must be before the end"
    } else if wanted.ends_at < now {
        "the end must not be in the past"
    } else if matchers().count() > MOST_MATCHERS {
        "it has more than 100 matchers"
    } else if bytes > MOST_BYTES {
        "its texts are longer than 8 KiB"
    } else {
        return Ok(());
    };
    Err(SilenceError::Invalid(wrong))
}

fn changes_in_place(now: Timestamp, old: &Silence, wanted: &Silence) -> bool {
    let second = |t: Timestamp| t.as_millis().div_euclid(1000);
    old.matchers == wanted.matchers
        && match old.state(now) {
            SilenceState::Active => {
                second(old.starts_at) == second(wanted.starts_at) && wanted.ends_at >= now
            }
            SilenceState::Pending => wanted.starts_at >= now,
            SilenceState::Expired => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_matchers;

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_millis(0) + Duration::from_mins(minute)
    }

    fn wanted(id: &str, matchers: &str, from: u64, to: u64) -> SilenceRequest {
        SilenceRequest::Set(Silence {
            id: id.into(),
            matchers: vec![parse_matchers(matchers).unwrap()],
            starts_at: at(from),
            ends_at: at(to),
            updated_at: Timestamp::ZERO,
            created_by: "me".into(),
            comment: "why".into(),
        })
    }

    /// Silences with one alert that fires, `{a="1"}`.
    #[derive(Default)]
    struct Bench {
        silences: Silences,
        dirty: BTreeSet<AlertId>,
    }

    const ALERT: AlertId = AlertId(7);

    impl Bench {
        fn ask(&mut self, now: u64, request: &SilenceRequest) -> Result<SmolStr, SilenceError> {
            let change = self.silences.plan(at(now), request)?;
            let labels = LabelSet::from_pairs([("a", "1")]);
            self.silences.apply(at(now), &change, [(ALERT, &labels)].into_iter(), &mut self.dirty);
            Ok(change.id().clone())
        }

        /// Whether the alert is silenced at `now`, after whether it had to be looked at anew.
        fn pass(&mut self, now: u64) -> (bool, bool) {
            self.silences.pass(at(now), &mut self.dirty);
            (std::mem::take(&mut self.dirty).contains(&ALERT), self.silences.silence_of(ALERT).is_some())
        }
    }

    #[test]
    fn begins_ends_and_is_forgotten() {
        let mut bench = Bench::default();
        let id = bench.ask(0, &wanted("", "a=1", 10, 20)).unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(bench.pass(9), (true, false));
        assert_eq!(bench.silences.next_change(), Some(at(10)));
        assert_eq!(bench.pass(10), (true, true));
        assert_eq!(bench.silences.next_change(), Some(at(20)));
        assert_eq!(bench.pass(20), (true, false));
        assert_eq!(bench.silences.next_change(), Some(at(20) + RETENTION));
        assert_eq!(bench.pass(20 + 120 * 60 - 1), (false, false));
        assert_eq!(bench.silences.iter().count(), 1);
        bench.pass(20 + 120 * 60);
        assert_eq!(bench.silences, Silences { made: 1, ..Silences::default() });
    }

    #[test]
    fn changes_in_place_or_makes_another() {
        let mut bench = Bench::default();
        let id = bench.ask(0, &wanted("", "a=1", 0, 20)).unwrap();
        bench.pass(5);
        assert_eq!(bench.ask(5, &wanted(&id, "a=1", 0, 60)).unwrap(), id, "longer");
        assert_eq!(bench.silences.next_change(), Some(at(60)));
        let other = bench.ask(6, &wanted(&id, "a=~1|2", 0, 60)).unwrap();
        assert_ne!(other, id, "it silences something else");
        let states: Vec<_> = bench.silences.iter().map(|(s, state)| (s.id == id, state)).collect();
        assert!(states.contains(&(true, SilenceState::Expired)));
        assert!(states.contains(&(false, SilenceState::Active)));
        assert_eq!(bench.pass(6), (true, true));
        let third = bench.ask(7, &wanted(&id, "a=1", 0, 60)).unwrap();
        assert!(third != id && third != other, "what is over does not come back");
        assert_eq!(bench.ask(8, &SilenceRequest::Expire(third)).map(|_| ()), Ok(()));
        assert_eq!(bench.pass(8), (true, true), "the other one is still there");
        bench.ask(9, &SilenceRequest::Expire(other)).unwrap();
        assert_eq!(bench.pass(9), (true, false));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut bench = Bench::default();
        for (request, says) in [
            (wanted("", "{}", 0, 9), "at least one matcher"),
            (wanted("", "a=~\".*\"", 0, 9), "must not match the empty string"),
            (wanted("", "a!=x", 0, 9), "must not match the empty string"),
            (wanted("", "a=1", 9, 9), "start must be before"),
            (wanted("", "a=1", 1, 2), "in the past"),
            (wanted("", &format!("a={}", "x".repeat(9000)), 0, 9), "8 KiB"),
            (wanted("", &["a=1"; 101].join(","), 0, 9), "100 matchers"),
            (wanted("other", "a=1", 0, 9), "no silence \"other\""),
            (SilenceRequest::Expire("other".into()), "no silence \"other\""),
        ] {
            let error = bench.ask(5, &request).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(bench.ask(5, &wanted("", "a!=x,b=1", 0, 9)).is_ok());
    }

    #[test]
    fn a_full_house_gives_up_what_is_over_and_nothing_else() {
        let mut bench = Bench::default();
        let first = bench.ask(0, &wanted("", "b=1", 0, 1)).unwrap();
        for _ in 1..MOST {
            bench.ask(0, &wanted("", "b=1", 0, 9)).unwrap();
        }
        assert_eq!(bench.ask(0, &wanted("", "b=1", 0, 9)), Err(SilenceError::TooMany(MOST)));
        bench.pass(2);
        bench.ask(2, &wanted("", "b=1", 2, 9)).unwrap();
        assert!(bench.silences.iter().all(|(s, _)| s.id != first));
        assert_eq!(bench.silences.iter().count(), MOST);
    }

    #[test]
    fn an_alert_that_comes_later_is_matched_and_forgotten_with_its_end() {
        let mut bench = Bench::default();
        bench.ask(0, &wanted("", "b=1", 0, 20)).unwrap();
        let longer = bench.ask(0, &wanted("", "b=~1", 0, 30)).unwrap();
        bench.silences.heard(AlertId(1), Some(&LabelSet::from_pairs([("b", "1")])));
        bench.silences.heard(AlertId(2), Some(&LabelSet::from_pairs([("b", "2")])));
        assert_eq!(bench.silences.silence_of(AlertId(1)).map(|s| s.id.clone()), Some(longer));
        assert_eq!(bench.silences.matched.len(), 1);
        bench.silences.heard(AlertId(1), None);
        assert!(bench.silences.matched.is_empty());
    }
}
