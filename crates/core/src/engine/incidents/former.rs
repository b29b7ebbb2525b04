//! Destinations that today's routes do not give an alert any more.

use crate::engine::ids::{DestinationId, IncidentId};
use crate::engine::incidents::Incidents;
use crate::engine::world::World;
use crate::model::AlertId;

impl Incidents {
    /// Whether a destination has an open incident about an alert, or a page to come.
    pub(crate) fn knows(&self, world: &World, alert: AlertId, destination: DestinationId) -> bool {
        world.alerts.state(alert, destination).is_some_and(|state| self.is_notified(state))
    }

    /// Whether destinations of today have an alert in place of an earlier one. Its receiver is notified by
    /// one that has the alert already, or by none.
    pub(crate) fn is_former(
        &self,
        world: &World,
        alert: AlertId,
        destination: DestinationId,
        today: &[DestinationId],
    ) -> bool {
        let settings = world.destinations.get(destination);
        let mut here = today.iter().filter(|d| world.destinations.get(**d).receiver == settings.receiver);
        !settings.observes() && !today.contains(&destination) && here.all(|d| self.knows(world, alert, *d))
    }

    /// Whether another destination has the pages of a firing alert now. An incident that is open here gets
    /// no page for the alert then.
    pub(crate) fn pages_elsewhere(&self, world: &World, alert: AlertId, destination: DestinationId) -> bool {
        let Some(known) = world.alerts.alert(alert) else { return false };
        let today = world.destinations.matching(&world.policy, &known.labels);
        self.is_former(world, alert, destination, &today) && today.iter().any(|d| world.is_live(alert, *d))
    }

    /// Whether an alert of this level that fires in an incident has its pages there.
    pub(crate) fn pages_here(&self, world: &World, id: IncidentId, level: usize) -> bool {
        let Some(incident) = self.all.get(&id) else { return false };
        let firing = incident.members.that_fire(true).filter(|(_, m)| usize::from(m.level) == level);
        firing.map(|(alert, _)| *alert).any(|alert| {
            let states = world.alerts.states_of(alert).filter(|(_, state)| state.notified_in() == Some(id));
            let mut here = states.map(|(destination, _)| destination);
            here.any(|destination| !self.pages_elsewhere(world, alert, destination))
        })
    }
}
