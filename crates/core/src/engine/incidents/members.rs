//! The alerts of an incident, counted as they change. A storm's incident holds a million, so no event may
//! walk through all of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{AlertId, Timestamp};

/// The place of a level among the severities, 0 the highest. It is [`UNKNOWN`] for an alert that is not
/// known.
pub(crate) type Level = u8;

/// See [`Level`].
pub(crate) const UNKNOWN: Level = Level::MAX;

fn unknown() -> Level {
    UNKNOWN
}

/// An alert in an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) firing: bool,
    /// When the occurrence started by which it came in.
    pub(crate) since: Timestamp,
    pub(crate) resolved_at: Option<Timestamp>,
    /// The alert's state in the newest issued version. `None` if it is not in it.
    pub(crate) notified: Option<NotifiedAs>,
    /// The incident's version that said first that it fires, in its present firing.
    #[serde(default)]
    pub(crate) named_in: u64,
    pub(crate) flaps: Option<u32>,
    /// Its place in the list of notifications. `None` if there were too many before it. It never changes,
    /// so that the page and the resolve are cut alike.
    #[serde(default)]
    pub(crate) listed: Option<u32>,
    /// Its severity while it fires, else [`UNKNOWN`]. Follows from its labels and the policy, so is no part
    /// of a snapshot.
    #[serde(skip, default = "unknown")]
    pub(crate) level: Level,
}

/// The issued state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NotifiedAs {
    /// It fires, in the occurrence that started then.
    Firing(Timestamp),
    /// It flaps. The number of its occurrence does not matter then.
    Flapping,
    /// It resolved.
    Resolved,
}

impl Member {
    pub(crate) fn firing(since: Timestamp, level: Level) -> Self {
        Member {
            firing: true,
            since,
            resolved_at: None,
            notified: None,
            named_in: 0,
            flaps: None,
            listed: None,
            level,
        }
    }

    pub(crate) fn resolved(since: Timestamp, at: Timestamp) -> Self {
        Member { firing: false, resolved_at: Some(at), ..Member::firing(since, UNKNOWN) }
    }

    /// It fires no more.
    pub(crate) fn ends(&mut self, at: Timestamp) {
        (self.firing, self.level, self.flaps, self.resolved_at) = (false, UNKNOWN, None, Some(at));
    }

    /// The version that said that it fires. `None`: it does not, or no version has said so yet.
    pub(crate) fn named_as_firing_in(&self) -> Option<u64> {
        let named = matches!(self.notified, Some(NotifiedAs::Firing(_) | NotifiedAs::Flapping));
        (self.firing && named).then_some(self.named_in)
    }

    fn truth(&self) -> NotifiedAs {
        match (self.firing, self.flaps) {
            (false, _) => NotifiedAs::Resolved,
            (true, Some(_)) => NotifiedAs::Flapping,
            (true, None) => NotifiedAs::Firing(self.since),
        }
    }

    /// Whether the issued state differs from the current one.
    fn changed(&self) -> bool {
        self.notified != Some(self.truth())
    }
}

/// The members of an incident by their identity, and the counts over all of them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Members {
    all: BTreeMap<AlertId, Member>,
    /// The number of firing alerts at each level. It has no entry for a level without one.
    firing: BTreeMap<Level, usize>,
    flapping: usize,
    /// The members whose issued state differs from the current one.
    news: BTreeSet<AlertId>,
    /// How many resolved, and that was issued.
    over: usize,
    /// The members that notifications list, at most [`LISTED`], in the order of arrival.
    listed: BTreeMap<u32, AlertId>,
}

/// Notifications list at most so many alerts of one incident.
const LISTED: usize = 10_000;

impl Members {
    pub(crate) fn get(&self, alert: &AlertId) -> Option<&Member> {
        self.all.get(alert)
    }

