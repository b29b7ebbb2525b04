//! How things stand, for programs: alerts and incidents, a page at a time.
//!
//! A look costs what it passes, and it passes at most [`LOOKED_AT`]; whoever wants more looks again, and
//! lets the alerts that came meanwhile go first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};

use smol_str::SmolStr;

use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, IncidentId, Phase, Side};
use crate::engine::query::Query;
use crate::engine::query::board::{NextStep, Origin, RowState, incident_state};
use crate::model::{AlertId, AlertView, Cause, Fingerprint, Kind, LabelSet, Matcher, Status, Timestamp};

/// Alerts or incidents that one look passes.
const LOOKED_AT: usize = 10_000;
/// Alerts of one incident that are listed; those that fire first.
const MEMBERS: usize = 100;
/// Alerts of incidents on one page; then the page ends.
const MEMBERS_OF_PAGE: usize = 10_000;
/// The most bytes of labels and annotations on one page, and those of one entry more.
const BYTES_OF_PAGE: usize = 4 << 20;

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

/// Which incidents are wanted: all that is given must hold. Internal incidents that are open come first, then
/// the others, each the newest first.
#[derive(Clone, Debug, Default)]
pub struct IncidentQuery {
    /// All must match the labels of one of its alerts.
    pub matchers: Vec<Matcher>,
    /// Only this receiver's.
    pub receiver: Option<SmolStr>,
    /// Only those in this state.
    pub state: Option<SmolStr>,
    /// Only the one of this `dedup_key`.
    pub key: Option<SmolStr>,
    /// Only those behind this one.
    pub after: Option<IncidentCursor>,
    /// The most that are wanted.
    pub limit: usize,
}

/// Where the next page of incidents begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentCursor {
    /// The last one was an internal incident.
    internal: bool,
    /// The number of the last one.
    id: u64,
}

impl fmt::Display for IncidentCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.internal { "i" } else { "" }, self.id)
    }
}

impl IncidentCursor {
    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<IncidentCursor> {
        let number = text.strip_prefix('i');
        let id = number.unwrap_or(text).parse().ok()?;
        Some(IncidentCursor { internal: number.is_some(), id })
    }
}

/// What one look saw.
#[derive(Clone, Debug)]
pub struct Glance<T, C> {
    /// What was found.
    pub found: Vec<T>,
    /// Where to go on, if there is more to look at.
    pub next: Option<C>,
    /// What was found is as large as a page may be.
    pub full: bool,
}

/// An alert that is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownAlert {
    /// Its identity.
    pub id: AlertId,
    /// Alertmanager's fingerprint.
    pub fingerprint: Fingerprint,
    /// Whether it fires.
    pub status: Status,
    /// Its labels, as they were said last.
    pub labels: LabelSet,
    /// Its annotations, as they were said last.
    pub annotations: LabelSet,
    /// When the occurrence started, or the last one.
    pub starts_at: Timestamp,
    /// When it ended; none while it fires.
    pub ends_at: Option<Timestamp>,
    /// Where its rule can be looked at, as its sender said; empty if it said nothing.
    pub generator_url: SmolStr,
    /// Where it is open, or waits, and at what it is there.
    pub receivers: Vec<Standing>,
}

/// Where an alert stands at one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The receiver.
    pub receiver: SmolStr,
    /// At what it is there; `observed` if its profile only observes, so that nobody is notified.
    pub state: RowState,
    /// Of `observed`: the state that it would be in.
    pub would: Option<RowState>,
    /// Who decided.
    pub origin: Origin,
    /// The `dedup_key` of the incident that it is in.
    pub incident: Option<SmolStr>,
    /// Why it is at that, where that is known.
    pub cause: Option<Cause>,
    /// What happens next, where a time is known.
    pub next: Option<(Timestamp, NextStep)>,
}

/// An incident that is not over.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenIncident {
    /// The key under which receivers know it, 64 hex digits.
    pub dedup_key: SmolStr,
    /// Its group's key, as Alertmanager writes it.
    pub group_key: SmolStr,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// Where it goes.
    pub receiver: SmolStr,
    /// The name of its severity level.
    pub severity: SmolStr,
    /// One of [`INCIDENT_STATES`].
    pub state: SmolStr,
    /// Of `observed`: the state that it would be in.
    pub would: Option<RowState>,
    /// Who decided.
    pub origin: Origin,
    /// Its title, as receivers show it behind the mark of its state.
    pub title: String,
    /// When it paged.
    pub opened_at: Timestamp,
    /// Why its receivers were notified last.
    pub cause: Cause,
    /// What happens next, where a time is known.
    pub next: Option<(Timestamp, NextStep)>,
    /// The integrations that show it.
    pub delivered: Vec<SmolStr>,
    /// The integrations that refused for good what they were told last.
    pub refused: Vec<SmolStr>,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub size: usize,
    /// The first hundred of them: those that fire first, then by severity, then by name.
    pub alerts: Vec<IncidentAlert>,
}

