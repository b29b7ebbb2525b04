//! Heartbeats: alerts that always fire, whose silence pages.
//!
//! A heartbeat is identified by its source and its alert. An HA pair of Alertmanagers, of which only one
//! speaks at a time, is therefore one heartbeat. Time in which Squelch was down does not count as silence,
//! since Squelch received nothing then. Of one silence, that holds for the first start alone, so that a
//! program that starts again and again still pages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::ids::{DestinationId, GroupKey};
use crate::engine::pages::Pages;
use crate::engine::stats::Bound;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Duration, LabelSet, Problem, Source, Timestamp};
use crate::policy::{Heartbeat, Policy};

/// The number of a heartbeat's senders that are kept apart.
const SENDERS: usize = 100;
/// The most characters of a sender's labels in a title.
const MOST_SENDER: usize = 150;
/// After this silence, Squelch forgets a sender.
const GONE: Duration = Duration::from_hours(24 * 7);

/// The times of each heartbeat.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeats {
    by_name: BTreeMap<SmolStr, Beats>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Beats {
    /// Since when it is configured.
    since: Timestamp,
    #[serde(with = "crate::engine::pairs")]
    senders: BTreeMap<(Source, AlertId), Beat>,
    /// The incident about a heartbeat that never came.
    never: Option<GroupKey>,
    /// For how long Squelch was down after `since`, at the first start since then.
    #[serde(default)]
    down: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Beat {
    last: Timestamp,
    /// The incident that says that it is silent.
    silent: Option<GroupKey>,
    /// For how long Squelch was down after `last`, at the first start since then.
    #[serde(default)]
    down: Option<Duration>,
}

impl Beats {
    /// When the heartbeat has never come for long enough.
    fn never_by(&self, heartbeat: &Heartbeat) -> Option<Timestamp> {
        let never = self.senders.is_empty() && self.never.is_none();
        never.then(|| self.since + self.down.unwrap_or_default() + heartbeat.silent_after)
    }
}

impl Beat {
    /// When the sender has been silent for long enough.
    fn silent_by(&self, heartbeat: &Heartbeat) -> Timestamp {
        self.last + self.down.unwrap_or_default() + heartbeat.silent_after
    }
}

impl Heartbeats {
    /// The time of the last heartbeat from the sender that is silent longest. `None` if there was none.
    pub(crate) fn last(&self) -> BTreeMap<SmolStr, Option<Timestamp>> {
        let last = |beats: &Beats| beats.senders.values().map(|b| b.last).min();
        self.by_name.iter().map(|(name, beats)| (name.clone(), last(beats))).collect()
    }

    /// When the next one has been silent for long enough. A heartbeat without a receiver is never due.
    fn next(&self, policy: &Policy) -> Option<Timestamp> {
        let due = policy.heartbeats.iter().filter_map(|h| {
            h.receiver.as_ref().or(policy.watcher())?;
            let beats = self.by_name.get(&h.name)?;
            let silent = beats.senders.values().map(|beat| match beat.silent {
                None => beat.silent_by(h),
                Some(_) => beat.last + GONE.max(h.silent_after),
            });
            silent.chain(beats.never_by(h)).min()
        });
        due.min()
    }
}

impl Heartbeats {
    /// The first event of a new engine, whose policy came at no time.
    pub(crate) fn begin(&mut self, world: &mut World) {
        self.by_name.values_mut().for_each(|beats| beats.since = world.now);
        self.wind(world);
    }

    /// The program started. It was down since `before` at the earliest.
    pub(crate) fn started(&mut self, world: &mut World, before: Timestamp) {
        let down = world.now.since(before);
        for beats in self.by_name.values_mut() {
            beats.down = beats.down.or(Some(down));
            beats.senders.values_mut().for_each(|beat| beat.down = beat.down.or(Some(down)));
        }
        self.wind(world);
    }

    /// Takes a new policy over.
    pub(crate) fn adopt(&mut self, world: &mut World, pages: &mut Pages) {
        let (now, settings) = (world.now, world.policy.heartbeats.clone());
        let gone = |name: &SmolStr| !settings.iter().any(|h| h.name == *name);
        let names: Vec<SmolStr> = self.by_name.keys().filter(|name| gone(name)).cloned().collect();
        let removed: Vec<Beats> = names.iter().filter_map(|name| self.by_name.remove(name)).collect();
        for beats in removed {
            for key in beats.senders.into_values().filter_map(|b| b.silent).chain(beats.never) {
                pages.clear(world, &key, Cause::HeartbeatRemoved);
            }
        }
        for heartbeat in &settings {
            let new = || Beats { since: now, senders: BTreeMap::new(), never: None, down: None };
            self.by_name.entry(heartbeat.name.clone()).or_insert_with(new);
        }
        self.wind(world);
        release_heartbeats(world, pages);
    }

    /// A heartbeat fires, by the statement of a sender.
    pub(crate) fn beat(
        &mut self,
        world: &mut World,
        pages: &mut Pages,
        source: Source,
        alert: AlertId,
        labels: &LabelSet,
    ) {
        let Some(name) = world.policy.heartbeat_of(labels).map(|h| h.name.clone()) else { return };
        let now = world.now;
        let Some(beats) = self.by_name.get_mut(&name) else { return };
        if beats.senders.len() >= SENDERS && !beats.senders.contains_key(&(source, alert)) {
            return world.accounting.bound(Bound::Heartbeats, 1);
        }
        let beat =
            beats.senders.entry((source, alert)).or_insert(Beat { last: now, silent: None, down: None });
        (beat.last, beat.down) = (now, None);
        for key in beat.silent.take().into_iter().chain(beats.never.take()) {
            pages.clear(world, &key, Cause::HeartbeatHeard);
        }
        self.wind(world);
    }

    fn wind(&self, world: &mut World) {
        match self.next(&world.policy) {
            Some(at) => world.timers.set(Timer::Heartbeat, at),
            None => world.timers.clear(&Timer::Heartbeat),
        }
    }

    /// Some heartbeat may have been silent for long enough.
    pub(crate) fn due(&mut self, world: &mut World, pages: &mut Pages) {
        for heartbeat in world.policy.heartbeats.clone() {
            self.listen(world, pages, &heartbeat);
        }
        self.wind(world);
    }

    fn listen(&mut self, world: &mut World, pages: &mut Pages, heartbeat: &Heartbeat) {
        let (now, name) = (world.now, &heartbeat.name);
        let Some(receiver) = heartbeat.receiver.as_ref().or(world.policy.watcher()).cloned() else { return };
        let Some(beats) = self.by_name.get(name) else { return };
        let senders: Vec<((Source, AlertId), Beat)> = beats.senders.clone().into_iter().collect();
        if beats.never_by(heartbeat).is_some_and(|due| due <= now) {
            let labels = LabelSet::from_pairs([("alertname", "SquelchHeartbeatSilent"), ("heartbeat", name)]);
            let problem = Problem::HeartbeatNeverHeard { name: name.clone(), after: heartbeat.silent_after };
            let key = pages.raise(world, &receiver, &labels, problem);
            if let Some(beats) = self.by_name.get_mut(name) {
                // A receiver without integrations is not asked again until something changes.
                beats.never = key.or(Some((DestinationId(0), labels)));
            }
        }
        for ((source, alert), beat) in senders {
            let known = world.alerts.alert(alert).map(|a| a.labels.clone()).unwrap_or_default();
            let sender = sender(&known, alert);
            let labels = LabelSet::from_pairs([
                ("alertname", "SquelchHeartbeatSilent"),
                ("heartbeat", name.as_str()),
                ("source", source.as_str()),
                ("sender", sender.as_str()),
            ]);
            if beat.last + GONE.max(heartbeat.silent_after) <= now {
                if let Some(key) = &beat.silent {
                    pages.clear(world, key, Cause::HeartbeatGone { after: GONE.max(heartbeat.silent_after) });
                }
                if let Some(beats) = self.by_name.get_mut(name) {
                    beats.senders.remove(&(source, alert));
                    (beats.since, beats.down) = (now, None);
                }
            } else if beat.silent.is_none() && beat.silent_by(heartbeat) <= now {
                let problem = Problem::HeartbeatSilent {
                    name: name.clone(),
                    source: source.as_str().into(),
                    after: heartbeat.silent_after,
                    labels: known.to_string().into(),
                };
                let key =
                    pages.raise(world, &receiver, &labels, problem).unwrap_or((DestinationId(0), labels));
                let beats = self.by_name.get_mut(name);
                if let Some(beat) = beats.and_then(|b| b.senders.get_mut(&(source, alert))) {
                    beat.silent = Some(key);
                }
            }
        }
    }
}

/// A sender in the title of its page: the labels of its alert. Long ones end with its number, so that no two
/// senders are the same.
fn sender(labels: &LabelSet, alert: AlertId) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let text = pairs.join(", ");
    match text.char_indices().nth(MOST_SENDER) {
        None if !text.is_empty() => text,
        None => alert.to_string(),
        Some((end, _)) => format!("{}… {alert}", &text[..end]),
    }
}

/// An alert that is a heartbeat from now on gets no more notifications.
fn release_heartbeats(world: &mut World, pages: &mut Pages) {
    if world.policy.heartbeats.is_empty() {
        return;
    }
    let beats = world.alerts.that_fire().filter(|(_, labels)| world.policy.heartbeat_of(labels).is_some());
    for alert in beats.map(|(alert, _)| alert).collect::<Vec<_>>() {
        for destination in world.taken_destinations(alert) {
            if world.is_live(alert, destination) {
                world.routed(destination, 1);
                pages.resolve(world, alert, destination, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_named_by_its_labels_and_long_ones_differ_all_the_same() {
        let named = |labels: &LabelSet, alert| sender(labels, AlertId(alert));
        let few = LabelSet::from_pairs([("alertname", "Watchdog"), ("cluster", "eu")]);
        assert_eq!(named(&few, 1), "alertname=Watchdog, cluster=eu");
        let long = LabelSet::from_pairs([("alertname", "ä".repeat(300).as_str())]);
        assert!(named(&long, 1) != named(&long, 2) && named(&long, 1).chars().count() < 200);
        assert_eq!(named(&LabelSet::default(), 1), AlertId(1).to_string());
    }
}
