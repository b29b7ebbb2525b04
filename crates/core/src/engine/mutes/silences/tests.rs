use super::*;
use crate::model::parse_matchers;

fn at(minute: u64) -> Timestamp {
    Timestamp::from_millis(0) + Duration::from_mins(minute)
}

fn wanted(id: &str, matchers: &str, from: u64, to: u64) -> SilenceRequest {
    SilenceRequest::Set(Silence {
        id: id.into(),
        matchers: vec![parse_matchers(matchers).unwrap()],
        starts_at: at(from),
        ends_at: at(to),
        updated_at: Timestamp::ZERO,
        created_by: "me".into(),
        comment: "why".into(),
    })
}

/// Silences with one alert that fires, `{a="1"}`.
#[derive(Default)]
struct Bench {
    silences: Silences,
    dirty: BTreeSet<AlertId>,
}

const ALERT: AlertId = AlertId(7);

impl Bench {
    fn ask(&mut self, now: u64, request: &SilenceRequest) -> Result<SmolStr, SilenceError> {
        let change = self.silences.plan(at(now), request)?;
        let labels = LabelSet::from_pairs([("a", "1")]);
        self.silences.apply(at(now), &change, [(ALERT, &labels)].into_iter(), &mut self.dirty);
        Ok(change.id().clone())
    }

    /// Whether the alert is silenced at `now`, after whether it had to be looked at anew.
    fn pass(&mut self, now: u64) -> (bool, bool) {
        let labels = LabelSet::from_pairs([("a", "1")]);
        self.silences.pass(at(now), [(ALERT, &labels)].into_iter(), &mut self.dirty);
        (std::mem::take(&mut self.dirty).contains(&ALERT), self.silences.silence_of(ALERT).is_some())
    }
}

#[test]
fn begins_ends_and_is_forgotten() {
    let mut bench = Bench::default();
    let id = bench.ask(0, &wanted("", "a=1", 10, 20)).unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(bench.pass(9), (true, false));
    assert_eq!(bench.silences.next_change(), Some(at(10)));
    assert_eq!(bench.pass(10), (true, true));
    assert_eq!(bench.silences.next_change(), Some(at(20)));
    assert_eq!(bench.pass(20), (true, false));
    assert_eq!(bench.silences.next_change(), Some(at(20) + RETENTION));
    assert_eq!(bench.pass(20 + 120 * 60 - 1), (false, false));
    assert_eq!(bench.silences.iter().count(), 1);
    bench.pass(20 + 120 * 60);
    assert_eq!(bench.silences, Silences { made: 1, ..Silences::default() });
}

