//! One channel: the next notification, and each end of it.

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
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    let closed = CLOSED;
    assert_eq!(c.next(NOW, closed), None);
    assert_eq!(c.ended(NOW, &report(1, Outcome::Accepted)), Some(Kind::Page));
    assert_eq!(c.next(NOW, closed), Some(Kind::Resolve));
    c.sent(NOW, NotificationId(2), Kind::Resolve, 1);
    assert_eq!(c.ended(NOW, &report(1, Outcome::Accepted)), None, "an old report changes nothing");
    c.ended(NOW, &report(2, Outcome::Accepted));
    assert!(c.settled());
}

#[test]
fn an_acknowledgement_follows_its_page_and_never_its_resolve() {
    let mut c = Channel { takes_acknowledgements: true, ..channel() };
    let taken = Wanted { acknowledged: true, ..OPEN };
    assert_eq!(c.next(NOW, taken), Some(Kind::Page));
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    assert_eq!(c.next(NOW, taken), None, "the page is not accepted yet");
    c.ended(NOW, &report(1, Outcome::Accepted));
    assert_eq!(c.clone().next(NOW, Wanted { acknowledged: true, ..CLOSED }), Some(Kind::Resolve));
    assert_eq!(c.next(NOW, taken), Some(Kind::Acknowledge));
    c.sent(NOW, NotificationId(2), Kind::Acknowledge, 1);
    c.ended(NOW, &report(2, refusal(false)));
    assert_eq!(c.next(NOW, taken), None);
    assert_eq!(c.clone().next(NOW, Wanted { version: 2, ..taken }), Some(Kind::Update));
    assert_eq!(c.next(c.retry_at().unwrap(), taken), Some(Kind::Acknowledge));
    c.sent(NOW, NotificationId(3), Kind::Acknowledge, 1);
    c.ended(NOW, &report(3, Outcome::Accepted));
    assert_eq!(c.next(NOW, taken), None, "it knows");
    assert_eq!(c.next(NOW, Wanted { version: 2, ..taken }), Some(Kind::Update), "it says nothing of this");
}

#[test]
fn changes_during_flight_go_out_as_one() {
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &report(1, Outcome::Accepted));
    assert_eq!(c.next(NOW, OPEN), None);
    let wanted = Wanted { version: 5, ..OPEN };
    assert_eq!(c.next(NOW, wanted), Some(Kind::Update));
    c.sent(NOW, NotificationId(2), Kind::Update, 5);
    c.ended(NOW, &report(2, Outcome::Accepted));
    assert_eq!(c.next(NOW, wanted), None);
}

#[test]
fn a_message_is_remembered_until_the_integration_leads_elsewhere() {
    let posted = |id, name: &str| Report { message: Some(name.into()), ..report(id, Outcome::Accepted) };
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &posted(1, "C1 1.5"));
    c.sent(NOW, NotificationId(2), Kind::Update, 2);
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
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
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
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &report(1, Outcome::Accepted));
    c.sent(NOW, NotificationId(2), Kind::Resolve, 1);
    c.ended(NOW, &report(2, refusal(false)));
    let due = c.retry_at().unwrap();
    assert_eq!(c.clone().next(due, CLOSED), Some(Kind::Resolve));
    assert_eq!(c.next(due, OPEN), Some(Kind::Update), "the receiver still shows all of it as firing");
}

#[test]
fn what_may_have_been_opened_is_closed() {
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
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
    paged.sent(NOW, NotificationId(1), Kind::Page, 1);
    paged.ended(NOW, &report(1, Outcome::Accepted));
    paged.adopt(None);
    assert!(paged.is_orphan());
    let console = Channel { known_by: KnownBy::Nothing, ..paged.clone() };
    assert!(!console.is_orphan(), "nothing is open there");
    assert_eq!(paged.next(NOW, Wanted { version: 9, repeat: 9, ..OPEN }), None);
    let over = CLOSED;
    let mut now = NOW;
    for attempt in 2.. {
        now = paged.retry_at().unwrap_or(now);
        let Some(kind) = paged.next(now, over) else { break };
        assert_eq!(kind, Kind::Resolve);
        paged.sent(NOW, NotificationId(attempt), kind, 1);
        paged.ended(now, &report(attempt, refusal(false)));
        assert!(paged.is_orphan() && paged.end_was_refused());
    }
    assert!(paged.settled() && now >= NOW + GONE, "it is given up after a day of refusals, and not before");
}

