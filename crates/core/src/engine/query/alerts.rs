//! Alerts as they stand, for programs and for the pages of the UI.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::alerts::Alert;
use crate::engine::ids::{DestinationId, IncidentId};
use crate::engine::incidents::incident::Incident;
use crate::engine::query::board::{Row, Standing, open_state};
use crate::engine::query::flappers::Flapper;
use crate::engine::query::row_state::{NextStep, Origin, RowState};
use crate::engine::query::{BYTES_OF_PAGE, Found, LOOKED_AT, Query};
use crate::model::{AlertId, AlertView, Fingerprint, LabelSet, Matcher, Problem, Status, Timestamp};

/// Which alerts are wanted: all that is given must hold. In the order of their identity.
#[derive(Clone, Debug, Default)]
pub struct AlertQuery {
    /// All must match the alert's labels.
    pub matchers: Vec<Matcher>,
    /// Alertmanager's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Whether it fires.
    pub status: Option<Status>,
    /// It went to this receiver.
    pub receiver: Option<SmolStr>,
    /// It is at this at one of the receivers that are asked for.
    pub state: Option<RowState>,
    /// Only those behind this one.
    pub after: Option<AlertId>,
    /// The most that are wanted.
    pub limit: usize,
}

/// An alert that Squelch remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownAlert {
    /// Its identity.
    pub id: AlertId,
    /// Its labels, as a peer stated them last.
    pub labels: LabelSet,
    /// The name of its severity level.
    pub severity: SmolStr,
    /// Its annotations, as a peer stated them last.
    pub annotations: LabelSet,
    /// The address of its rule, as a peer stated it last. It may be empty.
    pub generator_url: SmolStr,
    /// The problem that an internal incident is about.
    pub problem: Option<Box<Problem>>,
    /// Whether it fires. In an incident: whether it fires as the incident says.
    pub firing: bool,
    /// The start of its newest occurrence.
    pub starts_at: Timestamp,
    /// The end of that occurrence, once it is over.
    pub ends_at: Option<Timestamp>,
    /// In an incident: how often it changed, while it flaps.
    pub flaps: Option<u32>,
}

impl KnownAlert {
    /// Alertmanager's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }

    /// Whether it fires, as Alertmanager names it.
    pub fn status(&self) -> Status {
        if self.firing { Status::Firing } else { Status::Resolved }
    }

    /// Since when it fires, or since when it does not.
    pub fn since(&self) -> Timestamp {
        self.ends_at.unwrap_or(self.starts_at)
    }

    /// The alert of an internal incident.
    pub(crate) fn internal(view: AlertView, severity: SmolStr, firing: bool) -> KnownAlert {
        KnownAlert {
            id: view.id,
            labels: view.labels,
            severity,
            annotations: view.annotations,
            generator_url: view.generator_url,
            problem: view.problem,
            firing,
            starts_at: view.starts_at,
            ends_at: None,
            flaps: None,
        }
    }

    /// The bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        self.labels.bytes() + self.annotations.bytes() + self.generator_url.len()
    }
}

/// An alert, and where it stands at each receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertStandings {
    /// The alert.
    pub alert: KnownAlert,
    /// Where it is in an incident, or waits.
    pub receivers: Vec<Standing>,
}

/// An alert, with the rows of its incidents.
#[derive(Clone, Debug)]
pub struct AlertDetail {
    /// The alert.
    pub alert: KnownAlert,
    /// Where it is in an incident, or waits: one row for each route that it takes.
    pub rows: Vec<Row>,
    /// Where it flaps, or is about to flap.
    pub flappers: Vec<Flapper>,
}

