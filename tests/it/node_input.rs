//! What comes in: what cannot be read, and what was said before.

use super::*;

/// Input that cannot be read and keeps coming: what it would have said is lost, so a person hears of it.
#[test]
fn input_that_is_refused_for_five_minutes_pages() {
    let policy = Policy { self_watch: SelfWatch::default(), ..policy() };
    let mut bench = Bench::with(MemoryJournal::new(true), policy, Bounds::default(), T0);
    for minute in 0..5 {
        assert_eq!(bench.told(), [], "after {minute} minutes");
        bench.published.meter.lost_input();
        bench.advance(Duration::from_mins(1));
        bench.step();
    }
    let told = bench.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].group_labels.value("alertname")), (Kind::Page, "SquelchInputRefused"));
    bench.report(told[0].id, Outcome::Accepted);
    for _ in 0..6 {
        bench.advance(Duration::from_mins(1));
        bench.step();
    }
    assert_eq!(bench.told().iter().map(|n| n.kind).collect::<Vec<_>>(), [Kind::Resolve], "it is over");
}

/// A re-fire may be said in the very words of before: a repeat while it fires, and news once it does not.
#[test]
fn words_that_were_said_before_are_news_once_the_alert_resolved() {
    for source in [Source::Alertmanager, Source::Prometheus] {
        let mut bench = Bench::new();
        let mut said = firing("A");
        said.source = source;
        if source == Source::Prometheus {
            said.observations[0].ends_at = Some(Timestamp::from_millis(T0 + 240_000));
        }
        let words = [Said { who: 1, what: 2, ends_at: said.observations[0].ends_at }];
        for _ in 0..2 {
            bench.ask(|done| Command::Observe(said.clone(), words.to_vec(), done)).unwrap();
        }
        let recognised =
            |bench: &mut Bench| bench.ask(|done| Command::Recognise(source, words.into(), done)).unwrap();
        assert!(recognised(&mut bench), "{source:?}: a repeat");
        let (page, ..) = bench.sent()[0];
        bench.report(page, Outcome::Accepted);
        if source == Source::Alertmanager {
            bench.observe(batch("A", Status::Resolved)).unwrap();
        }
        bench.advance(Duration::from_mins(10));
        bench.step();
        assert_eq!(bench.alerts()[0]["status"], "resolved");
        assert!(!recognised(&mut bench), "{source:?}: it must be read, for it fires again");
    }
}