/// An alert in an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentAlert {
    /// Its identity.
    pub id: AlertId,
    /// Its labels.
    pub labels: LabelSet,
    /// The name of its severity level.
    pub severity: SmolStr,
    /// Whether it fires, as the incident was told.
    pub firing: bool,
    /// How often it changed, while it flaps.
    pub flaps: Option<u32>,
}

impl Query<'_> {
    /// Whether an alert fires, as far as anybody said.
    pub fn still_fires(&self, alert: &AlertView) -> bool {
        let own =
            self.pages.internal.values().filter_map(|id| self.pages.incidents.all.get(id)?.internal.as_ref());
        self.world.fires(alert.id) || own.into_iter().any(|own| own.shows(&alert.labels))
    }

    /// Alerts that are remembered.
    pub fn alerts(&self, query: &AlertQuery) -> Glance<KnownAlert, AlertId> {
        let mut glance = Glance { found: Vec::new(), next: None, full: false };
        let (mut states, mut bytes) = (BTreeMap::new(), 0);
        for (passed, (id, alert)) in self.world.alerts.after(query.after).enumerate() {
            if passed >= LOOKED_AT || glance.full || glance.found.len() >= query.limit {
                break;
            }
            glance.next = Some(*id);
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
            let (annotations, generator_url) = self.world.alerts.said(alert);
            bytes += alert.labels.bytes() + annotations.bytes() + generator_url.len();
            glance.full = bytes >= BYTES_OF_PAGE;
            glance.found.push(KnownAlert {
                id: *id,
                fingerprint,
                status,
                labels: alert.told().clone(),
                annotations,
                starts_at: alert.starts_at,
                ends_at: alert.ends_at,
                generator_url,
                receivers,
            });
        }
        if glance.next.is_some_and(|last| self.world.alerts.after(Some(last)).next().is_none()) {
            glance.next = None;
        }
        glance
    }

    /// Where an alert is open or waits. `states` remembers those of incidents, which may be large.
    fn standing(&self, id: AlertId, states: &mut BTreeMap<IncidentId, Option<RowState>>) -> Vec<Standing> {
        let mut standing = Vec::new();
        let mut in_incident = |receiver, origin, observed, (id, incident): (IncidentId, &Incident)| {
            let stands = (*states.entry(id).or_insert_with(|| incident_state(incident)))?;
            let state = if observed { RowState::Observed } else { stands };
            let (key, cause) = (Some(incident.dedup_key.clone()), Some((*incident.cause).clone()));
            let would = observed.then_some(stands);
            Some(Standing { receiver, state, would, origin, incident: key, cause, next: None })
        };
        for (id, incident) in self.mirrors_of(id) {
            let receiver = self.world.destinations.get(incident.group.0).receiver.clone();
            standing.extend(in_incident(receiver, Origin::Sender, false, (id, incident)));
        }
        for destination in self.world.taken_destinations(id) {
            let Some(track) = self.world.alerts.state(id, destination) else { continue };
            let observed = self.world.destinations.get(destination).observes();
            let (receiver, origin) =
                (self.world.destinations.get(destination).receiver.clone(), Origin::Squelch);
            if let Some(stands) = self.waiting_state(id, track) {
                let (cause, next) = self.waiting(id, destination, track, stands);
                let state = if observed { RowState::Observed } else { stands };
                let would = observed.then_some(stands);
                standing.push(Standing { receiver, state, would, origin, incident: None, cause, next });
            } else if let Some(found) =
                track.incident().and_then(|i| Some((i, self.pages.incidents.all.get(&i)?)))
            {
                standing.extend(in_incident(receiver, origin, observed, found));
            }
        }
        standing
    }

    /// Incidents that are not over.
    pub fn open_incidents(&self, query: &IncidentQuery) -> Glance<OpenIncident, IncidentCursor> {
        let mut glance = Glance { found: Vec::new(), next: None, full: false };
        let (mut passed, mut members, mut bytes) = (0, 0, 0);
        let internal: BTreeSet<IncidentId> = self.pages.internal.values().copied().collect();
        let before = |of_internal: bool| match query.after {
            Some(IncidentCursor { internal, id }) if internal == of_internal => Excluded(IncidentId(id)),
            _ => Unbounded,
        };
        // Behind an ordinary incident there is no internal one.
        let done = query.after.is_some_and(|after| !after.internal);
        let first = (!done).then(|| internal.range((Unbounded, before(true))).rev());
        let first =
            first.into_iter().flatten().filter_map(|id| Some((id, self.pages.incidents.all.get(id)?)));
        let others = self.pages.incidents.all.range((Unbounded, before(false))).rev();
        let others = others.filter(|(id, _)| !internal.contains(id));
        let mut all = first.chain(others).peekable();
        while let Some((id, incident)) = all.next_if(|_| {
            let full = glance.full || members >= MEMBERS_OF_PAGE;
            passed < LOOKED_AT && !full && glance.found.len() < query.limit
        }) {
            passed += 1 + incident.members.len() / 100;
            glance.next = Some(IncidentCursor { internal: internal.contains(id), id: id.0 });
            let receiver = &self.world.destinations.get(incident.group.0).receiver;
            let wanted = query.receiver.as_ref().is_none_or(|wanted| wanted == receiver)
                && query.key.as_ref().is_none_or(|wanted| *wanted == incident.dedup_key)
                && (query.matchers.is_empty() || self.has_alert(incident, &query.matchers));
            let (stands, observed) = (state_word(incident), incident.side == Side::Observed);
            let state = if observed { RowState::Observed.as_str() } else { stands };
            if !wanted || query.state.as_ref().is_some_and(|wanted| wanted != state) {
                continue;
            }
            // What would be, and is over, leaves nothing to tell anybody.
            if observed && incident_state(incident).is_none() {
                continue;
            }
            members += incident.members.len().min(MEMBERS);
            let entry = self.incident_entry(*id, incident, state);
            bytes += entry.iter().flat_map(|e| &e.alerts).map(|member| member.labels.bytes()).sum::<usize>();
            glance.full = bytes >= BYTES_OF_PAGE;
            glance.found.extend(entry);
        }
        if all.peek().is_none() {
            glance.next = None;
        }
        glance
    }

    fn incident_entry(&self, id: IncidentId, incident: &Incident, state: &str) -> Option<OpenIncident> {
        let row = self.incident_row(id, incident_state(incident).unwrap_or(RowState::Resolving))?;
        let entry = |id: AlertId, labels: &LabelSet, severity, firing, flaps| IncidentAlert {
            id,
            labels: labels.clone(),
            severity,
            firing,
            flaps,
        };
        let own = incident.internal.as_ref().map(|own| own.view(Kind::Page, self.world.now));
        let own = own.map(|view| entry(view.id, &view.labels, row.severity.clone(), row.firing > 0, None));
        let alerts = self.ordered(incident, 0, MEMBERS).into_iter().map(|(id, member, alert)| {
            entry(id, alert.told(), self.world.level_name(&alert.labels), member.firing, member.flaps)
        });
        let channels = |which: fn(&Channel) -> bool| {
            let told = incident.channels.iter().filter(|c| row.would.is_none() && which(c));
            told.map(|c| c.integration.clone()).collect()
        };
        Some(OpenIncident {
            dedup_key: incident.dedup_key.clone(),
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            receiver: row.receiver,
            severity: row.severity,
            state: state.into(),
            would: row.would,
            origin: row.origin,
            title: row.headline.unwrap_or_default().to_string(),
            opened_at: incident.paged_at,
            cause: (*incident.cause).clone(),
            next: row.next,
            delivered: channels(Channel::was_opened),
            refused: channels(Channel::refuses),
            firing: row.firing,
            size: row.alerts,
            alerts: own.into_iter().chain(alerts).collect(),
        })
    }
}

/// The states of an incident as the API names them.
pub const INCIDENT_STATES: [&str; 7] =
    ["passing", "paged", "flapping", "resolving", "superseded", "closing", "observed"];

fn state_word(incident: &Incident) -> &'static str {
    match (incident.superseded_by, incident.phase) {
        (Some(_), _) => "superseded",
        (None, Phase::Closed) => "closing",
        _ => incident_state(incident).map_or("resolving", RowState::as_str),
    }
}
