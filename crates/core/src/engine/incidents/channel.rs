//! The state of one incident at one integration, and the next notification for it.
//!
//! The next notification leaves only after the outcome of the previous one is known, so none overtakes
//! another. All changes of the meantime go out as one: the pager converges to the truth.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::incidents::second::Second;
use crate::model::{AlertId, Duration, Kind, NotificationId, Outcome, Report, Timestamp};
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
}

/// A refused notification is tried again with the state of that time, after this long, doubling up to
/// [`RETRY_LONGEST`].
const RETRY_FIRST: Duration = Duration::from_mins(5);
const RETRY_LONGEST: Duration = Duration::from_hours(1);

/// How long the resolve is tried at an integration that left the configuration and refused it. A person who
/// learns of it puts the integration back within a day.
const GONE: Duration = Duration::from_hours(24);

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

    /// Whether the integration left the configuration and must still get a resolve.
    pub(crate) fn is_orphan(&self) -> bool {
        let open = self.notified == Notified::Open || self.ambiguous || self.in_flight.is_some();
        self.gone
            && self.closes_at.is_none()
            && self.send_resolved
            && self.notified != Notified::Closed
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

    /// The number of alerts that it lists.
    pub(crate) fn most_alerts(&self) -> usize {
        usize::try_from(self.most_alerts).unwrap_or(usize::MAX)
    }

    /// The latest notification has become false, or may not be the last that arrived.
    pub(crate) fn owe(&mut self) {
        self.owes |= self.is_open();
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
        if wanted.closed && self.give_up_at.is_some_and(|at| at <= now) {
            self.notified = Notified::Closed;
        }
        match self.notified {
            Notified::Nothing | Notified::Open if self.gone && !wanted.closed => None,
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

    /// A notification with content `version` was decided.
    pub(crate) fn sent(&mut self, id: NotificationId, kind: Kind, version: u64) {
        self.in_flight = Some(InFlight { id, kind, version });
        self.retry_at = None;
        match kind {
            Kind::Acknowledge => self.acknowledged = Acknowledged::Told,
            _ => self.owes = false,
        }
    }

    /// Takes all that would be sent now as sent and accepted.
    pub(crate) fn pretend(&mut self, now: Timestamp, wanted: Wanted, version: u64) {
        let nobody = NotificationId(0);
        while let Some(kind) = self.next(now, wanted) {
            self.sent(nobody, kind, version);
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
                if flight.kind == Kind::Acknowledge && self.acknowledged == Acknowledged::Told {
                    self.acknowledged = Acknowledged::Nothing;
                }
                if self.gone && flight.kind == Kind::Resolve {
                    self.give_up_at = self.give_up_at.or(Some(now + GONE));
                }
                // The channel tells it again once that is due. After a refused resolve the group may fire
                // again, and then an update says which alerts resolved.
                let news = matches!(flight.kind, Kind::Update | Kind::Resolve);
                self.owes |= news && self.version >= flight.version;
            }
        }
        Some(flight.kind)
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
mod tests {
    use super::*;
    use crate::model::Rejection;

    const NOW: Timestamp = Timestamp::ZERO;
    const OPEN: Wanted = Wanted {
        version: 1,
        repeat: 1,
        over: false,
        closed: false,
        silent: false,
        waits: false,
        acknowledged: false,
    };
    const CLOSED: Wanted = Wanted { over: true, closed: true, ..OPEN };

    fn channel() -> Channel {
        Channel::new(&IntegrationRef::new("pagerduty[0]", KnownBy::DedupKey))
    }

    fn report(id: u64, outcome: Outcome) -> Report {
        Report { id: NotificationId(id), outcome, attempts: 1, message: None }
    }

    fn refusal(ambiguous: bool) -> Outcome {
        Outcome::Rejected(Rejection { reason: "clientError".into(), detail: String::new(), ambiguous })
    }

    #[test]
    fn a_resolve_never_overtakes_its_page() {
        let mut c = channel();
        assert_eq!(c.next(NOW, OPEN), Some(Kind::Page));
        c.sent(NotificationId(1), Kind::Page, 1);
        let closed = CLOSED;
        assert_eq!(c.next(NOW, closed), None);
        assert_eq!(c.ended(NOW, &report(1, Outcome::Accepted)), Some(Kind::Page));
        assert_eq!(c.next(NOW, closed), Some(Kind::Resolve));
        c.sent(NotificationId(2), Kind::Resolve, 1);
        assert_eq!(c.ended(NOW, &report(1, Outcome::Accepted)), None, "an old report changes nothing");
        c.ended(NOW, &report(2, Outcome::Accepted));
        assert!(c.settled());
    }

    #[test]
    fn an_acknowledgement_follows_its_page_and_never_its_resolve() {
        let mut c = Channel { takes_acknowledgements: true, ..channel() };
        let taken = Wanted { acknowledged: true, ..OPEN };
        assert_eq!(c.next(NOW, taken), Some(Kind::Page));
        c.sent(NotificationId(1), Kind::Page, 1);
        assert_eq!(c.next(NOW, taken), None, "the page is not accepted yet");
        c.ended(NOW, &report(1, Outcome::Accepted));
        assert_eq!(c.clone().next(NOW, Wanted { acknowledged: true, ..CLOSED }), Some(Kind::Resolve));
        assert_eq!(c.next(NOW, taken), Some(Kind::Acknowledge));
        c.sent(NotificationId(2), Kind::Acknowledge, 1);
        c.ended(NOW, &report(2, refusal(false)));
        assert_eq!(c.next(NOW, taken), None);
        assert_eq!(c.clone().next(NOW, Wanted { version: 2, ..taken }), Some(Kind::Update));
        assert_eq!(c.next(c.retry_at().unwrap(), taken), Some(Kind::Acknowledge));
        c.sent(NotificationId(3), Kind::Acknowledge, 1);
        c.ended(NOW, &report(3, Outcome::Accepted));
        assert_eq!(c.next(NOW, taken), None, "it knows");
        assert_eq!(
            c.next(NOW, Wanted { version: 2, ..taken }),
            Some(Kind::Update),
            "it says nothing of this"
        );
    }

    #[test]
    fn changes_during_flight_go_out_as_one() {
        let mut c = channel();
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, Outcome::Accepted));
        assert_eq!(c.next(NOW, OPEN), None);
        let wanted = Wanted { version: 5, ..OPEN };
        assert_eq!(c.next(NOW, wanted), Some(Kind::Update));
        c.sent(NotificationId(2), Kind::Update, 5);
        c.ended(NOW, &report(2, Outcome::Accepted));
        assert_eq!(c.next(NOW, wanted), None);
    }

    #[test]
    fn a_message_is_remembered_until_the_integration_leads_elsewhere() {
        let posted = |id, name: &str| Report { message: Some(name.into()), ..report(id, Outcome::Accepted) };
        let mut c = channel();
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &posted(1, "C1 1.5"));
        c.sent(NotificationId(2), Kind::Update, 2);
        c.ended(NOW, &report(2, Outcome::Accepted));
        assert_eq!(c.message.as_deref(), Some("C1 1.5"), "an update names none, and changed this one");
        let same = IntegrationRef::new("slack[1]", KnownBy::Nothing);
        c.adopt(Some(&same));
        assert!(c.message.is_some(), "another position, and the same place");
        c.adopt(Some(&IntegrationRef { endpoint: 7, ..same }));
        assert_eq!(c.message, None);
    }

    #[test]
    fn a_refused_page_is_tried_anew_and_suppresses_nothing() {
        let mut c = channel();
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, refusal(false)));
        assert_eq!(c.next(NOW, OPEN), None);
        assert_eq!(c.clone().next(NOW, Wanted { version: 2, ..OPEN }), Some(Kind::Page), "it says more now");
        assert_eq!(c.next(c.retry_at().unwrap(), OPEN), Some(Kind::Page));
        c.retry_now();
        assert_eq!(c.next(NOW, OPEN), Some(Kind::Page));
        assert_eq!(c.next(NOW, CLOSED), None, "nothing was opened");
        assert!(c.settled());
    }

    #[test]
    fn a_refused_resolve_is_owed_as_an_update_if_the_group_fires_again() {
        let mut c = channel();
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, Outcome::Accepted));
        c.sent(NotificationId(2), Kind::Resolve, 1);
        c.ended(NOW, &report(2, refusal(false)));
        let due = c.retry_at().unwrap();
        assert_eq!(c.clone().next(due, CLOSED), Some(Kind::Resolve));
        assert_eq!(c.next(due, OPEN), Some(Kind::Update), "the receiver still shows all of it as firing");
    }

    #[test]
    fn what_may_have_been_opened_is_closed() {
        let mut c = channel();
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, refusal(true)));
        c.retry_now();
        assert_eq!(c.next(NOW, CLOSED), Some(Kind::Resolve));
    }

    #[test]
    fn an_integration_that_is_gone_is_told_of_the_end_and_of_nothing_else() {
        let (mut c, mut paged) = (channel(), channel());
        c.adopt(None);
        assert_eq!(c.next(NOW, OPEN), None, "it is not paged");
        assert!(!c.is_orphan());
        assert_eq!(c.next(NOW, CLOSED), None);
        assert!(c.settled());
        paged.sent(NotificationId(1), Kind::Page, 1);
        paged.ended(NOW, &report(1, Outcome::Accepted));
        paged.adopt(None);
        assert!(paged.is_orphan());
        assert_eq!(paged.next(NOW, Wanted { version: 9, repeat: 9, ..OPEN }), None);
        let over = CLOSED;
        let mut now = NOW;
        for attempt in 2.. {
            now = paged.retry_at().unwrap_or(now);
            let Some(kind) = paged.next(now, over) else { break };
            assert_eq!(kind, Kind::Resolve);
            paged.sent(NotificationId(attempt), kind, 1);
            paged.ended(now, &report(attempt, refusal(false)));
            assert!(paged.is_orphan() && paged.end_was_refused());
        }
        assert!(
            paged.settled() && now >= NOW + GONE,
            "it is given up after a day of refusals, and not before"
        );
    }

    #[test]
    fn without_updates_only_repeats_are_told() {
        let slack = IntegrationRef::new("slack[0]", KnownBy::Nothing);
        let slack = IntegrationRef { send_resolved: false, send_updates: false, ..slack };
        let mut c = Channel::new(&slack);
        c.sent(NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, Outcome::Accepted));
        assert_eq!(c.next(NOW, Wanted { version: 7, ..OPEN }), None);
        assert_eq!(c.next(NOW, Wanted { version: 7, repeat: 7, ..OPEN }), Some(Kind::Update));
        assert_eq!(c.next(NOW, CLOSED), None);
        assert!(c.settled());
    }
}
