//! How things stand, for the pages of the UI: what is open, what waits and why, a page at a time.
//!
//! A look costs one pass over incidents and states, in which nothing is copied but a sort key; only the
//! rows that are shown are made.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::destinations::DestinationId;
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, IncidentId, Phase, Side};
use crate::engine::pages::groups::{Firing, GroupKey, Wait};
use crate::engine::query::Query;
use crate::engine::state::AlertState;
use crate::engine::timers::Timer;
use crate::model::{AlertId, Cause, Headline, Kind, LabelSet, Matcher, Timestamp};

/// What an open incident, or an alert that waits, is at now. In the order in which it matters to who looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = State)]
pub enum RowState {
    /// Its page is on its way, and no receiver has taken it yet.
    Passing,
    /// A receiver shows it.
    Paged,
    /// An alert in it flaps: resolves and re-fires are withheld.
    Flapping,
    /// Nothing fires in it any more; it closes soon.
    Resolving,
    /// It waits before its first page.
    Held,
    /// It waits for room at its receiver, or for the next merged page of a storm.
    RateLimited,
    /// It fires. The profile decided not to page now, because it is nothing unusual. A digest lists it.
    Withheld,
    /// A silence, a time interval or another alert mutes it.
    Muted,
    /// Its profile only observes, so Squelch notifies nobody. [`Standing::would`] says where it would stand.
    Observed,
    /// A worse incident took its place.
    Superseded,
    /// It is over, and a receiver does not know that yet.
    Closing,
}

/// What happens next to an incident, or to an alert that waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NextStep {
    /// It pages.
    Pages,
    /// The receivers get an update.
    Updates,
    /// The receivers get the page again.
    Repeats,
    /// The incident closes.
    Closes,
    /// Squelch tries a refused page again.
    Retries,
    /// Flapping ends then, if not before.
    StopsFlapping,
    /// Its mute ends. It pages, unless something else mutes it.
    MayPage,
}

/// Who decided that there is an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Squelch decided about the alerts of a sender.
    Squelch,
    /// The sender decided. Its profile observes, and Squelch passes on what the sender sends.
    Sender,
    /// Squelch opened it about itself.
    Internal,
}

impl Origin {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Squelch => "squelch",
            Origin::Sender => "sender",
            Origin::Internal => "internal",
        }
    }
}

impl RowState {
    /// Every state on the board and of an alert, in order.
    pub const ALL: [RowState; 9] = [
        RowState::Passing,
        RowState::Paged,
        RowState::Flapping,
        RowState::Resolving,
        RowState::Held,
        RowState::RateLimited,
        RowState::Withheld,
        RowState::Muted,
        RowState::Observed,
    ];

    /// Every state of an incident.
    pub const OF_INCIDENTS: [RowState; 7] = [
        RowState::Passing,
        RowState::Paged,
        RowState::Flapping,
        RowState::Resolving,
        RowState::Superseded,
        RowState::Closing,
        RowState::Observed,
    ];

    /// The word of the API and of address lines.
    pub fn as_str(self) -> &'static str {
        match self {
            RowState::Passing => "passing",
            RowState::Paged => "paged",
            RowState::Flapping => "flapping",
            RowState::Resolving => "resolving",
            RowState::Held => "held",
            RowState::RateLimited => "rate_limited",
            RowState::Withheld => "withheld",
            RowState::Muted => "muted",
            RowState::Observed => "observed",
            RowState::Superseded => "superseded",
            RowState::Closing => "closing",
        }
    }
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct BoardQuery {
    /// All must match the labels of one alert of the row.
    pub matchers: Vec<Matcher>,
    /// Only this receiver's.
    pub receiver: Option<SmolStr>,
    /// Only those in this state.
    pub state: Option<RowState>,
    /// Rows to leave out at the beginning.
    pub offset: usize,
    /// The most rows.
    pub limit: usize,
}

/// What is open and what waits.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// The rows that were asked for.
    pub rows: Vec<Row>,
    /// How many match, shown or not.
    pub matching: usize,
    /// Of all rows to which the matchers and the receiver apply: how many are in which state.
    pub states: BTreeMap<RowState, usize>,
    /// The receivers of the configuration.
    pub receivers: Vec<SmolStr>,
}

