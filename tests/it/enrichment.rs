//! The value that a page gives for its rule, with Prometheus well, slow, broken or gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::TextEncoder;
use squelch::decision_log::{DecisionLogMeter, Follower, Reader};
use squelch::deliver::{Backoff, Deliverer, DeliveryOptions};
use squelch::journal::{Commit, Journal, Record, SqliteJournal};
use squelch::model::{
    AlertId, AlertView, Basis, Cause, Decision, Disposition, Kind, LabelSet, Notification, Report, Timestamp,
};
use tokio::sync::mpsc;

use crate::deliver::notification;
use crate::observing::{Answer, Asked, Fake};

const GRAPH: &str = "▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇███";

/// A deliverer that asks this Prometheus.
struct World {
    deliverer: Deliverer,
    registry: prometheus::Registry,
    reports: mpsc::UnboundedReceiver<Report>,
}

impl World {
    fn new(prometheus: &str, pager: &Fake, wall: fn() -> squelch::model::Timestamp) -> World {
        World::start(&format!("enrichment: {{prometheus_url: '{prometheus}'}}"), pager, wall, None)
    }

    /// A deliverer with these keys, which asks this decision log.
    fn start(
        keys: &str,
        pager: &Fake,
        wall: fn() -> squelch::model::Timestamp,
        history: Option<Arc<Reader>>,
    ) -> World {
        let (pager, key) = (pager.address, crate::deliver::ROUTING_KEY);
        let config = format!(
            "{keys}\n\
             route: {{receiver: team}}\n\
             receivers:\n- name: team\n  slack_configs: [{{api_url: 'http://{pager}/slack'}}]\n  \
             pagerduty_configs: [{{routing_key: {key}, url: 'http://{pager}/pagerduty'}}]\n  \
             webhook_configs: [{{url: 'http://{pager}/pagerduty', payload: {{said: '{{{{ .Baseline }}}}'}}}}]\n"
        );
        let config = squelch::config::parse(&config, "squelch.yml", Path::new("")).unwrap();
        let (sender, reports) = mpsc::unbounded_channel();
        let backoff = Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(2) };
        let options = DeliveryOptions { backoff, wall, history, ..DeliveryOptions::default() };
        let registry = options.registry.clone();
        let deliverer = Deliverer::new(&BTreeMap::new(), sender, options).unwrap();
        deliverer.adopt(&deliverer.prepare_all(&config).unwrap());
        World { deliverer, registry, reports }
    }

    /// The body that arrives at the pager when this leaves.
    async fn sent(&mut self, n: Notification, pager: &mut Fake) -> String {
        self.deliverer.send(n, false);
        let asked = pager.next().await;
        let report = tokio::time::timeout(Duration::from_secs(20), self.reports.recv()).await;
        report.unwrap().unwrap();
        String::from_utf8(asked.body).unwrap()
    }

    fn count(&self, outcome: &str) -> usize {
        self.counted("squelch_enrichment_lookups_total", outcome)
    }

    fn counted(&self, name: &str, outcome: &str) -> usize {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let series = format!("{name}{{outcome=\"{outcome}\"}} ");
        let line =
            text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_else(|| panic!("{text}"));
        line.parse().unwrap()
    }
}

async fn pager() -> Fake {
    let taken = br#"{"status":"success","message":"","dedup_key":"key"}"#;
    Fake::new(|asked| match asked.head.starts_with("POST /slack") {
        true => Some((200, b"ok".to_vec())),
        false => Some((202, taken.to_vec())),
    })
    .await
}

/// A notification whose alert names this URL.
fn of(id: u64, integration: &str, kind: Kind, generator_url: &str) -> Notification {
    let mut n = notification(id, "team", integration, kind);
    let alert = n.alerts[0].clone();
    n.alerts = vec![AlertView { generator_url: generator_url.into(), ..alert }];
    n
}

/// The parameter of a request.
fn parameter(asked: &Asked, name: &str) -> String {
    let target = asked.head.split(' ').nth(1).unwrap();
    let url = url::Url::parse(&format!("http://a{target}")).unwrap();
    url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
}

/// Values that rise up to now: 0, 1, … 23.
fn rising(asked: &Asked) -> Answer {
    let number = |name: &str| parameter(asked, name).parse::<i64>().unwrap();
    let (start, end, step) = (number("start"), number("end"), number("step"));
    let values: Vec<(i64, String)> =
        (0..).map(|i| (start + i * step, i.to_string())).take_while(|(at, _)| *at <= end).collect();
    let metric = serde_json::json!({"__name__": "latency", "alertname": "HighLatency"});
    let result = serde_json::json!([{"metric": metric, "values": values}]);
    let body = serde_json::json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
    Some((200, body.to_string().into_bytes()))
}

fn epoch() -> squelch::model::Timestamp {
    squelch::model::Timestamp::from_millis(1_764_331_200_000)
}

