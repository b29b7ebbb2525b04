//! How things stand, for programs: alerts and incidents in the words of the API, a page at a time.
//!
//! A look costs what it passes, and it passes at most [`LOOKED_AT`]; whoever wants more looks again, and
//! lets the alerts that came meanwhile go first.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::Engine;
use super::board::{RowState, incident_state};
use super::incident::{Incident, IncidentId, Phase, Side};
use crate::model::{AlertId, AlertView, Fingerprint, LabelSet, Matcher, Status, Timestamp};

/// Alerts or incidents that one look passes.
const LOOKED_AT: usize = 10_000;
/// Alerts of one incident that are listed; those that fire first.
const MEMBERS: usize = 100;
/// Alerts of incidents on one page; then the page ends.
const MEMBERS_OF_PAGE: usize = 10_000;

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

/// Which incidents are wanted: all that is given must hold. The newest first.
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
    /// Only those before the one of this number.
    pub before: Option<u64>,
    /// The most that are wanted.
    pub limit: usize,
}

/// What one look saw.
#[derive(Clone, Debug)]
pub struct Glance<T, C> {
    /// The engine's time.
    pub now: Timestamp,
    /// What was found.
    pub found: Vec<T>,
    /// Where to go on, if there is more to look at.
    pub next: Option<C>,
}

/// An alert that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Alert)]
#[serde(rename_all = "camelCase")]
pub struct AlertEntry {
    /// Its identity, 32 hex digits.
    pub id: String,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// Whether it fires.
    #[schema(value_type = String)]
    pub status: Status,
    /// Its labels, as they were said last.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: LabelSet,
    /// Its annotations, as they were said last.
    #[schema(value_type = BTreeMap<String, String>)]
    pub annotations: LabelSet,
    /// When the occurrence started, or the last one.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When it ended; missing while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// Where its rule can be looked at, as its sender said; empty if it said nothing.
    #[serde(rename = "generatorURL")]
    #[schema(value_type = String)]
    pub generator_url: SmolStr,
    /// Where it is open, or waits, and at what it is there.
    pub receivers: Vec<StandingEntry>,
}

/// Where an alert stands at one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Standing)]
#[serde(rename_all = "camelCase")]
pub struct StandingEntry {
    /// The receiver.
    #[schema(value_type = String)]
    pub receiver: SmolStr,
    /// `passing`, `paged`, `flapping`, `resolving`, `held`, `rate_limited`, `quiet` or `muted`.
    pub state: RowState,
    /// The `dedup_key` of the incident that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub incident: Option<SmolStr>,
    /// Why, in one sentence.
    #[schema(value_type = String)]
    pub why: SmolStr,
    /// What happens next, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextEntry>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Next)]
pub struct NextEntry {
    /// When, if nothing else happens before.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `pages`, `updates`, `repeats`, `closes`, `tries anew`, …
    pub action: String,
}

/// An incident that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Incident)]
#[serde(rename_all = "camelCase")]
pub struct IncidentEntry {
    /// The key under which receivers know it, 64 hex digits.
    #[schema(value_type = String)]
    pub dedup_key: SmolStr,
    /// Its group's key, as Alertmanager writes it.
    #[schema(value_type = String)]
    pub group_key: SmolStr,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// Where it goes.
    #[schema(value_type = String)]
    pub receiver: SmolStr,
    /// The name of its severity level.
    #[schema(value_type = String)]
    pub severity: SmolStr,
    /// `passing`, `paged`, `flapping` or `resolving`; `superseded` if a worse one took its place, and
    /// `closing` if it is over and its end not told yet.
    #[schema(value_type = String)]
    pub state: SmolStr,
    /// When it paged.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// Why it was told last, in one sentence.
    #[schema(value_type = String)]
    pub why: SmolStr,
    /// What happens next, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextEntry>,
    /// The integrations that show it.
    #[schema(value_type = Vec<String>)]
    pub delivered: Vec<SmolStr>,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub size: usize,
    /// The first hundred of them, those that fire first.
    pub alerts: Vec<MemberEntry>,
}

/// An alert in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = IncidentAlert)]
pub struct MemberEntry {
    /// Its identity, 32 hex digits.
    pub id: String,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// Its labels.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: LabelSet,
    /// Whether it fires, as the incident was told.
    pub firing: bool,
    /// How often it changed, while it flaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaps: Option<u32>,
}

impl Engine {
    /// Whether an alert fires, as far as anybody said.
    pub fn still_fires(&self, alert: &AlertView) -> bool {
        let own = self.own.values().filter_map(|id| self.incidents.get(id)?.own.as_ref());
        self.fires(alert.id) || own.into_iter().any(|own| own.shows(&alert.labels))
    }