/// Where an incident or an alert stands at one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The receiver.
    pub receiver: SmolStr,
    /// Its state there.
    pub state: RowState,
    /// Of [`RowState::Observed`]: its state if the profile did not observe.
    pub would: Option<RowState>,
    /// Who decided.
    pub origin: Origin,
    /// The `dedup_key` of the incident. An alert that waits has none.
    pub incident: Option<SmolStr>,
    /// The cause of its state, where Squelch knows it.
    pub cause: Option<Cause>,
    /// What happens next, and when, where Squelch knows a time.
    pub next: Option<(Timestamp, NextStep)>,
}

/// One incident, or one alert that waits.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands.
    pub standing: Standing,
    /// The alert that waits. Of an incident: one of its alerts that fires.
    pub alert: AlertId,
    /// The labels of that alert.
    pub labels: LabelSet,
    /// The title of an incident, as the pager shows it.
    pub headline: Option<Headline>,
    /// The name of its severity level.
    pub severity: SmolStr,
    /// When the incident paged, or when the alert that waits started.
    pub since: Timestamp,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub alerts: usize,
    /// Whether an integration refused its newest notification for good.
    pub refused: bool,
    /// Who took the incident on in the tool that paged them, and when.
    pub acknowledged: Option<(SmolStr, Timestamp)>,
    /// Whether a person can release it now.
    pub releasable: bool,
}

/// What a row is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RowSource {
    Incident(IncidentId),
    AlertState(AlertId, DestinationId),
}

/// Why something waits, and what happens to it next.
type Waiting = (Option<Cause>, Option<(Timestamp, NextStep)>);
/// Internal incidents come first, and what would be comes last.
type Key = (bool, RowState, RowState, usize, Reverse<Timestamp>, RowSource);

