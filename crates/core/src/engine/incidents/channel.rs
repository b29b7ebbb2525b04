//! The state of one incident at one integration, and the next notification for it.
//!
//! The next notification leaves only after the outcome of the previous one is known, so none overtakes
//! another. All changes of the meantime go out as one: the pager converges to the truth.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::incidents::members::Members;
use crate::model::{AlertId, Cause, Duration, Kind, NotificationId, Outcome, Recalled, Report, Timestamp};
use crate::policy::{IntegrationRef, KnownBy};

/// The incident's side of the matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The version to send.
    pub(crate) version: u64,
    /// The version that every integration gets, `send_updates` or not: a repeat.
    pub(crate) repeat: u64,
    /// The incident is over, or another one took its place: no page of it is sent any more.
    pub(crate) over: bool,
    /// The resolve is to be sent.
    pub(crate) closed: bool,
    /// Its end needs no notification. Its problem goes on in another incident, which says so.
    pub(crate) silent: bool,
    /// No true message could be sent now.
    pub(crate) waits: bool,
    /// A person has acknowledged it.
    pub(crate) acknowledged: bool,
}

/// One (incident, integration).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Channel {
    pub(crate) integration: SmolStr,
    send_resolved: bool,
    send_updates: bool,
    pub(crate) known_by: KnownBy,
    /// Whether it is told of acknowledgements.
    #[serde(default)]
    takes_acknowledgements: bool,
    /// The state of the acknowledgement in its pager.
    #[serde(default)]
    acknowledged: Acknowledged,
    /// The number of alerts that it lists. The resolve lists no fewer than the page.
    most_alerts: u32,
    notified: Notified,
    /// When the receiver accepted the page.
    #[serde(default)]
    opened_at: Option<Timestamp>,
    /// Content last accepted.
    version: u64,
    in_flight: Option<InFlight>,
    /// The notification that was recalled, until another one takes its place or none is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recalled: Option<Recalled>,
    /// Refusals in a row, and when the next attempt is due.
    refused: u32,
    retry_at: Option<Timestamp>,
    /// The content that was refused last. A newer one is tried without a wait: another alert is in it.
    #[serde(default)]
    refused_version: u64,
    /// A page that was refused in the end may have been taken by an earlier attempt.
    ambiguous: bool,
    /// The latest notification may not be the last that arrived, or has become false. It is sent again.
    #[serde(default)]
    owes: bool,
    /// The integration left the configuration. It gets the resolve of its open incidents, and nothing else.
    #[serde(default)]
    gone: bool,
    /// When the end that a gone integration refused is given up.
    #[serde(default)]
    give_up_at: Option<Timestamp>,
    /// The receiver, where it is a second one and not the incident's own.
    #[serde(default)]
    pub(crate) second: Option<Second>,
    /// A hash of the integration's endpoint (see [`IntegrationRef::endpoint`]).
    #[serde(default)]
    endpoint: u64,
    /// The integration is gone, and this one of this receiver leads to the same endpoint.
    #[serde(default)]
    pub(crate) closes_at: Option<(SmolStr, SmolStr)>,
    /// The message about the incident here, by the receiver's name for it.
    #[serde(default)]
    pub(crate) message: Option<SmolStr>,
    /// Alerts of other incidents that its messages named as firing.
    #[serde(default)]
    pub(crate) borrowed: BTreeSet<AlertId>,
    /// Alerts that its newest message called resolved before a version of the incident said so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    called_resolved: BTreeSet<AlertId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Notified {
    Nothing,
    Open,
    Closed,
}

/// The state of an incident's acknowledgement in a pager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Acknowledged {
    #[default]
    Nothing,
    /// Squelch told it, or is about to.
    Told,
    /// A person acknowledged the incident there.
    There,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct InFlight {
    id: NotificationId,
    kind: Kind,
    version: u64,
    /// When it was decided.
    #[serde(default)]
    at: Timestamp,
    /// It was owed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    owed: bool,
    /// The recalled notification whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<Recalled>,
    /// Delivery was asked to give it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asked_back: bool,
}