    pub(crate) fn contains_key(&self, alert: &AlertId) -> bool {
        self.all.contains_key(alert)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AlertId, &Member)> {
        self.all.iter()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &AlertId> {
        self.all.keys()
    }

    /// The members that fire, or the members that do not.
    pub(crate) fn that_fire(&self, firing: bool) -> impl Iterator<Item = (&AlertId, &Member)> {
        // If there are none, no caller need look at the members.
        let none = if firing { self.firing() == 0 } else { self.firing() == self.len() };
        let all = (!none).then(|| self.all.iter());
        all.into_iter().flatten().filter(move |(_, member)| member.firing == firing)
    }

    /// How many fire.
    pub(crate) fn firing(&self) -> usize {
        self.firing.values().sum()
    }

    /// How many fire at each level, the highest level first.
    pub(crate) fn firing_by_level(&self) -> impl Iterator<Item = (Level, usize)> {
        self.firing.iter().map(|(level, firing)| (*level, *firing))
    }

    /// The highest level at which one fires.
    pub(crate) fn highest(&self) -> Option<Level> {
        self.firing.keys().next().copied().filter(|level| *level != UNKNOWN)
    }

    /// The members that flap.
    pub(crate) fn flapping(&self) -> impl Iterator<Item = (&AlertId, &Member)> {
        let any = (self.flapping > 0).then(|| self.all.iter());
        any.into_iter().flatten().filter(|(_, member)| member.flaps.is_some())
    }

    /// The members whose issued state differs from the current one.
    pub(crate) fn news(&self) -> impl Iterator<Item = (&AlertId, &Member)> {
        self.news.iter().filter_map(|alert| self.all.get_key_value(alert))
    }

    /// The number of members that resolved and were notified as resolved.
    pub(crate) fn over(&self) -> usize {
        self.over
    }

    /// The members that notifications list, in the order of arrival.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (AlertId, &Member)> {
        self.listed.values().filter_map(|alert| Some((*alert, self.all.get(alert)?)))
    }

    /// Puts `member` in, in place of its earlier value.
    pub(crate) fn insert(&mut self, alert: AlertId, member: Member) {
        if self.change(&alert, |known| *known = Member { listed: known.listed, ..member.clone() }) {
            return;
        }
        let place = self.listed.last_key_value().map_or(0, |(place, _)| place.saturating_add(1));
        let listed = (self.listed.len() < LISTED).then_some(place);
        self.put(alert, Member { listed, ..member });
    }

    /// Puts one in that was not there, at its place.
    fn put(&mut self, alert: AlertId, member: Member) {
        self.count(alert, &member, true);
        self.listed.extend(member.listed.map(|place| (place, alert)));
        self.all.insert(alert, member);
    }

    /// Changes a member, if it is one.
    pub(crate) fn change(&mut self, alert: &AlertId, how: impl FnOnce(&mut Member)) -> bool {
        let Some(member) = self.all.get_mut(alert) else { return false };
        let before = member.clone();
        how(member);
        let after = member.clone();
        self.count(*alert, &before, false);
        self.count(*alert, &after, true);
        true
    }

    /// Gives each member that fires the level that `level_of` says.
    pub(crate) fn level(&mut self, level_of: impl Fn(AlertId) -> Level) {
        for (alert, member) in self.all.iter_mut().filter(|(_, member)| member.firing) {
            member.level = level_of(*alert);
        }
        *self = std::mem::take(&mut self.all).into_iter().collect();
    }

    /// Takes the current state as issued in `version`.
    pub(crate) fn note(&mut self, version: u64) {
        for alert in std::mem::take(&mut self.news) {
            if let Some(member) = self.all.get_mut(&alert) {
                if member.firing && matches!(member.notified, None | Some(NotifiedAs::Resolved)) {
                    member.named_in = version;
                }
                member.notified = Some(member.truth());
                self.over += usize::from(!member.firing);
            }
        }
    }

    /// Leaves out the members that resolved and were notified as resolved.
    pub(crate) fn leave_out_over(&mut self) {
        self.all.retain(|_, member| member.firing || member.changed());
        self.over = 0;
        self.flapping = self.all.values().filter(|member| member.flaps.is_some()).count();
        self.listed.retain(|_, alert| self.all.contains_key(alert));
    }

