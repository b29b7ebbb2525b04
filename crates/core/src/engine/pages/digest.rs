//! Digests: from time to time a receiver gets one message about the alerts that were held back there. It
//! interrupts nobody.
//!
//! A period begins with the first alert held back and lasts for the `digest` of its profile. Without an
//! alert held back there is no period, and no digest. A digest that a receiver refuses is a dead letter and
//! an alarm. If no integration accepted it, the next digest reports the same again, within [`AGAIN`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};

use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::incidents::Incidents;
use crate::engine::incidents::incident::dedup_key;
use crate::engine::pages::groups::Group;
use crate::engine::pages::refusing::Refusing;
use crate::engine::renames::rename_key;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, AlertView, Cause, Counted, Duration, HeldBack, Kind, LabelSet, NameCount, Notification,
    NotificationId, Outcome, Reason, Status, Timestamp, shortened,
};
use crate::policy::Receiver;

/// A period lists at most this many alerts one by one for each receiver. It only counts further ones.
const REMEMBERED: usize = 1_000;
/// A digest lists at most this many alerts.
const LISTED: usize = 100;
/// For each reason a digest names at most this many alert names, cut to [`NAME_CHARS`].
const NAMED: usize = 3;
const NAME_CHARS: usize = 60;
/// A period whose digest no integration accepted is reported again after this long at most.
const AGAIN: Duration = Duration::from_hours(1);

type Groups = BTreeMap<GroupKey, Group>;

/// The alerts held back at each receiver, and the digests that are on their way.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digests {
    #[serde(with = "crate::engine::pairs")]
    periods: BTreeMap<SmolStr, Period>,
    /// The digests whose end is not known yet.
    #[serde(with = "crate::engine::pairs")]
    on_way: BTreeMap<NotificationId, OnWay>,
    /// The periods of these digests that no integration has accepted yet, by their first digest.
    #[serde(with = "crate::engine::pairs")]
    unnotified: BTreeMap<NotificationId, Period>,
    pub(crate) refused: Refusing,
}

/// A digest at one integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OnWay {
    receiver: SmolStr,
    integration: SmolStr,
    /// The first digest of the same period.
    first: NotificationId,
}

/// The alerts held back at one receiver since its last digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Period {
    since: Timestamp,
    due: Timestamp,
    #[serde(with = "crate::engine::pairs")]
    held: BTreeMap<AlertId, Held>,
    /// Observations of alerts beyond [`REMEMBERED`].
    beyond: BTreeMap<Reason, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    alertname: SmolStr,
    /// Observations, by why they were held back.
    counts: BTreeMap<Reason, u64>,
}

impl Digests {
    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_key(&mut self.periods, old, new);
        self.on_way
            .values_mut()
            .filter(|one| one.receiver == *old)
            .for_each(|one| one.receiver = new.clone());
        self.refused.rename_receiver(old, new);
    }

    /// The period of `receiver`. It ends after `every` at the latest, even if another profile began it. If
    /// that is new, the call also returns the time of its end.
    fn period(
        &mut self,
        now: Timestamp,
        receiver: &SmolStr,
        every: Duration,
    ) -> (&mut Period, Option<Timestamp>) {
        let due = now + every;
        let ends = self.periods.get(receiver).is_none_or(|period| due < period.due);
        let period = self.periods.entry(receiver.clone()).or_insert_with(|| Period {
            since: now,
            due,
            held: BTreeMap::new(),
            beyond: BTreeMap::new(),
        });
        period.due = period.due.min(due);
        (period, ends.then_some(due))
    }

    /// Whether a digest has still to say how an alert stands.
    pub(crate) fn names(&self, alert: AlertId) -> bool {
        self.periods.values().any(|period| period.held.contains_key(&alert))
    }

    /// Whether a digest is on its way to an integration.
    fn is_busy(&self, receiver: &SmolStr, integration: &SmolStr) -> bool {
        self.on_way.values().any(|way| way.receiver == *receiver && way.integration == *integration)
    }
}

