//! The end of a notification, and a person who asks again for one that was refused.

use crate::engine::ids::IncidentId;
use crate::engine::incidents::Incidents;
use crate::engine::world::World;
use crate::model::{Kind, NotificationId, Outcome, Report};

/// The number of refused notifications that can be asked for again with the state of that time.
const REFUSED_REMEMBERED: usize = 10_000;

impl Incidents {
    /// A notification to the channel at `place` reached its end. It returns false if the channel did not
    /// wait for that.
    pub(crate) fn delivered(
        &mut self,
        world: &mut World,
        place: (IncidentId, usize),
        report: &Report,
    ) -> bool {
        let (id, index) = place;
        let channel = self.all.get_mut(&id).and_then(|incident| incident.channels.get_mut(index));
        let Some(kind) = channel.and_then(|channel| channel.ended(world.now, report)) else { return false };
        self.record_delivery(world, place, kind, report);
        match report.outcome {
            Outcome::Rejected(_) => {
                self.refused.insert(report.id, place);
                while self.refused.len() > REFUSED_REMEMBERED {
                    self.refused.pop_first();
                }
                self.fall_back(world, id, true);
            }
            // The receiver now knows the state of the incident, even if it refused notifications before.
            Outcome::Accepted => {
                let made_good = &mut self.made_good;
                self.refused.retain(|id, refused| {
                    let stays = *refused != place;
                    made_good.extend(Some(*id).filter(|_| !stays));
                    stays
                });
                self.tell_anew(world, place, report.id);
                if matches!(kind, Kind::Page | Kind::Update) {
                    self.firing_accepted(id);
                }
            }
            Outcome::Recalled { .. } => {}
        }
        self.pump(world, id);
        true
    }

    /// A person asks for a refused notification: it is tried again with the current state. False if its
    /// incident is not known any more.
    pub(crate) fn retry_refused(&mut self, world: &mut World, id: NotificationId) -> bool {
        let Some(&(incident, index)) = self.refused.get(&id) else { return false };
        let channel = self.all.get_mut(&incident).and_then(|i| i.channels.get_mut(index));
        let Some(channel) = channel else { return false };
        channel.retry_now();
        self.pump(world, incident);
        true
    }
}
