//! How things stand, for people: read-only, in the words of the API.

use serde_json::{Value, json};

use super::Engine;
use super::incident::{Phase, Side};
use crate::model::{AlertId, AlertView, Fingerprint};

/// So many alerts or incidents are shown at most: whoever decides does not wait for whoever looks.
const SHOWN: usize = 10_000;
/// So many alerts of one incident.
const SHOWN_OF_ONE: usize = 1_000;

impl Engine {
    /// Whether an alert fires, as far as anybody said.
    pub fn still_fires(&self, alert: &AlertView) -> bool {
        self.fires(alert.id) || self.own.keys().any(|(_, labels)| *labels == alert.labels)
    }

    /// The alerts that are known, as JSON: identity, fingerprint, status, labels, times. Those that fire come
    /// first; of more than 10,000 the others are left out.
    pub fn alerts_view(&self) -> Value {
        let alert = |(id, alert): (&AlertId, &super::alerts::Alert)| {
            json!({
                "id": id.to_string(),
                "fingerprint": Fingerprint::of(&alert.labels).to_string(),
                "status": if alert.firing() { "firing" } else { "resolved" },
                "labels": alert.labels,
                "annotations": alert.annotations,
                "startsAt": alert.starts_at,
                "endsAt": alert.ends_at,
                "muted": self.muted_view(*id),
            })
        };
        let of = |firing| self.alerts.iter().filter(move |(_, alert)| alert.firing() == firing);
        of(true).chain(of(false)).take(SHOWN).map(alert).collect()
    }

    /// Where an alert is muted, why, and until when.
    fn muted_view(&self, alert: AlertId) -> Vec<Value> {
        let lanes = self.taken_lanes(alert).into_iter().map(|id| self.lanes.lane(id));
        let muted = lanes.filter_map(|lane| Some((lane, self.mutes.cause(alert, lane)?)));
        let view = |(lane, cause): (&super::lanes::Lane, super::mute::Cause)| {
            json!({
                "receiver": lane.receiver,
                "reason": cause.reason.as_str(),
                "rule": cause.rule,
                "release": cause.release,
            })
        };
        muted.map(view).collect()
    }

    /// The incidents that are not over as JSON: key, receiver, state, alerts, why. At most 10,000, and of
    /// each at most 1,000 alerts.
    pub fn incidents_view(&self) -> Value {
        let told = self.incidents.values().filter(|incident| incident.side != Side::Shadow);
        let incidents = told.map(|incident| {
            let lane = self.lanes.lane(incident.group.0);
            let state = match (incident.superseded_by, incident.phase) {
                (Some(_), _) => "superseded",
                (None, Phase::Open) => "open",
                (None, Phase::Resolving) => "resolving",
                (None, Phase::Closed) => "closing",
            };
            let alerts = incident.members.iter().take(SHOWN_OF_ONE).filter_map(|(id, member)| {
                Some(json!({
                    "id": id.to_string(),
                    "fingerprint": self.fingerprint(*id)?.to_string(),
                    "firing": member.firing,
                    "flaps": member.flaps,
                }))
            });
            let opened = incident.channels.iter().filter(|c| c.was_opened());
            let delivered = opened.map(|c| &c.integration);
            json!({
                "dedupKey": incident.dedup_key,
                "groupKey": incident.group_text,
                "generation": incident.generation,
                "receiver": lane.receiver,
                "state": state,
                "openedAt": incident.paged_at,
                "why": incident.why,
                "delivered": delivered.collect::<Vec<_>>(),
                "alerts": alerts.collect::<Vec<_>>(),
            })
        });
        incidents.take(SHOWN).collect()
    }
}
