//! Observe mode: incidents that Squelch would have, of the same alerts as one that went out as its sender
//! sent it.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::engine::ids::IncidentId;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::query::Query;
use crate::engine::query::board::{incident_state, open_state};
use crate::engine::query::row_state::RowState;

/// The incidents of profiles that observe that have no row of their own.
#[derive(Default)]
pub(crate) struct Twins {
    pub(crate) hidden: BTreeSet<IncidentId>,
    /// By the incident that went out, their keys and the states in which they would be.
    pub(crate) of: BTreeMap<IncidentId, (SmolStr, RowState)>,
}

impl Query<'_> {
    /// Finds the incidents of profiles that observe whose alerts are those of an incident that went out.
    pub(crate) fn twins(&self) -> Twins {
        let all = || self.pages.incidents.all.iter().filter(|(_, incident)| open_state(incident).is_some());
        // Both have the same receiver, the same first alert and as many alerts that fire.
        let mark = |incident: &Incident| {
            let (first, _) = incident.members.that_fire(true).next()?;
            let receiver = &self.world.destinations.get(incident.group.0).receiver;
            Some((receiver.clone(), *first, incident.members.firing()))
        };
        let mut twins = Twins::default();
        let observed: Vec<_> = all().filter(|(_, incident)| incident.side == Side::Observed).collect();
        if observed.is_empty() {
            return twins;
        }
        let sent = all().filter(|(_, incident)| incident.side == Side::Forwarded);
        let sent: BTreeMap<_, _> =
            sent.filter_map(|(id, incident)| Some((mark(incident)?, (id, incident)))).collect();
        for (id, incident) in observed {
            let Some((of, same)) = mark(incident).and_then(|mark| sent.get(&mark)) else { continue };
            let fires = |alert| same.members.get(alert).is_some_and(|member| member.firing);
            if incident.members.that_fire(true).all(|(alert, _)| fires(alert)) {
                twins.hidden.insert(*id);
                twins.of.insert(**of, (incident.dedup_key.clone(), incident_state(incident)));
            }
        }
        twins
    }
}
