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
use crate::engine::pages::groups::{GroupKey, Wait};
use crate::engine::query::Query;
use crate::engine::query::undelivered::Refused;
use crate::engine::state::AlertState;
use crate::engine::timers::Timer;
use crate::model::{AlertId, Cause, Headline, Kind, LabelSet, Matcher, Problem, Timestamp};

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
    /// It fires and pages nobody, because it is nothing unusual. A digest tells of it.
    Quiet,
    /// A silence, a time interval or another alert mutes it.
    Muted,
    /// Its profile only observes, so nobody is told. [`Row::would`] says where it would stand.
    Observed,
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
    /// Every state, in order.
    pub const ALL: [RowState; 9] = [
        RowState::Passing,
        RowState::Paged,
        RowState::Flapping,
        RowState::Resolving,
        RowState::Held,
        RowState::RateLimited,
        RowState::Quiet,
        RowState::Muted,
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
            RowState::Quiet => "quiet",
            RowState::Muted => "muted",
            RowState::Observed => "observed",
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

/// One incident, or one alert that waits.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is at.
    pub state: RowState,
    /// What it would be at, if its profile did not observe.
    pub would: Option<RowState>,
    /// Who decided that there is an incident.
    pub origin: Origin,
    /// Of an incident.
    pub dedup_key: Option<SmolStr>,
    /// Of an alert that waits; of an incident, of one of its alerts that fires.
    pub alert: AlertId,
    /// Of that alert: the labels.
    pub labels: LabelSet,
    /// Its title, as the pager shows it; of an alert that waits, nothing.
    pub headline: Option<Headline>,
    /// Where it goes.
    pub receiver: SmolStr,
    /// Name of its severity level.
    pub severity: SmolStr,
    /// Since when: an incident, of its page; an alert that waits, of its start.
    pub since: Timestamp,
    /// How many alerts of it fire.
    pub firing: usize,
    /// How many it has.
    pub alerts: usize,
    /// Why it is as it is, where that is known.
    pub cause: Option<Cause>,
    /// What happens next, and when, where that is known.
    pub next: Option<(Timestamp, NextStep)>,
    /// Whether an integration refused for good what it was told last.
    pub refused: bool,
    /// Whether a person can let it go now.
    pub releasable: bool,
}

/// An incident with its alerts.
#[derive(Clone, Debug)]
pub struct IncidentDetail {
    /// As it stands on the board.
    pub row: Row,
    /// Its group key.
    pub group_key: SmolStr,
    /// The n-th incident of its group.
    pub generation: u32,
    /// Integrations that show it.
    pub shown_at: Vec<SmolStr>,
    /// Integrations that refused what they were told last.
    pub refused: Vec<Refused>,
    /// The alerts that were asked for: those that fire first, then by severity, then by name.
    pub alerts: Vec<RowAlert>,
}

/// An alert in an incident.
#[derive(Clone, Debug)]
pub struct RowAlert {
    /// Identity.
    pub id: AlertId,
    /// Its labels.
    pub labels: LabelSet,
    /// Name of its severity level.
    pub severity: SmolStr,
    /// Its annotations.
    pub annotations: LabelSet,
    /// Where its rule can be looked at, as the sender said.
    pub generator_url: SmolStr,
    /// Of an alert that Squelch brings up itself: what it is about.
    pub problem: Option<Box<Problem>>,
    /// Whether it fires, as the incident was told.
    pub firing: bool,
    /// Since when.
    pub since: Timestamp,
    /// How often it changed, while it flaps.
    pub flaps: Option<u32>,
}

/// An alert, wherever it stands.
#[derive(Clone, Debug)]
pub struct AlertDetail {
    /// As last said; since when it fires, or when it resolved.
    pub alert: RowAlert,
    /// Where it is open or waits, one row for each way that it took.
    pub rows: Vec<Row>,
    /// Where it flaps, or is about to.
    pub flappers: Vec<crate::engine::Flapper>,
}

/// What a row is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Incident(IncidentId),
    AlertState(AlertId, DestinationId),
}

