//! Notifications are true for receivers of every kind, however they recognise a problem.

use super::laws::{Step, policy_variant, run_under, trusted};
use crate::engine::consumers::Consumers;
use crate::engine::event::Event;
use crate::engine::testing::*;
use crate::model::{Duration, Kind, LabelSet, Notification, Observation, Outcome, Report, Status};
use crate::policy::{IntegrationRef, KnownBy, Noise, Policy};

/// A webhook beside PagerDuty and Slack, one group for each service, and nothing that waits for long.
fn three(noise: Noise) -> Policy {
    // An incident of a group that had another one stays open for 32 s at most.
    let merge_window = noise.merge_window.min(Duration::from_secs(30));
    let quick = Noise { resolve_hold: Duration::ZERO, merge_window, ..noise };
    let mut policy = policy(&["service"], Noise { rolling: Duration::ZERO, ..quick });
    let more = [("webhook[0]", KnownBy::Group), ("slack[0]", KnownBy::Nothing)];
    let more = more.map(|(name, known_by)| IntegrationRef {
        most_alerts: u32::MAX,
        ..IntegrationRef::new(name, known_by)
    });
    policy.receivers.get_mut("pd").unwrap().integrations.extend(more);
    policy
}

fn of(name: &str, severity: &str) -> LabelSet {
    labels(&[("alertname", name), ("service", "shop"), ("severity", severity)])
}

fn fires(world: &World, labels: &LabelSet) -> Observation {
    let annotations = crate::model::LabelSet::from_pairs([("summary", "shop is slow")]);
    Observation { annotations, ..firing(labels, world.now) }
}

fn ends(world: &World, labels: &LabelSet) -> Observation {
    Observation { annotations: fires(world, labels).annotations, ..resolved(labels, world.now, world.now) }
}

fn say(world: &mut World, said: Vec<Observation>) {
    world.webhook("am", said);
    world.advance(Duration::from_secs(20));
}

fn webhook(world: &World) -> Consumers {
    world.consumers["webhook[0]"].clone()
}

fn sent<'a>(world: &'a World, integration: &str) -> Vec<&'a Notification> {
    world.sent.iter().filter(|n| n.integration == integration).collect()
}

/// Whether all consumers of the webhook hold the group for firing, or all for over.
fn all_say(world: &World, fires: bool) {
    let consumers = webhook(world);
    let summaries: Vec<bool> = consumers.by_summary.values().copied().collect();
    let groups: Vec<bool> = consumers.by_labels.values().copied().collect();
    assert_eq!((summaries, groups), (vec![fires], vec![fires]), "{:#?}", sent(world, "webhook[0]"));
}

