//! `mode: observe`: the pager shows the same as with Alertmanager, and a change of mode loses nothing.

use crate::engine::testing::*;
use crate::engine::{AlertQuery, BoardQuery, Event, IncidentQuery, Origin, Row, RowState};
use crate::model::{
    Batch, Cause, Disposition, Duration, Kind, LabelSet, Observation, Source, Upstream, hex, sha256,
};
use crate::policy::{IntegrationRef, KnownBy, Mode, Noise, Receiver};

const KEY: &str = r#"{}/{team="db"}:{alertname="Down"}"#;

fn mode(mode: Mode) -> Event {
    Event::Policy(Box::new(policy(&["instance"], Noise { mode, ..Noise::default() })))
}

fn world(first: Mode) -> World {
    World::new(policy(&["instance"], Noise { mode: first, ..Noise::default() }))
}

fn down(instance: &str) -> LabelSet {
    labels(&[("alertname", "Down"), ("instance", instance), ("severity", "warning")])
}

fn notify(world: &mut World, peer: &str, observations: Vec<Observation>) {
    notify_part(world, peer, observations, 0);
}

/// A notification that leaves out so many alerts of its group.
fn notify_part(world: &mut World, peer: &str, observations: Vec<Observation>, truncated: u64) {
    let group_labels = labels(&[("alertname", "Down")]);
    let upstream = Some(Upstream { group_key: KEY.into(), group_labels, truncated });
    let batch =
        Batch { source: Source::Alertmanager, peer: peer.into(), observations, upstream, unanswered: false };
    match world.engine.query().repeats(&batch) {
        Some(repeats) => world.handle(Event::Repeats(repeats)),
        None => world.handle(Event::Observe(batch)),
    }
}

fn kinds(world: &World) -> Vec<Kind> {
    world.sent.iter().map(|n| n.kind).collect()
}

fn open_keys(world: &World) -> Vec<String> {
    world.pager.iter().filter(|(_, s)| s.open).map(|((_, key), _)| key.clone()).collect()
}

#[test]
fn each_notification_goes_on_under_the_senders_key() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), start)]);
    world.advance(Duration::from_hours(4));
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), start)]);
    world.advance(Duration::from_mins(1));
    let end = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, end), resolved(&down("2"), start, end)]);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Update, Kind::Resolve], "also the sender's repeat");
    let key = hex(&sha256(KEY.as_bytes()));
    assert!(world.sent.iter().all(|n| n.dedup_key == key && n.group_key == KEY));
    assert_eq!(world.sent[0].alerts.len(), 2, "one incident, where enforcing would have made two");
    world.advance(Duration::from_hours(1));
    let stats = world.engine.query().stats();
    let (real, observed) = (&stats.receivers["pd"], &stats.observed["pd"]);
    assert_eq!((real.routed, real.pending, observed.routed, observed.pending), (6, 0, 6, 0));
    assert_eq!((real.disposed[&Disposition::Page], observed.disposed[&Disposition::Page]), (1, 2));
    let (observed, sent): (Vec<_>, Vec<_>) = world.decisions.iter().partition(|d| d.observed);
    assert!(sent.iter().all(|d| d.incident == key), "what was sent has the sender's key");
    let count = |all: &[&crate::model::Decision]| all.iter().map(|d| d.count).sum::<u64>();
    assert_eq!(count(&sent), 6, "each observation is told once as what was sent");
    let pages = observed.iter().filter(|d| d.disposition == Disposition::Page).count();
    assert_eq!(pages, 2, "and what would have been is told too, and marked");
}