impl Query<'_> {
    /// What is open and what waits: internal incidents first, then by state, the highest severity first, then
    /// the newest.
    pub fn board(&self, query: &BoardQuery) -> Board {
        let wanted = |destination: DestinationId| {
            query
                .receiver
                .as_ref()
                .is_none_or(|receiver| self.world.destinations.get(destination).receiver == *receiver)
        };
        let matches = |labels: &LabelSet| query.matchers.iter().all(|m| m.matches(labels));
        let mut keys: Vec<Key> = Vec::new();
        for (id, incident) in self.pages.incidents.all.iter().filter(|(_, i)| wanted(i.group.0)) {
            let Some(stands) = open_state(incident) else { continue };
            if query.matchers.is_empty() || self.has_alert(incident, &query.matchers) {
                let state = if incident.side == Side::Observed { RowState::Observed } else { stands };
                let (ours, paged_at) = (incident.internal.is_none(), Reverse(incident.paged_at));
                keys.push((ours, state, stands, incident.level, paged_at, RowSource::Incident(*id)));
            }
        }
        for (alert, destination, state) in
            self.world.alerts.states().filter(|(_, destination, _)| wanted(*destination))
        {
            let Some(stands) = self.waiting_state(alert, state) else { continue };
            let Some(one) = self.world.alerts.alert(alert).filter(|a| matches(&a.labels)) else { continue };
            let state =
                if self.world.destinations.get(destination).observes() { RowState::Observed } else { stands };
            let level = self.world.policy.severities.level_of(&one.labels);
            keys.push((
                true,
                state,
                stands,
                level,
                Reverse(one.starts_at),
                RowSource::AlertState(alert, destination),
            ));
        }
        let mut states = BTreeMap::new();
        for (_, state, ..) in &keys {
            *states.entry(*state).or_default() += 1;
        }
        keys.retain(|(_, state, ..)| query.state.is_none_or(|wanted| wanted == *state));
        let matching = keys.len();
        let end = query.offset.saturating_add(query.limit).min(keys.len());
        if end < keys.len() {
            // What is not shown need not be in order.
            keys.select_nth_unstable(end);
            keys.truncate(end);
        }
        keys.sort_unstable();
        let shown = keys.into_iter().skip(query.offset);
        let rows = shown.filter_map(|(_, _, stands, _, _, source)| match source {
            RowSource::Incident(id) => self.incident_row(id),
            RowSource::AlertState(alert, destination) => self.waiting_row(alert, destination, stands),
        });
        let rows = rows.collect();
        let receivers = self.world.policy.receivers.keys().cloned().collect();
        Board { rows, matching, states, receivers }
    }

    /// Where an alert waits that no incident tells of. `None` if it does not wait.
    pub(crate) fn waiting_state(&self, alert: AlertId, state: &AlertState) -> Option<RowState> {
        if state.is_kept_by_mute() {
            return self.world.fires(alert).then_some(RowState::Muted);
        }
        if state.held_until().is_some() {
            return Some(RowState::Held);
        }
        match self.wait_of(alert, state.waits_in()?) {
            Some(Wait::Merged) => Some(RowState::RateLimited),
            Some(Wait::Group | Wait::Gather | Wait::Again | Wait::Hold) => Some(RowState::Held),
            None => Some(RowState::Withheld),
        }
    }

    /// How an alert waits for the next page of a group; nothing if it is withheld.
    fn wait_of(&self, alert: AlertId, key: &GroupKey) -> Option<Wait> {
        let pending = &self.pages.groups.get(key)?.pending;
        pending.iter().find(|p| p.alert == alert && !p.recovered).map(|p| p.wait)
    }

    /// An incident as a row.
    pub(crate) fn incident_row(&self, id: IncidentId) -> Option<Row> {
        let incident = self.pages.incidents.all.get(&id)?;
        let stands = incident_state(incident);
        let one = incident.members.that_fire(true).next().or(incident.members.iter().next());
        // An internal incident shows one alert that is none of a sender's.
        let (alert, labels) = match one.map(|(alert, _)| *alert) {
            Some(alert) => {
                (alert, self.world.alerts.alert(alert).map(|a| a.told().clone()).unwrap_or_default())
            }
            None => {
                let own = incident.internal.as_ref().map(|own| own.view(Kind::Page, self.world.now));
                let labels = own.map_or_else(|| incident.group.1.clone(), |view| view.labels);
                (AlertId::of(&labels, |_| false), labels)
            }
        };
        let flaps = |alert: &AlertId| {
            let state = self.world.alerts.state(*alert, incident.group.0);
            state?.damping.reuse_deadline(&self.world.destinations.get(incident.group.0).noise.flapping)
        };
        let deadline = |timer| self.world.timers.deadline(&timer);
        let next = match stands {
            RowState::Passing => deadline(Timer::Retry(id)).map(|at| (at, NextStep::Retries)),
            RowState::Resolving | RowState::Superseded | RowState::Closing => {
                deadline(Timer::ResolveHold(id)).map(|at| (at, NextStep::Closes))
            }
            RowState::Flapping => {
                let calm = incident.members.flapping();
                calm.filter_map(|(alert, _)| flaps(alert)).max().map(|at| (at, NextStep::StopsFlapping))
            }
            _ => {
                let update = deadline(Timer::Update(id)).map(|at| (at, NextStep::Updates));
                let repeats = deadline(Timer::Repeat(id)).filter(|_| incident.acknowledged.is_none());
                update.or(repeats.map(|at| (at, NextStep::Repeats)))
            }
        };
        let internal = incident.internal.is_some();
        let observed = incident.side == Side::Observed;
        let origin = match incident.side {
            Side::Forwarded => Origin::Sender,
            Side::Ours | Side::Observed if internal => Origin::Internal,
            Side::Ours | Side::Observed => Origin::Squelch,
        };
        let levels = &self.world.policy.severities.levels;
        Some(Row {
            standing: Standing {
                receiver: self.world.destinations.get(incident.group.0).receiver.clone(),
                state: if observed { RowState::Observed } else { stands },
                would: observed.then_some(stands),
                origin,
                incident: Some(incident.dedup_key.clone()),
                cause: Some((*incident.cause).clone()),
                next,
            },
            alert,
            labels,
            headline: Some(self.headline(incident)),
            severity: levels[incident.level.min(levels.len() - 1)].name.clone(),
            since: incident.paged_at,
            firing: if internal {
                usize::from(incident.phase == Phase::Open)
            } else {
                incident.members.firing()
            },
            alerts: incident.members.len() + usize::from(internal),
            refused: incident.channels.iter().any(Channel::refuses),
            acknowledged: incident.acknowledged.clone(),
            releasable: false,
        })
    }

    /// An alert that waits as a row.
    pub(crate) fn waiting_row(
        &self,
        id: AlertId,
        destination: DestinationId,
        state: RowState,
    ) -> Option<Row> {
        let alert = self.world.alerts.alert(id)?;
        let standing = self.waiting_standing(id, destination, state)?;
        Some(Row {
            releasable: standing.would.is_none() && state != RowState::Muted,
            standing,
            alert: id,
            labels: alert.told().clone(),
            headline: None,
            severity: self.world.level_name(&alert.labels),
            since: alert.starts_at,
            firing: 1,
            alerts: 1,
            refused: false,
            acknowledged: None,
        })
    }

    /// Where an alert that waits stands.
    pub(crate) fn waiting_standing(
        &self,
        id: AlertId,
        destination: DestinationId,
        state: RowState,
    ) -> Option<Standing> {
        let alert_state = self.world.alerts.state(id, destination)?;
        let settings = self.world.destinations.get(destination);
        let (cause, next) = self.waiting(id, destination, alert_state, state);
        let observed = settings.observes();
        Some(Standing {
            receiver: settings.receiver.clone(),
            state: if observed { RowState::Observed } else { state },
            would: observed.then_some(state),
            origin: Origin::Squelch,
            incident: None,
            cause,
            next,
        })
    }

    /// Why an alert waits, or is muted, and what happens next.
    fn waiting(
        &self,
        alert: AlertId,
        destination: DestinationId,
        alert_state: &AlertState,
        state: RowState,
    ) -> Waiting {
        match state {
            RowState::Muted => self.waiting_muted(alert, destination),
            _ => self.waiting_for_a_page(alert, alert_state),
        }
    }

    fn waiting_muted(&self, alert: AlertId, destination: DestinationId) -> Waiting {
        match self.mutes.cause(&self.world.alerts, alert, self.world.destinations.get(destination)) {
            Some(muting) => (Some(muting.cause), muting.release.map(|at| (at, NextStep::MayPage))),
            None => (None, None),
        }
    }

    fn waiting_for_a_page(&self, alert: AlertId, state: &AlertState) -> Waiting {
        if let Some(at) = state.held_until() {
            return (Some(Cause::SeverityHold), Some((at, NextStep::Pages)));
        }
        let Some(key) = state.waits_in() else { return Default::default() };
        let Some(group) = self.pages.groups.get(key) else { return Default::default() };
        if let Some(withheld) = group.withheld.iter().rev().find(|q| q.alert == alert && !q.resolved) {
            return (Some((*withheld.cause).clone()), None);
        }
        let Some(pending) = group.pending.iter().find(|p| p.alert == alert && !p.recovered) else {
            return Default::default();
        };
        let others = group.pending.len() - 1;
        let cause = match pending.wait {
            Wait::Group => Cause::GroupWait { others },
            Wait::Gather | Wait::Again => {
                let Firing { per_day, busy_since, .. } = pending.firing;
                Cause::ProfileWait { others, per_day, busy_since }
            }
            Wait::Hold => Cause::SeriesHold,
            Wait::Merged => Cause::MergeWait { others },
        };
        let due = self.world.timers.deadline(&Timer::GroupWait(key.clone()));
        (Some(cause), due.map(|at| (at, NextStep::Pages)))
    }
}

/// The state of an incident, or the state that it would have if its profile did not observe.
pub(crate) fn incident_state(incident: &Incident) -> RowState {
    let opened = incident.channels.iter().any(|c| c.was_opened());
    match incident.phase {
        _ if incident.superseded_by.is_some() => RowState::Superseded,
        Phase::Closed => RowState::Closing,
        Phase::Resolving => RowState::Resolving,
        Phase::Open if incident.members.flapping().next().is_some() => RowState::Flapping,
        Phase::Open if !opened => RowState::Passing,
        Phase::Open => RowState::Paged,
    }
}

/// The state of an incident that is not over.
pub(crate) fn open_state(incident: &Incident) -> Option<RowState> {
    let state = incident_state(incident);
    (!matches!(state, RowState::Superseded | RowState::Closing)).then_some(state)
}