#[test]
fn changes_in_place_or_makes_another() {
    let mut bench = Bench::default();
    let id = bench.ask(0, &wanted("", "a=1", 0, 20)).unwrap();
    bench.pass(5);
    assert_eq!(bench.ask(5, &wanted(&id, "a=1", 0, 60)).unwrap(), id, "longer");
    assert_eq!(bench.silences.next_change(), Some(at(60)));
    let other = bench.ask(6, &wanted(&id, "a=~1|2", 0, 60)).unwrap();
    assert_ne!(other, id, "it silences something else");
    let states: Vec<_> = bench.silences.iter().map(|(s, state)| (s.id == id, state)).collect();
    assert!(states.contains(&(true, SilenceState::Expired)));
    assert!(states.contains(&(false, SilenceState::Active)));
    assert_eq!(bench.pass(6), (true, true));
    let third = bench.ask(7, &wanted(&id, "a=1", 0, 60)).unwrap();
    assert!(third != id && third != other, "what is over does not come back");
    assert_eq!(bench.ask(8, &SilenceRequest::Expire(third)).map(|_| ()), Ok(()));
    assert_eq!(bench.pass(8), (true, true), "the other one is still there");
    bench.ask(9, &SilenceRequest::Expire(other)).unwrap();
    assert_eq!(bench.pass(9), (true, false));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::default();
    for (request, says) in [
        (wanted("", "{}", 0, 9), "at least one matcher"),
        (wanted("", "a=~\".*\"", 0, 9), "must not match the empty string"),
        (wanted("", "a=~\"x?\"", 0, 9), "must not match the empty string"),
        (wanted("", "a=1", 9, 9), "start must be before"),
        (wanted("", "a=1", 1, 2), "in the past"),
        (wanted("", &format!("a={}", "x".repeat(9000)), 0, 9), "8,192 bytes"),
        (wanted("", &["a=1"; 101].join(","), 0, 9), "100 matchers"),
        (wanted("other", "a=1", 0, 9), "no silence \"other\""),
        (SilenceRequest::Expire("other".into()), "no silence \"other\""),
    ] {
        let error = bench.ask(5, &request).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(bench.ask(5, &wanted("", "a!=x,b=1", 0, 9)).is_ok());
}

#[test]
fn a_full_house_gives_up_what_is_over_and_nothing_else() {
    let mut bench = Bench::default();
    let first = bench.ask(0, &wanted("", "b=1", 0, 1)).unwrap();
    for _ in 1..MOST {
        bench.ask(0, &wanted("", "b=1", 0, 9)).unwrap();
    }
    assert_eq!(bench.ask(0, &wanted("", "b=1", 0, 9)), Err(SilenceError::TooMany(MOST)));
    bench.pass(2);
    assert_eq!(bench.silences.iter().count(), MOST, "there is room for them all");
    bench.ask(2, &wanted("", "b=1", 2, 9)).unwrap();
    assert!(bench.silences.iter().all(|(s, _)| s.id != first));
    assert_eq!(bench.silences.iter().count(), MOST);
}

#[test]
fn an_alert_that_comes_later_is_matched_and_forgotten_with_its_end() {
    let mut bench = Bench::default();
    bench.ask(0, &wanted("", "b=1", 0, 20)).unwrap();
    let longer = bench.ask(0, &wanted("", "b=~1", 0, 30)).unwrap();
    bench.silences.heard(AlertId(1), Some(&LabelSet::from_pairs([("b", "1")])));
    bench.silences.heard(AlertId(2), Some(&LabelSet::from_pairs([("b", "2")])));
    assert_eq!(bench.silences.silence_of(AlertId(1)).map(|s| s.id.clone()), Some(longer));
    assert_eq!(bench.silences.matched.len(), 1);
    bench.silences.heard(AlertId(1), None);
    assert!(bench.silences.matched.is_empty());
}

#[test]
fn the_start_of_an_active_silence_stays_and_that_of_a_pending_one_may_move() {
    let mut bench = Bench::default();
    let active = bench.ask(0, &wanted("", "a=1", 0, 60)).unwrap();
    bench.pass(5);
    assert_ne!(bench.ask(5, &wanted(&active, "a=1", 3, 60)).unwrap(), active);
    let pending = bench.ask(5, &wanted("", "b=1", 20, 60)).unwrap();
    assert_eq!(bench.ask(6, &wanted(&pending, "b=1", 10, 60)).unwrap(), pending);
    assert_ne!(bench.ask(7, &wanted(&pending, "b=1", 3, 60)).unwrap(), pending, "it cannot begin before");
}

#[test]
fn a_silence_tells_when_it_was_changed_last() {
    let mut bench = Bench::default();
    let id = bench.ask(3, &wanted("", "a=1", 0, 20)).unwrap();
    let (silence, state) = bench.silences.one(&id).unwrap();
    assert_eq!((silence.updated_at, state), (at(3), SilenceState::Active));
    bench.ask(4, &wanted(&id, "a=1", 3, 30)).unwrap();
    assert_eq!(bench.silences.one(&id).map(|(silence, _)| silence.updated_at), Some(at(4)));
    assert_eq!(bench.silences.one("other"), None);
}

#[test]
fn only_active_silences_are_in_force() {
    let mut bench = Bench::default();
    let active = bench.ask(0, &wanted("", "a=1", 0, 20)).unwrap();
    bench.ask(0, &wanted("", "a=1", 10, 20)).unwrap();
    assert_eq!(bench.silences.in_force(ALERT).collect::<Vec<_>>(), [&active]);
}

#[test]
fn what_is_just_within_the_bounds_is_granted() {
    let mut bench = Bench::default();
    // With the author, the comment and the name of the label, that is 8 KiB.
    let texts = |more: usize| wanted("", &format!("a={}", "x".repeat(MOST_BYTES - 6 + more)), 0, 9);
    assert!(bench.ask(5, &texts(0)).is_ok());
    assert!(bench.ask(5, &texts(1)).is_err());
    assert!(bench.ask(5, &wanted("", &["a=1"; 100].join(","), 0, 9)).is_ok());
    assert!(bench.ask(5, &wanted("", "a=1", 1, 5)).is_ok(), "it ends now");
    let SilenceRequest::Set(mut none) = wanted("", "a=1", 0, 9) else { return };
    none.matchers.clear();
    let refused = bench.ask(5, &SilenceRequest::Set(none)).unwrap_err().to_string();
    assert!(refused.contains("at least one matcher"), "{refused}");
}

/// A silence of expressions that take this many times 20 KiB or so.
fn costly(bench: &mut Bench, times: usize) -> Result<SmolStr, SilenceError> {
    bench.ask(0, &costly_request(times, 60))
}

fn costly_request(times: usize, to: u64) -> SilenceRequest {
    let one = |n: usize| format!("l{n}=~\"[0-9a-f]{{100}}\"");
    let all = (0..times).map(one).chain(["a=1".to_owned()]).collect::<Vec<_>>();
    wanted("", &all.join(","), 0, to)
}

#[test]
fn a_silence_may_take_all_the_room_and_a_refusal_says_how_much_there_is() {
    let SilenceRequest::Set(wanted) = costly_request(5, 60) else { return };
    let cost = wanted.cost() as u64;
    let mut bench = Bench::default();
    bench.silences.refit(cost - 1);
    assert_eq!(costly(&mut bench, 5), Err(SilenceError::TooCostly(cost >> 10, (cost - 1) >> 10)));
    bench.silences.refit(cost);
    costly(&mut bench, 5).expect("it takes all the room");
    assert_eq!(costly(&mut bench, 5), Err(SilenceError::NoRoom(cost >> 10, 0)));
}

#[test]
fn a_silence_that_ends_gives_its_room_to_another_and_those_in_force_stay() {
    let mut bench = Bench::default();
    // The oldest two get room.
    for (now, to) in [(0, 10), (1, 20), (2, 30), (3, 40)] {
        bench.ask(now, &costly_request(5, to)).unwrap();
    }
    let one = bench.silences.known.values().map(|e| e.cost).max().unwrap();
    bench.silences.refit(one * 2);
    let without = |bench: &Bench| bench.silences.without_room().count();
    assert_eq!(without(&bench), 2);
    bench.pass(10);
    assert_eq!(without(&bench), 1, "the first one ended");
    let labels: Vec<_> = (0..5).map(|n| (format!("l{n}"), "a".repeat(100))).collect();
    let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("a", "1")]);
    bench.silences.heard(AlertId(9), Some(&LabelSet::from_pairs(labels)));
    assert_eq!(bench.silences.in_force(AlertId(9)).count(), 2);
}

