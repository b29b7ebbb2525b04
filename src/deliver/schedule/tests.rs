//! The schedule in virtual time.

use super::*;
use crate::model::{Recalled, Timestamp};
use crate::receivers::{FailureReason, Notifier};

fn notification(id: u64, kind: Kind, level: u8) -> Notification {
    Notification {
        id: NotificationId(id),
        integration: "console[0]".into(),
        dedup_key: "k".into(),
        group_key: "{}:{}".into(),
        severity: "critical".into(),
        level: (level, 3),
        ..Notification::new(Timestamp::from_millis(0), "r", kind)
    }
}

fn schedule(concurrency: usize, now: Instant) -> Schedule {
    let limits = ScheduleLimits {
        concurrency,
        backoff: Backoff::default(),
        circuit_after: 5,
        retry_after_max: Duration::from_secs(600),
    };
    Schedule::new(limits, Arc::new(Pacer::new(None, now)))
}

fn down() -> Result<(), AttemptError> {
    Err(AttemptError::passing(FailureReason::ServerError, "status 500"))
}

/// Steps to the next attempt in virtual time.
fn step(schedule: &mut Schedule, now: &mut Instant) -> u64 {
    loop {
        match schedule.next(*now) {
            Next::Start(id) => return id.0,
            Next::At(at) => *now = at.max(*now),
            Next::Recalled(n, _) => panic!("{} is recalled", n.id.0),
            Next::Nothing => panic!("nothing to do"),
        }
    }
}

#[test]
fn pages_first_then_updates_then_resolves_by_severity_and_age() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    let waiting = [
        (1, Kind::Digest, 0),
        (2, Kind::Update, 0),
        (3, Kind::Resolve, 0),
        (4, Kind::Page, 2),
        (5, Kind::Page, 0),
        (6, Kind::Page, 0),
    ];
    for (id, kind, level) in waiting {
        assert!(schedule.push(notification(id, kind, level), false, None));
    }
    assert!(!schedule.push(notification(6, Kind::Page, 0), false, None));
    let order: Vec<u64> = (0..6).map(|_| step(&mut schedule, &mut now)).collect();
    assert_eq!(order, [5, 6, 4, 2, 3, 1]);
}

#[test]
fn no_more_attempts_at_once_than_allowed() {
    let mut now = Instant::now();
    let mut schedule = schedule(2, now);
    for id in 1..=3 {
        schedule.push(notification(id, Kind::Page, 0), false, None);
    }
    assert_eq!(step(&mut schedule, &mut now), 1);
    assert_eq!(step(&mut schedule, &mut now), 2);
    assert_eq!(schedule.next(now), Next::Nothing);
    assert!(schedule.settle(NotificationId(1), Ok(()), now).is_some());
    assert_eq!(schedule.next(now), Next::Start(NotificationId(3)));
}

#[test]
fn an_open_circuit_lets_one_probe_out_and_closes_on_success() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    for id in 1..=8 {
        schedule.push(notification(id, Kind::Page, 0), false, None);
    }
    let began = now;
    for _ in 0..5 {
        let id = step(&mut schedule, &mut now);
        assert_eq!(schedule.settle(NotificationId(id), down(), now), None);
    }
    assert!(schedule.circuit_is_open());
    assert_eq!(now, began, "the first five leave at once");
    assert!(matches!(schedule.next(now), Next::At(_)));
    assert_eq!(step(&mut schedule, &mut now), 6, "the never tried probe first");
    assert_eq!(schedule.next(now + Duration::from_secs(3600)), Next::Nothing, "one at a time");
    schedule.settle(NotificationId(6), Ok(()), now);
    assert!(!schedule.circuit_is_open());
    let mut rest: Vec<u64> = (0..7).map(|_| step(&mut schedule, &mut now)).collect();
    rest.sort_unstable();
    assert_eq!(rest, [1, 2, 3, 4, 5, 7, 8], "nobody waits out a pause when the receiver is back");
}