#[test]
fn without_updates_only_repeats_are_told() {
    let slack = IntegrationRef::new("slack[0]", KnownBy::Nothing);
    let slack = IntegrationRef { send_resolved: false, send_updates: false, ..slack };
    let mut c = Channel::new(&slack);
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &report(1, Outcome::Accepted));
    assert_eq!(c.next(NOW, Wanted { version: 7, ..OPEN }), None);
    assert_eq!(c.next(NOW, Wanted { version: 7, repeat: 7, ..OPEN }), Some(Kind::Update));
    assert_eq!(c.next(NOW, CLOSED), None);
    assert!(c.settled());
}

fn recalled(ambiguous: bool) -> Outcome {
    Outcome::Recalled { ambiguous }
}

#[test]
fn a_page_that_waits_is_asked_back_once_and_leaves_with_the_present_state() {
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    assert_eq!(c.recall(NOW, OPEN, 1), None, "it says the present state");
    let newer = Wanted { version: 2, ..OPEN };
    assert_eq!(c.recall(NOW, newer, 2), Some(NotificationId(1)));
    assert_eq!(c.recall(NOW, Wanted { version: 3, ..OPEN }, 3), None, "it was asked already");
    c.recall_anew();
    assert_eq!(c.recall(NOW, newer, 2), Some(NotificationId(1)), "delivery has forgotten it");
    assert_eq!(c.next(NOW, newer), None, "it may still be accepted");
    let back = Report { attempts: 7, ..report(1, recalled(false)) };
    assert_eq!(c.ended(NOW, &back), Some(Kind::Page));
    assert!(c.is_waiting() && !c.refuses() && !c.was_refused());
    assert_eq!(c.next(NOW, newer), Some(Kind::Page));
    let later = NOW + Duration::from_secs(5);
    let first = c.sent(later, NotificationId(2), Kind::Page, 2);
    let row = Recalled { id: NotificationId(1), at: NOW, kind: Kind::Page, attempts: 7, ambiguous: false };
    assert_eq!(first, Some(row));
    assert_eq!(c.recall(NOW, newer, 2), None, "no content is asked back for itself");
    c.ended(NOW, &Report { attempts: 9, ..report(2, recalled(true)) });
    let second = c.sent(later, NotificationId(3), Kind::Page, 3);
    assert_eq!(second, Some(Recalled { attempts: 9, ambiguous: true, ..row }), "the first one's age is kept");
    c.ended(NOW, &report(3, Outcome::Accepted));
    assert!(c.was_opened());
    assert_eq!(c.sent(later, NotificationId(4), Kind::Update, 4), None, "nothing was recalled since");
}

#[test]
fn a_page_whose_incident_ended_while_it_waited_is_not_sent() {
    for (ambiguous, then) in [(false, None), (true, Some(Kind::Resolve))] {
        let mut c = channel();
        c.sent(NOW, NotificationId(1), Kind::Page, 1);
        assert_eq!(c.recall(NOW, CLOSED, 1), Some(NotificationId(1)));
        c.ended(NOW, &report(1, recalled(ambiguous)));
        assert_eq!(c.next(NOW, CLOSED), then, "ambiguous: {ambiguous}");
        assert_eq!(c.settled(), then.is_none());
        assert_eq!(c.sent(NOW, NotificationId(2), Kind::Resolve, 1).is_some(), then.is_some());
    }
}