#[test]
fn what_would_have_been_does_not_stand_beside_what_is_as_paged() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), start)]);
    let board = world.engine.query().board(&BoardQuery { limit: 10, ..BoardQuery::default() });
    let rows: Vec<_> =
        board.rows.iter().map(|row| (row.standing.origin, row.standing.state, row.standing.would)).collect();
    let would = (Origin::Squelch, RowState::Observed, Some(RowState::Paged));
    assert_eq!(rows, [(Origin::Sender, RowState::Paged, None), would, would]);
    assert_eq!(board.states[&RowState::Paged], 1, "one incident is paged");
    assert!(!board.rows.iter().any(|row| row.releasable));

    let listed =
        world.engine.query().open_incidents(&IncidentQuery { limit: 10, ..IncidentQuery::default() }).found;
    let mut states: Vec<_> =
        listed.iter().map(|i| (i.row.standing.state.as_str(), i.delivered.len())).collect();
    states.sort_unstable();
    assert_eq!(states, [("observed", 0), ("observed", 0), ("paged", 1)]);
    let alerts = world.engine.query().alerts(&AlertQuery { limit: 10, ..AlertQuery::default() }).found;
    for alert in alerts {
        let states: Vec<_> = alert.receivers.iter().map(|s| (s.origin, s.state, s.would)).collect();
        assert_eq!(states, [(Origin::Sender, RowState::Paged, None), would], "{alert:?}");
        assert_eq!(world.engine.query().alert(world.now, alert.alert.id).unwrap().rows.len(), 2);
    }
    let observing = world.engine.query().observing();
    assert!(observing.all && observing.receivers.contains("pd"), "{observing:?}");
    world.handle(mode(Mode::Enforce));
    assert!(world.engine.query().observing().receivers.is_empty());
}

#[test]
fn an_incident_that_squelch_would_send_alike_stands_once() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    let rows = |world: &World| -> Vec<_> {
        let board = world.engine.query().board(&BoardQuery { limit: 10, ..BoardQuery::default() });
        assert_eq!((board.incidents, board.matching), (board.rows.len(), board.rows.len()));
        let row = |row: Row| (row.standing.origin, row.standing.state, row.twin.map(|(_, state)| state));
        board.rows.into_iter().map(row).collect()
    };
    assert_eq!(rows(&world), [(Origin::Sender, RowState::Paged, Some(RowState::Paged))]);
    // The sender puts a second alert into its incident, and Squelch would have two incidents.
    world.advance(Duration::from_mins(10));
    let now = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), now)]);
    let would = (Origin::Squelch, RowState::Observed, None);
    assert_eq!(rows(&world), [(Origin::Sender, RowState::Paged, None), would, would]);
}

#[test]
fn the_copy_of_the_other_member_is_no_second_notification() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.advance(Duration::from_secs(5));
    notify(&mut world, "b", vec![firing(&down("1"), start)]);
    assert_eq!(kinds(&world), [Kind::Page]);
    world.advance(Duration::from_hours(4));
    notify(&mut world, "b", vec![firing(&down("1"), start)]);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Update], "a repeat is no copy");
}

#[test]
fn an_observed_incident_is_not_open_at_an_integration_that_is_gone() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.advance(Duration::from_mins(1));
    let mut other = policy(&["instance"], Noise { mode: Mode::Observe, ..Noise::default() });
    let receiver = other.receivers.get_mut("pd").unwrap();
    receiver.integrations = vec![IntegrationRef::new("slack[0]", KnownBy::Group)];
    world.handle(Event::Policy(Box::new(other)));
    let orphans = world.engine.query().orphans();
    assert_eq!(orphans.len(), 1, "the sender's incident alone: {orphans:?}");
}

#[test]
fn what_observe_opened_is_closed_after_the_switch() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.handle(mode(Mode::Enforce));
    assert_eq!(kinds(&world), [Kind::Page], "nothing is paged twice for the switch");
    world.advance(Duration::from_mins(1));
    let end = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), end)]);
    assert!(
        world.sent.iter().any(|n| n.kind == Kind::Update && n.group_key == KEY),
        "it goes on as it began"
    );
    let page = world.sent.iter().rfind(|n| n.kind == Kind::Page).unwrap();
    assert_eq!(page.group_key, r#"{}:{instance="2"}"#, "what is new is decided by the engine");
    world.advance(Duration::from_mins(1));
    let end = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, end), resolved(&down("2"), start, end)]);
    world.advance(Duration::from_mins(5));
    assert_eq!(open_keys(&world), Vec::<String>::new());
}

