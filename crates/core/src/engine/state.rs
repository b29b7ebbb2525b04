//! The state of an alert at one destination, and every transition between states.
//!
//! ```text
//!            hold                 gather                withhold
//!   Idle ──────────▶ Held    Idle ───────▶ Gathering ◀──────────▶ Withheld
//!    ▲                │                         │                     │
//!    ├── end_hold ────┘                         └───────┬─────────────┘
//!    │                                                  │ notify
//!    ├── end, leave_incident ───── Notified {muted?} ◀──┴─── notify ── Idle
//!    │
//!    └── unmute ── Muted ◀── mute ── Idle, Held, Gathering, Withheld
//! ```
//!
//! A mute of a notified alert stands in `Notified`, since its incident goes on. The record of how the alert
//! flaps stands beside the state: an alert flaps in each of them.

use serde::{Deserialize, Serialize};

use crate::engine::damping::Damping;
use crate::engine::ids::{GroupKey, IncidentId};
use crate::model::{Cause, Reason, Timestamp};

/// Where an alert stands at one destination.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// The alert does not fire here.
    #[default]
    Idle,
    /// The alert fires, and a mute keeps its first page back.
    Muted(Reason),
    /// The alert fires. Its first page is held until this time.
    Held(Timestamp),
    /// The alert waits for the next page of this group.
    Gathering(GroupKey),
    /// The profile decided not to page now. The next page of this group lists the alert.
    Withheld(GroupKey),
    /// This incident says that the alert fires. Flapping may withhold that it resolved.
    Notified {
        /// The incident.
        incident: IncidentId,
        /// Why updates about the alert are muted, if they are.
        muted: Option<Reason>,
    },
}

/// The pages that an alert opened alone at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PagedAlone {
    /// In thousandths, as they were at `at`.
    pub(crate) pages: u64,
    pub(crate) at: Timestamp,
    /// The last of them.
    pub(crate) incident: IncidentId,
}

/// All that one destination knows of one alert.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlertState {
    state: State,
    /// The penalty of its changes.
    pub(crate) damping: Damping,
    /// Why its incident pages again if the alert fires on.
    #[serde(default)]
    pub(crate) owed: Option<Box<Cause>>,
    /// The pages that it opened alone.
    #[serde(default)]
    pub(crate) alone: Option<Box<PagedAlone>>,
    /// Observations that wait here, for a hold or for flapping to end.
    pub(crate) waiting: u64,
    /// The incident that the alert was in last, while it is in none.
    former: Option<IncidentId>,
}

impl AlertState {
    pub(crate) fn at(&self) -> &State {
        &self.state
    }

