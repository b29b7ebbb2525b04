//! The reasons why a receiver does not show the true state, as far as the engine knows: refusals and
//! observe mode.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::engine::destinations::Destination;
use crate::engine::ids::IncidentId;
use crate::engine::incidents::incident::{Incident, Side};
use crate::engine::pages::refusing::ReceiverIntegration;
use crate::engine::query::Query;
use crate::engine::query::board::open_state;
use crate::model::{AlertId, Timestamp};

/// The notifications that one integration refused for good: of incidents that are not over, a digest or a
/// report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The receiver.
    pub receiver: SmolStr,
    /// Its integration.
    pub integration: SmolStr,
    /// So many incidents are not shown there as they are.
    pub incidents: usize,
    /// So many of these are not shown there at all: their page was refused.
    pub pages: usize,
    /// It refused its last digest.
    pub digest: bool,
    /// It refused its last report.
    pub report: bool,
    /// When Squelch tries the first of them anew.
    pub again: Option<Timestamp>,
}

/// Where profiles only observe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observing {
    /// The receivers that a route leads to whose profile observes.
    pub receivers: BTreeSet<SmolStr>,
    /// Whether every route is one of these.
    pub all: bool,
}

impl Query<'_> {
    /// The notifications that were refused for good and still have to reach their receiver, by receiver and
    /// integration.
    pub fn refused(&self) -> Vec<Refused> {
        let ids: BTreeSet<IncidentId> = self.pages.incidents.refused.values().map(|(id, _)| *id).collect();
        let incidents = ids.into_iter().filter_map(|id| self.pages.incidents.all.get(&id));
        let mut all: BTreeMap<ReceiverIntegration, Refused> = BTreeMap::new();
        for one in incidents.flat_map(|incident| self.refused_of(incident)) {
            let key = (one.receiver.clone(), one.integration.clone());
            match all.get_mut(&key) {
                None => drop(all.insert(key, one)),
                Some(known) => {
                    known.incidents += one.incidents;
                    known.pages += one.pages;
                    known.again = [known.again, one.again].into_iter().flatten().min();
                }
            }
        }
        let none = |(receiver, integration): &ReceiverIntegration| Refused {
            receiver: receiver.clone(),
            integration: integration.clone(),
            incidents: 0,
            pages: 0,
            digest: false,
            report: false,
            again: None,
        };
        for place in self.pages.digests.refused.places() {
            all.entry(place.clone()).or_insert_with(|| none(place)).digest = true;
        }
        for place in self.pages.reports.refused.places() {
            all.entry(place.clone()).or_insert_with(|| none(place)).report = true;
        }
        all.into_values().collect()
    }

    /// The integrations that refused the latest notification of one incident.
    pub(crate) fn refused_of(&self, incident: &Incident) -> Vec<Refused> {
        let home = &self.world.destinations.get(incident.group.0).receiver;
        let refusing = incident.channels.iter().filter(|channel| channel.refuses());
        let one = refusing.map(|channel| Refused {
            receiver: channel.receiver(home).clone(),
            integration: channel.integration.clone(),
            incidents: 1,
            pages: usize::from(!channel.was_opened()),
            digest: false,
            report: false,
            again: channel.retry_at(),
        });
        one.collect()
    }

    /// Where profiles only observe.
    pub fn observing(&self) -> Observing {
        let observes = self.world.destinations.current().filter(|destination| destination.observes());
        let receivers = observes.map(|destination| destination.receiver.clone()).collect();
        Observing { receivers, all: self.world.destinations.current().all(Destination::observes) }
    }

    /// The incidents of senders that are passed on and show that an alert fires.
    pub(crate) fn forwards_of(&self, alert: AlertId) -> impl Iterator<Item = (IncidentId, &Incident)> {
        let all =
            self.pages.forwards.open.values().filter_map(|forward| {
                Some((forward.incident, self.pages.incidents.all.get(&forward.incident)?))
            });
        all.filter(move |(_, incident)| {
            incident.side == Side::Forwarded
                && open_state(incident).is_some()
                && incident.members.get(&alert).is_some_and(|member| member.firing)
        })
    }
}