    /// Alerts that are remembered.
    pub fn alerts(&self, query: &AlertQuery) -> Glance<AlertEntry, AlertId> {
        let mut glance = Glance { now: self.now, found: Vec::new(), next: None };
        let mut states = BTreeMap::new();
        for (passed, (id, alert)) in self.alerts.after(query.after).enumerate() {
            if passed >= LOOKED_AT || glance.found.len() >= query.limit {
                break;
            }
            glance.next = Some(*id);
            let status = if alert.firing() { Status::Firing } else { Status::Resolved };
            let wanted = query.status.is_none_or(|wanted| wanted == status)
                && query.matchers.iter().all(|m| m.matches(&alert.labels));
            if !wanted {
                continue;
            }
            let fingerprint = Fingerprint::of(&alert.labels);
            if query.fingerprint.is_some_and(|wanted| wanted != fingerprint) {
                continue;
            }
            let lanes = self.taken_lanes(*id);
            let at = |receiver: &SmolStr| lanes.iter().any(|l| self.lanes.lane(*l).receiver == *receiver);
            if !query.receiver.as_ref().is_none_or(at) {
                continue;
            }
            let receivers = self.standing(*id, &mut states);
            let here = |s: &StandingEntry| query.receiver.as_ref().is_none_or(|r| *r == s.receiver);
            if let Some(state) = query.state
                && !receivers.iter().any(|s| s.state == state && here(s))
            {
                continue;
            }
            let (annotations, generator_url) = self.alerts.said(alert);
            glance.found.push(AlertEntry {
                id: id.to_string(),
                fingerprint: fingerprint.to_string(),
                status,
                labels: alert.labels.clone(),
                annotations,
                starts_at: alert.starts_at,
                ends_at: alert.ends_at,
                generator_url,
                receivers,
            });
        }
        if glance.next.is_some_and(|last| self.alerts.after(Some(last)).next().is_none()) {
            glance.next = None;
        }
        glance
    }

    /// Where an alert is open or waits. `states` remembers those of incidents, which may be large.
    fn standing(
        &self,
        id: AlertId,
        states: &mut BTreeMap<IncidentId, Option<RowState>>,
    ) -> Vec<StandingEntry> {
        let mut standing = Vec::new();
        for lane in self.taken_lanes(id) {
            let Some(track) = self.alerts.track(id, lane) else { continue };
            let receiver = self.lanes.lane(lane).receiver.clone();
            if let Some(state) = self.waiting_state(id, track) {
                let (why, next) = self.words(id, lane, track, state);
                let next = next.map(|(at, action)| NextEntry { at, action: action.to_owned() });
                standing.push(StandingEntry { receiver, state, incident: None, why, next });
            } else if let Some((incident_id, incident)) =
                track.incident.and_then(|i| Some((i, self.incidents.get(&i)?)))
                && let Some(state) = *states.entry(incident_id).or_insert_with(|| incident_state(incident))
            {
                let (incident, why) = (Some(incident.dedup_key.clone()), incident.why.clone());
                standing.push(StandingEntry { receiver, state, incident, why, next: None });
            }
        }
        standing
    }

    /// Incidents that are not over; what would have been while a profile observes is left out.
    pub fn open_incidents(&self, query: &IncidentQuery) -> Glance<IncidentEntry, u64> {
        let mut glance = Glance { now: self.now, found: Vec::new(), next: None };
        let before = query.before.map_or(Unbounded, |id| Excluded(IncidentId(id)));
        let (mut passed, mut members) = (0, 0);
        for (id, incident) in self.incidents.range((Unbounded, before)).rev() {
            if passed >= LOOKED_AT || members >= MEMBERS_OF_PAGE || glance.found.len() >= query.limit {
                break;
            }
            passed += 1 + incident.members.len() / 100;
            glance.next = Some(id.0);
            if incident.side == Side::Shadow {
                continue;
            }
            let receiver = &self.lanes.lane(incident.group.0).receiver;
            let wanted = query.receiver.as_ref().is_none_or(|wanted| wanted == receiver)
                && query.key.as_ref().is_none_or(|wanted| *wanted == incident.dedup_key)
                && (query.matchers.is_empty() || self.has_member(incident, &query.matchers));
            let state = state_word(incident);
            if !wanted || query.state.as_ref().is_some_and(|wanted| wanted != state) {
                continue;
            }
            members += incident.members.len().min(MEMBERS);
            glance.found.extend(self.incident_entry(*id, incident, state));
        }
        if glance.next == self.incidents.keys().next().map(|first| first.0) {
            glance.next = None;
        }
        glance
    }

    fn has_member(&self, incident: &Incident, matchers: &[Matcher]) -> bool {
        let matches = |labels: &LabelSet| matchers.iter().all(|m| m.matches(labels));
        incident.members.keys().any(|id| self.alerts.alert(*id).is_some_and(|a| matches(&a.labels)))
    }

    fn incident_entry(&self, id: IncidentId, incident: &Incident, state: &str) -> Option<IncidentEntry> {
        let row = self.incident_row(id, incident_state(incident).unwrap_or(RowState::Resolving))?;
        let entry = |(id, member): (&AlertId, &super::members::Member)| {
            let labels = &self.alerts.alert(*id)?.labels;
            Some(MemberEntry {
                id: id.to_string(),
                fingerprint: Fingerprint::of(labels).to_string(),
                labels: labels.clone(),
                firing: member.firing,
                flaps: member.flaps,
            })
        };
        let (fires, over) = (incident.members.that_fire(true), incident.members.that_fire(false));
        Some(IncidentEntry {
            dedup_key: incident.dedup_key.clone(),
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            receiver: row.receiver,
            severity: row.severity,
            state: state.into(),
            opened_at: incident.paged_at,
            why: incident.why.clone(),
            next: row.next.map(|(at, action)| NextEntry { at, action: action.to_owned() }),
            delivered: incident
                .channels
                .iter()
                .filter(|c| c.was_opened())
                .map(|c| c.integration.clone())
                .collect(),
            firing: row.firing,
            size: row.alerts,
            alerts: fires.chain(over).take(MEMBERS).filter_map(entry).collect(),
        })
    }
}

/// The states of an incident as the API names them.
pub const INCIDENT_STATES: [&str; 6] = ["passing", "paged", "flapping", "resolving", "superseded", "closing"];

fn state_word(incident: &Incident) -> &'static str {
    match (incident.superseded_by, incident.phase) {
        (Some(_), _) => "superseded",
        (None, Phase::Closed) => "closing",
        _ => incident_state(incident).map_or("resolving", RowState::as_str),
    }
}