impl Period {
    /// Counts `count` observations of `alert`.
    fn hold(&mut self, alert: AlertId, alertname: &str, reason: Reason, count: u64) {
        if !self.held.contains_key(&alert) && self.held.len() == REMEMBERED {
            *self.beyond.entry(reason).or_default() += count;
            return;
        }
        let new = || Held { alertname: shortened(alertname, NAME_CHARS), counts: BTreeMap::new() };
        *self.held.entry(alert).or_insert_with(new).counts.entry(reason).or_default() += count;
    }

    /// Takes over the alerts of an earlier period whose digest no integration accepted.
    fn take_in(&mut self, earlier: Period) {
        self.since = self.since.min(earlier.since);
        for (alert, held) in earlier.held {
            for (reason, count) in held.counts {
                self.hold(alert, &held.alertname, reason, count);
            }
        }
        for (reason, count) in earlier.beyond {
            *self.beyond.entry(reason).or_default() += count;
        }
    }

    /// The alerts that were held back, by count, highest first. Alerts of the names in `withheld` fire.
    fn cause(&self, now: Timestamp, withheld: &BTreeMap<SmolStr, u64>) -> Cause {
        let mut reasons: BTreeMap<Reason, (u64, BTreeMap<SmolStr, u64>)> = BTreeMap::new();
        for held in self.held.values() {
            for (reason, count) in &held.counts {
                let (total, names) = reasons.entry(*reason).or_default();
                *total += count;
                *names.entry(held.alertname.clone()).or_default() += count;
            }
        }
        for (reason, count) in &self.beyond {
            reasons.entry(*reason).or_default().0 += count;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(reason, (total, _))| (Reverse(*total), *reason));
        let held = |(reason, (count, names)): &(Reason, (u64, _))| HeldBack {
            reason: *reason,
            counted: counted(*count, names),
        };
        Cause::Digest {
            period: Duration::from_secs(now.since(self.since).as_millis() / 1000),
            held_back: reasons.iter().map(held).collect(),
            withheld: counted(withheld.values().sum(), withheld),
            unnamed: self.beyond.values().sum(),
        }
    }
}

/// `count`, and the names with the highest counts.
fn counted(count: u64, names: &BTreeMap<SmolStr, u64>) -> Counted {
    let mut names: Vec<_> = names.iter().filter(|(name, _)| !name.is_empty()).collect();
    names.sort_by_key(|(name, count)| (Reverse(**count), *name));
    let named = names.iter().take(NAMED).map(|(name, n)| NameCount { name: (*name).clone(), count: **n });
    Counted { count, names: named.collect(), other_names: names.len().saturating_sub(NAMED) }
}

impl Digests {
    /// The period of a receiver is over. Its digest goes to the integrations that want updates, or to all
    /// if none does. Only integrations that can show a digest count. An integration whose last digest is
    /// still on its way is left out. While that holds for all of them, the period goes on.
    pub(crate) fn due(
        &mut self,
        world: &mut World,
        (incidents, groups): (&mut Incidents, &Groups),
        receiver: &SmolStr,
    ) {
        let takers = || world.policy.receivers.get(receiver).into_iter().flat_map(Receiver::digest_takers);
        if takers().next().is_none() {
            self.periods.remove(receiver);
            return;
        }
        let free = takers().filter(|i| !self.is_busy(receiver, &i.name)).map(|i| i.name.clone());
        let free: Vec<SmolStr> = free.collect();
        if free.is_empty() {
            return;
        }
        let Some(period) = self.periods.remove(receiver) else { return };
        let (destination, withheld) = withheld_at(world, groups, receiver);
        if period.held.is_empty() && withheld.is_empty() {
            return;
        }
        let notified = digest_of(world, receiver, &period, &withheld);
        let first = NotificationId(incidents.next_notification);
        for integration in free {
            let id = incidents.new_notification();
            world.accounting.notified(receiver, &integration, Kind::Digest);
            let way = OnWay { receiver: receiver.clone(), integration: integration.clone(), first };
            self.on_way.insert(id, way);
            incidents.outgoing.push(Notification { id, integration, ..notified.clone() });
        }
        self.unnotified.insert(first, period);
        // The next digest lists firing alerts again, for as long as they are withheld.
        if let Some(destination) = destination {
            self.withhold(world, destination);
        }
    }

