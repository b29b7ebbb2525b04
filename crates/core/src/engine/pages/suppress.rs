//! The basis of a decision: the setting, its line, and the disposition that would have followed without it.

use smol_str::{SmolStr, format_smolstr};

use crate::engine::accounting::PendingDecision;
use crate::engine::destinations::Destination;
use crate::engine::ids::{DestinationId, IncidentId};
use crate::engine::mutes::Muting;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::{Group, GroupPlace, place};
use crate::engine::world::World;
use crate::model::{AlertId, Basis, Cause, Disposition, Otherwise, Reason, Timestamp};

impl Destination {
    /// The route, where nothing else decided.
    pub(crate) fn basis(&self) -> Basis {
        Basis { setting: format_smolstr!("route {}", self.route), line: self.line, ..Basis::default() }
    }

    /// A key of the noise profile, with its own line or the line of its profile. A profile that is built in
    /// has no line.
    fn noise_basis(&self, key: &str) -> Basis {
        let (name, lines) = &self.profile;
        let line = lines.get(key).or_else(|| lines.get("")).copied().unwrap_or(0);
        Basis { setting: format_smolstr!("noise.{name}.{key}"), line, ..Basis::default() }
    }
}

impl Pages {
    /// The basis for suppressing an alert for `reason`.
    pub(crate) fn basis(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
        reason: Reason,
    ) -> Basis {
        let settings = world.destinations.get(destination);
        let basis = match reason {
            Reason::Storm => settings.noise_basis("storm"),
            Reason::Flapping => settings.noise_basis("flapping"),
            Reason::Usual => settings.noise_basis("usual_per_day"),
            Reason::RateLimited => settings.noise_basis("limit"),
            Reason::SelfResolved => hold_basis(world, alert, settings),
            Reason::Stale => global_basis(world, "stale_after"),
            Reason::Duplicate
            | Reason::Grouped
            | Reason::Inhibited
            | Reason::Silenced
            | Reason::Muted
            | Reason::NeverPaged => settings.basis(),
        };
        Basis { otherwise: self.otherwise(world, alert, destination, reason), ..basis }
    }

    /// The disposition that an alert would have got without the setting that suppressed it. It is `None` if
    /// a receiver was notified, or there was nothing to notify. A page that a limit or a storm would have
    /// merged counts as one that leaves.
    pub(crate) fn otherwise(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
        reason: Reason,
    ) -> Option<Otherwise> {
        let settings = world.destinations.get(destination);
        let known = world.alerts.alert(alert)?;
        let wait = match world.policy.severities.level(&known.labels).never_hold {
            true => crate::model::Duration::ZERO,
            false => settings.group_wait.max(settings.noise.wait),
        };
        let at: Timestamp = match reason {
            Reason::Duplicate | Reason::Grouped | Reason::Stale | Reason::NeverPaged => return None,
            Reason::Muted if settings.integrations.is_empty() => return None,
            Reason::Flapping => {
                let own = world.alerts.state(alert, destination).and_then(|state| state.incident());
                let key = world.group_key(destination, &known.labels);
                let recent =
                    self.recent_incident(world, &key, own).and_then(|id| self.incidents.all.get(&id));
                if let Some(incident) = recent {
                    return Some(Otherwise::Update(incident.dedup_key.clone()));
                }
                world.now + wait
            }
            Reason::Silenced | Reason::Inhibited | Reason::Muted => {
                if let Some(key) = self.open_incident(world, alert, destination) {
                    return Some(Otherwise::Update(key));
                }
                world.now + wait
            }
            Reason::Storm => world.now,
            Reason::SelfResolved => known.received_at,
            Reason::Usual | Reason::RateLimited => known.received_at + wait,
        };
        Some(Otherwise::Page(at))
    }

    /// The open incident that an alert would join now.
    fn open_incident(&self, world: &World, alert: AlertId, destination: DestinationId) -> Option<SmolStr> {
        match self.place_of(world, alert, destination)? {
            GroupPlace::Rejoin(id) | GroupPlace::Join(id) => {
                self.incidents.all.get(&id).map(|i| i.dedup_key.clone())
            }
            GroupPlace::Next => None,
        }
    }

