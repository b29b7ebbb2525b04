//! The report that is due again and again reaches its receiver.

use std::path::Path;

use squelch::commands::fake_pager::{FakePager, Fault};
use squelch::engine::Event;
use squelch::journal::{JournalPlace, copy};
use squelch::model::{Batch, Duration, LabelSet, Observation, Source, Status};
use squelch::node::clock::wall;

use super::squelch::Home;
use super::{pager, until};
use crate::history::Recorder;
use crate::postgres::shared;

/// A report for PagerDuty was due two minutes ago.
fn config(pager: &FakePager, storage: &str) -> String {
    let due = (wall() - Duration::from_mins(2)).to_string();
    format!(
        "\
{storage}
route: {{receiver: pagerduty}}
receivers:
  - name: pagerduty
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
report: {{receiver: pagerduty, every: day, at: '{}'}}
self_check: {{enabled: false}}
",
        pager.url("/v2/enqueue"),
        &due[11..16]
    )
}

/// Fills a storage directory with an incident of the last day.
fn record(data: &Path, config: &str) {
    let mut recorder = Recorder::new(data, config);
    let began = wall() - Duration::from_hours(12);
    for (at, status) in [(began, Status::Firing), (began + Duration::from_mins(9), Status::Resolved)] {
        let one = Observation::new(
            status,
            LabelSet::from_pairs([("alertname", "Down"), ("severity", "critical")]),
            began,
            (status == Status::Resolved).then_some(at),
        );
        let batch = Batch::new(Source::Alertmanager, "http://am-0", vec![one]);
        recorder.pass(at);
        recorder.handle(at, &Event::Observe(batch));
    }
    recorder.pass(began + Duration::from_hours(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_due_while_the_server_was_down_arrives() {
    let pager = pager().await;
    let config = config(&pager, "");
    let home = Home::new(&config);
    record(&home.path("data"), &config);
    let squelch = home.serve().await;
    let sent = async || (pager.requests().change_events > 0).then_some(());
    until("the report arrives as a change event", sent).await;
    assert_eq!(pager.requests().change_events, 1);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

/// The owner dies after it has decided about the report, and before the pager has accepted it.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_sends_a_report_once() {
    let Some(server) = shared() else { return };
    let (pager, database) = (pager().await, server.database());
    let storage = format!("storage: {{postgres: {{url_file: '{}'}}}}", database.url_file.display());
    let config = config(&pager, &storage);
    let (one, two) = (Home::new(&config), Home::new(&config));
    record(&one.path("recorded"), &config);
    let (from, to) = (JournalPlace::Sqlite(one.path("recorded")), JournalPlace::Postgres(database.url()));
    tokio::task::block_in_place(|| copy(&from, &to, |_, _, _| ())).unwrap();
    pager.script(Fault { next: 1, hang_ms: 600_000, ..Fault::default() });
    let mut first = one.serve().await;
    let second = two.serve().await;
    until("the report is on its way", async || (pager.requests().total == 1).then_some(())).await;
    first.child.kill();
    until("the report arrives", async || (pager.requests().change_events > 0).then_some(())).await;

    // The standby that took over counts the period too. Its report is in the journal, and leads to nothing.
    let counted = "SELECT count(*) FROM squelch_input WHERE body LIKE '%\"report\"%'";
    let counted = async || (server.sql(&database.name, &[counted]) == "2").then_some(());
    until("both replicas have counted the period", counted).await;
    let sent = "SELECT count(*) FROM squelch_notification WHERE kind = 'digest'";
    assert_eq!(server.sql(&database.name, &[sent]), "1");
    assert_eq!(pager.requests().change_events, 1);
    assert_eq!(second.stop().await.code(), Some(0));
}