impl Query<'_> {
    /// Whether an alert fires, by the statements of its senders.
    pub fn still_fires(&self, alert: &AlertView) -> bool {
        let own =
            self.pages.internal.values().filter_map(|id| self.pages.incidents.all.get(id)?.internal.as_ref());
        self.world.fires(alert.id) || own.into_iter().any(|own| own.shows(&alert.labels))
    }

    /// A known alert, as its peers stated it last.
    pub(crate) fn known_alert(&self, id: AlertId, alert: &Alert) -> KnownAlert {
        let (annotations, generator_url) = self.world.alerts.said(alert);
        KnownAlert {
            id,
            labels: alert.told().clone(),
            severity: self.world.level_name(&alert.labels),
            annotations,
            generator_url,
            problem: None,
            firing: alert.firing(),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            flaps: None,
        }
    }

    /// An alert that Squelch remembers. `now` is the time of the query.
    pub fn alert(&self, now: Timestamp, id: AlertId) -> Option<AlertDetail> {
        let alert = self.known_alert(id, self.world.alerts.alert(id)?);
        let decided = self.world.taken_destinations(id).into_iter().filter_map(|destination| {
            let state = self.world.alerts.state(id, destination)?;
            if let Some(state) = self.waiting_state(id, state) {
                return self.waiting_row(id, destination, state);
            }
            let incident = state.incident()?;
            let of_it = self.pages.incidents.all.get(&incident)?;
            open_state(of_it)?;
            let mut row = self.incident_row(incident)?;
            self.make_own(id, destination, of_it, &mut row.standing);
            Some(row)
        });
        let passed_on = self.forwards_of(id).filter_map(|(id, _)| self.incident_row(id));
        let rows = passed_on.chain(decided).collect();
        let flappers = self.world.taken_destinations(id).into_iter();
        let flappers = flappers.filter_map(|destination| self.flapper(now, id, destination));
        Some(AlertDetail { alert, rows, flappers: flappers.filter(|f| f.changes > 2).collect() })
    }

    /// Alerts that are remembered.
    pub fn alerts(&self, query: &AlertQuery) -> Found<AlertStandings, AlertId> {
        let mut looked = Found { found: Vec::new(), next: None, full: false };
        let (mut states, mut bytes) = (BTreeMap::new(), 0);
        for (passed, (id, alert)) in self.world.alerts.after(query.after).enumerate() {
            if passed >= LOOKED_AT || looked.full || looked.found.len() >= query.limit {
                break;
            }
            looked.next = Some(*id);
            let status = if alert.firing() { Status::Firing } else { Status::Resolved };
            let wanted = query.status.is_none_or(|wanted| wanted == status)
                && query.matchers.iter().all(|m| m.matches(&alert.labels));
            if !wanted {
                continue;
            }
            let fingerprint = Fingerprint::of(alert.told());
            if query.fingerprint.is_some_and(|wanted| wanted != fingerprint) {
                continue;
            }
            let destinations = self.world.taken_destinations(*id);
            let at = |receiver: &SmolStr| {
                destinations.iter().any(|l| self.world.destinations.get(*l).receiver == *receiver)
            };
            if !query.receiver.as_ref().is_none_or(at) {
                continue;
            }
            let receivers = self.standing(*id, &mut states);
            let here = |s: &Standing| query.receiver.as_ref().is_none_or(|r| *r == s.receiver);
            if let Some(state) = query.state
                && !receivers.iter().any(|s| s.state == state && here(s))
            {
                continue;
            }
            let alert = self.known_alert(*id, alert);
            bytes += alert.bytes();
            looked.full = bytes >= BYTES_OF_PAGE;
            looked.found.push(AlertStandings { alert, receivers });
        }
        if looked.next.is_some_and(|last| self.world.alerts.after(Some(last)).next().is_none()) {
            looked.next = None;
        }
        looked
    }

    /// Where an alert is in an incident, or waits. `states` remembers those of incidents, which may be large.
    fn standing(&self, id: AlertId, states: &mut BTreeMap<IncidentId, Option<RowState>>) -> Vec<Standing> {
        let mut standing = Vec::new();
        let mut in_incident = |origin, observed, (id, incident): (IncidentId, &Incident)| {
            let stands = (*states.entry(id).or_insert_with(|| open_state(incident)))?;
            Some(Standing {
                receiver: self.world.destinations.get(incident.group.0).receiver.clone(),
                state: if observed { RowState::Observed } else { stands },
                would: observed.then_some(stands),
                origin,
                incident: Some(incident.dedup_key.clone()),
                cause: Some((*incident.cause).clone()),
                next: None,
            })
        };
        for forward in self.forwards_of(id) {
            standing.extend(in_incident(Origin::Sender, false, forward));
        }
        for destination in self.world.taken_destinations(id) {
            let Some(state) = self.world.alerts.state(id, destination) else { continue };
            if let Some(stands) = self.waiting_state(id, state) {
                standing.extend(self.waiting_standing(id, destination, stands));
            } else if let Some(found) =
                state.incident().and_then(|i| Some((i, self.pages.incidents.all.get(&i)?)))
            {
                let observed = self.world.destinations.get(destination).observes();
                let mut own = in_incident(Origin::Squelch, observed, found);
                if let Some(own) = &mut own {
                    self.make_own(id, destination, found.1, own);
                }
                standing.extend(own);
            }
        }
        standing
    }

    /// Turns where an incident stands into where one of its alerts stands. An incident counts as flapping
    /// if one of its alerts flaps.
    fn make_own(&self, id: AlertId, destination: DestinationId, incident: &Incident, own: &mut Standing) {
        let shown = own.would.as_mut().unwrap_or(&mut own.state);
        if *shown != RowState::Flapping {
            return;
        }
        let flaps = incident.members.get(&id).is_some_and(|member| member.flaps.is_some());
        let Some(state) = self.world.alerts.state(id, destination).filter(|_| flaps) else {
            let opened = incident.channels.iter().any(|channel| channel.was_opened());
            *shown = if opened { RowState::Paged } else { RowState::Passing };
            own.next = None;
            return;
        };
        let settings = &self.world.destinations.get(destination).noise.flapping;
        own.cause = Some(state.damping.cause(self.world.now, settings));
        own.next = state.damping.reuse_deadline(settings).map(|at| (at, NextStep::StopsFlapping));
    }
}
