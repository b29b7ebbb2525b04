//! The read side: the API, the pages and the dry run query the engine here. Nothing here changes it.

pub(crate) mod alerts;
pub(crate) mod board;
pub(crate) mod dry;
pub(crate) mod firing;
pub(crate) mod flappers;
pub(crate) mod incidents;
pub(crate) mod listing;
pub(crate) mod proposal;
mod repeats;
pub(crate) mod row_state;
mod search;
pub(crate) mod twins;
pub(crate) mod undelivered;

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::engine::Stats;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::orphans::orphans_of;
use crate::engine::mutes::Mutes;
use crate::engine::pages::Pages;
use crate::engine::self_check::SelfCheck;
use crate::engine::stats::{Bound, ReceiverStats};
use crate::engine::world::World;
use crate::model::{
    AlertId, Batch, LabelSet, Notification, NotificationId, Observation, OrphanedIncident, Silence,
    SilenceChange, SilenceError, SilenceRequest, SilenceState, Source, Status, Timestamp,
};

/// Alerts or incidents that one look passes. A caller that wants more looks again, and lets the alerts that
/// came meanwhile go first.
const LOOKED_AT: usize = 10_000;
/// The most bytes of labels and annotations on one page, and those of one entry more.
const BYTES_OF_PAGE: usize = 4 << 20;

/// Entries that one look found.
#[derive(Clone, Debug)]
pub struct Found<T, C> {
    /// The entries.
    pub found: Vec<T>,
    /// Where the next look begins, if there is more.
    pub next: Option<C>,
    /// Whether the entries are as large as a page may be.
    pub full: bool,
}

/// How full a table is whose bound holds after each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// The name of the table.
    pub table: &'static str,
    /// How many.
    pub held: u64,
    /// How many it may hold.
    pub most: u64,
}

/// A view of an engine that only reads.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub(crate) world: &'a World,
    pub(crate) mutes: &'a Mutes,
    pub(crate) pages: &'a Pages,
    pub(crate) checks: &'a SelfCheck,
}