#[test]
fn a_page_that_the_receiver_cannot_stomach_does_not_hold_back_the_others() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    let began = now;
    for _ in 0..20 {
        assert_eq!(step(&mut schedule, &mut now), 1);
        schedule.settle(NotificationId(1), down(), now);
    }
    assert!(now - began > Duration::from_secs(300), "the pauses grow: {:?}", now - began);
    schedule.push(notification(2, Kind::Update, 2), false, None);
    let asked = now;
    assert_eq!(step(&mut schedule, &mut now), 2);
    assert!(now - asked <= Duration::from_millis(500));
    assert!(schedule.settle(NotificationId(2), Ok(()), now).is_some());
    assert_eq!(step(&mut schedule, &mut now), 1);
}

#[test]
fn retry_after_holds_the_integration_and_is_capped() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    assert_eq!(step(&mut schedule, &mut now), 1);
    let asked = |seconds| {
        let error = AttemptError::passing(FailureReason::RateLimited, "status 429");
        Err(AttemptError { retry: Retry::After(Duration::from_secs(seconds)), ..error })
    };
    schedule.settle(NotificationId(1), asked(30), now);
    schedule.push(notification(2, Kind::Page, 0), false, None);
    assert_eq!(schedule.next(now), Next::At(now + Duration::from_secs(30)));
    let before = now;
    assert_eq!(step(&mut schedule, &mut now), 1, "the older page first");
    assert_eq!(now - before, Duration::from_secs(30));
    schedule.settle(NotificationId(1), asked(1_000_000), now);
    let before = now;
    step(&mut schedule, &mut now);
    assert_eq!(now - before, Duration::from_secs(600));
    schedule.settle(NotificationId(1), asked(0), now);
    let before = now;
    step(&mut schedule, &mut now);
    assert_eq!(now - before, Duration::from_millis(500));
}

#[test]
fn the_end_says_how_many_attempts_and_whether_one_may_have_been_accepted() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    step(&mut schedule, &mut now);
    let lost = AttemptError {
        ambiguous: true,
        ..AttemptError::passing(FailureReason::ContextDeadlineExceeded, "no answer")
    };
    schedule.settle(NotificationId(1), Err(lost), now);
    assert!(schedule.job(NotificationId(1)).unwrap().possible_repeat);
    step(&mut schedule, &mut now);
    let refused = Err(AttemptError::refused(FailureReason::AuthError, "status 401"));
    let report = schedule.settle(NotificationId(1), refused, now).unwrap();
    let Outcome::Rejected(rejection) = report.outcome else { panic!("{report:?}") };
    assert_eq!((report.attempts, rejection.reason.as_str(), rejection.ambiguous), (2, "authError", true));
    assert_eq!(schedule.len(), 0);
}

#[test]
fn a_drain_tries_what_was_never_tried_and_nothing_else() {
    let mut now = Instant::now();
    let mut schedule = schedule(1, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    schedule.push(notification(2, Kind::Page, 0), false, None);
    step(&mut schedule, &mut now);
    schedule.settle(NotificationId(1), down(), now);
    schedule.drain();
    assert!(!schedule.is_drained());
    assert_eq!(step(&mut schedule, &mut now), 2);
    schedule.settle(NotificationId(2), Ok(()), now);
    assert_eq!(schedule.next(now + Duration::from_secs(3600)), Next::Nothing);
    assert!(schedule.is_drained());
    assert_eq!(schedule.len(), 1);
}

fn undecided(verdict: Verdict) -> Result<(), AttemptError> {
    let error = AttemptError::passing(FailureReason::Other, "status 200 with \"\" instead of ok");
    Err(AttemptError { retry: Retry::Undecided(verdict), ambiguous: verdict == Verdict::Accepted, ..error })
}

#[test]
fn the_third_answer_that_does_not_decide_is_taken_as_the_end() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    for (id, verdict) in [(1, Verdict::Accepted), (2, Verdict::Refused)] {
        schedule.push(notification(id, Kind::Page, 0), false, None);
        for attempt in 1..=3 {
            assert_eq!(step(&mut schedule, &mut now), id);
            let job = schedule.job(NotificationId(id)).unwrap();
            assert_eq!(job.possible_repeat, attempt > 1 && verdict == Verdict::Accepted, "{attempt}");
            let report = schedule.settle(NotificationId(id), undecided(verdict), now);
            assert_eq!(report.is_some(), attempt == 3, "{verdict:?}, attempt {attempt}");
            assert!(!schedule.circuit_is_open());
            if let Some(report) = report {
                let accepted = report.outcome == Outcome::Accepted;
                assert_eq!((report.attempts, accepted), (3, verdict == Verdict::Accepted));
            }
        }
    }
}