    /// Returns the members that go on in another incident, as not notified there: firing ones, and resolved
    /// ones that receivers know as firing. Members notified here stay, as ended here. The others go. Those of
    /// the highest level come first: a notification that cannot list all alerts leaves out the last.
    pub(crate) fn move_out(&mut self, now: Timestamp) -> Members {
        let mut moved = Members::default();
        let goes_on = |member: &Member| member.firing || member.notified.is_some() && member.changed();
        let unlisted = self.all.iter().filter(|(_, member)| member.listed.is_none());
        let all = || self.listed().chain(unlisted.clone().map(|(alert, member)| (*alert, member)));
        let worst = self.highest();
        for among_worst in [true, false] {
            let is_worst = |member: &Member| worst == Some(member.level);
            let going = all().filter(|(_, member)| goes_on(member) && is_worst(member) == among_worst);
            moved.extend(going.map(|(alert, member)| (alert, Member { notified: None, ..member.clone() })));
        }
        let notified =
            std::mem::take(&mut self.all).into_iter().filter(|(_, member)| member.notified.is_some());
        let ended = notified.map(|(alert, member)| match member.firing {
            true => (alert, Member { firing: false, level: UNKNOWN, resolved_at: Some(now), ..member }),
            false => (alert, member),
        });
        *self = ended.collect();
        moved
    }

    /// Adds a member to the counts, or takes it from them.
    fn count(&mut self, alert: AlertId, member: &Member, more: bool) {
        let step = |n: &mut usize| *n = if more { *n + 1 } else { n.saturating_sub(1) };
        if member.firing {
            let firing = self.firing.entry(member.level).or_default();
            step(firing);
            if *firing == 0 {
                self.firing.remove(&member.level);
            }
        }
        if member.flaps.is_some() {
            step(&mut self.flapping);
        }
        match (member.changed(), more) {
            (true, true) => drop(self.news.insert(alert)),
            (true, false) => drop(self.news.remove(&alert)),
            (false, _) if !member.firing => step(&mut self.over),
            (false, _) => {}
        }
    }
}

impl Extend<(AlertId, Member)> for Members {
    fn extend<T: IntoIterator<Item = (AlertId, Member)>>(&mut self, all: T) {
        all.into_iter().for_each(|(alert, member)| self.insert(alert, member));
    }
}

/// Members as they were, each at its place.
impl FromIterator<(AlertId, Member)> for Members {
    fn from_iter<T: IntoIterator<Item = (AlertId, Member)>>(all: T) -> Self {
        let mut members = Members::default();
        all.into_iter().for_each(|(alert, member)| members.put(alert, member));
        members
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::<AlertId, Member>::deserialize(d)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member() -> impl Strategy<Value = Member> {
        let notified = prop_oneof![
            Just(None),
            Just(Some(NotifiedAs::Resolved)),
            Just(Some(NotifiedAs::Flapping)),
            Just(Some(NotifiedAs::Firing(Timestamp::ZERO)))
        ];
        (any::<bool>(), notified, prop::option::of(0u32..3), 0u8..3).prop_map(
            |(firing, notified, flaps, level)| {
                let level = if firing { level } else { UNKNOWN };
                Member {
                    firing,
                    since: Timestamp::ZERO,
                    resolved_at: None,
                    notified,
                    named_in: 0,
                    flaps,
                    listed: None,
                    level,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_walk(steps in prop::collection::vec((0u8..9, 0u128..6, member()), 0..60)) {
            let mut members = Members::default();
            for (step, alert, member) in steps {
                let alert = AlertId(alert);
                match step {
                    0 => members.note(1),
                    1 => members.leave_out_over(),
                    2 => members = members.move_out(Timestamp::ZERO),
                    3..=5 => drop(members.change(&alert, |known| {
                        *known = Member { listed: known.listed, ..member };
                    })),
                    _ => members.insert(alert, member),
                }
                let walked: Members = members.all.clone().into_iter().collect();
                prop_assert_eq!(&members, &walked);
                let all = || members.all.values();
                prop_assert_eq!(members.firing(), all().filter(|m| m.firing).count());
                prop_assert_eq!(members.highest(), all().filter(|m| m.firing).map(|m| m.level).min());
                prop_assert_eq!(members.news().count(), all().filter(|m| m.changed()).count());
                prop_assert_eq!(members.over(), all().filter(|m| !m.firing && !m.changed()).count());
                prop_assert_eq!(members.listed().count(), members.len());
                prop_assert_eq!(members.flapping().count(), all().filter(|m| m.flaps.is_some()).count());
            }
        }
    }
}