    /// A digest reached its end. A period that was over meanwhile need not wait longer.
    pub(crate) fn ended(
        &mut self,
        world: &mut World,
        (incidents, groups): (&mut Incidents, &Groups),
        id: NotificationId,
        outcome: &Outcome,
    ) {
        let accepted = *outcome == Outcome::Accepted;
        let Some(OnWay { receiver, integration, first }) = self.on_way.remove(&id) else {
            // A person sent a dead letter again.
            if accepted {
                self.refused.resent(id);
            }
            return;
        };
        let place = (receiver.clone(), integration);
        incidents.made_good.extend(self.refused.ended(place, id, accepted));
        if accepted {
            self.unnotified.remove(&first);
        } else {
            let waits = self.on_way.values().any(|way| way.first == first);
            let unnotified = self.unnotified.get(&first).filter(|_| !waits).cloned();
            if let Some(period) = unnotified {
                self.unnotified.remove(&first);
                self.again(world, &receiver, period);
            }
        }
        if self.periods.get(&receiver).is_some_and(|period| period.due <= world.now) {
            self.due(world, (incidents, groups), &receiver);
        }
    }

    /// Adopts a new policy. It drops alerts that no digest may list any more, and adds withheld alerts
    /// where digests are new.
    pub(crate) fn adopt(&mut self, world: &mut World, groups: &Groups) {
        let receivers = world.destinations.current().filter(|l| !l.noise.digest.is_zero());
        let receivers: BTreeSet<SmolStr> = receivers.map(|l| l.receiver.clone()).collect();
        let World { timers, now, policy, .. } = world;
        self.refused.adopt(policy, |receiver| receivers.contains(receiver));
        self.periods.retain(|receiver, period| {
            let stays = receivers.contains(receiver);
            match stays {
                // Other integrations may be free than before.
                true if period.due <= *now => timers.set(Timer::Digest(receiver.clone()), *now),
                true => {}
                false => timers.clear(&Timer::Digest(receiver.clone())),
            }
            stays
        });
        for receiver in receivers {
            if let (Some(destination), _) = withheld_at(world, groups, &receiver) {
                self.withhold(world, destination);
            }
        }
    }

    /// Records an alert held back, if a digest will list it.
    pub(crate) fn held_back(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        reason: Reason,
        count: u64,
    ) {
        let settings = world.destinations.get(destination);
        if count == 0 || !reason.is_held_back() || settings.noise.digest.is_zero() || settings.observes() {
            return;
        }
        let (period, begins) = self.period(world.now, &settings.receiver, settings.noise.digest);
        let labels = world.alerts.alert(alert).map(|a| &a.labels);
        period.hold(alert, labels.map_or("", |l| l.value("alertname")), reason, count);
        if let Some(due) = begins {
            world.timers.set(Timer::Digest(settings.receiver.clone()), due);
        }
    }

    /// Firing alerts are withheld. They are not disposed yet, and the digest still lists them.
    pub(crate) fn withhold(&mut self, world: &mut World, destination: DestinationId) {
        let settings = world.destinations.get(destination);
        if settings.noise.digest.is_zero() || settings.observes() {
            return;
        }
        if let (_, Some(due)) = self.period(world.now, &settings.receiver, settings.noise.digest) {
            world.timers.set(Timer::Digest(settings.receiver.clone()), due);
        }
    }

    /// No integration accepted the digest of a period. The next one reports it too.
    fn again(&mut self, world: &mut World, receiver: &SmolStr, earlier: Period) {
        let destinations =
            world.destinations.current().filter(|l| l.receiver == *receiver && !l.noise.digest.is_zero());
        // A receiver that gets no digests any more keeps the dead letter.
        let Some(every) = destinations.map(|l| l.noise.digest).min() else { return };
        let due = world.now + every.min(AGAIN);
        let (period, _) = self.period(world.now, receiver, every);
        period.take_in(earlier);
        period.due = period.due.min(due).max(world.now);
        let due = period.due;
        world.timers.set(Timer::Digest(receiver.clone()), due);
    }

    /// A receiver that refused its last digest gets the next one at once.
    pub(crate) fn retry(&mut self, world: &mut World) {
        let World { timers, now, .. } = world;
        for (receiver, _) in self.refused.places() {
            if let Some(period) = self.periods.get_mut(receiver) {
                period.due = *now;
                timers.set(Timer::Digest(receiver.clone()), *now);
            }
        }
    }
}

