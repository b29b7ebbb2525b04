//! The report that is due again and again reaches its receiver.

use squelch::engine::Event;
use squelch::model::{Batch, Duration, LabelSet, Observation, Source, Status};

use super::squelch::Home;
use super::{pager, until};
use crate::history::Recorder;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_due_while_the_server_was_down_arrives() {
    let pager = pager().await;
    let now = squelch::node::clock::wall();
    let due = (now - Duration::from_mins(2)).to_string();
    let config = format!(
        "\
route: {{receiver: pagerduty}}
receivers:
  - name: pagerduty
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
report: {{receiver: pagerduty, every: day, at: '{}'}}
self_check: {{enabled: false}}
",
        pager.url("/v2/enqueue"),
        &due[11..16]
    );
    let home = Home::new(&config);
    let mut recorder = Recorder::new(&home.path("data"), &config);
    let began = now - Duration::from_hours(12);
    for (at, status) in [(began, Status::Firing), (began + Duration::from_mins(9), Status::Resolved)] {
        let one = Observation {
            status,
            labels: LabelSet::from_pairs([("alertname", "Down"), ("severity", "critical")]),
            annotations: LabelSet::default(),
            starts_at: began,
            start_unknown: false,
            ends_at: (status == Status::Resolved).then_some(at),
            generator_url: Default::default(),
        };
        let (source, peer) = (Source::Alertmanager, "http://am-0".into());
        let batch = Batch { upstream: None, source, peer, observations: vec![one] };
        recorder.pass(at);
        recorder.handle(at, &Event::Observe(batch));
    }
    recorder.pass(began + Duration::from_hours(1));
    drop(recorder);
    let squelch = home.serve().await;
    let sent = async || (pager.requests().change_events > 0).then_some(());
    until("the report arrives as a change event", sent).await;
    assert_eq!(pager.requests().change_events, 1);
    assert_eq!(squelch.stop().await.code(), Some(0));
}