/// A refused notification is tried again with the state of that time, after this long, doubling up to
/// [`RETRY_LONGEST`].
const RETRY_FIRST: Duration = Duration::from_mins(5);
const RETRY_LONGEST: Duration = Duration::from_hours(1);

/// How long the resolve is tried at an integration that left the configuration and refused it. A person who
/// learns of it puts the integration back within a day.
const GONE: Duration = Duration::from_hours(24);

/// A receiver that is notified of an incident that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Second {
    pub(crate) receiver: SmolStr,
    /// Since when it is notified.
    pub(crate) since: Timestamp,
    pub(crate) why: WhySecond,
    /// The key of the incident there, if its own key was taken.
    #[serde(default)]
    pub(crate) key: Option<SmolStr>,
}

/// Why a second receiver is notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhySecond {
    /// Another receiver was not reached.
    Fallback,
    /// No person acknowledged the incident in this time.
    Escalation { within: Duration },
}

impl Second {
    /// Why a notification that leaves for `cause` goes to this receiver. `first` is the incident's own.
    pub(crate) fn cause(&self, first: SmolStr, cause: Cause) -> Cause {
        let cause = Box::new(cause);
        match self.why {
            WhySecond::Fallback => Cause::Fallback { receiver: first, cause },
            WhySecond::Escalation { within } => Cause::Escalated { receiver: first, within, cause },
        }
    }
}

impl Channel {
    pub(crate) fn new(integration: &IntegrationRef) -> Self {
        Channel {
            integration: integration.name.clone(),
            send_resolved: integration.send_resolved,
            send_updates: integration.send_updates,
            known_by: integration.known_by,
            takes_acknowledgements: integration.takes_acknowledgements,
            acknowledged: Acknowledged::Nothing,
            most_alerts: integration.most_alerts,
            notified: Notified::Nothing,
            opened_at: None,
            version: 0,
            in_flight: None,
            recalled: None,
            refused: 0,
            retry_at: None,
            refused_version: 0,
            ambiguous: false,
            owes: false,
            gone: false,
            give_up_at: None,
            second: None,
            endpoint: integration.endpoint,
            closes_at: None,
            message: None,
            borrowed: BTreeSet::new(),
            called_resolved: BTreeSet::new(),
        }
    }

    /// A way to a second receiver.
    pub(crate) fn second(integration: &IntegrationRef, second: Second) -> Self {
        Channel { second: Some(second), ..Channel::new(integration) }
    }

    /// The receiver, if `home` is that of the incident.
    pub(crate) fn receiver<'a>(&'a self, home: &'a SmolStr) -> &'a SmolStr {
        self.second.as_ref().map_or(home, |second| &second.receiver)
    }

    /// When the page is due here, if the incident paged at `paged_at`.
    pub(crate) fn since(&self, paged_at: Timestamp) -> Timestamp {
        self.second.as_ref().map_or(paged_at, |second| second.since)
    }

    /// Whether the page has not been accepted here, and still should be.
    pub(crate) fn is_waiting(&self) -> bool {
        self.notified == Notified::Nothing && !self.gone
    }