    /// Whether the alert fires here, muted or not.
    pub(crate) fn is_live(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether the alert passed its mutes and its hold: it waits for a page, or an incident has it.
    pub(crate) fn is_admitted(&self) -> bool {
        matches!(self.state, State::Gathering(_) | State::Withheld(_) | State::Notified { .. })
    }

    /// Whether a mute keeps the first page of the alert back.
    pub(crate) fn is_kept_by_mute(&self) -> bool {
        matches!(self.state, State::Muted(_))
    }

    /// Why the alert is muted, if it is.
    pub(crate) fn muted(&self) -> Option<Reason> {
        match self.state {
            State::Muted(reason) => Some(reason),
            State::Notified { muted, .. } => muted,
            State::Idle | State::Held(_) | State::Gathering(_) | State::Withheld(_) => None,
        }
    }

    /// Until when the first page is held, if it is.
    pub(crate) fn held_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Held(until) => Some(until),
            _ => None,
        }
    }

    /// The group in which the alert waits, or is withheld.
    pub(crate) fn waits_in(&self) -> Option<&GroupKey> {
        match &self.state {
            State::Gathering(group) | State::Withheld(group) => Some(group),
            _ => None,
        }
    }

    /// The incident that says that the alert fires.
    pub(crate) fn notified_in(&self) -> Option<IncidentId> {
        match self.state {
            State::Notified { incident, .. } => Some(incident),
            _ => None,
        }
    }

    /// The incident that the alert is in, or was in last.
    pub(crate) fn incident(&self) -> Option<IncidentId> {
        self.notified_in().or(self.former)
    }

    /// A mute covers the alert. Its hold or its wait for a page ends. An incident that has the alert keeps
    /// it. Returns the state before.
    pub(crate) fn mute(&mut self, reason: Reason) -> State {
        match self.state {
            State::Notified { incident, muted } => {
                self.state = State::Notified { incident, muted: Some(reason) };
                State::Notified { incident, muted }
            }
            _ => std::mem::replace(&mut self.state, State::Muted(reason)),
        }
    }

    /// No mute covers the alert any more. Returns the reason of the last one.
    pub(crate) fn unmute(&mut self) -> Option<Reason> {
        match &mut self.state {
            State::Notified { muted, .. } => muted.take(),
            State::Muted(reason) => {
                let reason = *reason;
                self.state = State::Idle;
                Some(reason)
            }
            State::Idle | State::Held(_) | State::Gathering(_) | State::Withheld(_) => None,
        }
    }

    /// The first page is held until this time. Returns whether no hold ran before. An alert that is past
    /// its hold is held no more.
    pub(crate) fn hold(&mut self, until: Timestamp) -> bool {
        let new = self.state == State::Idle;
        if new || self.held_until().is_some() {
            self.state = State::Held(until);
        }
        new
    }

    /// The hold ends. Returns whether one ran.
    pub(crate) fn end_hold(&mut self) -> bool {
        let held = self.held_until().is_some();
        if held {
            self.state = State::Idle;
        }
        held
    }

    /// The alert waits for the next page of a group.
    pub(crate) fn gather(&mut self, group: GroupKey) {
        self.forget_incident();
        self.state = State::Gathering(group);
    }

    /// The alert is withheld until the next page of a group.
    pub(crate) fn withhold(&mut self, group: GroupKey) {
        self.forget_incident();
        self.state = State::Withheld(group);
    }

    /// The page that the alert waits for is merged into that of another group.
    pub(crate) fn merge(&mut self, group: GroupKey) {
        if self.waits_in().is_some() {
            self.state = State::Gathering(group);
        }
    }

    /// The alert leaves the group in which it waits. Returns the group.
    pub(crate) fn leave_group(&mut self) -> Option<GroupKey> {
        self.waits_in()?;
        match std::mem::take(&mut self.state) {
            State::Gathering(group) | State::Withheld(group) => Some(group),
            _ => None,
        }
    }

    /// An incident says that the alert fires.
    pub(crate) fn notify(&mut self, incident: IncidentId) {
        self.former = None;
        self.state = State::Notified { incident, muted: None };
    }

    /// The incident goes on as another one.
    pub(crate) fn follow(&mut self, old: IncidentId, new: IncidentId) {
        match &mut self.state {
            State::Notified { incident, .. } if *incident == old => *incident = new,
            _ if self.former == Some(old) => self.former = Some(new),
            _ => {}
        }
    }

    /// The alert leaves its incident and has none from now on. Returns the incident.
    pub(crate) fn leave_incident(&mut self) -> Option<IncidentId> {
        let incident = self.notified_in();
        if incident.is_some() {
            self.state = State::Idle;
        }
        incident.or(self.former.take())
    }

    /// The alert fires no more. Returns the state before.
    pub(crate) fn end(&mut self) -> State {
        self.forget_incident();
        std::mem::take(&mut self.state)
    }

    /// Remembers the incident that the alert is in as its last one.
    fn forget_incident(&mut self) {
        self.former = self.incident();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ids::DestinationId;
    use crate::model::LabelSet;

    fn group() -> GroupKey {
        (DestinationId(0), LabelSet::default())
    }

    fn each() -> Vec<AlertState> {
        let with = |state| AlertState { state, ..AlertState::default() };
        let at = Timestamp::from_millis(5);
        let notified = |muted| State::Notified { incident: IncidentId(1), muted };
        [
            State::Idle,
            State::Muted(Reason::Silenced),
            State::Held(at),
            State::Gathering(group()),
            State::Withheld(group()),
            notified(None),
            notified(Some(Reason::Inhibited)),
        ]
        .into_iter()
        .map(with)
        .collect()
    }

    #[test]
    fn mute_ends_each_wait_and_keeps_an_incident() {
        for mut state in each() {
            let before = state.clone();
            assert_eq!(state.mute(Reason::Muted), before.state);
            assert_eq!(state.muted(), Some(Reason::Muted));
            assert_eq!((state.held_until(), state.waits_in()), (None, None));
            assert_eq!(state.notified_in(), before.notified_in());
            assert_eq!(state.unmute(), Some(Reason::Muted));
            assert_eq!(state.is_live(), before.notified_in().is_some());
        }
    }

    #[test]
    fn unmute_changes_only_what_is_muted() {
        for mut state in each() {
            let before = state.clone();
            assert_eq!(state.unmute(), before.muted());
            assert_eq!(state.muted(), None);
            assert!(before.muted().is_some() || state == before);
        }
    }

    #[test]
    fn hold_applies_before_a_page_is_due_and_at_no_other_time() {
        let until = Timestamp::from_millis(9);
        for mut state in each() {
            let before = state.clone();
            let new = state.hold(until);
            assert_eq!(new, before.state == State::Idle);
            let held = new || before.held_until().is_some();
            assert_eq!(state.held_until(), held.then_some(until));
            assert!(held || state == before);
            assert_eq!(state.end_hold(), held);
            assert_eq!(state.state == State::Idle, held);
        }
    }

    #[test]
    fn end_remembers_the_incident_and_nothing_else() {
        for mut state in each() {
            let before = state.clone();
            assert_eq!(state.end(), before.state);
            assert_eq!(state.state, State::Idle);
            assert_eq!((state.notified_in(), state.incident()), (None, before.notified_in()));
        }
    }

    #[test]
    fn an_alert_is_in_one_place() {
        for mut state in each() {
            state.gather(group());
            assert!(state.is_admitted() && state.waits_in() == Some(&group()) && state.muted().is_none());
            state.withhold(group());
            assert_eq!(state.state, State::Withheld(group()));
            state.notify(IncidentId(7));
            assert_eq!((state.waits_in(), state.notified_in()), (None, Some(IncidentId(7))));
            state.follow(IncidentId(7), IncidentId(8));
            state.follow(IncidentId(1), IncidentId(9));
            assert_eq!(state.notified_in(), Some(IncidentId(8)));
            state.end();
            state.follow(IncidentId(8), IncidentId(9));
            state.follow(IncidentId(1), IncidentId(2));
            assert_eq!(state.leave_incident(), Some(IncidentId(9)));
            assert_eq!((state.incident(), state.leave_incident()), (None, None));
        }
    }

    #[test]
    fn a_merged_page_takes_only_alerts_that_wait() {
        let merged = (DestinationId(3), LabelSet::default());
        for mut state in each() {
            let waits = state.waits_in().is_some();
            state.merge(merged.clone());
            assert_eq!(state.waits_in() == Some(&merged), waits);
            assert_eq!(state.leave_group().is_some(), waits);
            assert!(state.leave_group().is_none());
        }
    }
}