/// The alerts that fire and are withheld at a receiver, and the first destination on which one is.
fn withheld_at(
    world: &World,
    groups: &Groups,
    receiver: &SmolStr,
) -> (Option<DestinationId>, BTreeSet<AlertId>) {
    let (mut first, mut alerts) = (None, BTreeSet::new());
    for ((destination, _), group) in groups {
        let settings = world.destinations.get(*destination);
        if settings.receiver != *receiver || settings.noise.digest.is_zero() || settings.observes() {
            continue;
        }
        let before = alerts.len();
        alerts.extend(group.withheld.iter().filter(|q| !q.resolved).map(|q| q.alert));
        if alerts.len() > before {
            first = first.or(Some(*destination));
        }
    }
    (first, alerts)
}

fn as_it_stands(world: &World, id: AlertId, receiver: &SmolStr) -> Option<AlertView> {
    let alert = world.alerts.alert(id)?;
    let here =
        world.taken_destinations(id).into_iter().filter(|l| world.destinations.get(*l).receiver == *receiver);
    let (annotations, generator_url) = world.alerts.said(alert);
    Some(AlertView {
        id,
        status: if alert.firing() { Status::Firing } else { Status::Resolved },
        labels: alert.told().clone(),
        annotations,
        starts_at: alert.starts_at,
        ends_at: alert.ends_at.filter(|_| !alert.firing()),
        generator_url,
        problem: None,
        flaps: here.filter_map(|destination| world.alerts.state(id, destination)?.damping.flaps()).max(),
    })
}

/// The digest of a period, without its number and its integrations.
fn digest_of(
    world: &World,
    receiver: &SmolStr,
    period: &Period,
    withheld: &BTreeSet<AlertId>,
) -> Notification {
    let held = period.held.iter().map(|(alert, held)| (*alert, held.counts.values().sum()));
    let mut counts: BTreeMap<AlertId, u64> = held.collect();
    for alert in withheld {
        counts.entry(*alert).or_default();
    }
    let mut withheld_names: BTreeMap<SmolStr, u64> = BTreeMap::new();
    for alert in withheld.iter().filter_map(|id| world.alerts.alert(*id)) {
        *withheld_names.entry(shortened(alert.labels.value("alertname"), NAME_CHARS)).or_default() += 1;
    }
    let severities = &world.policy.severities;
    let mut alerts: Vec<_> = counts
        .iter()
        .filter_map(|(id, count)| {
            let view = as_it_stands(world, *id, receiver)?;
            Some((severities.level_of(&view.labels), view.status, Reverse(*count), view))
        })
        .collect();
    // The worst first: by severity, then firing ones, then by count.
    alerts.sort_by(|a, b| (a.0, a.1, a.2, &a.3.labels).cmp(&(b.0, b.1, b.2, &b.3.labels)));
    let cause = period.cause(world.now, &withheld_names);
    let message = message(world, receiver, ("digest", "SquelchDigest"), period.since, cause);
    let level = alerts.first().map_or(usize::from(message.level.0), |(level, ..)| *level);
    Notification {
        title: Some(LabelSet::default()),
        severity: severities.levels[level].name.clone(),
        level: (level as u8, message.level.1),
        truncated: alerts.len().saturating_sub(LISTED) as u64,
        truncated_firing: alerts.iter().skip(LISTED).filter(|a| a.1 == Status::Firing).count() as u64,
        alerts: alerts.into_iter().take(LISTED).map(|(.., view)| view).collect(),
        ..message
    }
}