#[test]
fn an_alert_that_flaps_over_the_switch_is_dampened() {
    let mut world = world(Mode::Observe);
    let mut start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.handle(mode(Mode::Enforce));
    let before = world.sent.len();
    for _ in 0..20 {
        world.advance(Duration::from_secs(20));
        let end = world.now;
        notify(&mut world, "a", vec![resolved(&down("1"), start, end)]);
        world.advance(Duration::from_secs(20));
        start = world.now;
        notify(&mut world, "a", vec![firing(&down("1"), start)]);
    }
    let after = &world.sent[before..];
    assert_eq!((after[0].kind, &*after[0].group_key), (Kind::Resolve, KEY), "the sender's incident ends");
    let pages: Vec<_> = after.iter().filter(|n| n.kind == Kind::Page).collect();
    assert!(pages.len() == 1 && pages[0].group_key == r#"{}:{instance="1"}"#, "{pages:?}");
    world.advance(Duration::from_secs(20));
    let end = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, end)]);
    world.advance(Duration::from_hours(4));
    assert_eq!(open_keys(&world), Vec::<String>::new());
}

#[test]
fn what_enforce_opened_is_closed_after_the_switch() {
    let mut world = world(Mode::Enforce);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.handle(mode(Mode::Observe));
    world.advance(Duration::from_mins(1));
    let end = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, end), firing(&down("2"), end)]);
    world.advance(Duration::from_mins(5));
    assert_eq!(open_keys(&world), [hex(&sha256(KEY.as_bytes()))], "only the sender's incident is left");
    notify(&mut world, "a", vec![resolved(&down("2"), end, end)]);
    assert_eq!(open_keys(&world), Vec::<String>::new());
}

#[test]
fn a_stale_alert_closes_what_the_sender_left_open() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.advance(Duration::from_hours(13));
    assert_eq!(kinds(&world), [Kind::Page, Kind::Resolve]);
    let expired = Cause::Expired { after: world.engine.policy().stale_after };
    assert_eq!(world.sent[1].cause, expired);
}

#[test]
fn what_has_no_group_has_alertmanagers() {
    let mut world = world(Mode::Observe);
    let (start, until) = (world.now, world.now + Duration::from_mins(4));
    let said = |instance| Observation { ends_at: Some(until), ..firing(&down(instance), start) };
    world.say(Source::Prometheus, "p", vec![said("1"), said("2")]);
    let keys: Vec<_> = world.sent.iter().map(|n| n.group_key.as_str()).collect();
    assert_eq!(keys, [r#"{}:{instance="1"}"#, r#"{}:{instance="2"}"#]);
    world.advance(Duration::from_mins(5));
    assert_eq!(open_keys(&world), Vec::<String>::new(), "an end that passes is a resolve");
}

/// Why the sender's own statements were disposed, newest last.
fn causes(world: &World) -> Vec<Cause> {
    world.decisions.iter().filter(|d| !d.observed).map(|d| d.cause.clone()).collect()
}

#[test]
fn a_group_of_which_the_sender_left_alerts_out_stays_open() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify_part(&mut world, "a", vec![firing(&down("1"), start)], 3);
    world.advance(Duration::from_mins(5));
    let end = world.now;
    notify_part(&mut world, "a", vec![resolved(&down("1"), start, end)], 3);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Update], "an alert that was left out may fire");
    notify_part(&mut world, "a", vec![resolved(&down("1"), start, end)], 0);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Update, Kind::Resolve]);
}

