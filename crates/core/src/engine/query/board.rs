//! The board for the pages of the UI: open incidents and waiting alerts with their causes, a page at a
//! time.
//!
//! A call costs one pass over incidents and states, in which only a sort key is copied. Rows are built only
//! if they are shown.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use smol_str::SmolStr;

use crate::engine::ids::{DestinationId, GroupKey, IncidentId};
use crate::engine::incidents::channel::Channel;
use crate::engine::incidents::incident::{Incident, Phase, Side};
use crate::engine::pages::groups::{Firing, Wait};
use crate::engine::query::Query;
use crate::engine::query::row_state::{NextStep, Origin, RowState};
use crate::engine::query::search::Search;
use crate::engine::state::AlertState;
use crate::engine::timers::Timer;
use crate::model::{AlertId, Cause, Headline, Kind, LabelSet, Matcher, Reason, Timestamp};

/// Which kind of rows is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BoardPart {
    /// Incidents, and alerts that wait.
    #[default]
    All,
    /// Incidents.
    Incidents,
    /// Alerts that are in no incident: they wait, or a cause mutes them.
    Waiting,
}

/// The first sort key of the rows. Internal incidents stand before all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BoardOrder {
    /// The state.
    #[default]
    State,
    /// The severity, the highest first.
    Severity,
    /// The service that the alerts are about: see [`Row::service`].
    Service,
}

/// Which rows are wanted.
#[derive(Clone, Debug, Default)]
pub struct BoardQuery {
    /// Which kind of rows.
    pub part: BoardPart,
    /// The first sort key of the rows.
    pub order: BoardOrder,
    /// Each must stand in a label or in the summary of one alert of the row, or in the name of its receiver.
    /// The case of ASCII letters does not matter. The summaries of the first 20,000 alerts count.
    pub words: Vec<String>,
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

/// Open incidents and waiting alerts.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// The rows that were asked for.
    pub rows: Vec<Row>,
    /// How many match, shown or not.
    pub matching: usize,
    /// Of all incidents, how many the search and the receiver leave.
    pub incidents: usize,
    /// Of all alerts that wait, how many the search and the receiver leave.
    pub waiting: usize,
    /// Of all rows of the part that the search and the receiver leave: how many are in which state.
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
    /// The decider.
    pub origin: Origin,
    /// The `dedup_key` of the incident. An alert that waits has none.
    pub incident: Option<SmolStr>,
    /// The cause of its state, where Squelch knows it.
    pub cause: Option<Cause>,
    /// The next step, and its time, where Squelch knows one. Of several, it is the earliest.
    pub next: Option<(Timestamp, NextStep)>,
}

/// One incident, or one alert that waits.
#[derive(Clone, Debug)]
pub struct Row {
    /// Where it stands.
    pub standing: Standing,
    /// The alert that waits. Of an incident: an alert of the highest severity that fires.
    pub alert: AlertId,
    /// The labels of that alert.
    pub labels: LabelSet,
    /// Its annotation `summary`, or nothing.
    pub summary: SmolStr,
    /// Its annotation `runbook_url`, or nothing.
    pub runbook: SmolStr,
    /// Where its rule can be looked at, or nothing.
    pub generator_url: SmolStr,
    /// Its label `service`, else `job`, else nothing.
    pub service: SmolStr,
    /// The title of an incident, as the pager shows it.
    pub headline: Option<Headline>,
    /// The name of its severity level.
    pub severity: SmolStr,
    /// The position of that level in the configuration, 0 for the highest.
    pub level: usize,
    /// When the incident paged, or when the alert that waits started.
    pub since: Timestamp,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub alerts: usize,
    /// Of an incident: which receiver and integration accepted its page first, and when.
    pub notified: Option<(SmolStr, SmolStr, Timestamp)>,
    /// How many of its alerts fire and match a silence.
    pub silenced: usize,
    /// Whether an integration refused its newest notification for good.
    pub refused: bool,
    /// The person who acknowledged the incident in their pager, and when.
    pub acknowledged: Option<(SmolStr, Timestamp)>,
    /// Of an incident that no person acknowledged in time: the second receiver, which is notified too.
    pub escalated_to: Option<SmolStr>,
    /// Whether a person can release it now.
    pub releasable: bool,
    /// Of an incident that the sender decided: the one that Squelch would have of the same alerts, if its
    /// profile did not observe. The board has no row of its own for that one.
    pub twin: Option<(SmolStr, RowState)>,
}

/// The source of a row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RowSource {
    Incident(IncidentId),
    AlertState(AlertId, DestinationId),
}

/// The cause of a wait, and the next step.
type Waiting = (Option<Cause>, Option<(Timestamp, NextStep)>);

/// The labels that name a service, the first that is there.
const SERVICE: [&str; 2] = ["service", "job"];
/// Alerts of one incident that are asked whether they are silenced.
const ASKED: usize = 10_000;

/// The sort key of a row. Internal incidents come first, and incidents of observe mode come last.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    ours: bool,
    observed: bool,
    /// Rows without a service stand last.
    service: Option<(bool, SmolStr)>,
    level_first: usize,
    state: RowState,
    stands: RowState,
    level: usize,
    since: Reverse<Timestamp>,
    source: RowSource,
}