#[test]
fn an_answer_that_does_not_decide_is_asked_for_once_more_after_a_restart() {
    let mut now = Instant::now();
    let mut schedule = schedule(8, now);
    schedule.push(notification(1, Kind::Page, 0), true, None);
    // It was not taken: this is no answer that does not decide.
    step(&mut schedule, &mut now);
    assert_eq!(schedule.settle(NotificationId(1), down(), now), None);
    step(&mut schedule, &mut now);
    let report = schedule.settle(NotificationId(1), undecided(Verdict::Accepted), now).unwrap();
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
}

/// A storm at PagerDuty: as many notifications as its key allows leave at once, and the pages leave first.
#[test]
fn over_the_pace_pages_leave_before_updates_before_resolves() {
    let mut now = Instant::now();
    let pace = crate::deliver::tests::pagerduty("k").pace();
    let limits = ScheduleLimits { concurrency: 1000, ..schedule(1, now).limits };
    let mut schedule = Schedule::new(limits, Arc::new(Pacer::new(pace, now)));
    let kinds = [Kind::Resolve, Kind::Update, Kind::Page];
    for id in 0..180 {
        schedule.push(notification(id, kinds[id as usize / 60], 0), false, None);
    }
    let began = now;
    let mut left = |expected: Kind, now: &mut Instant| {
        for _ in 0..60 {
            let id = step(&mut schedule, now);
            assert_eq!(schedule.job(NotificationId(id)).unwrap().notification.kind, expected);
        }
    };
    left(Kind::Page, &mut now);
    left(Kind::Update, &mut now);
    assert_eq!(now, began, "120 leave at once");
    left(Kind::Resolve, &mut now);
    assert_eq!(now - began, Duration::from_secs(30));
}

/// Two integrations with one key are one to PagerDuty.
#[test]
fn schedules_that_share_a_pacer_share_its_pace() {
    let now = Instant::now();
    let pace = crate::deliver::tests::pagerduty("k").pace();
    let pacer = Arc::new(Pacer::new(pace, now));
    let limits = ScheduleLimits { concurrency: 1000, ..schedule(1, now).limits };
    let mut two = [Schedule::new(limits, pacer.clone()), Schedule::new(limits, pacer)];
    let mut started = 0;
    for schedule in &mut two {
        for id in 0..100 {
            schedule.push(notification(id, Kind::Page, 0), false, None);
        }
        while matches!(schedule.next(now), Next::Start(_)) {
            started += 1;
        }
    }
    assert_eq!(started, 120);
}

#[test]
fn what_must_wait_leaves_later_and_holds_up_nothing_else() {
    let start = Instant::now();
    let (mut now, mut schedule) = (start, schedule(8, start));
    let wait = Duration::from_secs(10);
    assert!(schedule.push(notification(1, Kind::Resolve, 0), false, Some(start + wait)));
    assert_eq!(schedule.next(now), Next::At(start + wait));
    assert!(schedule.push(notification(2, Kind::Resolve, 0), false, None));
    assert_eq!((step(&mut schedule, &mut now), now), (2, start));
    schedule.settle(NotificationId(2), Ok(()), now);
    assert_eq!((step(&mut schedule, &mut now), now), (1, start + wait));
}

/// Steps to the next recall in virtual time.
fn recall(schedule: &mut Schedule, now: &mut Instant) -> Report {
    loop {
        match schedule.next(*now) {
            Next::Recalled(_, report) => return report,
            Next::At(at) => *now = at.max(*now),
            other => panic!("{other:?}"),
        }
    }
}

/// The notification that takes the place of one that came back with this report.
fn successor(id: u64, report: &Report, kind: Kind) -> Notification {
    let Outcome::Recalled { ambiguous } = report.outcome else { panic!("{report:?}") };
    let (first, at) = (report.id, Timestamp::from_millis(0));
    let replaces = Recalled { id: first, at, kind: Kind::Page, attempts: report.attempts, ambiguous };
    Notification { replaces: Some(replaces), ..notification(id, kind, 0) }
}

