//! Takes repeats in: an observation of each is accounted for.

use smol_str::SmolStr;

use crate::engine::pages::Pages;
use crate::engine::pages::forwards::passed_on;
use crate::engine::repeats::{Repeats, cause_of_repeats};
use crate::engine::world::World;
use crate::model::{Disposition, Reason};

impl Pages {
    /// Takes repeats in: they are signs of life, and they are accounted for.
    pub(crate) fn repeated(&self, world: &mut World, repeats: &Repeats) {
        for one in &repeats.statements {
            let key = (repeats.source, one.instance);
            let status = world.alerts.repeated(world.now, one.alert, key, repeats.peer, one.ends_at);
            let Some(status) = status else { continue };
            world.accounting.received(repeats.source, status, one.count);
            let Some(known) = world.alerts.alert(one.alert) else { continue };
            for destination in world.destinations.matching(&world.policy, &known.labels) {
                world.routed(destination, one.count);
                let mute = world.destinations.get(destination).integrations.is_empty();
                let reason = if mute { Reason::Muted } else { Reason::Duplicate };
                let incident = self.incidents.incident_key(world, one.alert, destination);
                let of = (one.alert, destination);
                let World { destinations, accounting, alerts, now, .. } = world;
                accounting.dispose_repeats(*now, one.count, of, (reason, incident), (alerts, destinations));
                let disposition = Disposition::Suppressed(reason);
                passed_on(world, of, one.count, disposition, cause_of_repeats(reason), SmolStr::default());
            }
        }
    }
}