#[test]
fn an_incident_that_gets_worse_is_not_told_as_resolved() {
    let mut world = World::new(three(Noise::default()));
    let (warning, critical) = (of("Latency", "warning"), of("Errors", "critical"));
    let said = fires(&world, &warning);
    say(&mut world, vec![said]);
    let said = fires(&world, &critical);
    say(&mut world, vec![said]);
    all_say(&world, true);
    assert!(webhook(&world).by_fingerprint.values().all(|fires| *fires));
    assert!(webhook(&world).by_key.values().all(|open| *open), "both keys are open while the group fires");
    let resolves = |integration| sent(&world, integration).iter().filter(|n| n.kind == Kind::Resolve).count();
    assert_eq!(resolves("slack[0]"), 0, "one message about the same problem");
    assert_eq!(resolves("pagerduty[0]"), 1, "the old key is closed where the new one pages");
    let said = ends(&world, &warning);
    say(&mut world, vec![said]);
    all_say(&world, true);
    let said = ends(&world, &critical);
    say(&mut world, vec![said]);
    all_say(&world, false);
    let notified = webhook(&world);
    assert!(
        notified.by_fingerprint.values().chain(notified.by_key.values()).all(|open| !open),
        "{notified:?}"
    );
    assert_eq!(sent(&world, "slack[0]").iter().filter(|n| n.kind == Kind::Resolve).count(), 1);
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

#[test]
fn a_group_of_which_an_incident_fires_is_not_told_as_resolved() {
    let noise = Noise { merge_window: Duration::from_mins(1), ..Noise::default() };
    let mut world = World::new(three(noise));
    let (first, second) = (of("A", "critical"), of("B", "critical"));
    let said = fires(&world, &first);
    say(&mut world, vec![said]);
    world.advance(Duration::from_mins(5));
    let said = fires(&world, &second);
    say(&mut world, vec![said]);
    let said = ends(&world, &first);
    say(&mut world, vec![said]);
    all_say(&world, true);
    let fires_still: Vec<bool> = webhook(&world).by_fingerprint.values().copied().collect();
    assert_eq!(fires_still.iter().filter(|fires| **fires).count(), 1, "A has resolved, and B fires");
    // A fires again, and resolves again: a third incident of the group.
    let said = fires(&world, &first);
    say(&mut world, vec![said]);
    let said = ends(&world, &second);
    say(&mut world, vec![said]);
    all_say(&world, true);
    let said = ends(&world, &first);
    say(&mut world, vec![said]);
    all_say(&world, false);
    let notified = webhook(&world);
    assert!(
        notified.by_fingerprint.values().chain(notified.by_key.values()).all(|open| !open),
        "{notified:?}"
    );
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

/// An alert resolves in the newest incident of its group, which waits for its end. An older incident that
/// lists the alert too calls it resolved meanwhile.
#[test]
fn an_alert_that_another_incident_called_resolved_is_told_when_it_fires_again() {
    let mut world = World::new(three(Noise::default()));
    let [alert, brief, chronic] = ["A", "Brief", "Chronic"].map(|name| of(name, "critical"));
    let all = [&alert, &brief, &chronic].map(|labels| fires(&world, labels)).to_vec();
    say(&mut world, all);
    let said = ends(&world, &alert);
    say(&mut world, vec![said]);
    world.advance(Duration::from_mins(2));
    // Prometheus is away for a moment, and then states the same start.
    let starts = fires(&world, &alert);
    let until = |at| Observation { ends_at: Some(at), ..starts.clone() };
    world.prometheus("p", vec![until(world.now + Duration::from_secs(2))]);
    world.advance(Duration::from_secs(3));
    let said = ends(&world, &brief);
    world.webhook("am", vec![said]);
    let shows = |world: &World, labels| {
        webhook(world).by_fingerprint[&crate::model::Fingerprint::of(labels).to_string()]
    };
    assert!(!shows(&world, &alert), "the older incident lists it");
    world.prometheus("p", vec![until(world.now + Duration::from_hours(1))]);
    world.advance(Duration::from_secs(20));
    assert!(shows(&world, &alert), "{:#?}", sent(&world, "webhook[0]"));
    assert_eq!(sent(&world, "webhook[0]").iter().filter(|n| n.kind == Kind::Page).count(), 2);
}

#[test]
fn an_alert_that_fires_again_while_its_resolve_is_under_way_ends_as_firing() {
    let mut world = World::new(three(Noise { merge_window: Duration::from_secs(1), ..Noise::default() }));
    let alert = of("A", "critical");
    let said = fires(&world, &alert);
    say(&mut world, vec![said]);
    world.answers = Answers::Hang;
    let said = ends(&world, &alert);
    say(&mut world, vec![said]);
    let said = fires(&world, &alert);
    say(&mut world, vec![said]);
    // The new page comes before the resolve of the old incident.
    world.in_flight.sort_by_key(|n| n.kind);
    world.answers = Answers::Accept;
    world.answer(true);
    world.advance(Duration::from_secs(20));
    all_say(&world, true);
    assert!(webhook(&world).by_fingerprint.values().all(|fires| *fires));
    let said = ends(&world, &alert);
    say(&mut world, vec![said]);
    all_say(&world, false);
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

#[test]
fn a_resolve_that_was_refused_says_later_what_is_true_then() {
    let mut world = World::new(three(Noise { merge_window: Duration::from_secs(1), ..Noise::default() }));
    let alert = of("A", "critical");
    let said = fires(&world, &alert);
    say(&mut world, vec![said]);
    world.answers = Answers::Reject;
    let said = ends(&world, &alert);
    say(&mut world, vec![said]);
    world.answers = Answers::Accept;
    let said = fires(&world, &alert);
    say(&mut world, vec![said]);
    world.advance(Duration::from_hours(2));
    all_say(&world, true);
    let said = ends(&world, &alert);
    say(&mut world, vec![said]);
    all_say(&world, false);
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

/// A person silences the alerts that the matchers find, for three hours.
fn silence(world: &mut World, matchers: &str) {
    world.silence(matchers, world.now, Duration::from_hours(3));
}

#[test]
fn an_alert_that_fires_again_while_it_is_silenced_is_not_told_as_resolved() {
    let mut world = World::new(three(Noise::default()));
    let (silenced, other) = (of("A", "critical"), of("B", "critical"));
    let both = vec![fires(&world, &silenced), fires(&world, &other)];
    say(&mut world, both);
    let said = ends(&world, &silenced);
    say(&mut world, vec![said]);
    silence(&mut world, "alertname=A");
    let said = fires(&world, &silenced);
    say(&mut world, vec![said]);
    let said = ends(&world, &other);
    say(&mut world, vec![said]);
    // World asserts that no message says that a firing alert resolved.
    let said = ends(&world, &silenced);
    say(&mut world, vec![said]);
    all_say(&world, false);
    assert!(webhook(&world).by_fingerprint.values().all(|fires| !fires));
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

#[test]
fn an_alert_has_the_labels_of_its_identity_whichever_replica_speaks() {
    let mut world = World::new(three(Noise::default()));
    let of = |replica| labels(&[("alertname", "A"), ("replica", replica), ("service", "shop")]);
    for said in [fires(&world, &of("a")), fires(&world, &of("b"))] {
        say(&mut world, vec![said]);
    }
    for said in [ends(&world, &of("b")), ends(&world, &of("a"))] {
        say(&mut world, vec![said]);
    }
    let notified = webhook(&world).by_fingerprint;
    assert_eq!(notified.values().copied().collect::<Vec<_>>(), [false], "one alert, and it has resolved");
    let named = labels(&[("alertname", "A"), ("service", "shop")]);
    assert!(world.sent.iter().flat_map(|n| &n.alerts).all(|alert| alert.labels == named));
    let shown = world.engine.query().alerts(&crate::engine::AlertQuery { limit: 9, ..Default::default() });
    assert_eq!(notified.keys().collect::<Vec<_>>(), [&shown.found[0].alert.fingerprint().to_string()]);
}

/// Whether the webhook got one notification at most for each key in each instant.
fn each_once(world: &World) -> bool {
    let mut got = std::collections::BTreeSet::new();
    sent(world, "webhook[0]").into_iter().all(|n| got.insert((n.at, n.dedup_key.clone())))
}

#[test]
fn the_successor_tells_an_end_and_the_incident_before_it_says_no_more() {
    let mut world = World::new(three(Noise::default()));
    let (warning, critical) = (of("Latency", "warning"), of("Errors", "critical"));
    let said = fires(&world, &warning);
    say(&mut world, vec![said]);
    let said = fires(&world, &critical);
    say(&mut world, vec![said]);
    let before = sent(&world, "webhook[0]").len();
    let said = ends(&world, &warning);
    say(&mut world, vec![said]);
    assert_eq!(sent(&world, "webhook[0]").len(), before + 1, "{:#?}", sent(&world, "webhook[0]"));
    assert!(each_once(&world), "{:#?}", sent(&world, "webhook[0]"));
    all_say(&world, true);
}

#[test]
fn a_page_is_no_update_in_the_same_instant_because_an_older_incident_ends() {
    let noise = Noise { merge_window: Duration::from_secs(1), ..Noise::default() };
    let mut world = World::new(three(noise));
    let (first, second) = (of("A", "critical"), of("B", "critical"));
    let said = vec![fires(&world, &first), fires(&world, &second)];
    say(&mut world, said);
    let said = ends(&world, &first);
    say(&mut world, vec![said]);
    // The first alert opens the next incident in the moment in which the second one ends.
    let said = vec![fires(&world, &first), ends(&world, &second)];
    world.webhook("am", said);
    assert!(each_once(&world), "{:#?}", sent(&world, "webhook[0]"));
    all_say(&world, true);
}

#[test]
fn an_alert_keeps_its_labels_when_ignore_labels_changes() {
    let mut world = World::new(three(Noise::default()));
    let full = labels(&[("alertname", "A"), ("replica", "a"), ("service", "shop")]);
    let said = fires(&world, &full);
    say(&mut world, vec![said]);
    let policy = Policy { ignore_labels: Vec::new(), ..world.engine.policy().clone() };
    world.handle(crate::engine::Event::Policy(Box::new(policy)));
    let said = ends(&world, &full);
    say(&mut world, vec![said]);
    let notified = webhook(&world).by_fingerprint;
    assert_eq!(notified.values().copied().collect::<Vec<_>>(), [false], "one alert, and it has resolved");
}

/// Lists are cut alike in the page and in the resolve. They list `most` alerts.
fn cut(most: u32) -> World {
    let mut policy = three(Noise { growth: 0, ..Noise::default() });
    for integration in &mut policy.receivers.get_mut("pd").unwrap().integrations {
        integration.most_alerts = most;
    }
    let mut world = World::new(policy);
    let node = |n: usize| {
        let node = n.to_string();
        labels(&[("alertname", "N"), ("node", &node), ("service", "shop"), ("severity", "warning")])
    };
    let all = |from, to| (from..to).map(node).collect::<Vec<_>>();
    let said = all(0, 1200).iter().map(|labels| fires(&world, labels)).collect();
    say(&mut world, said);
    for (from, to) in [(0, 600), (600, 1200)] {
        let said = all(from, to).iter().map(|labels| ends(&world, labels)).collect();
        say(&mut world, said);
    }
    world
}

#[test]
fn all_alerts_of_an_incident_are_told_where_all_are_wanted() {
    let world = cut(u32::MAX);
    let messages = sent(&world, "webhook[0]");
    let firing = |n: &Notification| n.alerts.iter().filter(|a| a.status == Status::Firing).count();
    let notified: Vec<_> = messages.iter().map(|n| (firing(n), n.alerts.len(), n.truncated)).collect();
    assert_eq!(notified, [(1200, 1200, 0), (600, 1200, 0), (0, 1200, 0)]);
}

#[test]
fn what_was_told_to_fire_is_told_to_have_resolved_where_lists_are_cut() {
    let world = cut(100);
    let messages = sent(&world, "webhook[0]");
    assert!(messages.iter().all(|n| (n.alerts.len(), n.truncated) == (100, 1100)));
    let fires: Vec<bool> = webhook(&world).by_fingerprint.values().copied().collect();
    assert_eq!(fires, vec![false; 100]);
}

/// A group with one alert that fires throughout, of which nothing is held back, merged or forgotten.
fn never_ending() -> (World, LabelSet) {
    let mut noise = Noise { merge_window: Duration::from_secs(1), ..Noise::default() };
    noise.flapping.suppress_at = 0;
    let mut policy = three(noise);
    let noise = policy.noise.get_mut("default").unwrap();
    (noise.storm.start, noise.limit.pages) = (0, 0);
    policy.stale_after = Duration::from_hours(1000);
    let mut world = World::new(policy);
    let chronic = of("Chronic", "critical");
    let said = fires(&world, &chronic);
    say(&mut world, vec![said]);
    (world, chronic)
}

/// So many further alerts of its group fire and end, one after the other.
fn come_and_go(world: &mut World, count: usize) {
    for n in 0..count {
        let alert = of(&format!("N{n}"), "critical");
        let said = fires(world, &alert);
        say(world, vec![said]);
        let said = ends(world, &alert);
        say(world, vec![said]);
        all_say(world, true);
    }
}

#[test]
fn a_group_that_never_ends_keeps_no_more_than_a_hundred_incidents_waiting() {
    let (mut world, chronic) = never_ending();
    world.checks_messages = false;
    come_and_go(&mut world, 130);
    assert!(world.engine.pages.incidents.all.len() <= 102, "{}", world.engine.pages.incidents.all.len());
    let said = ends(&world, &chronic);
    say(&mut world, vec![said]);
    all_say(&world, false);
    assert!(webhook(&world).by_key.values().all(|open| !open), "each key that opened is closed");
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

/// Beyond a hundred, readers of the labels of the group read a false end. The next message corrects it.
#[test]
fn the_firing_alerts_of_a_group_follow_each_end_that_came_too_early() {
    let (mut world, _) = never_ending();
    world.checks_messages = false;
    come_and_go(&mut world, 99);
    let before = world.sent.len();
    let there = |world: &World| world.sent.iter().filter(|n| n.integration == "webhook[0]").count();
    assert!(!world.sent.iter().any(|n| n.integration == "webhook[0]" && n.kind == Kind::Resolve));
    come_and_go(&mut world, 30);
    assert!(there(&world) > 30);
    let mut early = 0;
    let sent: Vec<_> = world.sent[before..].iter().filter(|n| n.integration == "webhook[0]").collect();
    for (n, next) in sent.iter().zip(&sent[1..]).filter(|(n, _)| n.kind == Kind::Resolve) {
        let fires = next.alerts.iter().any(|alert| alert.status == Status::Firing);
        assert!(next.kind != Kind::Resolve && next.at == n.at && fires, "{n:?}, and then {next:?}");
        early += 1;
    }
    assert!(early > 20, "{early}");
}

/// The resolve is the last message of its incident: a receiver would show the alert as firing for ever.
#[test]
fn a_resolve_lists_no_firing_alert_where_too_many_incidents_of_a_group_wait() {
    let (mut world, chronic) = never_ending();
    world.checks_messages = false;
    let silenced = of("A", "critical");
    let said = fires(&world, &silenced);
    say(&mut world, vec![said]);
    let said = ends(&world, &silenced);
    say(&mut world, vec![said]);
    silence(&mut world, "alertname=A");
    let said = fires(&world, &silenced);
    say(&mut world, vec![said]);
    come_and_go(&mut world, 110);
    let said = ends(&world, &silenced);
    say(&mut world, vec![said]);
    let said = ends(&world, &chronic);
    say(&mut world, vec![said]);
    let ends = world.sent.iter().filter(|n| n.kind == Kind::Resolve);
    let firing = ends.flat_map(|n| &n.alerts).filter(|a| a.status == Status::Firing);
    assert_eq!(firing.map(|a| a.labels.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
    assert!(webhook(&world).by_fingerprint.values().all(|fires| !fires), "every alert has resolved");
    all_say(&world, false);
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

/// A receiver that can change a message names it in its answer.
#[test]
fn what_follows_a_page_names_the_message_that_it_changes() {
    let mut world = World::new(policy(&["service"], Noise::default()));
    world.answers = Answers::Hang;
    let alert = of("Errors", "critical");
    let fires = fires(&world, &alert);
    say(&mut world, vec![fires]);
    let page = world.in_flight.pop().unwrap();
    assert_eq!((page.kind, &page.message), (Kind::Page, &None));
    let (id, message) = (page.id, Some("C1 1503435956.000247".into()));
    let report = Report { id, outcome: Outcome::Accepted, attempts: 1, message };
    world.handle(Event::Delivered(report));
    let ends = ends(&world, &alert);
    say(&mut world, vec![ends]);
    world.advance(Duration::from_mins(30));
    let resolve = world.in_flight.pop().unwrap();
    assert_eq!((resolve.kind, resolve.message.as_deref()), (Kind::Resolve, Some("C1 1503435956.000247")));
    let (_, trace) = replay(world.events_policy(), &world.events);
    assert_eq!(trace, world.trace, "a replay knows the message");
}

/// The webhook refuses everything from now on, for more than a day after the last end.
fn refuses_for_a_day(world: &mut World, until: impl FnOnce(&mut World)) {
    world.unreachable = vec!["pagerduty[0]", "webhook[0]", "slack[0]"];
    until(world);
    world.advance(Duration::from_hours(30));
    world.unreachable.clear();
    world.advance(Duration::from_hours(2));
    let firing: Vec<_> = webhook(world).by_fingerprint.into_iter().filter(|(_, fires)| *fires).collect();
    assert_eq!(firing, [], "{:#?}", sent(world, "webhook[0]").last());
    all_say(world, false);
    world.advance(Duration::from_hours(48));
    assert_eq!(world.engine.query().stats().alerts, 0, "nothing is remembered for ever");
}

#[test]
fn the_end_of_an_incident_names_its_alerts_after_a_day_of_refusals() {
    let mut world = World::new(three(Noise::default()));
    let said = fires(&world, &of("A", "warning"));
    say(&mut world, vec![said]);
    refuses_for_a_day(&mut world, |world| {
        let said = fires(world, &of("B", "critical"));
        say(world, vec![said]);
        let said = vec![ends(world, &of("A", "warning")), ends(world, &of("B", "critical"))];
        say(world, said);
    });
}

/// The alert came back in an incident whose page was refused, and which is over.
#[test]
fn the_end_of_an_incident_names_an_alert_that_came_back_in_another_one() {
    let mut world = World::new(three(Noise::default()));
    let (back, chronic) = (of("A", "critical"), of("B", "critical"));
    let said = vec![fires(&world, &back), fires(&world, &chronic)];
    say(&mut world, said);
    refuses_for_a_day(&mut world, |world| {
        for _ in 0..2 {
            let said = ends(world, &back);
            say(world, vec![said]);
            world.advance(Duration::from_mins(2));
            let said = fires(world, &back);
            say(world, vec![said]);
        }
        let said = ends(world, &back);
        say(world, vec![said]);
        for _ in 0..6 {
            world.advance(Duration::from_hours(6));
            let said = fires(world, &chronic);
            say(world, vec![said]);
        }
        let said = ends(world, &chronic);
        say(world, vec![said]);
    });
}

/// Its readers know a group, and the group goes on. They get no later message.
#[test]
fn a_removed_webhook_is_not_told_that_a_group_ended_which_goes_on() {
    let mut world = World::new(three(Noise::default()));
    for (name, severity) in [("A", "warning"), ("B", "critical")] {
        let said = fires(&world, &of(name, severity));
        say(&mut world, vec![said]);
    }
    world.advance(Duration::from_mins(5));
    let said = fires(&world, &of("C", "critical"));
    say(&mut world, vec![said]);
    let mut without = three(Noise::default());
    without.receivers.get_mut("pd").unwrap().integrations.retain(|i| i.name != "webhook[0]");
    world.handle(Event::Policy(Box::new(without)));
    let said = vec![ends(&world, &of("A", "warning")), ends(&world, &of("B", "critical"))];
    say(&mut world, said);
    world.advance(Duration::from_mins(5));
    assert!(webhook(&world).by_labels.values().all(|fires| *fires), "{:#?}", sent(&world, "webhook[0]"));
    let said = ends(&world, &of("C", "critical"));
    say(&mut world, vec![said]);
    world.advance(Duration::from_mins(5));
    assert!(webhook(&world).by_labels.values().all(|fires| !fires), "{:#?}", sent(&world, "webhook[0]"));
    assert!(world.engine.pages.incidents.all.is_empty(), "nothing is left");
}

fn fire(alerts: &[usize], api_v2: bool) -> Step {
    Step::Fire { alerts: alerts.to_vec(), peer: 0, api_v2, moved: 0 }
}

/// An alert that another incident of the group listed fires on when that one is gone. No receiver is to be
/// notified of this alert.
#[test]
fn the_end_of_an_incident_does_not_wait_for_one_that_is_gone() {
    let resolve = |alert| Step::Resolve { alerts: vec![alert], peer: 0 };
    let mut steps = vec![fire(&[0], true), Step::Answers(2), Step::Reload(6), Step::Advance(500_000)];
    steps.extend([fire(&[0], false), fire(&[2], false), resolve(1), Step::Reload(0)]);
    steps.extend([fire(&[1], false), resolve(2)]);
    let mut world = run_under(&steps, trusted);
    world.answers = Answers::Accept;
    world.answer(true);
    world.handle(Event::Policy(Box::new(trusted(0))));
    world.advance(Duration::from_hours(40));
    let open: Vec<_> =
        world.pager.iter().filter(|((at, _), shown)| shown.open && at == "webhook[1]").collect();
    assert!(open.is_empty(), "{open:?}");
}

/// Observe mode ended before the alert fired again. The end of a notification that was passed on is no word
/// about it.
#[test]
fn the_end_of_a_passed_on_incident_names_no_alert_that_fires_in_a_later_one() {
    let minutes = |minutes: u64| Step::Advance(60_000 * minutes);
    let steps = [Step::Reload(6), fire(&[3], false), minutes(330), fire(&[4], true), minutes(30)];
    let later = [Step::Reload(1), fire(&[4], false), minutes(400)];
    let world = run_under(&[steps.to_vec(), later.to_vec()].concat(), policy_variant);
    let ends = |n: &&Notification| n.integration == "webhook[1]" && n.kind == Kind::Resolve;
    assert_eq!(world.sent.iter().filter(ends).count(), 1, "the alert that was passed on expired");
    let fires: Vec<bool> = world.consumers["webhook[1]"].by_fingerprint.values().copied().collect();
    assert_eq!(fires.iter().filter(|fires| **fires).count(), 1, "{:?}", world.consumers["webhook[1]"]);
}