/// A message about a period that belongs to no incident, without its number and its integrations. It has
/// the lowest level and lists no alerts.
pub(crate) fn message(
    world: &World,
    receiver: &SmolStr,
    (kind, alertname): (&str, &str),
    since: Timestamp,
    cause: Cause,
) -> Notification {
    let levels = &world.policy.severities.levels;
    let lowest = levels.len() - 1;
    let key = format_smolstr!("{kind}:{receiver}");
    Notification {
        dedup_key: dedup_key(&key, 0),
        group_key: key,
        group_labels: LabelSet::from_pairs([("alertname", alertname), ("receiver", receiver)]),
        severity: levels[lowest].name.clone(),
        level: (lowest as u8, levels.len() as u8),
        opened_at: since,
        cause,
        ..Notification::new(world.now, receiver.clone(), Kind::Digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH + Duration::from_secs(seconds)
    }

    fn held_back(reason: Reason, count: u64, names: &[(&str, u64)], other_names: usize) -> HeldBack {
        let names = names.iter().map(|(name, count)| NameCount { name: (*name).into(), count: *count });
        HeldBack { reason, counted: Counted { count, names: names.collect(), other_names } }
    }

    #[test]
    fn says_how_many_of_what_the_most_first() {
        let mut digests = Digests::default();
        let day = Duration::from_hours(24);
        let (period, begins) = digests.period(at(0), &"pd".into(), day);
        assert_eq!(begins, Some(at(86_400)));
        period.hold(AlertId(9), "Down", Reason::RateLimited, 3);
        for (n, name) in ["A", "B", "C", "D", "D"].iter().enumerate() {
            period.hold(AlertId(n as u128), name, Reason::Usual, 2 + n as u64 % 2);
        }
        let (_, ends) = digests.period(at(60), &"pd".into(), Duration::from_hours(12));
        assert_eq!(ends, Some(at(43_260)), "a shorter period of another profile");
        let (period, ends) = digests.period(at(61), &"pd".into(), day);
        assert_eq!(ends, None, "a period goes on as it began");
        assert_eq!(
            period.cause(at(86_400), &BTreeMap::from([("Job".into(), 2)])),
            Cause::Digest {
                period: day,
                held_back: vec![
                    held_back(Reason::Usual, 12, &[("D", 5), ("B", 3), ("A", 2)], 1),
                    held_back(Reason::RateLimited, 3, &[("Down", 3)], 0),
                ],
                withheld: held_back(Reason::Storm, 2, &[("Job", 2)], 0).counted,
                unnamed: 0,
            }
        );
        assert!(digests.names(AlertId(4)) && !digests.names(AlertId(5)));
    }

    #[test]
    fn a_period_that_nobody_was_told_of_is_in_the_next_one() {
        let (mut digests, day) = (Digests::default(), Duration::from_hours(24));
        let (earlier, _) = digests.period(at(0), &"pd".into(), day);
        earlier.hold(AlertId(1), "A", Reason::Flapping, 2);
        earlier.beyond.insert(Reason::Storm, 3);
        let earlier = digests.periods.remove("pd").unwrap();
        let (period, _) = digests.period(at(86_400), &"pd".into(), day);
        period.hold(AlertId(1), "A", Reason::Flapping, 1);
        period.hold(AlertId(2), "B", Reason::RateLimited, 1);
        period.take_in(earlier);
        assert_eq!(
            period.cause(at(90_000), &BTreeMap::new()),
            Cause::Digest {
                period: Duration::from_hours(25),
                held_back: vec![
                    held_back(Reason::Storm, 3, &[], 0),
                    held_back(Reason::Flapping, 3, &[("A", 3)], 0),
                    held_back(Reason::RateLimited, 1, &[("B", 1)], 0),
                ],
                withheld: Counted::default(),
                unnamed: 3,
            }
        );
    }

    #[test]
    fn a_flood_is_counted_and_not_remembered() {
        let mut digests = Digests::default();
        let (period, _) = digests.period(at(0), &"pd".into(), Duration::from_mins(1));
        let name = "x".repeat(100_000);
        for n in 0..5_000 {
            period.hold(AlertId(n), &name, Reason::Storm, 1);
        }
        period.hold(AlertId(0), &name, Reason::Storm, 1);
        assert_eq!(period.held.len(), REMEMBERED);
        let name = shortened(&name, NAME_CHARS);
        assert_eq!(
            period.cause(at(60), &BTreeMap::new()),
            Cause::Digest {
                period: Duration::from_mins(1),
                held_back: vec![held_back(Reason::Storm, 5001, &[(&name, 1001)], 0)],
                withheld: Counted::default(),
                unnamed: 4000,
            }
        );
    }
}
