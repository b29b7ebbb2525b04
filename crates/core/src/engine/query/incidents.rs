//! Incidents as they stand, for programs and for the pages of the UI.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};

use smol_str::SmolStr;

use crate::engine::ids::IncidentId;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::query::alerts::KnownAlert;
use crate::engine::query::board::{Row, incident_state, open_state};
use crate::engine::query::row_state::RowState;
use crate::engine::query::undelivered::Refused;
use crate::engine::query::{BYTES_OF_PAGE, Found, LOOKED_AT, Query};
use crate::model::{Kind, Matcher};

/// Alerts of one incident in a list of incidents.
const MEMBERS: usize = 100;
/// The most alerts of incidents on one page. Then the page ends.
const MEMBERS_OF_PAGE: usize = 10_000;

/// The shortest beginning of a `dedup_key` that names an incident.
pub const SHORTEST_KEY: usize = 6;

/// Which incidents are wanted: all that is given must hold. Internal incidents that are open come first, then
/// the others, each the newest first.
#[derive(Clone, Debug, Default)]
pub struct IncidentQuery {
    /// All must match the labels of one of its alerts.
    pub matchers: Vec<Matcher>,
    /// Only this receiver's.
    pub receiver: Option<SmolStr>,
    /// Only those in this state.
    pub state: Option<RowState>,
    /// Only the one of this `dedup_key`, or those that begin so, if it has at least [`SHORTEST_KEY`] digits.
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
    /// Reads the output of [`fmt::Display`].
    pub fn parse(text: &str) -> Option<IncidentCursor> {
        let number = text.strip_prefix('i');
        let id = number.unwrap_or(text).parse().ok()?;
        Some(IncidentCursor { internal: number.is_some(), id })
    }
}

/// An incident, with some of its alerts.
#[derive(Clone, Debug)]
pub struct OpenIncident {
    /// Its number, as in the history.
    pub number: u64,
    /// Its row on the board.
    pub row: Row,
    /// Its group's key, as Alertmanager writes it.
    pub group_key: SmolStr,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// The integrations that show it. Those of a second receiver have its name before them, as in
    /// `boss/webhook[0]`.
    pub delivered: Vec<SmolStr>,
    /// The integrations that refused its newest notification for good.
    pub refused: Vec<Refused>,
    /// Alerts of it: first those that fire, then by severity, then by name.
    pub alerts: Vec<KnownAlert>,
}

impl Query<'_> {
    /// An incident with notifications still to send, with up to `limit` of its alerts after the first
    /// `offset`. With `observed`, it is the incident that would have this key.
    pub fn incident(
        &self,
        dedup_key: &str,
        observed: bool,
        offset: usize,
        limit: usize,
    ) -> Option<OpenIncident> {
        let (id, incident) = self.incident_of(dedup_key, observed)?;
        self.open_incident(*id, incident, offset, limit)
    }

    /// Incidents that are not over.
    pub fn open_incidents(&self, query: &IncidentQuery) -> Found<OpenIncident, IncidentCursor> {
        let mut looked = Found { found: Vec::new(), next: None, full: false };
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
            let full = looked.full || members >= MEMBERS_OF_PAGE;
            passed < LOOKED_AT && !full && looked.found.len() < query.limit
        }) {
            passed += 1 + incident.members.len() / 100;
            looked.next = Some(IncidentCursor { internal: internal.contains(id), id: id.0 });
            let receiver = &self.world.destinations.get(incident.group.0).receiver;
            let wanted = query.receiver.as_ref().is_none_or(|wanted| wanted == receiver)
                && query.key.as_ref().is_none_or(|wanted| begins(&incident.dedup_key, wanted))
                && (query.matchers.is_empty() || self.has_alert(incident, &query.matchers));
            let observed = incident.side == Side::Observed;
            let state = if observed { RowState::Observed } else { incident_state(incident) };
            if !wanted || query.state.is_some_and(|wanted| wanted != state) {
                continue;
            }
            // An observed incident that is over leaves nothing to show.
            if observed && open_state(incident).is_none() {
                continue;
            }
            members += incident.members.len().min(MEMBERS);
            let entry = self.open_incident(*id, incident, 0, MEMBERS);
            bytes += entry.iter().flat_map(|e| &e.alerts).map(KnownAlert::bytes).sum::<usize>();
            looked.full = bytes >= BYTES_OF_PAGE;
            looked.found.extend(entry);
        }
        if all.peek().is_none() {
            looked.next = None;
        }
        looked
    }

    fn open_incident(
        &self,
        id: IncidentId,
        incident: &Incident,
        offset: usize,
        limit: usize,
    ) -> Option<OpenIncident> {
        let row = self.incident_row(id)?;
        let own = incident.internal.as_ref().filter(|_| offset == 0);
        let own = own.map(|own| {
            let view = own.view(Kind::Page, self.world.now);
            KnownAlert::internal(view, row.severity.clone(), row.firing > 0)
        });
        let alerts =
            self.ordered(incident, offset, limit).into_iter().map(|(id, member, alert)| KnownAlert {
                firing: member.firing,
                starts_at: member.since,
                ends_at: member.resolved_at.filter(|_| !member.firing),
                flaps: member.flaps,
                ..self.known_alert(id, alert)
            });
        let delivered = incident.channels.iter().filter(|c| row.standing.would.is_none() && c.was_opened());
        Some(OpenIncident {
            number: id.0,
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            delivered: delivered.map(shown_at).collect(),
            refused: self.refused_of(incident),
            alerts: own.into_iter().chain(alerts).collect(),
            row,
        })
    }
}

/// Whether a key is this one, or begins so.
fn begins(key: &str, wanted: &str) -> bool {
    wanted.len() >= SHORTEST_KEY && key.starts_with(wanted)
}

/// An integration by its name, with its receiver if that is a second one.
fn shown_at(channel: &Channel) -> SmolStr {
    match &channel.second {
        Some(second) => format!("{}/{}", second.receiver, channel.integration).into(),
        None => channel.integration.clone(),
    }
}