    /// Where an alert goes if it starts to fire now. None if Squelch does not know the alert.
    pub(crate) fn place_of(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
    ) -> Option<GroupPlace> {
        let labels = &world.alerts.alert(alert)?.labels;
        let new = Group::default();
        let group = self.groups.get(&world.group_key(destination, labels)).unwrap_or(&new);
        let last = world.alerts.state(alert, destination).and_then(|state| state.incident());
        let (noise, name) = (&world.destinations.get(destination).noise, world.rolls_by(labels));
        Some(place(world.now, alert, last, group, &self.incidents.all, noise, name))
    }
}

impl Pages {
    pub(crate) fn never_paged(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        fired: u64,
        resolved: u64,
    ) {
        self.suppress(world, alert, destination, fired, Cause::ResolvedWhileWaiting);
        self.suppress(world, alert, destination, resolved, Cause::NeverPaged);
    }

    pub(crate) fn suppress(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
        cause: Cause,
    ) {
        if count > 0 {
            let basis = self.basis(world, alert, destination, cause.reason());
            self.suppress_by(world, alert, destination, count, (cause, None), basis);
        }
    }

    /// Suppresses observations of an alert that is muted.
    pub(crate) fn suppress_muted(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
        Muting { cause, release, basis }: Muting,
    ) {
        if count > 0 {
            let otherwise = self.otherwise(world, alert, destination, cause.reason());
            let basis = Basis { otherwise, ..basis };
            self.suppress_by(world, alert, destination, count, (cause, release), basis);
        }
    }

    /// Suppresses observations on the basis `basis`.
    pub(crate) fn suppress_by(
        &mut self,
        world: &mut World,
        alert: AlertId,
        destination: DestinationId,
        count: u64,
        (cause, release): (Cause, Option<Timestamp>),
        basis: Basis,
    ) {
        let reason = cause.reason();
        self.digests.held_back(world, alert, destination, reason, count);
        let incident = self.incidents.incident_key(world, alert, destination);
        let World { destinations, accounting, alerts, now, .. } = world;
        let destination = (destination, destinations.get(destination));
        if reason == Reason::Duplicate && destination.1.observes() && alerts.alert(alert).is_some() {
            // The sender's own repeats are recorded one by one. The repeats that would have followed are
            // recorded as one.
            let (of, why) = ((alert, destination.0), (reason, incident));
            return accounting.dispose_repeats(*now, count, of, why, (alerts, destinations));
        }
        let (known, disposition) = (alerts.alert_mut(alert), Disposition::Suppressed(reason));
        let verdict =
            PendingDecision { alert, known, destination, incident, disposition, cause, release, basis };
        accounting.dispose(*now, count, verdict);
    }

    pub(crate) fn dispose_waiting_as(&mut self, world: &mut World, id: IncidentId, cause: &Cause) {
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        let waiting = std::mem::take(&mut incident.waiting);
        let destination = incident.group.0;
        for (alert, count) in waiting {
            self.suppress(world, alert, destination, count, cause.clone());
        }
    }
}

/// The basis for the wait of an alert's first page.
fn hold_basis(world: &World, alert: AlertId, destination: &Destination) -> Basis {
    let level = world.alerts.alert(alert).map(|a| world.policy.severities.level(&a.labels));
    match level {
        Some(level) if !level.hold.is_zero() && !level.never_hold => {
            let line = world.policy.lines.severities.get(&level.name).copied().unwrap_or(0);
            let setting = format_smolstr!("severities.levels.{}.hold", level.name);
            Basis { setting, line, ..Basis::default() }
        }
        _ if !destination.noise.hold.time.is_zero() => destination.noise_basis("hold"),
        _ if !destination.noise.wait.is_zero() => destination.noise_basis("wait"),
        _ => destination.basis(),
    }
}

fn global_basis(world: &World, key: &str) -> Basis {
    let line = world.policy.lines.global.get(key).copied().unwrap_or(0);
    Basis { setting: format_smolstr!("global.{key}"), line, ..Basis::default() }
}