#[test]
fn what_silences_take_when_compiled_is_bounded() {
    let mut bench = Bench::default();
    bench.silences.refit(1 << 20);
    let mut granted = Vec::new();
    let refused = loop {
        match costly(&mut bench, 5) {
            Ok(id) => granted.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SilenceError::NoRoom(..)), "{refused}");
    assert!((2..20).contains(&granted.len()), "{}", granted.len());
    let taken: u64 = bench.silences.known.values().map(|e| e.cost).sum();
    assert!(taken <= 1 << 20, "{taken}");
    assert!(matches!(costly(&mut bench, 90), Err(SilenceError::TooCostly(..))));
    bench.ask(1, &SilenceRequest::Expire(granted.pop().unwrap())).unwrap();
    costly(&mut bench, 5).expect("what is over takes nothing");
}

#[test]
fn what_has_no_room_silences_nothing_until_there_is_room() {
    let mut bench = Bench::default();
    let ids: Vec<SmolStr> = (0..3).map(|_| costly(&mut bench, 5).unwrap()).collect();
    let without = |bench: &Bench| bench.silences.without_room().map(|s| s.id.clone()).collect::<Vec<_>>();
    assert!(without(&bench).is_empty());
    let one = bench.silences.known[&ids[0]].cost;

    // This is as after a start with less memory: silences from the snapshot are not compiled.
    let stored = serde_json::to_vec(&bench.silences).unwrap();
    let mut read: Silences = serde_json::from_slice(&stored).unwrap();
    assert!(read.known.values().all(|e| !e.silence.is_compiled()));
    read.refit(one * 2);
    let labels = LabelSet::from_pairs([("a", "1")]);
    read.heard(ALERT, Some(&labels));
    bench.silences = read;
    let left = without(&bench);
    assert_eq!(left.len(), 1, "two have room");
    bench.ask(1, &SilenceRequest::Expire(left[0].clone())).unwrap();
    assert!(without(&bench).is_empty());

    bench.silences.refit(one);
    let left = without(&bench);
    assert_eq!(left.len(), 1);
    let other = ids.iter().find(|id| bench.silences.known[*id].silence.is_compiled()).unwrap();
    bench.ask(2, &SilenceRequest::Expire(other.clone())).unwrap();
    assert!(without(&bench).is_empty(), "there is room by now");
    let mut anew = bench.silences.clone();
    anew.refit(one);
    assert_eq!((anew.known, anew.index), (bench.silences.known, bench.silences.index));
}
