//! Reports of a period: the program writes one when it is due, and it leaves as a digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::event::PeriodReport;
use crate::engine::incidents::Incidents;
use crate::engine::pages::digest::message;
use crate::engine::pages::refusing::{ReceiverIntegration, Refusing};
use crate::engine::world::World;
use crate::model::{Cause, Kind, Notification, NotificationId, Outcome, Timestamp};

/// The reports that left.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeriodReports {
    /// When the last one was due.
    last: Option<Timestamp>,
    /// Those whose end is not known yet, and where each goes.
    #[serde(with = "crate::engine::pairs")]
    on_way: BTreeMap<NotificationId, ReceiverIntegration>,
    pub(crate) refused: Refusing,
}

impl PeriodReports {
    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        self.on_way.values_mut().filter(|(of, _)| of == old).for_each(|(of, _)| *of = new.clone());
        self.refused.rename_receiver(old, new);
    }
}

impl PeriodReports {
    /// Sends a report to the integrations of its receiver that digests go to, unless that was done before.
    pub(crate) fn send(&mut self, world: &mut World, incidents: &mut Incidents, report: &PeriodReport) {
        if self.last.is_some_and(|last| last >= report.due) {
            return;
        }
        let Some(receiver) = world.policy.receivers.get(&report.receiver) else { return };
        let integrations: Vec<SmolStr> = receiver.digest_takers().map(|one| one.name.clone()).collect();
        self.last = Some(report.due);
        let cause = Cause::Report { text: report.text.clone() };
        let notified = message(world, &report.receiver, ("report", "SquelchReport"), report.since, cause);
        for integration in integrations {
            let id = incidents.new_notification();
            self.on_way.insert(id, (report.receiver.clone(), integration.clone()));
            world.accounting.notified(&report.receiver, &integration, Kind::Digest);
            incidents.outgoing.push(Notification { id, integration, ..notified.clone() });
        }
    }

    /// A report reached its end. The receiver gets no refused one again, but the next one.
    pub(crate) fn ended(&mut self, incidents: &mut Incidents, id: NotificationId, outcome: &Outcome) {
        let accepted = *outcome == Outcome::Accepted;
        match self.on_way.remove(&id) {
            Some(place) => incidents.made_good.extend(self.refused.ended(place, id, accepted)),
            // A person sent a dead letter again.
            None if accepted => self.refused.resent(id),
            None => {}
        }
    }
}