impl Query<'_> {
    /// Every incident that is open at an integration which the configuration does not have any more.
    pub fn orphans(&self) -> Vec<OrphanedIncident> {
        let found = self.pages.incidents.orphans.iter().filter_map(|id| self.pages.incidents.all.get(id));
        found.flat_map(|incident| orphans_of(self.world, incident, Channel::is_orphan)).collect()
    }

    /// How many incidents each receiver has open at integrations that are gone.
    pub(crate) fn orphans_by_receiver(&self) -> BTreeMap<SmolStr, u64> {
        let mut counts = BTreeMap::new();
        for incident in self.pages.incidents.orphans.iter().filter_map(|id| self.pages.incidents.all.get(id))
        {
            let receivers: BTreeSet<SmolStr> =
                orphans_of(self.world, incident, Channel::is_orphan).map(|orphan| orphan.receiver).collect();
            for receiver in receivers {
                *counts.entry(receiver).or_default() += 1;
            }
        }
        counts
    }

    /// The current state of an alert, as a statement of `source`. It serves alerts whose repeats make the
    /// engine fail.
    pub fn as_known(&self, source: Source, alert: AlertId) -> Option<Batch> {
        let known = self.world.alerts.alert(alert)?;
        let (annotations, generator_url) = self.world.alerts.said(known);
        let observation = Observation {
            annotations,
            generator_url,
            ..Observation::new(
                if known.firing() { Status::Firing } else { Status::Resolved },
                known.labels.clone(),
                known.starts_at,
                known.ends_at,
            )
        };
        Some(Batch::new(source, SmolStr::default(), vec![observation]))
    }

    /// How full the tables are whose bounds hold after each event, if `limits.alerts` was not lowered.
    /// Others lag behind: an incident, a group or a list of withheld alerts drops its old entries when the
    /// next entry comes.
    pub fn fills(&self) -> Vec<Fill> {
        let fill = |table, held, most| Fill { table, held, most };
        let limit = self.world.policy.limits.alerts;
        let (sets, forgotten) =
            (self.world.alerts.most_label_sets(), self.world.accounting.repeats_of_none(&self.world.alerts));
        vec![
            fill("alerts", self.world.alerts.len(), limit),
            fill("series", self.pages.series.len() as u64, limit),
            fill("label sets", sets, crate::engine::occurrences::LABEL_SETS as u64),
            fill(
                "quarantine",
                self.checks.quarantine.count(),
                crate::engine::self_check::quarantine::QUARANTINED as u64,
            ),
            fill("unknown repeats", forgotten, 0),
        ]
    }

    /// Whether an alert in `batch` fires that is not known, so that one more alert would be remembered.
    pub fn has_unknown(&self, batch: &Batch) -> bool {
        let firing = |o: &&Observation| o.status == Status::Firing;
        batch.observations.iter().filter(firing).any(|o| {
            let alerts = &self.world.alerts;
            let instance = batch.source.instance(&o.labels);
            let owner = || alerts.owner_of(batch.source, instance, o, &self.world.policy);
            let of_key = batch.source.is_keyed().then(|| alerts.owner_of_key(instance)).flatten();
            of_key.is_none() && alerts.alert(owner()).is_none()
        })
    }

    /// The alerts that the observations of a batch are about.
    pub fn alerts_of(&self, batch: &Batch) -> Vec<AlertId> {
        let alerts = &self.world.alerts;
        let alert = |o: &Observation| {
            let instance = batch.source.instance(&o.labels);
            let of_key = batch.source.is_keyed().then(|| alerts.owner_of_key(instance)).flatten();
            of_key
                .map_or_else(|| alerts.owner_of(batch.source, instance, o, &self.world.policy), |(id, _)| id)
        };
        batch.observations.iter().map(alert).collect()
    }

    /// The open incidents that list the alert that an event of `source` is about, by its key: their keys and
    /// receivers.
    pub fn incidents_of_event(&self, source: Source, labels: &LabelSet) -> Vec<(SmolStr, SmolStr)> {
        let owner = self.world.alerts.owner_of_key(source.instance(labels));
        let states = owner.into_iter().flat_map(|(alert, _)| self.world.alerts.states_of(alert));
        let open = states.filter_map(|(destination, state)| {
            let incident = self.pages.incidents.all.get(&state.notified_in()?)?;
            let receiver = &self.world.destinations.get(destination).receiver;
            Some((incident.dedup_key.clone(), receiver.clone()))
        });
        open.collect()
    }

    /// Whether `receiver` holds an alert back that [`crate::engine::Event::Release`] would release.
    pub fn can_release(&self, alert: AlertId, receiver: &str) -> bool {
        self.world.destinations_to(alert, receiver).any(|destination| {
            let state = self.world.alerts.state(alert, destination);
            state.is_some_and(|t| {
                t.held_until().is_some()
                    || t.waits_in().is_some()
                    || (t.damping.flaps().is_some() && t.muted().is_none())
            })
        })
    }

    /// Whether the incident of a refused notification is still known, so that asking for it again
    /// leaves nothing open behind it.
    pub fn can_replay(&self, id: NotificationId) -> bool {
        self.pages
            .incidents
            .refused
            .get(&id)
            .is_some_and(|(incident, _)| self.pages.incidents.all.contains_key(incident))
    }

    /// Whether a request is to be passed on though it changes nothing: a repeat of the sender's.
    pub(crate) fn is_to_forward(&self, batch: &Batch) -> bool {
        let Some(upstream) = &batch.upstream else { return false };
        let observed = |labels| {
            let destinations = self.world.destinations.matching(&self.world.policy, labels);
            destinations.into_iter().any(|destination| self.world.destinations.get(destination).observes())
        };
        self.pages.forwards.open.keys().any(|(_, text)| *text == upstream.group_key)
            || batch.observations.iter().any(|o| observed(&o.labels))
    }
}

