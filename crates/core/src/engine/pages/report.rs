//! Reports of a period: the program writes one when it is due, and it leaves as a digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::pages::Pages;
use crate::engine::pages::digest::message;
use crate::engine::pages::refusing::{ReceiverIntegration, Refusing};
use crate::engine::world::World;
use crate::model::{Cause, Kind, Notification, NotificationId, Outcome, Timestamp};

/// A report of a period, for one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeriodReport {
    /// The receiver.
    pub receiver: SmolStr,
    /// When the period begins.
    pub since: Timestamp,
    /// When it ends: the report is due then. There is one report at most for each due time.
    pub due: Timestamp,
    /// The report as text of several lines.
    pub text: SmolStr,
}

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

impl Pages {
    /// Sends a report to the integrations of its receiver that digests go to, unless that was done before.
    pub(crate) fn report(&mut self, world: &mut World, report: &PeriodReport) {
        if self.reports.last.is_some_and(|last| last >= report.due) {
            return;
        }
        let Some(receiver) = world.policy.receivers.get(&report.receiver) else { return };
        let takes = || receiver.integrations.iter().filter(|one| one.takes_digests);
        let any = takes().any(|one| one.send_updates);
        let integrations: Vec<SmolStr> =
            takes().filter(|one| one.send_updates || !any).map(|one| one.name.clone()).collect();
        self.reports.last = Some(report.due);
        let cause = Cause::Report { text: report.text.clone() };
        let notified = message(world, &report.receiver, ("report", "SquelchReport"), report.since, cause);
        for integration in integrations {
            let id = NotificationId(self.incidents.next_notification);
            self.incidents.next_notification += 1;
            self.reports.on_way.insert(id, (report.receiver.clone(), integration.clone()));
            world.accounting.notified(&report.receiver, &integration, Kind::Digest);
            self.incidents.outgoing.push(Notification { id, integration, ..notified.clone() });
        }
    }

    /// A report reached its end. The receiver gets no refused one again, but the next one.
    pub(crate) fn report_ended(&mut self, id: NotificationId, outcome: &Outcome) {
        let accepted = *outcome == Outcome::Accepted;
        match self.reports.on_way.remove(&id) {
            Some(place) => self.incidents.made_good.extend(self.reports.refused.ended(place, id, accepted)),
            // A person sent a dead letter again.
            None if accepted => self.reports.refused.resent(id),
            None => {}
        }
    }
}