fn recalling(concurrency: usize, now: Instant) -> (Schedule, Arc<Recalls>) {
    let recalls = Arc::new(Recalls::default());
    (schedule(concurrency, now).with_recalls(recalls.clone()), recalls)
}

#[test]
fn a_recalled_notification_comes_back_where_its_next_attempt_would_begin() {
    let start = Instant::now();
    let (mut now, (mut schedule, recalls)) = (start, recalling(8, start));
    schedule.push(notification(1, Kind::Page, 0), false, None);
    for _ in 0..3 {
        step(&mut schedule, &mut now);
        schedule.settle(NotificationId(1), down(), now);
    }
    let Next::At(due) = schedule.next(now) else { panic!("it waits") };
    recalls.ask(NotificationId(1));
    assert_eq!(schedule.next(now), Next::At(due), "its wait goes on");
    let report = recall(&mut schedule, &mut now);
    assert_eq!((now, report.id.0, report.attempts), (due, 1, 3));
    assert_eq!(report.outcome, Outcome::Recalled { ambiguous: false });
    assert_eq!((schedule.len(), schedule.next(now)), (0, Next::Nothing));
    // The present state leaves at once, and its wait is as long as the fourth of the first one.
    schedule.push(successor(2, &report, Kind::Page), false, None);
    assert_eq!((step(&mut schedule, &mut now), now), (2, due));
    assert!(!schedule.job(NotificationId(2)).unwrap().possible_repeat);
    schedule.settle(NotificationId(2), down(), now);
    let wait = Backoff::default().wait(NotificationId(2), 4);
    assert_eq!(schedule.next(now), Next::At(now + wait));
    step(&mut schedule, &mut now);
    assert_eq!(schedule.settle(NotificationId(2), Ok(()), now).unwrap().attempts, 5);
}

#[test]
fn an_answer_to_an_attempt_under_way_is_the_end_of_a_recalled_notification() {
    for refuses in [false, true] {
        let mut now = Instant::now();
        let (mut schedule, recalls) = recalling(8, now);
        schedule.push(notification(1, Kind::Page, 0), false, None);
        step(&mut schedule, &mut now);
        recalls.ask(NotificationId(1));
        assert_eq!(schedule.next(now), Next::Nothing);
        let refused = AttemptError::refused(FailureReason::AuthError, "status 401");
        let answer = if refuses { Err(refused) } else { Ok(()) };
        let outcome = schedule.settle(NotificationId(1), answer, now).unwrap().outcome;
        assert_eq!(outcome == Outcome::Accepted, !refuses);
        assert!(!matches!(outcome, Outcome::Recalled { .. }));
    }
}

#[test]
fn an_attempt_that_may_have_been_accepted_marks_the_recall_and_its_page() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    step(&mut schedule, &mut now);
    recalls.ask(NotificationId(1));
    let late = AttemptError::passing(FailureReason::ContextDeadlineExceeded, "no answer");
    schedule.settle(NotificationId(1), Err(AttemptError { ambiguous: true, ..late }), now);
    let report = recall(&mut schedule, &mut now);
    assert_eq!(report.outcome, Outcome::Recalled { ambiguous: true });
    schedule.push(successor(2, &report, Kind::Page), false, None);
    schedule.push(successor(3, &report, Kind::Resolve), false, None);
    assert!(schedule.job(NotificationId(2)).unwrap().possible_repeat);
    assert!(!schedule.job(NotificationId(3)).unwrap().possible_repeat, "no resolve was said before");
}

#[test]
fn a_notification_that_was_never_tried_leaves_as_it_is() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    recalls.ask(NotificationId(1));
    assert_eq!(step(&mut schedule, &mut now), 1);
}

/// The attempts of an earlier process are not known.
#[test]
fn a_notification_of_an_earlier_process_may_have_been_accepted() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    schedule.push(notification(1, Kind::Page, 0), true, None);
    step(&mut schedule, &mut now);
    schedule.settle(NotificationId(1), down(), now);
    recalls.ask(NotificationId(1));
    let report = recall(&mut schedule, &mut now);
    assert_eq!((report.attempts, report.outcome), (1, Outcome::Recalled { ambiguous: true }));
}