#[tokio::test]
async fn a_page_says_the_value_and_the_last_hour_of_its_rule() {
    let (mut prometheus, mut pager) = (Fake::new(rising).await, pager().await);
    let mut trap = Fake::new(|_| None).await;
    let base = format!("http://{}/base/", prometheus.address);
    let mut world = World::new(&base, &pager, epoch);
    // The address in an alert is never asked.
    let url = format!("http://{}/graph?g0.expr=latency+%3E+20&g0.tab=1", trap.address);
    let line = format!("Value: 23 {GRAPH} (last hour)");
    let body = world.sent(of(1, "slack[0]", Kind::Page, &url), &mut pager).await;
    assert!(body.contains(&line), "{body}");
    let asked = prometheus.next().await;
    assert!(asked.head.starts_with("GET /base/api/v1/query_range?"), "{}", asked.head);
    assert_eq!(parameter(&asked, "query"), "latency");
    // The answer holds for the pages that follow.
    let body = world.sent(of(2, "pagerduty[0]", Kind::Page, &url), &mut pager).await;
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    let firing = event["payload"]["custom_details"]["firing"].to_string();
    assert!(firing.contains(&line), "{event}");
    for (id, kind) in [(3, Kind::Update), (4, Kind::Resolve), (5, Kind::Digest)] {
        let body = world.sent(of(id, "slack[0]", kind, &url), &mut pager).await;
        assert!(!body.contains("Value: "), "{body}");
    }
    assert_eq!((world.count("answered"), world.count("cached")), (1, 1));
    assert!(prometheus.asked().is_none() && trap.asked().is_none());
}

#[tokio::test]
async fn each_attempt_at_a_page_says_the_same_and_asks_once() {
    let mut prometheus = Fake::new(rising).await;
    let failures = AtomicUsize::new(2);
    let left =
        move || failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    let mut pager = Fake::new(move |_| Some((if left() { 503 } else { 200 }, b"ok".to_vec()))).await;
    let mut world = World::new(&format!("http://{}", prometheus.address), &pager, epoch);
    let url = "http://prometheus/graph?g0.expr=latency";
    let first = world.sent(of(1, "slack[0]", Kind::Page, url), &mut pager).await;
    assert!(first.contains(GRAPH), "{first}");
    for _ in 0..2 {
        assert_eq!(String::from_utf8(pager.next().await.body).unwrap(), first);
    }
    prometheus.next().await;
    assert!(prometheus.asked().is_none());
}