impl<'a> Query<'a> {
    /// The changes that granting a request about silences would make at `wall`, a wall time. Journalled as
    /// [`crate::engine::Event::Silence`], they take effect.
    ///
    /// # Errors It cannot be granted, and why.
    pub fn plan_silence(
        &self,
        wall: Timestamp,
        request: &SilenceRequest,
    ) -> Result<SilenceChange, SilenceError> {
        self.mutes.silences.plan(wall, request)
    }

    /// Every silence that is kept, with its state.
    pub fn silences(&self) -> Vec<(Silence, SilenceState)> {
        self.mutes.silences.iter().map(|(silence, state)| (silence.clone(), state)).collect()
    }

    /// The silences that silence nothing, because their expressions take more memory than silences may.
    pub fn silences_without_room(self) -> impl Iterator<Item = &'a Silence> {
        self.mutes.silences.without_room()
    }

    /// The silences that are kept, in the order of their ids, from behind `id` on.
    pub fn silences_after(self, id: Option<&str>) -> impl Iterator<Item = (&'a Silence, SilenceState)> {
        self.mutes.silences.after(id)
    }

    /// One silence, with its state.
    pub fn silence_by_id(self, id: &str) -> Option<(&'a Silence, SilenceState)> {
        self.mutes.silences.one(id)
    }

    /// The notifications of incidents whose end it waits for.
    pub fn in_flight(self) -> impl Iterator<Item = NotificationId> + 'a {
        self.pages.incidents.in_flight.keys().copied()
    }

    /// Leads a notification that waited over a start to the integration at which its incident stands now. A
    /// new configuration may give this one another name or position.
    pub fn readdress(&self, notification: &mut Notification) {
        let incidents = &self.pages.incidents;
        let Some((id, index)) = incidents.in_flight.get(&notification.id) else { return };
        let Some(incident) = incidents.all.get(id) else { return };
        let Some(channel) = incident.channels.get(*index) else { return };
        let home = &self.world.destinations.get(incident.group.0).receiver;
        let own = || (channel.receiver(home).clone(), channel.integration.clone());
        (notification.receiver, notification.integration) = channel.closes_at.clone().unwrap_or_else(own);
        notification.endpoint = channel.endpoint();
    }

    /// By how many milliseconds engine time is ahead of wall time, as the last
    /// [`Event::Clocks`](crate::engine::Event::Clocks) said.
    pub fn ahead_of_wall(&self) -> i64 {
        self.world.alerts.ahead()
    }

    /// How many alerts are known, firing or not: the measure of its size.
    pub fn alerts_known(&self) -> u64 {
        self.world.alerts.len()
    }

    /// The counters, and how things stand.
    pub fn stats(&self) -> Stats {
        let stats = self.world.accounting.stats().clone();
        let mut stats =
            Stats { alerts: self.world.alerts.len(), firing: self.world.alerts.firing(), ..stats };
        self.mutes.count(&mut stats);
        stats.heartbeats = self.checks.heartbeats.last();
        stats.sender_clocks =
            self.checks.clocks.wrong(self.world.now).map(|(name, ms)| (name.clone(), ms)).collect();
        stats.changing_labels = self.checks.churn.changing_labels(self.world);
        stats.unknown_severities = self.checks.severities.found(self.world);
        stats.bounds.insert(Bound::LabelSets, self.world.alerts.label_sets_forgotten());
        for (receiver, count) in self.orphans_by_receiver() {
            stats.receivers.entry(receiver).or_default().orphaned = count;
        }
        // A receiver that a reload removed goes once nothing is open there. Its counters stay in the
        // accounting.
        let kept = |name: &SmolStr, of: &ReceiverStats| {
            self.world.policy.receivers.contains_key(name) || !of.is_idle()
        };
        stats.observed.retain(|name, of| kept(name, of));
        let observed = &stats.observed;
        stats.receivers.retain(|name, of| kept(name, of) || observed.contains_key(name));
        stats
    }
}