#[test]
fn a_refusal_after_a_restart_does_not_say_that_the_page_never_arrived() {
    for earlier in [false, true] {
        let mut now = Instant::now();
        let mut schedule = schedule(8, now);
        schedule.push(notification(1, Kind::Page, 0), earlier, None);
        step(&mut schedule, &mut now);
        let refused = AttemptError { retry: Retry::Never, ..down().unwrap_err() };
        let report = schedule.settle(NotificationId(1), Err(refused), now).unwrap();
        let Outcome::Rejected(rejection) = report.outcome else { panic!("{report:?}") };
        assert_eq!(rejection.ambiguous, earlier);
    }
}

#[test]
fn an_incident_that_never_stops_changing_is_sent_all_the_same() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    (1..20).for_each(|id| recalls.ask(NotificationId(id)));
    step(&mut schedule, &mut now);
    schedule.settle(NotificationId(1), down(), now);
    let report = recall(&mut schedule, &mut now);
    schedule.push(successor(2, &report, Kind::Page), false, None);
    assert_eq!(step(&mut schedule, &mut now), 2, "it is tried, although it is asked back already");
    schedule.settle(NotificationId(2), down(), now);
    assert_eq!(recall(&mut schedule, &mut now).id, NotificationId(2));
}

#[test]
fn a_recall_takes_no_turn_from_the_pace_and_keeps_its_place() {
    let start = Instant::now();
    let pace = crate::deliver::tests::pagerduty("k").pace();
    let recalls = Arc::new(Recalls::default());
    let limits = ScheduleLimits { concurrency: 1000, ..schedule(1, start).limits };
    let mut schedule = Schedule::new(limits, Arc::new(Pacer::new(pace, start))).with_recalls(recalls.clone());
    let mut now = start;
    schedule.push(notification(0, Kind::Page, 0), false, None);
    step(&mut schedule, &mut now);
    schedule.settle(NotificationId(0), down(), now);
    recalls.ask(NotificationId(0));
    let report = recall(&mut schedule, &mut now);
    for id in 1..200 {
        schedule.push(notification(id, Kind::Page, 0), false, None);
    }
    schedule.push(successor(200, &report, Kind::Page), false, None);
    let began = now;
    let order: Vec<u64> = (0..120).map(|_| step(&mut schedule, &mut now)).collect();
    assert_eq!((order[0], now), (200, began), "it has the place of the first one, and 120 leave at once");
}

#[test]
fn an_open_circuit_recalls_its_probe_and_sends_the_present_state_in_its_place() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    for id in 1..=2 {
        schedule.push(notification(id, Kind::Page, 0), false, None);
    }
    while !schedule.circuit_is_open() {
        let id = step(&mut schedule, &mut now);
        schedule.settle(NotificationId(id), down(), now);
    }
    let Next::At(probe) = schedule.next(now) else { panic!("the circuit is open") };
    (1..=2).for_each(|id| recalls.ask(NotificationId(id)));
    let report = recall(&mut schedule, &mut now);
    assert_eq!(now, probe, "no recall before the probe");
    schedule.push(successor(9, &report, Kind::Page), false, None);
    assert_eq!((step(&mut schedule, &mut now), now), (9, probe));
    assert_eq!(schedule.next(now + Duration::from_secs(3600)), Next::Nothing, "one probe at a time");
}

#[test]
fn a_drain_sends_no_page_that_replaces_a_tried_one() {
    let mut now = Instant::now();
    let (mut schedule, recalls) = recalling(8, now);
    schedule.push(notification(1, Kind::Page, 0), false, None);
    step(&mut schedule, &mut now);
    schedule.settle(NotificationId(1), down(), now);
    recalls.ask(NotificationId(1));
    let report = recall(&mut schedule, &mut now);
    schedule.push(successor(2, &report, Kind::Page), false, None);
    schedule.drain();
    assert!(schedule.is_drained());
    assert_eq!((schedule.next(now), schedule.len()), (Next::Nothing, 1));
}