#[test]
fn an_answer_counts_although_the_notification_is_asked_back() {
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    assert_eq!(c.recall(NOW, CLOSED, 1), Some(NotificationId(1)));
    let mut refused = c.clone();
    c.ended(NOW, &report(1, Outcome::Accepted));
    assert_eq!(c.next(NOW, CLOSED), Some(Kind::Resolve));
    refused.ended(NOW, &report(1, refusal(false)));
    assert!(refused.refuses());
}

#[test]
fn an_update_that_is_owed_is_owed_again_after_its_recall_or_refusal() {
    let slack = IntegrationRef::new("slack[0]", KnownBy::Nothing);
    for end in [recalled(false), refusal(false)] {
        let mut c = Channel::new(&IntegrationRef { send_updates: false, ..slack.clone() });
        c.sent(NOW, NotificationId(1), Kind::Page, 1);
        c.ended(NOW, &report(1, Outcome::Accepted));
        c.owe();
        let wanted = Wanted { version: 2, ..OPEN };
        assert_eq!(c.next(NOW, wanted), Some(Kind::Update));
        c.sent(NOW, NotificationId(2), Kind::Update, 2);
        assert_eq!(c.recall(NOW, wanted, 2), None, "it is as it should be");
        c.owe();
        assert_eq!(c.recall(NOW, wanted, 2), Some(NotificationId(2)), "it has become false");
        c.ended(NOW, &report(2, end));
        c.retry_now();
        assert_eq!(c.next(NOW, wanted), Some(Kind::Update));
    }
}

#[test]
fn a_resolve_that_waits_is_asked_back_if_the_group_fires_again() {
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &report(1, Outcome::Accepted));
    c.sent(NOW, NotificationId(2), Kind::Resolve, 2);
    assert_eq!(c.recall(NOW, Wanted { version: 2, ..CLOSED }, 2), None);
    let fires = Wanted { version: 3, ..OPEN };
    assert_eq!(c.recall(NOW, fires, 3), Some(NotificationId(2)));
    c.ended(NOW, &report(2, recalled(true)));
    assert_eq!(c.next(NOW, fires), Some(Kind::Update));
}

#[test]
fn an_acknowledgement_that_was_taken_back_is_asked_back() {
    let mut c = Channel { takes_acknowledgements: true, ..channel() };
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    c.ended(NOW, &report(1, Outcome::Accepted));
    let taken = Wanted { acknowledged: true, ..OPEN };
    c.sent(NOW, NotificationId(2), Kind::Acknowledge, 1);
    assert_eq!(c.recall(NOW, taken, 1), None);
    c.take_back();
    assert_eq!(c.recall(NOW, OPEN, 1), Some(NotificationId(2)));
    c.ended(NOW, &report(2, recalled(false)));
    assert_eq!(c.next(NOW, OPEN), None);
    assert_eq!(c.next(NOW, taken), Some(Kind::Acknowledge), "the next one is news");
}

#[test]
fn a_page_that_waits_is_not_lost_when_its_integration_leaves_the_configuration() {
    let newer = Wanted { version: 2, ..OPEN };
    let mut c = channel();
    c.sent(NOW, NotificationId(1), Kind::Page, 1);
    let mut asked = c.clone();
    c.adopt(None);
    assert_eq!(c.recall(NOW, newer, 2), None, "nothing would take its place");
    assert_eq!(c.recall(NOW, CLOSED, 2), Some(NotificationId(1)), "nothing is left to say");
    // It was asked back before it left, and came back after that.
    assert_eq!(asked.recall(NOW, newer, 2), Some(NotificationId(1)));
    asked.adopt(None);
    asked.ended(NOW, &report(1, recalled(false)));
    assert_eq!(asked.next(NOW, newer), Some(Kind::Page));
    asked.sent(NOW, NotificationId(2), Kind::Page, 2);
    asked.ended(NOW, &report(2, refusal(false)));
    assert_eq!(asked.next(asked.retry_at().unwrap(), newer), None, "it is gone");
}