    /// Whether the latest notification was refused for good.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused > 0 && self.in_flight.is_none()
    }

    /// Whether the newest answer was a refusal for good, and a notification is still to be sent here.
    pub(crate) fn refuses(&self) -> bool {
        self.refused > 0 && !self.gone && self.notified != Notified::Closed
    }

    /// Whether the integration wants updates.
    pub(crate) fn takes_updates(&self) -> bool {
        self.send_updates && !self.gone
    }

    /// Whether the integration wants resolves.
    pub(crate) fn takes_resolves(&self) -> bool {
        self.send_resolved
    }

    /// Whether the incident may stay open here in the end: the integration takes no resolve, or refused it.
    pub(crate) fn stays_open(&self) -> bool {
        !self.send_resolved || self.give_up_at.is_some()
    }

    /// Whether the page was accepted here, now or once.
    pub(crate) fn was_opened(&self) -> bool {
        self.notified != Notified::Nothing
    }

    /// Whether the integration is gone from the configuration.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether the integration left the configuration and must still get a resolve. Where people read each
    /// message by itself, as on the console, nothing is open that they could close.
    pub(crate) fn is_orphan(&self) -> bool {
        let open = self.notified == Notified::Open || self.ambiguous || self.in_flight.is_some();
        self.gone
            && self.closes_at.is_none()
            && self.send_resolved
            && self.notified != Notified::Closed
            && self.known_by != KnownBy::Nothing
            && open
    }

    /// A hash of where the integration leads.
    pub(crate) fn endpoint(&self) -> u64 {
        self.endpoint
    }

    /// Whether an integration leads to the same endpoint, as far as that is known.
    pub(crate) fn leads_to(&self, integration: &IntegrationRef) -> bool {
        self.endpoint != 0 && self.endpoint == integration.endpoint
    }

    /// Whether the integration refused the end since it is gone.
    pub(crate) fn end_was_refused(&self) -> bool {
        self.give_up_at.is_some()
    }

    /// Whether the incident is open here, or its end is not known to have arrived.
    pub(crate) fn is_open(&self) -> bool {
        self.notified == Notified::Open
            || self.notified == Notified::Nothing && (self.ambiguous || self.in_flight.is_some())
    }

    /// Whether everything issued up to `version` has been sent here, or goes with the end.
    pub(crate) fn knows(&self, version: u64) -> bool {
        let behind = self.send_updates && self.notified == Notified::Open && self.version < version;
        self.gone || self.in_flight.is_none() && !behind
    }

    /// Whether the receiver accepted a message with the content of `version`.
    pub(crate) fn has_got(&self, version: u64) -> bool {
        self.was_opened() && self.version >= version
    }

    /// The number of alerts that it lists.
    pub(crate) fn most_alerts(&self) -> usize {
        usize::try_from(self.most_alerts).unwrap_or(usize::MAX)
    }

    /// The latest notification has become false, or may not be the last that arrived.
    pub(crate) fn owe(&mut self) {
        self.owes |= self.is_open();
    }

    /// The message that is about to leave shows the alerts as they are now.
    pub(crate) fn shows(&mut self, members: &Members) {
        let resolved = members.news().filter(|(_, member)| !member.firing);
        self.called_resolved = resolved.map(|(alert, _)| *alert).collect();
    }

    /// If an alert fires again that the newest message called resolved, Squelch tells the truth again. The
    /// incident may have no newer version: the alert goes on as the last one said.
    pub(crate) fn corrects(&mut self, members: &Members) {
        let fires = |alert| members.get(alert).is_some_and(|member| member.firing);
        if self.called_resolved.iter().any(fires) {
            self.called_resolved.clear();
            self.owe();
        }
    }

    /// Whether nothing more will ever be sent here.
    pub(crate) fn settled(&self) -> bool {
        self.notified == Notified::Closed && self.in_flight.is_none()
    }

    /// Whether an acknowledgement is news to it.
    pub(crate) fn lacks_acknowledgement(&self) -> bool {
        self.takes_acknowledgements && self.acknowledged == Acknowledged::Nothing
    }

    /// Whether Squelch told it of the acknowledgement, so that the tool says so in its turn.
    pub(crate) fn echoes(&self) -> bool {
        self.acknowledged == Acknowledged::Told
    }

    /// A person acknowledged the incident. `there`: in the pager that the integration leads to.
    pub(crate) fn acknowledge(&mut self, there: bool) {
        if there && self.acknowledged == Acknowledged::Nothing {
            self.acknowledged = Acknowledged::There;
        }
    }

    /// The acknowledgement was taken back, so that the next one is news.
    pub(crate) fn take_back(&mut self) {
        self.acknowledged = Acknowledged::Nothing;
    }

    /// When the receiver accepted the page.
    pub(crate) fn opened_at(&self) -> Option<Timestamp> {
        self.opened_at
    }

    /// When a refused notification is tried anew.
    pub(crate) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at.filter(|_| self.in_flight.is_none())
    }

    /// The notification to send now, if any. The caller sends it under the id that it reports to
    /// [`Self::sent`].
    pub(crate) fn next(&mut self, now: Timestamp, wanted: Wanted) -> Option<Kind> {
        let waits = self.retry_at.is_some_and(|at| at > now) && wanted.version <= self.refused_version;
        if self.in_flight.is_some() || waits {
            return None;
        }
        if wanted.waits && !self.gone {
            self.retry_at = None;
            return None;
        }
        // The refused change may be void by now. Then there is nothing to try again.
        self.retry_at = None;
        let kind = self.due(now, wanted);
        if kind.is_none() {
            self.recalled = None;
        }
        kind
    }

    fn due(&mut self, now: Timestamp, wanted: Wanted) -> Option<Kind> {
        if wanted.closed && self.give_up_at.is_some_and(|at| at <= now) {
            self.notified = Notified::Closed;
        }
        match self.notified {
            // A page that was recalled as the integration left still goes there.
            Notified::Nothing | Notified::Open if self.gone && !wanted.closed && self.recalled.is_none() => {
                None
            }
            Notified::Nothing if !wanted.over => Some(Kind::Page),
            Notified::Nothing | Notified::Open if wanted.closed => {
                let owed = self.notified == Notified::Open || self.ambiguous;
                if owed && self.send_resolved && !wanted.silent {
                    return Some(Kind::Resolve);
                }
                self.notified = Notified::Closed;
                self.retry_at = None;
                None
            }
            // The integration never got it, and it is over.
            Notified::Nothing if !self.ambiguous => {
                self.notified = Notified::Closed;
                None
            }
            Notified::Open => {
                let goal = if self.send_updates { wanted.version } else { wanted.repeat };
                let acknowledges = wanted.acknowledged && self.lacks_acknowledgement();
                match self.version < goal || self.owes {
                    true => Some(Kind::Update),
                    false => acknowledges.then_some(Kind::Acknowledge),
                }
            }
            Notified::Nothing | Notified::Closed => None,
        }
    }

    /// A notification with content `version` was decided at `now`. It returns the recalled one whose place
    /// it takes.
    pub(crate) fn sent(
        &mut self,
        now: Timestamp,
        id: NotificationId,
        kind: Kind,
        version: u64,
    ) -> Option<Recalled> {
        let replaces = self.recalled.take();
        let owed = kind != Kind::Acknowledge && std::mem::take(&mut self.owes);
        if kind == Kind::Acknowledge {
            self.acknowledged = Acknowledged::Told;
        }
        self.in_flight = Some(InFlight { id, kind, version, at: now, owed, replaces, asked_back: false });
        self.retry_at = None;
        replaces
    }

    /// The notification on its way, if delivery should give it back: it is not what would be sent now.
    /// Delivery is asked once. An integration that is gone gets no later page, so it keeps this one until
    /// the incident is over.
    pub(crate) fn recall(&mut self, now: Timestamp, wanted: Wanted, version: u64) -> Option<NotificationId> {
        let flight = self.in_flight.filter(|f| !f.asked_back && (!self.gone || wanted.closed))?;
        let mut anew = self.clone();
        let outcome = Outcome::Recalled { ambiguous: false };
        anew.ended(now, &Report { id: flight.id, outcome, attempts: 0, message: None });
        let same = anew.next(now, wanted) == Some(flight.kind) && flight.version >= version && !self.owes;
        if same {
            return None;
        }
        self.in_flight = Some(InFlight { asked_back: true, ..flight });
        Some(flight.id)
    }

    /// Delivery has forgotten which notifications it was to give back.
    pub(crate) fn recall_anew(&mut self) {
        if let Some(flight) = &mut self.in_flight {
            flight.asked_back = false;
        }
    }

    /// Takes all that would be sent now as sent and accepted.
    pub(crate) fn pretend(&mut self, now: Timestamp, wanted: Wanted, version: u64) {
        let nobody = NotificationId(0);
        while let Some(kind) = self.next(now, wanted) {
            self.sent(now, nobody, kind, version);
            self.ended(now, &Report { id: nobody, outcome: Outcome::Accepted, attempts: 0, message: None });
        }
    }

    /// The end of a notification, of which it returns the kind. It ignores one that is not in flight.
    pub(crate) fn ended(&mut self, now: Timestamp, report: &Report) -> Option<Kind> {
        let flight = self.in_flight.take_if(|f| f.id == report.id)?;
        if report.message.is_some() {
            self.message = report.message.clone();
        }
        match (&report.outcome, flight.kind) {
            (Outcome::Accepted, Kind::Resolve) => self.notified = Notified::Closed,
            (Outcome::Accepted, Kind::Acknowledge) => self.refused = 0,
            (Outcome::Accepted, _) => {
                self.notified = Notified::Open;
                self.opened_at = self.opened_at.or(Some(now));
                self.version = flight.version;
                self.refused = 0;
            }
            (Outcome::Rejected(rejection), _) => {
                self.ambiguous |= rejection.ambiguous;
                let wait = RETRY_FIRST.as_millis() << self.refused.min(4);
                self.retry_at = Some(now + Duration::from_millis(wait.min(RETRY_LONGEST.as_millis())));
                self.refused_version = flight.version;
                self.refused += 1;
                self.not_taken(flight);
                if self.gone && flight.kind == Kind::Resolve {
                    self.give_up_at = self.give_up_at.or(Some(now + GONE));
                }
            }
            (Outcome::Recalled { ambiguous }, _) => {
                self.ambiguous |= ambiguous;
                self.not_taken(flight);
                let first = flight.replaces;
                self.recalled = Some(Recalled {
                    id: first.map_or(flight.id, |first| first.id),
                    at: first.map_or(flight.at, |first| first.at),
                    kind: flight.kind,
                    attempts: report.attempts,
                    ambiguous: *ambiguous,
                });
            }
        }
        Some(flight.kind)
    }

    /// The receiver did not take a notification. The channel tells its content again once that is due. After
    /// a resolve the group may fire again, and then an update says which alerts resolved.
    fn not_taken(&mut self, flight: InFlight) {
        if flight.kind == Kind::Acknowledge && self.acknowledged == Acknowledged::Told {
            self.acknowledged = Acknowledged::Nothing;
        }
        let news = matches!(flight.kind, Kind::Update | Kind::Resolve);
        self.owes |= flight.owed || news && self.version >= flight.version;
    }

    /// The integration as the configuration has it now. `None` if it left the configuration.
    pub(crate) fn adopt(&mut self, integration: Option<&IntegrationRef>) {
        let returns = self.gone && integration.is_some();
        self.gone = integration.is_none();
        if returns {
            // It refused nothing: it was not there.
            self.refused = 0;
            self.retry_at = None;
        }
        if let Some(known) = integration {
            self.give_up_at = None;
            // A message stands where it was posted.
            self.message = self.message.take().filter(|_| self.endpoint == known.endpoint);
            (self.integration, self.endpoint) = (known.name.clone(), known.endpoint);
            (self.send_resolved, self.send_updates) = (known.send_resolved, known.send_updates);
            self.known_by = known.known_by;
            self.takes_acknowledgements = known.takes_acknowledgements;
            self.most_alerts = match self.is_open() {
                true => self.most_alerts.max(known.most_alerts),
                false => known.most_alerts,
            };
        }
    }

    /// A person asks to try the refused notification now.
    pub(crate) fn retry_now(&mut self) {
        self.retry_at = None;
    }
}

#[cfg(test)]
mod tests;