#[test]
fn the_other_member_says_the_same_within_a_minute_or_it_is_a_repeat() {
    for (seconds, kinds_then) in [(59, vec![Kind::Page]), (60, vec![Kind::Page, Kind::Update])] {
        let mut world = world(Mode::Observe);
        let start = world.now;
        notify(&mut world, "a", vec![firing(&down("1"), start)]);
        world.advance(Duration::from_secs(seconds));
        notify(&mut world, "b", vec![firing(&down("1"), start)]);
        assert_eq!(kinds(&world), kinds_then, "after {seconds} seconds");
        let copy = causes(&world).last() == Some(&Cause::OtherPeerRepeats);
        assert_eq!(copy, seconds < 60);
    }
}

#[test]
fn the_firing_alert_counts_as_the_page_and_the_resolved_one_as_the_end() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    let (one, two) = (down("1"), down("2"));
    notify(&mut world, "a", vec![resolved(&one, start, start), firing(&two, start)]);
    let paged: Vec<_> = world.decisions.iter().filter(|d| !d.observed).collect();
    let page = paged.iter().filter(|d| d.disposition == Disposition::Page);
    assert_eq!(page.map(|d| d.alert).collect::<Vec<_>>(), [world.engine.policy().identity(&two)]);
    assert_eq!(paged.iter().map(|d| d.count).sum::<u64>(), 2);
}

#[test]
fn a_sender_without_groups_that_repeats_itself_sends_no_second_notification() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    for _ in 0..2 {
        world.say(Source::Prometheus, "p", vec![firing(&down("1"), start)]);
        world.advance(Duration::from_mins(1));
    }
    assert_eq!(kinds(&world), [Kind::Page]);
    assert_eq!(causes(&world).last(), Some(&Cause::SenderRepeats));
    world.say(Source::Prometheus, "p", vec![firing(&down("2"), start)]);
    assert_eq!(kinds(&world), [Kind::Page; 2], "another group is another incident");
}

#[test]
fn an_incident_of_the_sender_ends_where_it_began_after_a_reload_that_moves_its_alert() {
    let at = |receiver: &str| {
        let mut policy = policy(&["instance"], Noise { mode: Mode::Observe, ..Noise::default() });
        let ops = IntegrationRef::new("pagerduty[1]", KnownBy::DedupKey);
        policy.receivers.insert("ops".into(), Receiver::new(vec![ops]));
        policy.routes[0].receiver = receiver.into();
        policy
    };
    let mut world = World::new(at("pd"));
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.handle(Event::Policy(Box::new(at("ops"))));
    world.advance(Duration::from_mins(2));
    let end = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, end)]);
    let at_pd: Vec<_> = world.sent.iter().filter(|n| n.receiver == "pd").map(|n| n.kind).collect();
    assert_eq!(at_pd, [Kind::Page, Kind::Resolve]);
}

#[test]
fn an_incident_of_the_sender_goes_on_at_a_receiver_that_has_another_name() {
    let named = |name: &str| {
        let mut policy = policy(&["instance"], Noise { mode: Mode::Observe, ..Noise::default() });
        let mut receiver = policy.receivers.remove("pd").unwrap();
        receiver.integrations[0].endpoint = 7;
        policy.receivers.insert(name.into(), receiver);
        policy.routes[0].receiver = name.into();
        policy
    };
    let mut world = World::new(named("old"));
    let start = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start)]);
    world.handle(Event::Policy(Box::new(named("new"))));
    world.advance(Duration::from_mins(2));
    let end = world.now;
    notify(&mut world, "a", vec![firing(&down("1"), start), firing(&down("2"), end)]);
    notify(&mut world, "a", vec![resolved(&down("1"), start, end), resolved(&down("2"), end, end)]);
    assert_eq!(kinds(&world), [Kind::Page, Kind::Update, Kind::Resolve]);
    assert!(world.sent[1..].iter().all(|n| n.receiver == "new"));
}

#[test]
fn a_notification_about_ended_alerts_alone_opens_nothing() {
    let mut world = world(Mode::Observe);
    let start = world.now;
    notify(&mut world, "a", vec![resolved(&down("1"), start, start)]);
    assert_eq!(kinds(&world), []);
    assert_eq!(causes(&world), [Cause::NeverPaged]);
}