/// Slow, broken, large and lying.
#[tokio::test]
async fn a_page_leaves_without_a_value_whatever_prometheus_does() {
    let large = || {
        let labels = format!("{{\"alertname\":\"HighLatency\",\"x\":\"{}\"}}", "x".repeat(10 << 20));
        format!(
            "{{\"data\":{{\"resultType\":\"matrix\",\"result\":[{{\"metric\":{labels},\"values\":[]}}]}}}}"
        )
    };
    let text = |status: u16, body: &str| Some((status, body.as_bytes().to_vec()));
    let old = r#"{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"5"]]}]}}"#;
    for (answer, outcome) in [
        (None, "late"),
        (text(422, r#"{"status":"error","error":"parse error"}"#), "failed"),
        (text(500, ""), "failed"),
        (text(302, ""), "failed"),
        (text(200, "<html>"), "failed"),
        (text(200, r#"{"data":{"resultType":"vector","result":[]}}"#), "failed"),
        (text(200, &large()), "failed"),
        (text(200, old), "answered"),
    ] {
        let (shown, given) = (answer.as_ref().map(|(status, _)| *status), answer.clone());
        let (prometheus, mut pager) = (Fake::new(move |_| given.clone()).await, pager().await);
        let mut world = World::new(&format!("http://{}", prometheus.address), &pager, epoch);
        let page = of(1, "slack[0]", Kind::Page, "http://prometheus/graph?g0.expr=up");
        let body = world.sent(page, &mut pager).await;
        assert!(body.contains("HighLatency") && !body.contains("Value: "), "{shown:?}: {body}");
        assert_eq!(world.count(outcome), 1, "{shown:?}");
    }
}

#[tokio::test]
async fn a_prometheus_that_is_gone_is_left_alone_for_a_while() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let mut pager = pager().await;
    let mut world = World::new(&format!("http://{address}"), &pager, epoch);
    for (id, expression) in [(1, "up"), (2, "down")] {
        let url = format!("http://prometheus/graph?g0.expr={expression}");
        let body = world.sent(of(id, "slack[0]", Kind::Page, &url), &mut pager).await;
        assert!(!body.contains("Value: "), "{body}");
    }
    assert_eq!((world.count("failed"), world.count("skipped")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_prometheus_gives_a_value() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prometheus.yml"), "global: {}\n").unwrap();
    let port = crate::e2e::child::free_port();
    let config = format!("--config.file={}", folder.path().join("prometheus.yml").display());
    let storage = format!("--storage.tsdb.path={}", folder.path().join("tsdb").display());
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    let Some(child) =
        crate::e2e::child::Child::start("prometheus", "prometheus", &[&config, &storage, &listen])
    else {
        return;
    };
    child.line(&["Server is ready to receive web requests"]).await;
    let mut pager = pager().await;
    let mut world = World::new(&format!("http://127.0.0.1:{port}"), &pager, squelch::node::clock::wall);
    let url = "http://prometheus/graph?g0.expr=label_replace(vector(0.0734),%22alertname%22,%22HighLatency%22,%22%22,%22%22)%20%3E%200.05";
    let body = world.sent(of(1, "slack[0]", Kind::Page, url), &mut pager).await;
    assert!(body.contains(&format!("Value: 0.0734 {} (last hour)", "▁".repeat(24))), "{body}");
    drop(child);
}

/// A decision log in which the rule of the page fired at these times, and which begins five weeks ago.
fn fired(folder: &Path, at: &[&str]) -> Arc<Reader> {
    let mut journal = SqliteJournal::open(folder).unwrap();
    journal.recover().unwrap();
    let other = LabelSet::from_pairs([("alertname", "Other")]);
    let rule = LabelSet::from_pairs([("alertname", "HighLatency"), ("severity", "critical")]);
    let all = at.iter().map(|at| (*at, &rule));
    let decisions = std::iter::once(("2026-10-19T10:00:00Z", &other)).chain(all).map(|(at, labels)| {
        let (at, alert) = (Timestamp::parse(at).unwrap(), AlertId::of(labels, |_| false));
        let basis = Basis { labels: labels.clone(), starts_at: Some(at), ..Basis::default() };
        let decision = Decision::new(at, alert, "team", Disposition::Page, Cause::FirstPage);
        Decision { incident: "i".into(), basis, ..decision }
    });
    let decisions: Vec<Decision> = decisions.collect();
    let records = [Record { seq: 1, now: Timestamp::ZERO, event: b"\"tick\"".to_vec() }];
    journal.commit(&Commit { records: &records, decisions: &decisions, ..Commit::default() }).unwrap();
    let mut follower =
        Follower::open(folder, DecisionLogMeter::new(&prometheus::Registry::new()).unwrap()).unwrap();
    while follower.step().unwrap() {}
    Arc::new(Reader::new(folder))
}

const BASELINES: &str = "squelch_baseline_lookups_total";

/// The page is of Monday, 2026-11-23, and its alert fires since 9:59.
#[tokio::test]
async fn a_page_says_how_often_its_rule_fires_at_this_time_of_the_week() {
    let folder = tempfile::tempdir().unwrap();
    let times = ["2026-11-18T10:00:00Z", "2026-11-23T01:00:00Z", "2026-11-23T05:00:00Z"];
    let history = fired(folder.path(), &times);
    let mut pager = pager().await;
    let mut world = World::start("", &pager, epoch, Some(history));
    let said = "third time in 12 hours, normally never at this time of the week (4 weeks)";
    let body = world.sent(of(1, "slack[0]", Kind::Page, ""), &mut pager).await;
    assert!(body.contains(&format!("Baseline: {said}")), "{body}");
    let body = world.sent(of(2, "pagerduty[0]", Kind::Page, ""), &mut pager).await;
    let event: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(event["payload"]["custom_details"]["baseline"], said);
    let body = world.sent(of(3, "webhook[0]", Kind::Page, ""), &mut pager).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap(), serde_json::json!({"said": said}));
    // A page of two rules names each of them.
    let mut two = of(4, "webhook[0]", Kind::Page, "");
    let labels = LabelSet::from_pairs([("alertname", "Other"), ("severity", "critical")]);
    two.alerts.push(AlertView { id: AlertId::of(&labels, |_| false), labels, ..two.alerts[0].clone() });
    let body = world.sent(two, &mut pager).await;
    let first = "first time in 12 hours, normally never at this time of the week (4 weeks)";
    assert!(body.contains(&format!("HighLatency: {said}. Other: {first}")), "{body}");
    for (id, kind) in [(5, Kind::Update), (6, Kind::Resolve), (7, Kind::Digest)] {
        let body = world.sent(of(id, "slack[0]", kind, ""), &mut pager).await;
        assert!(!body.contains("Baseline"), "{body}");
    }
    assert_eq!(world.counted(BASELINES, "answered"), 4);
}

#[tokio::test]
async fn a_page_leaves_without_a_baseline_whatever_the_decision_log_does() {
    let mut pager = pager().await;
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::start("", &pager, epoch, Some(Arc::new(Reader::new(folder.path()))));
    let body = world.sent(of(1, "slack[0]", Kind::Page, ""), &mut pager).await;
    assert!(!body.contains("Baseline"), "{body}");
    assert_eq!(world.counted(BASELINES, "failed"), 1, "there is no file");

    // A file that another process locks keeps each reader waiting for a second.
    let locked = rusqlite::Connection::open(folder.path().join("decisions.db")).unwrap();
    locked.execute_batch("CREATE TABLE t (a); BEGIN EXCLUSIVE").unwrap();
    for id in 2..5 {
        world.deliverer.send(of(id, "slack[0]", Kind::Page, ""), false);
    }
    for _ in 2..5 {
        let body = String::from_utf8(pager.next().await.body).unwrap();
        assert!(!body.contains("Baseline"), "{body}");
    }
    assert_eq!((world.counted(BASELINES, "late"), world.counted(BASELINES, "skipped")), (2, 1));
}