/// Why something waits, and what happens to it next.
type Waiting = (Option<Cause>, Option<(Timestamp, NextStep)>);
/// Internal incidents come first, and what would be comes last.
type Key = (bool, RowState, RowState, usize, Reverse<Timestamp>, Source);

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
            let Some(stands) = incident_state(incident) else { continue };
            if query.matchers.is_empty() || self.has_alert(incident, &query.matchers) {
                let state = if incident.side == Side::Observed { RowState::Observed } else { stands };
                let (ours, paged_at) = (incident.internal.is_none(), Reverse(incident.paged_at));
                keys.push((ours, state, stands, incident.level, paged_at, Source::Incident(*id)));
            }
        }
        for (alert, destination, track) in
            self.world.alerts.states().filter(|(_, destination, _)| wanted(*destination))
        {
            let Some(stands) = self.waiting_state(alert, track) else { continue };
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
                Source::AlertState(alert, destination),
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
            Source::Incident(id) => self.incident_row(id, stands),
            Source::AlertState(alert, destination) => self.waiting_row(alert, destination, stands),
        });
        let rows = rows.collect();
        let receivers = self.world.policy.receivers.keys().cloned().collect();
        Board { rows, matching, states, receivers }
    }

    /// An incident that is not over, with up to `limit` of its alerts after the first `offset`. With
    /// `observed`, it is what would be under this key.
    pub fn incident(
        &self,
        dedup_key: &str,
        observed: bool,
        offset: usize,
        limit: usize,
    ) -> Option<IncidentDetail> {
        let (id, incident) = self.incident_of(dedup_key, observed)?;
        let row = self.incident_row(*id, incident_state(incident).unwrap_or(RowState::Resolving))?;
        let own = incident.internal.as_ref().map(|own| own.view(Kind::Page, self.world.now));
        let own = own.filter(|_| offset == 0).map(|view| RowAlert {
            id: view.id,
            severity: row.severity.clone(),
            labels: view.labels,
            annotations: view.annotations,
            generator_url: view.generator_url,
            problem: view.problem,
            firing: row.firing > 0,
            since: view.starts_at,
            flaps: None,
        });
        let alerts = self.ordered(incident, offset, limit).into_iter().map(|(id, member, alert)| {
            let (annotations, generator_url) = self.world.alerts.said(alert);
            RowAlert {
                id,
                labels: alert.told().clone(),
                severity: self.world.level_name(&alert.labels),
                annotations,
                generator_url,
                problem: None,
                firing: member.firing,
                since: if member.firing { member.since } else { member.resolved_at.unwrap_or(member.since) },
                flaps: member.flaps,
            }
        });
        let observed = incident.side == Side::Observed;
        let opened = incident.channels.iter().filter(|c| !observed && c.was_opened());
        Some(IncidentDetail {
            row,
            group_key: incident.group_text.clone(),
            generation: incident.generation,
            shown_at: opened.map(|c| c.integration.clone()).collect(),
            refused: self.refused_of(incident),
            alerts: own.into_iter().chain(alerts).collect(),
        })
    }

    /// An alert that is known. `now` is the time at which somebody looks.
    pub fn alert(&self, now: Timestamp, id: AlertId) -> Option<AlertDetail> {
        let alert = self.world.alerts.alert(id)?;
        let decided = self.world.taken_destinations(id).into_iter().filter_map(|destination| {
            let track = self.world.alerts.state(id, destination)?;
            if let Some(state) = self.waiting_state(id, track) {
                return self.waiting_row(id, destination, state);
            }
            let incident = track.incident()?;
            self.incident_row(incident, incident_state(self.pages.incidents.all.get(&incident)?)?)
        });
        let passed_on = self.mirrors_of(id);
        let passed_on =
            passed_on.filter_map(|(id, incident)| self.incident_row(id, incident_state(incident)?));
        let rows = passed_on.chain(decided).collect();
        let flappers = self
            .world
            .taken_destinations(id)
            .into_iter()
            .filter_map(|destination| self.flapper(now, id, destination));
        let (annotations, generator_url) = self.world.alerts.said(alert);
        Some(AlertDetail {
            rows,
            flappers: flappers.filter(|f| f.changes > 2).collect(),
            alert: RowAlert {
                id,
                labels: alert.told().clone(),
                severity: self.world.level_name(&alert.labels),
                annotations,
                generator_url,
                problem: None,
                firing: alert.firing(),
                since: alert.ends_at.unwrap_or(alert.starts_at),
                flaps: None,
            },
        })
    }

    /// Where an alert waits that no incident tells of. `None` if it does not wait.
    pub(crate) fn waiting_state(&self, alert: AlertId, track: &AlertState) -> Option<RowState> {
        if track.is_kept_by_mute() {
            return self.world.fires(alert).then_some(RowState::Muted);
        }
        if track.held_until().is_some() {
            return Some(RowState::Held);
        }
        match self.wait_of(alert, track.waits_in()?) {
            Some(Wait::Merged) => Some(RowState::RateLimited),
            Some(Wait::Group | Wait::Gather | Wait::Hold) => Some(RowState::Held),
            None => Some(RowState::Quiet),
        }
    }

    /// How an alert waits for the next page of a group; nothing if it is kept quiet.
    fn wait_of(&self, alert: AlertId, key: &GroupKey) -> Option<Wait> {
        let pending = &self.pages.groups.get(key)?.pending;
        pending.iter().find(|p| p.alert == alert && !p.recovered).map(|p| p.wait)
    }

    /// An incident as a row; `stands` is where it stands, or would stand if its profile did not observe.
    pub(crate) fn incident_row(&self, id: IncidentId, stands: RowState) -> Option<Row> {
        let incident = self.pages.incidents.all.get(&id)?;
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
            let track = self.world.alerts.state(*alert, incident.group.0);
            track?.damping.reuse_deadline(&self.world.destinations.get(incident.group.0).noise.flapping)
        };
        let deadline = |timer| self.world.timers.deadline(&timer);
        let next = match stands {
            RowState::Passing => deadline(Timer::Retry(id)).map(|at| (at, NextStep::Retries)),
            RowState::Resolving => deadline(Timer::ResolveHold(id)).map(|at| (at, NextStep::Closes)),
            RowState::Flapping => {
                let calm = incident.members.flapping();
                calm.filter_map(|(alert, _)| flaps(alert)).max().map(|at| (at, NextStep::StopsFlapping))
            }
            _ => {
                let update = deadline(Timer::Update(id)).map(|at| (at, NextStep::Updates));
                update.or(deadline(Timer::Repeat(id)).map(|at| (at, NextStep::Repeats)))
            }
        };
        let internal = incident.internal.is_some();
        let observed = incident.side == Side::Observed;
        let origin = match incident.side {
            Side::Mirror => Origin::Sender,
            Side::Ours | Side::Observed if internal => Origin::Internal,
            Side::Ours | Side::Observed => Origin::Squelch,
        };
        let levels = &self.world.policy.severities.levels;
        Some(Row {
            state: if observed { RowState::Observed } else { stands },
            would: observed.then_some(stands),
            origin,
            dedup_key: Some(incident.dedup_key.clone()),
            alert,
            labels,
            headline: Some(self.headline(incident)),
            receiver: self.world.destinations.get(incident.group.0).receiver.clone(),
            severity: levels[incident.level.min(levels.len() - 1)].name.clone(),
            since: incident.paged_at,
            firing: if internal {
                usize::from(incident.phase == Phase::Open)
            } else {
                incident.members.firing()
            },
            alerts: incident.members.len() + usize::from(internal),
            cause: Some((*incident.cause).clone()),
            next,
            refused: incident.channels.iter().any(Channel::refuses),
            releasable: false,
        })
    }

    fn waiting_row(&self, id: AlertId, destination: DestinationId, state: RowState) -> Option<Row> {
        let (alert, track) = (self.world.alerts.alert(id)?, self.world.alerts.state(id, destination)?);
        let settings = self.world.destinations.get(destination);
        let (cause, next) = self.waiting(id, destination, track, state);
        let observed = settings.observes();
        Some(Row {
            state: if observed { RowState::Observed } else { state },
            would: observed.then_some(state),
            origin: Origin::Squelch,
            dedup_key: None,
            alert: id,
            labels: alert.told().clone(),
            headline: None,
            receiver: settings.receiver.clone(),
            severity: self.world.level_name(&alert.labels),
            since: alert.starts_at,
            firing: 1,
            alerts: 1,
            cause,
            next,
            refused: false,
            releasable: !observed && state != RowState::Muted,
        })
    }

    /// Why an alert waits, or is muted, and what happens next.
    pub(crate) fn waiting(
        &self,
        alert: AlertId,
        destination: DestinationId,
        track: &AlertState,
        state: RowState,
    ) -> Waiting {
        match state {
            RowState::Muted => self.waiting_muted(alert, destination),
            _ => self.waiting_for_a_page(alert, track),
        }
    }

    fn waiting_muted(&self, alert: AlertId, destination: DestinationId) -> Waiting {
        match self.mutes.cause(&self.world.alerts, alert, self.world.destinations.get(destination)) {
            Some(muting) => (Some(muting.cause), muting.release.map(|at| (at, NextStep::MayPage))),
            None => (None, None),
        }
    }

    fn waiting_for_a_page(&self, alert: AlertId, track: &AlertState) -> Waiting {
        if let Some(at) = track.held_until() {
            return (Some(Cause::SeverityHold), Some((at, NextStep::Pages)));
        }
        let Some(key) = track.waits_in() else { return Default::default() };
        let Some(group) = self.pages.groups.get(key) else { return Default::default() };
        if let Some(quiet) = group.quiet.iter().rev().find(|q| q.alert == alert && !q.resolved) {
            return (Some((*quiet.cause).clone()), None);
        }
        let Some(pending) = group.pending.iter().find(|p| p.alert == alert && !p.recovered) else {
            return Default::default();
        };
        let others = group.pending.len() - 1;
        let cause = match pending.wait {
            Wait::Group => Cause::GroupWait { others },
            Wait::Gather => Cause::ProfileWait { others },
            Wait::Hold => Cause::SeriesHold,
            Wait::Merged => Cause::MergeWait { others },
        };
        let due = self.world.timers.deadline(&Timer::GroupWait(key.clone()));
        (Some(cause), due.map(|at| (at, NextStep::Pages)))
    }
}

pub(crate) fn incident_state(incident: &Incident) -> Option<RowState> {
    let opened = incident.channels.iter().any(|c| c.was_opened());
    match incident.phase {
        _ if incident.superseded_by.is_some() => None,
        Phase::Closed => None,
        Phase::Resolving => Some(RowState::Resolving),
        Phase::Open if incident.members.flapping().next().is_some() => Some(RowState::Flapping),
        Phase::Open if !opened => Some(RowState::Passing),
        Phase::Open => Some(RowState::Paged),
    }
}
