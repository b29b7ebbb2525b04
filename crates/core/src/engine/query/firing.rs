//! Firing alerts with all routes that they take, for Alertmanager's API v2.

use smol_str::SmolStr;

use crate::engine::alerts::Alert;
use crate::engine::ids::DestinationId;
use crate::engine::pages::groups::Wait;
use crate::engine::query::Query;
use crate::engine::query::row_state::RowState;
use crate::model::{AlertId, Cause, Fingerprint, LabelSet, Matcher, Timestamp};

/// Alerts that one look passes.
const LOOKED_AT: usize = 1_000;

/// An alert that fires.
#[derive(Clone, Debug, PartialEq)]
pub struct FiringAlert {
    /// Alertmanager's fingerprint.
    pub fingerprint: Fingerprint,
    /// Its labels.
    pub labels: LabelSet,
    /// Its annotations, as a peer stated them last.
    pub annotations: LabelSet,
    /// The start of the occurrence.
    pub starts_at: Timestamp,
    /// When a peer stated it last, in wall time.
    pub updated_at: Timestamp,
    /// When it ends if no peer states it again, in wall time.
    pub ends_at: Timestamp,
    /// The address of its rule, as a peer stated it last. It may be empty.
    pub generator_url: SmolStr,
    /// The ids of all silences in force that match it.
    pub silenced_by: Vec<SmolStr>,
    /// The alert that inhibits it.
    pub inhibited_by: Option<Fingerprint>,
    /// The routes that it takes, in the order of the configuration.
    pub routes: Vec<RouteStanding>,
}

/// Where an alert stands on one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteStanding {
    /// The number of the route. Alerts of one route have the same.
    pub route: u32,
    /// The receiver of the route.
    pub receiver: SmolStr,
    /// The labels of its group there.
    pub group: LabelSet,
    /// The `labels` of the route, which may be templates.
    pub labels: LabelSet,
    /// The names of the time intervals that mute the route now.
    pub muted_by: Vec<SmolStr>,
    /// Why Squelch itself keeps the alert from the receiver: `held`, `flapping`, `rate_limited` or
    /// `withheld`.
    pub withheld: Option<RowState>,
}

impl FiringAlert {
    /// Whether a silence, another alert or Squelch keeps it from all its receivers.
    pub fn is_suppressed(&self) -> bool {
        let withheld = self.routes.iter().all(|route| route.withheld.is_some());
        !self.silenced_by.is_empty() || self.inhibited_by.is_some() || (withheld && !self.routes.is_empty())
    }
}

impl Query<'_> {
    /// Alerts behind `after` that fire and that all `matchers` match, in the order of their identity. One
    /// look passes a bounded number. The second value is where the next look begins, if there is more.
    pub fn firing(
        &self,
        matchers: &[Matcher],
        after: Option<AlertId>,
    ) -> (Vec<FiringAlert>, Option<AlertId>) {
        let mut all = self.world.alerts.after(after);
        let (mut found, mut last) = (Vec::new(), None);
        for (id, alert) in all.by_ref().take(LOOKED_AT) {
            last = Some(*id);
            if alert.firing() && matchers.iter().all(|m| m.matches(&alert.labels)) {
                found.push(self.firing_alert(*id, alert));
            }
        }
        (found, last.filter(|_| all.next().is_some()))
    }

    fn firing_alert(&self, id: AlertId, alert: &Alert) -> FiringAlert {
        let (annotations, generator_url) = self.world.alerts.said(alert);
        let (updated_at, ends_at) = self.world.alerts.stated(alert, &self.world.policy);
        let inhibitor = self.mutes.inhibitor(&alert.labels).and_then(|by| self.world.alerts.alert(by));
        let routes = self.world.destinations.matching(&self.world.policy, &alert.labels);
        FiringAlert {
            fingerprint: Fingerprint::of(alert.told()),
            labels: alert.told().clone(),
            annotations,
            starts_at: alert.starts_at,
            updated_at,
            ends_at,
            generator_url,
            silenced_by: self.mutes.silences.in_force(id).cloned().collect(),
            inhibited_by: inhibitor.map(|by| Fingerprint::of(by.told())),
            routes: routes.into_iter().map(|route| self.route_standing(id, alert, route)).collect(),
        }
    }

    fn route_standing(&self, id: AlertId, alert: &Alert, at: DestinationId) -> RouteStanding {
        let destination = self.world.destinations.get(at);
        let muted_by = match self.mutes.intervals.muted(&destination.windows) {
            Some((Cause::MuteInterval { name }, _)) => vec![name],
            Some((Cause::ActiveIntervals { names }, _)) => names,
            _ => Vec::new(),
        };
        RouteStanding {
            route: at.0,
            receiver: destination.receiver.clone(),
            group: self.world.group_key(at, &alert.labels).1,
            labels: destination.labels.clone(),
            muted_by,
            withheld: self.withheld(id, at).filter(|_| !destination.observes()),
        }
    }

    /// Why Squelch keeps a firing alert from a receiver. A `group_wait` is no reason: Alertmanager calls an
    /// alert active while it waits for its group.
    fn withheld(&self, id: AlertId, at: DestinationId) -> Option<RowState> {
        let state = self.world.alerts.state(id, at)?;
        if state.is_kept_by_mute() {
            return None;
        }
        if state.held_until().is_some() {
            return Some(RowState::Held);
        }
        if let Some(key) = state.waits_in() {
            let pending = self.pages.groups.get(key).map_or(&[][..], |group| &group.pending);
            let wait = pending.iter().find(|p| p.alert == id && !p.recovered).map(|p| p.wait);
            return match wait {
                Some(Wait::Group) => None,
                Some(Wait::Gather | Wait::Again | Wait::Hold) => Some(RowState::Held),
                Some(Wait::Merged) => Some(RowState::RateLimited),
                None => Some(RowState::Withheld),
            };
        }
        state.damping.flaps().map(|_| RowState::Flapping)
    }
}
