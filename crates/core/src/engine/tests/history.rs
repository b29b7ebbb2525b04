//! The history of incidents: each thing that happens to one is recorded once, in order.

use crate::engine::testing::*;
use crate::engine::{Acknowledge, Event, IncidentRemark};
use crate::model::{
    Duration, FailedDelivery, IncidentChange, IncidentRecord, Kind, LabelSet, Remark, RemarkContent, Source,
};
use crate::policy::Noise;

fn critical() -> LabelSet {
    labels(&[("alertname", "A"), ("severity", "critical")])
}

/// The records as short words.
fn words(history: &[IncidentRecord]) -> Vec<String> {
    let word = |record: &IncidentRecord| match &record.change {
        IncidentChange::Opened(opened) => format!("opened {}", opened.issued.title),
        IncidentChange::Issued(issued) => format!("issued {}/{}", issued.firing, issued.alerts),
        IncidentChange::Accepted(of) => format!("accepted {}", of.kind.as_str()),
        IncidentChange::Failed { of, attempts, error, .. } => {
            format!("failed {} {attempts} {error}", of.kind.as_str())
        }
        IncidentChange::Refused { of, reason } => format!("refused {} {reason}", of.kind.as_str()),
        IncidentChange::Recalled { of, attempts } => format!("recalled {} {attempts}", of.kind.as_str()),
        IncidentChange::Acknowledged { by } => format!("acknowledged {}", by.as_deref().unwrap_or("-")),
        IncidentChange::Escalated { to, within } => format!("escalated to {to} after {within}"),
        IncidentChange::Remarked(remark) => format!("remarked {}", remark.by),
        IncidentChange::Closed { successor, .. } => format!("closed {}", successor.is_some()),
    };
    history.iter().map(word).collect()
}

#[test]
fn the_life_of_an_incident_is_recorded_in_order() {
    let mut world = World::new(policy(&[], Noise::default()));
    world.say(Source::Alertmanager, "a", vec![firing(&critical(), START)]);
    let dedup_key = world.sent[0].dedup_key.clone();
    let by = Some("ada".into());
    world.handle(Event::Acknowledge(Acknowledge {
        dedup_key: dedup_key.clone(),
        receivers: vec!["pd".into()],
        by,
        via: None,
    }));
    world.advance(Duration::from_mins(1));
    let other = labels(&[("alertname", "B"), ("severity", "critical")]);
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![firing(&other, now)]);
    world.advance(Duration::from_mins(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&critical(), START, now), resolved(&other, now, now)]);
    world.advance(Duration::from_hours(1));
    let incident = world.history[0].incident;
    let remark = Remark { by: "bob".into(), said: RemarkContent::Note("the disk was full".into()) };
    world.handle(Event::Remark(IncidentRemark { incident, key: dedup_key.clone(), remark }));
    assert_eq!(
        words(&world.history),
        [
            "opened A (critical)",
            "accepted page",
            "acknowledged ada",
            "issued 2/2",
            "accepted update",
            "closed false",
            "accepted resolve",
            "remarked bob",
        ]
    );
    assert!(world.history.iter().all(|record| record.incident == incident && record.key == dedup_key));
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn failed_attempts_are_recorded_while_their_notification_is_on_its_way() {
    let mut world = World::new(policy(&[], Noise::default()));
    world.answers = Answers::Hang;
    world.say(Source::Alertmanager, "a", vec![firing(&critical(), START)]);
    let failed = |id, attempts, lasted| {
        let error = "Connection refused".to_owned();
        Event::Failed(FailedDelivery { id, kind: Kind::Page, attempts, lasted, error })
    };
    let id = world.sent[0].id;
    world.handle(failed(id, 1, Duration::ZERO));
    let first = world.now;
    world.advance(Duration::from_secs(50));
    world.handle(failed(id, 3, Duration::from_secs(50)));
    world.answer(true);
    // The notification has ended, so this says nothing about the incident.
    world.handle(failed(id, 4, Duration::ZERO));
    let words = words(&world.history);
    let said = [
        "opened A (critical)",
        "failed page 1 Connection refused",
        "failed page 3 Connection refused",
        "accepted page",
    ];
    assert_eq!(words, said);
    let since = |record: &IncidentRecord| match &record.change {
        IncidentChange::Failed { since, of, .. } => Some((*since, of.integration.to_string())),
        _ => None,
    };
    let since: Vec<_> = world.history.iter().filter_map(since).collect();
    assert_eq!(since, [(first, "pagerduty[0]".to_owned()), (first, "pagerduty[0]".to_owned())]);
    let (replayed, trace) = replay(world.events_policy(), &world.events);
    assert_eq!((&replayed, &trace), (&world.engine, &world.trace));
}

#[test]
fn a_worse_incident_is_the_successor_of_the_first() {
    let mut world = World::new(policy(&[], Noise::default()));
    let warning = labels(&[("alertname", "A"), ("severity", "warning")]);
    world.say(Source::Alertmanager, "a", vec![firing(&warning, START)]);
    world.advance(Duration::from_mins(10));
    let now = world.now;
    world.say(
        Source::Alertmanager,
        "a",
        vec![firing(&labels(&[("alertname", "B"), ("severity", "critical")]), now)],
    );
    world.advance(Duration::from_mins(10));
    let end = |record: &IncidentRecord| match record.change {
        IncidentChange::Closed { successor, .. } => Some((record.incident, successor)),
        _ => None,
    };
    let ends: Vec<_> = world.history.iter().filter_map(end).collect();
    assert_eq!(ends, [(1, Some(2))], "{:?}", words(&world.history));
    let opened = |record: &IncidentRecord| match &record.change {
        IncidentChange::Opened(opened) => Some((record.incident, opened.supersedes)),
        _ => None,
    };
    let opened: Vec<_> = world.history.iter().filter_map(opened).collect();
    assert_eq!(opened, [(1, None), (2, Some(1))]);
}

#[test]
fn an_incident_stays_as_severe_as_it_was() {
    let mut world = World::new(policy(&[], Noise::default()));
    let warning = labels(&[("alertname", "B"), ("severity", "warning")]);
    world.say(Source::Alertmanager, "a", vec![firing(&critical(), START), firing(&warning, START)]);
    world.advance(Duration::from_mins(1));
    let now = world.now;
    world.say(Source::Alertmanager, "a", vec![resolved(&critical(), START, now)]);
    world.advance(Duration::from_mins(1));
    let severity = |record: &IncidentRecord| match &record.change {
        IncidentChange::Opened(opened) => Some(opened.issued.severity.to_string()),
        IncidentChange::Issued(issued) => Some(issued.severity.to_string()),
        _ => None,
    };
    let severities: Vec<String> = world.history.iter().filter_map(severity).collect();
    assert_eq!(severities, ["critical", "critical"]);
}

#[test]
fn a_refusal_and_the_rules_of_the_alerts_are_recorded() {
    let mut world = World::new(policy(&[], Noise::default()));
    world.answers = Answers::Reject;
    world.say(Source::Alertmanager, "a", vec![firing(&critical(), START)]);
    let IncidentChange::Opened(opened) = &world.history[0].change else { panic!("{:?}", world.history) };
    assert_eq!(opened.issued.rules.iter().map(|rule| &rule.name[..]).collect::<Vec<_>>(), ["A"]);
    assert_eq!((&opened.receiver[..], opened.started_at), ("pd", START));
    let IncidentChange::Refused { of, .. } = &world.history[1].change else { panic!("{:?}", world.history) };
    assert_eq!((of.kind, &of.integration[..]), (Kind::Page, "pagerduty[0]"));
}
