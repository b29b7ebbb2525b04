//! The lone rule: an alert that opened too many pages in which it stood alone updates its last incident.
//!
//! RFC 2439 counted in pages: each page that had one alert counts 1 for that alert, and half of it after
//! [`ALONE_HALF_LIFE`]. The rule looks at nothing else that the alert did before.

use crate::engine::damping::{decayed, time_to_reach};
use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::incident::Incident;
use crate::engine::pages::Pages;
use crate::engine::pages::groups::Group;
use crate::engine::pages::merge::is_merged;
use crate::engine::state::PagedAlone;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{AlertId, Cause, Timestamp};
use crate::policy::{ALONE_CONFIRM, ALONE_HALF_LIFE, ALONE_NEAR, ALONE_QUIET};

/// The count of one page, in thousandths.
const PAGE: u64 = 1_000;

impl PagedAlone {
    fn pages(&self, now: Timestamp) -> u64 {
        decayed(self.pages, now.since(self.at), ALONE_HALF_LIFE)
    }

    /// When it is not worth remembering: less than a quarter of a page is left.
    pub(crate) fn forget_at(&self) -> Timestamp {
        self.at + time_to_reach(self.pages, PAGE / 4, ALONE_HALF_LIFE)
    }
}

impl Pages {
    /// An incident pages. If it has one alert, that alert opened one more page alone.
    pub(crate) fn paged_alone(&mut self, world: &mut World, id: IncidentId) {
        let now = world.now;
        let Some(incident) = self.incidents.all.get_mut(&id) else { return };
        let destination = incident.group.0;
        let rule = &world.destinations.get(destination).noise.alone;
        let only = incident.members.keys().next().copied().filter(|_| incident.members.len() == 1);
        let Some(alert) = only.filter(|_| rule.pages > 0 && !is_merged(&incident.group)) else { return };
        let Some(known) = world.alerts.alert(alert) else { return };
        let applies = rule.applies(world.policy.severities.level(&known.labels));
        let enough = u64::from(rule.pages) * PAGE;
        let state = world.state(alert, destination);
        let pages = state.alone.as_ref().map_or(0, |alone| alone.pages(now)) + PAGE;
        state.alone = Some(Box::new(PagedAlone { pages, at: now, incident: id }));
        if applies && pages >= enough {
            incident.alone_until = now + time_to_reach(pages, enough, ALONE_HALF_LIFE);
        }
    }

    /// The incident that an alert updates instead of opening a page, if it opened too many alone and has no
    /// company in its group now.
    pub(crate) fn updates_alone(
        &self,
        world: &World,
        key: &GroupKey,
        alert: AlertId,
        series: AlertId,
    ) -> Option<IncidentId> {
        let rule = &world.destinations.get(key.0).noise.alone;
        let alone = world.alerts.state(alert, key.0)?.alone.as_ref()?;
        let level = world.policy.severities.level(&world.alerts.alert(alert)?.labels);
        if !rule.applies(level) || alone.pages(world.now) < u64::from(rule.pages) * PAGE {
            return None;
        }
        let company = |group: &Group| {
            let near = world.now - ALONE_NEAR;
            !group.pending.is_empty() || group.has_company(series, near)
        };
        if self.groups.get(key).is_some_and(company) {
            return None;
        }
        let incident = self.incidents.all.get(&alone.incident)?;
        incident.takes_alerts().then_some(alone.incident)
    }
}

impl World {
    /// An alert updates an incident alone. It opens a page if it lasts.
    pub(crate) fn pages_if_it_lasts(&mut self, alert: AlertId, destination: DestinationId) {
        let name = self.alerts.alert(alert).map(|a| a.labels.value("alertname").into());
        let cause = Cause::Lasts { alertname: name.unwrap_or_default(), after: ALONE_CONFIRM };
        self.state(alert, destination).owed = Some(Box::new(cause));
        self.timers.set(Timer::Confirm(destination, alert), self.now + ALONE_CONFIRM);
    }
}

/// Until when an incident stays open for the alert that opened its page, and too many pages alone. It stays
/// open until that alert was quiet for [`ALONE_QUIET`], and no longer for the other alerts in it.
pub(crate) fn stays_until(world: &World, id: IncidentId, incident: &Incident) -> Timestamp {
    let opened = |alert: &&AlertId| {
        let state = world.alerts.state(**alert, incident.group.0);
        state.and_then(|state| state.alone.as_ref()).is_some_and(|alone| alone.incident == id)
    };
    let until = Some(incident.alone_until).filter(|until| *until > world.now);
    let lone = until.and_then(|_| incident.members.keys().find(opened));
    let quiet = lone.and_then(|alert| incident.members.get(alert)?.resolved_at);
    quiet.map_or(Timestamp::ZERO, |since| incident.alone_until.min(since + ALONE_QUIET))
}

/// Why an incident has news, if an alert fires again that opened too many pages alone.
pub(crate) fn news(world: &World, incident: &Incident, destination: DestinationId) -> Option<Cause> {
    incident.members.news().find_map(|(alert, member)| {
        let state = world.alerts.state(*alert, destination).filter(|_| member.firing)?;
        let waits = state.owed.as_ref().is_some_and(|cause| matches!(**cause, Cause::Lasts { .. }));
        let alone = state.alone.as_ref().filter(|_| waits)?;
        Some(Cause::PagedAlone { pages: alone.pages(world.now) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Duration;

    #[test]
    fn a_page_is_forgotten_once_a_quarter_of_it_is_left() {
        let at = Timestamp::EPOCH;
        let alone = PagedAlone { pages: PAGE, at, incident: IncidentId(1) };
        let forget = alone.forget_at();
        assert!(alone.pages(forget) <= PAGE / 4);
        assert!(alone.pages(forget - Duration::from_hours(1)) > PAGE / 4);
    }
}