impl Key {
    fn is_incident(&self) -> bool {
        matches!(self.source, RowSource::Incident(_))
    }
}

impl Query<'_> {
    /// Open incidents and waiting alerts: internal incidents first, then by state, the highest severity
    /// first, then the newest.
    pub fn board(&self, query: &BoardQuery) -> Board {
        let wanted = |destination: DestinationId| {
            query
                .receiver
                .as_ref()
                .is_none_or(|receiver| self.world.destinations.get(destination).receiver == *receiver)
        };
        let search = Search::new(self.world, &query.matchers, &query.words);
        let mut keys: Vec<Key> = Vec::new();
        let twins = self.twins();
        for (id, incident) in self.pages.incidents.all.iter().filter(|(_, i)| wanted(i.group.0)) {
            let Some(stands) = open_state(incident).filter(|_| !twins.hidden.contains(id)) else { continue };
            let receiver = &self.world.destinations.get(incident.group.0).receiver;
            if !search.is_empty() && !self.is_found(incident, receiver, &search) {
                continue;
            }
            let service = || match self.worst(incident).and_then(|alert| self.world.alerts.alert(alert)) {
                Some(alert) => by_service(&alert.labels),
                None => by_service(&incident.group.1),
            };
            keys.push(Key {
                ours: incident.internal.is_none(),
                observed: incident.side == Side::Observed,
                service: (query.order == BoardOrder::Service).then(service),
                level_first: if query.order == BoardOrder::Severity { incident.level } else { 0 },
                state: if incident.side == Side::Observed { RowState::Observed } else { stands },
                stands,
                level: incident.level,
                since: Reverse(incident.paged_at),
                source: RowSource::Incident(*id),
            });
        }
        for (alert, destination, state) in
            self.world.alerts.states().filter(|(_, destination, _)| wanted(*destination))
        {
            let Some(stands) = self.waiting_state(alert, state) else { continue };
            let settings = self.world.destinations.get(destination);
            let of_alert = self.world.alerts.alert(alert);
            let Some(one) = of_alert.filter(|a| search.finds(a, &settings.receiver)) else { continue };
            let level = self.world.policy.severities.level_of(&one.labels);
            keys.push(Key {
                ours: true,
                observed: settings.observes(),
                service: (query.order == BoardOrder::Service).then(|| by_service(&one.labels)),
                level_first: if query.order == BoardOrder::Severity { level } else { 0 },
                state: if settings.observes() { RowState::Observed } else { stands },
                stands,
                level,
                since: Reverse(one.starts_at),
                source: RowSource::AlertState(alert, destination),
            });
        }
        let incidents = keys.iter().filter(|key| key.is_incident()).count();
        let waiting = keys.len() - incidents;
        keys.retain(|key| match query.part {
            BoardPart::All => true,
            BoardPart::Incidents => key.is_incident(),
            BoardPart::Waiting => !key.is_incident(),
        });
        let mut states = BTreeMap::new();
        for key in &keys {
            *states.entry(key.state).or_default() += 1;
        }
        keys.retain(|key| query.state.is_none_or(|wanted| wanted == key.state));
        let matching = keys.len();
        let end = query.offset.saturating_add(query.limit).min(keys.len());
        if end < keys.len() {
            // Rows that are not shown need not be in order.
            keys.select_nth_unstable(end);
            keys.truncate(end);
        }
        keys.sort_unstable();
        let shown = keys.into_iter().skip(query.offset);
        let rows = shown.filter_map(|key| match key.source {
            RowSource::Incident(id) => {
                self.incident_row(id).map(|row| Row { twin: twins.of.get(&id).cloned(), ..row })
            }
            RowSource::AlertState(alert, destination) => self.waiting_row(alert, destination, key.stands),
        });
        let rows = rows.collect();
        let receivers = self.world.policy.receivers.keys().cloned().collect();
        Board { rows, matching, incidents, waiting, states, receivers }
    }

    /// How many incidents are open, without those of profiles that observe.
    pub fn open(&self) -> usize {
        let open = |i: &&Incident| i.side != Side::Observed && open_state(i).is_some();
        self.pages.incidents.all.values().filter(open).count()
    }

    /// The first alert of an incident in the order in which a person reads them.
    fn worst(&self, incident: &Incident) -> Option<AlertId> {
        self.ordered(incident, 0, 1).first().map(|(alert, ..)| *alert)
    }

    /// Where an alert waits that is in no incident. `None` if it does not wait.
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

    /// How an alert waits for the next page of a group. `None` if it is withheld.
    fn wait_of(&self, alert: AlertId, key: &GroupKey) -> Option<Wait> {
        let pending = &self.pages.groups.get(key)?.pending;
        pending.iter().find(|p| p.alert == alert && !p.recovered).map(|p| p.wait)
    }

    /// An incident as a row.
    pub(crate) fn incident_row(&self, id: IncidentId) -> Option<Row> {
        let incident = self.pages.incidents.all.get(&id)?;
        let stands = incident_state(incident);
        // An internal incident shows one alert that is none of a sender's.
        let (alert, labels) = match self.worst(incident) {
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
                let repeats = deadline(Timer::Repeat(id)).filter(|_| {
                    incident.acknowledged.is_none() && !self.pages.incidents.is_muted(self.world, id)
                });
                update.or(repeats.map(|at| (at, NextStep::Repeats)))
            }
        };
        let escalates = self.pages.incidents.escalates(self.world, id);
        let escalates = escalates.map(|(at, to)| (at, NextStep::Escalates { to }));
        let next = next.into_iter().chain(escalates).min_by_key(|(at, _)| *at);
        let internal = incident.internal.is_some();
        let observed = incident.side == Side::Observed;
        let origin = match incident.side {
            Side::Forwarded => Origin::Sender,
            Side::Ours | Side::Observed if internal => Origin::Internal,
            Side::Ours | Side::Observed => Origin::Squelch,
        };
        let levels = &self.world.policy.severities.levels;
        let receiver = &self.world.destinations.get(incident.group.0).receiver;
        let accepted = incident.channels.iter().filter_map(|channel| Some((channel.opened_at()?, channel)));
        let notified = accepted
            .filter(|_| !observed)
            .min_by_key(|(at, _)| *at)
            .map(|(at, channel)| (channel.receiver(receiver).clone(), channel.integration.clone(), at));
        let silenced = incident.members.that_fire(true).take(ASKED).filter(|(alert, _)| {
            let state = self.world.alerts.state(**alert, incident.group.0);
            state.is_some_and(|state| state.muted() == Some(Reason::Silenced))
        });
        let silenced = silenced.count();
        let said = self.said(alert);
        Some(Row {
            summary: said.summary,
            runbook: said.runbook,
            generator_url: said.generator_url,
            service: service_of(&labels),
            notified,
            silenced,
            standing: Standing {
                receiver: receiver.clone(),
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
            level: incident.level.min(levels.len() - 1),
            since: incident.paged_at,
            firing: if internal {
                usize::from(incident.phase == Phase::Open)
            } else {
                incident.members.firing()
            },
            alerts: incident.members.len() + usize::from(internal),
            refused: incident.channels.iter().any(Channel::refuses),
            acknowledged: incident.acknowledged.clone(),
            escalated_to: incident.escalated_to().cloned(),
            releasable: false,
            twin: None,
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
        let said = self.said(id);
        let muted = self.world.alerts.state(id, destination).and_then(|state| state.muted());
        Some(Row {
            summary: said.summary,
            runbook: said.runbook,
            generator_url: said.generator_url,
            service: service_of(&alert.labels),
            notified: None,
            silenced: usize::from(muted == Some(Reason::Silenced)),
            releasable: standing.would.is_none() && state != RowState::Muted,
            standing,
            alert: id,
            labels: alert.told().clone(),
            headline: None,
            severity: self.world.level_name(&alert.labels),
            level: self.world.policy.severities.level_of(&alert.labels),
            since: alert.starts_at,
            firing: 1,
            alerts: 1,
            refused: false,
            acknowledged: None,
            escalated_to: None,
            twin: None,
        })
    }

    /// The texts that the senders give for an alert beside its labels.
    fn said(&self, alert: AlertId) -> SenderWords {
        let Some(alert) = self.world.alerts.alert(alert) else { return SenderWords::default() };
        let (annotations, generator_url) = self.world.alerts.said(alert);
        let of = |name: &str| SmolStr::from(annotations.value(name));
        let summary = Some(of("summary")).filter(|text| !text.is_empty());
        SenderWords {
            summary: summary.unwrap_or_else(|| of("description")),
            runbook: of("runbook_url"),
            generator_url,
        }
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

    /// The cause of an alert's wait or mute, and the next step.
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
            let by_level = self.world.held_by_level(alert).is_some_and(|until| at <= until);
            let cause = if by_level { Cause::SeverityHold } else { Cause::InhibitionEnded };
            return (Some(cause), Some((at, NextStep::Pages)));
        }
        let Some(key) = state.waits_in() else { return Default::default() };
        let Some(group) = self.pages.groups.get(key) else { return Default::default() };
        if let Some(withheld) = group.withheld.iter().rev().find(|q| q.alert == alert && !q.resolved) {
            return (Some((*withheld.cause).clone()), None);
        }
        let Some(pending) = group.pending.iter().find(|p| p.alert == alert && !p.recovered) else {
            return Default::default();
        };
        // An alert that came and went meanwhile is in the list once for each time.
        let others = group.pending.iter().filter(|p| !p.recovered).count() - 1;
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

/// The words of a sender that a row shows.
#[derive(Default)]
struct SenderWords {
    summary: SmolStr,
    runbook: SmolStr,
    generator_url: SmolStr,
}

/// The service that an alert with these labels is about.
fn service_of(labels: &LabelSet) -> SmolStr {
    let named = SERVICE.iter().map(|name| labels.value(name)).find(|value| !value.is_empty());
    named.unwrap_or_default().into()
}

/// Orders rows by their service.
fn by_service(labels: &LabelSet) -> (bool, SmolStr) {
    let service = service_of(labels);
    (service.is_empty(), service)
}
