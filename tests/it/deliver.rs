//! Delivery against the fake pager, with scripted faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use squelch::commands::fake_pager::{FakePager, Fault};
use squelch::config::{Integration, Secret, SecretUrl, Url};
use squelch::deliver::{Backoff, Deliverer, DeliveryOptions};
use squelch::model::{
    AlertView, Kind, LabelSet, Notification, NotificationId, Outcome, Rejection, Report, Status, Timestamp,
};
use squelch::receivers::Notifier;
use squelch::receivers::pagerduty::PagerdutyConfig;
use squelch::receivers::slack::{SlackAddress, SlackConfig};
use squelch::receivers::webhook::WebhookConfig;
use tokio::sync::mpsc;

pub const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";

pub fn pagerduty_config(url: String) -> PagerdutyConfig {
    PagerdutyConfig::new(Secret::Inline(ROUTING_KEY.into()), Url(url))
}

pub fn slack_config(url: String) -> SlackConfig {
    slack_config_with(url, "")
}

/// With these keys on top of the URL.
fn slack_config_with(url: String, keys: &str) -> SlackConfig {
    let receiver = format!("{{name: r, slack_configs: [{{api_url: 'http://a/', {keys}}}]}}");
    let text = format!("route: {{receiver: r}}\nreceivers: [{receiver}]\n");
    let config =
        squelch::config::parse(&text, "squelch.yml", Path::new("")).unwrap_or_else(|e| panic!("{e}"));
    let notifier: &dyn std::any::Any = &*config.receivers["r"][0].notifier;
    let config: &SlackConfig = notifier.downcast_ref().unwrap();
    SlackConfig { to: SlackAddress::Url(SecretUrl(Secret::Inline(url.into()))), ..config.clone() }
}

pub fn integration(name: &str, notifier: Arc<dyn Notifier>) -> Integration {
    let timeout = squelch::model::Duration::from_secs(5);
    let templates = squelch::templates::Library::built_in();
    Integration { name: name.into(), notifier, timeout, http: Default::default(), templates }
}

pub fn pagerduty(url: String) -> Integration {
    integration("pagerduty[0]", Arc::new(pagerduty_config(url)))
}

pub fn slack(url: String) -> Integration {
    integration("slack[0]", Arc::new(slack_config(url)))
}

pub fn webhook(url: String) -> Integration {
    let url = SecretUrl(Secret::Inline(url.into()));
    integration(
        "webhook[0]",
        Arc::new(WebhookConfig {
            url,
            max_alerts: 0,
            signing_secret: None,
            payload: None,
            texts: Default::default(),
        }),
    )
}

pub fn notification(id: u64, receiver: &str, integration: &str, kind: Kind) -> Notification {
    let labels = LabelSet::from_pairs([("alertname", "HighLatency"), ("severity", "critical")]);
    Notification {
        id: NotificationId(id),
        integration: integration.into(),
        dedup_key: format!("key-{id}").into(),
        group_key: format!("{{}}:{{n=\"{id}\"}}").into(),
        group_labels: LabelSet::from_pairs([("alertname", "HighLatency")]),
        severity: "critical".into(),
        level: (0, 3),
        alerts: vec![AlertView::new(
            labels,
            if kind == Kind::Resolve { Status::Resolved } else { Status::Firing },
            Timestamp::parse("2026-11-23T09:59:00Z").unwrap(),
        )],
        ..Notification::new(Timestamp::parse("2026-11-23T10:00:00Z").unwrap(), receiver, kind)
    }
}

pub type Receivers = BTreeMap<SmolStr, Vec<Integration>>;

pub fn receivers<const N: usize>(list: [(&str, Integration); N]) -> Receivers {
    list.into_iter().map(|(name, integration)| (name.into(), vec![integration])).collect()
}

/// Waits of milliseconds: the schedule itself is tested in virtual time, where it is written.
fn options() -> DeliveryOptions {
    let backoff = Backoff { initial: Duration::from_millis(10), max: Duration::from_millis(40) };
    DeliveryOptions { backoff, ..DeliveryOptions::default() }
}

pub struct World {
    pub deliverer: Deliverer,
    reports: mpsc::UnboundedReceiver<Report>,
    registry: prometheus::Registry,
}

impl World {
    pub fn new(receivers: &Receivers) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let options = options();
        let registry = options.registry.clone();
        World { deliverer: Deliverer::new(receivers, sender, options).unwrap(), reports, registry }
    }

    pub async fn report(&mut self) -> Report {
        let report = tokio::time::timeout(Duration::from_secs(20), self.reports.recv()).await;
        report.expect("a report within 20 s").expect("the deliverer lives")
    }

    pub async fn rejection(&mut self) -> Rejection {
        let Outcome::Rejected(rejection) = self.report().await.outcome else { panic!("it was not refused") };
        rejection
    }

    /// The value of a series, written as in the text format.
    fn metric(&self, series: &str) -> Option<f64> {
        let text = prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{series} ")))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

pub async fn pager() -> FakePager {
    FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

pub fn fault(answer: u16, next: u32) -> Fault {
    Fault { answer: Some(answer), next, ..Fault::default() }
}

#[tokio::test]
async fn a_page_and_its_resolve() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", pagerduty(pager.url("/v2/enqueue")))]));
    world.deliverer.send(notification(1, "team", "pagerduty[0]", Kind::Page), false);
    assert_eq!(
        world.report().await,
        Report { id: NotificationId(1), outcome: Outcome::Accepted, attempts: 1, message: None }
    );
    let update = Notification {
        id: NotificationId(2),
        kind: Kind::Update,
        ..notification(1, "team", "pagerduty[0]", Kind::Page)
    };
    world.deliverer.send(update, false);
    world.report().await;
    let resolve =
        Notification { id: NotificationId(3), ..notification(1, "team", "pagerduty[0]", Kind::Resolve) };
    let resolve = Notification { dedup_key: "key-1".into(), ..resolve };
    world.deliverer.send(resolve, false);
    world.report().await;
    let incidents = pager.incidents();
    assert_eq!(incidents.len(), 1);
    let incident = &incidents[0];
    assert_eq!((incident.triggers, incident.notified, incident.closed_at.is_some()), (2, 1, true));
    assert_eq!(incident.summary, "[FIRING:1] HighLatency (critical)");
    assert_eq!(world.metric("squelch_queue_length{receiver=\"team\"}"), Some(0.0));
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", pagerduty(pager.url("/v2/enqueue")))]));
    pager.script(serde_json::from_str(r#"{"answer": 429, "retry_after": "0.4"}"#).unwrap());
    let began = Instant::now();
    world.deliverer.send(notification(1, "team", "pagerduty[0]", Kind::Page), false);
    let report = world.report().await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    let series = "squelch_notifications_failed_total{integration=\"pagerduty\",reason=\"rateLimited\",receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(1.0));
}

#[tokio::test]
async fn a_burst_of_errors_delays_a_page_and_loses_none() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", webhook(pager.url("/webhook/team")))]));
    pager.script(fault(500, 12));
    for id in 1..=10 {
        world.deliverer.send(notification(id, "team", "webhook[0]", Kind::Page), false);
    }
    for _ in 0..10 {
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
    }
    assert_eq!(pager.incidents().len(), 10);
    let series = "squelch_notifications_failed_total{integration=\"webhook\",reason=\"serverError\",receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(12.0));
    assert_eq!(world.metric("squelch_queue_oldest_timestamp_seconds{receiver=\"team\"}"), Some(0.0));
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody_else() {
    let pager = pager().await;
    let mut slow = webhook(pager.url("/webhook/slow"));
    slow.timeout = squelch::model::Duration::from_millis(300);
    let mut world = World::new(&receivers([("slow", slow), ("fast", webhook(pager.url("/webhook/fast")))]));
    pager.script(Fault { next: 2, hang_ms: 60_000, path: "/webhook/slow".into(), ..Fault::default() });
    world.deliverer.send(notification(1, "slow", "webhook[0]", Kind::Page), false);
    pager.wait_until(|p| p.requests().total == 1).await;
    world.deliverer.send(notification(2, "fast", "webhook[0]", Kind::Page), false);
    assert_eq!(world.report().await.id, NotificationId(2));
    let report = world.report().await;
    assert_eq!((report.id, report.outcome, report.attempts), (NotificationId(1), Outcome::Accepted, 3));
}

#[tokio::test]
async fn a_refusal_is_reported_with_its_reason() {
    let pager = pager().await;
    let mut config = pagerduty_config(pager.url("/v2/enqueue"));
    config.routing_key = Secret::Inline("too-short-a-key".into());
    let short = integration("pagerduty[0]", Arc::new(config));
    let mut world = World::new(&receivers([("team", short)]));
    world.deliverer.send(notification(1, "team", "pagerduty[0]", Kind::Page), false);
    let rejection = world.rejection().await;
    assert_eq!((rejection.reason.as_str(), rejection.ambiguous), ("clientError", false));
    assert!(rejection.detail.contains("should be 32 characters"), "{}", rejection.detail);
    pager.script(fault(403, 1));
    world.deliverer.send(notification(2, "team", "pagerduty[0]", Kind::Page), false);
    assert_eq!(world.rejection().await.reason, "authError");
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_the_end_ambiguous_and_the_repeat_visible() {
    let pager = pager().await;
    let mut world = World::new(&receivers([
        ("team", pagerduty(pager.url("/v2/enqueue"))),
        ("chat", slack(pager.url("/slack/T1"))),
    ]));
    let lost = Fault { reset: true, accepted: true, ..Fault::default() };
    pager.script(lost.clone());
    world.deliverer.send(notification(1, "team", "pagerduty[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let incidents = pager.incidents();
    assert_eq!((incidents.len(), incidents[0].triggers), (1, 2), "the key folds the repeat");

    pager.script(lost.clone());
    world.deliverer.send(notification(2, "chat", "slack[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let titles: Vec<String> = pager.messages().into_iter().map(|m| m.title).collect();
    assert_eq!(
        titles,
        ["[FIRING:1] HighLatency (critical)", "[FIRING:1] HighLatency (critical) (possible repeat)"]
    );

    pager.script(lost);
    pager.script(fault(400, 1));
    world.deliverer.send(notification(3, "team", "pagerduty[0]", Kind::Page), false);
    assert!(world.rejection().await.ambiguous);
}

/// A redirect is followed where it keeps the message and stays at the host, and is final anywhere else.
#[tokio::test]
async fn a_redirect_elsewhere_is_final_and_not_followed() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", webhook(pager.url("/webhook/team")))]));
    let same = pager.url("/webhook/other");
    let elsewhere = same.replace("127.0.0.1", "localhost");
    let cases = [
        (301, &same, Some("would drop the message")),
        (302, &same, Some("would drop the message")),
        (303, &same, Some("would drop the message")),
        (307, &same, None),
        (308, &same, None),
        (307, &elsewhere, Some("a redirect to http://localhost")),
        (308, &elsewhere, Some("which is another host")),
    ];
    for (id, (status, location, refused)) in (1..).zip(cases) {
        let before = pager.requests().total;
        let headers = BTreeMap::from([("Location".to_owned(), location.clone())]);
        pager.script(Fault { answer: Some(status), headers, ..Fault::default() });
        world.deliverer.send(notification(id, "team", "webhook[0]", Kind::Page), false);
        match refused {
            Some(says) => {
                let rejection = world.rejection().await;
                assert_eq!(rejection.reason, "other");
                assert!(rejection.detail.contains(says), "{status}: {}", rejection.detail);
                assert!(!rejection.detail.contains("/webhook"), "{}", rejection.detail);
                assert_eq!(pager.requests().total, before + 1);
            }
            None => {
                assert_eq!(world.report().await.outcome, Outcome::Accepted, "{status}");
                assert_eq!(pager.requests().total, before + 2);
            }
        }
    }
}

#[tokio::test]
async fn anything_but_ok_from_slack_is_a_failure() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("chat", slack(pager.url("/slack/T1")))]));
    let says = |body: &str| Fault { answer: Some(200), body: Some(body.into()), ..Fault::default() };
    pager.script(says("invalid_payload"));
    world.deliverer.send(notification(1, "chat", "slack[0]", Kind::Page), false);
    assert_eq!(world.rejection().await.reason, "clientError");
    pager.script(says("{\"ok\":false,\"error\":\"internal_error\"}"));
    world.deliverer.send(notification(2, "chat", "slack[0]", Kind::Page), false);
    let report = world.report().await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
}

#[derive(Clone, Default)]
pub(crate) struct Captured(pub(crate) Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lets a subscriber of one test see every line. Other tests reach the same log statements first, and a
/// statement without a subscriber stays switched off. The subscriber of the process thus wants all lines.
pub(crate) fn switch_all_log_statements_on() {
    let wants_all =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::sink);
    // Another test may have set it.
    let _ = tracing::subscriber::set_global_default(wants_all.finish());
}

#[tokio::test]
async fn no_secret_in_errors_or_logs() {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    switch_all_log_statements_on();
    let _guard = tracing::subscriber::set_default(subscriber);

    let pager = pager().await;
    let mut hook = webhook(pager.url("/webhook/s3cr3t-path-token?auth=s3cr3t-query-token"));
    hook.http.auth = Some(squelch::config::HttpAuth::Basic {
        username: Secret::Inline("me".into()),
        password: Secret::Inline("s3cr3t-password".into()),
    });
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let mut world = World::new(&receivers([
        ("hook", hook),
        ("pd", pagerduty(pager.url("/v2/enqueue"))),
        ("nobody", webhook(format!("http://user:s3cr3t-userinfo@{nobody}/s3cr3t-path-token"))),
    ]));
    let echo = format!(
        "no: /webhook/s3cr3t-path-token?auth=s3cr3t-query-token s3cr3t-password bWU6czNjcjN0LXBhc3N3b3Jk {ROUTING_KEY}"
    );
    let mut details = Vec::new();
    for (id, receiver, name) in [(1, "hook", "webhook[0]"), (2, "pd", "pagerduty[0]")] {
        let path = if id == 1 { "/webhook/" } else { "/v2/" };
        let body =
            Some(if id == 1 { echo.replace(ROUTING_KEY, "") } else { format!("bad key {ROUTING_KEY}") });
        pager.script(Fault { answer: Some(500), body: body.clone(), path: path.into(), ..Fault::default() });
        pager.script(Fault { answer: Some(400), body, path: path.into(), ..Fault::default() });
        world.deliverer.send(notification(id, receiver, name, Kind::Page), false);
        details.push(world.rejection().await.detail);
    }
    world.deliverer.send(notification(3, "nobody", "webhook[0]", Kind::Page), false);
    let failed =
        "squelch_notifications_failed_total{integration=\"webhook\",reason=\"other\",receiver=\"nobody\"}";
    while world.metric(failed).is_none_or(|n| n < 2.0) {
        tokio::task::yield_now().await;
    }
    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("attempt failed"), "the log was captured: {log}");
    for text in details.iter().chain([&log]) {
        assert!(!text.contains("s3cr3t"), "{text}");
        assert!(!text.contains("bWU6"), "{text}");
        assert!(!text.contains(ROUTING_KEY), "{text}");
    }
    assert!(details[1].contains("bad key <secret>"), "{}", details[1]);
}

#[tokio::test]
async fn the_circuit_opens_and_closes() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", webhook(pager.url("/webhook/team")))]));
    let series = "squelch_receiver_circuit_open{receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(0.0));
    pager.script(fault(503, 7));
    pager.script(Fault { hang_ms: 100, ..Fault::default() });
    for id in 1..=5 {
        world.deliverer.send(notification(id, "team", "webhook[0]", Kind::Page), false);
    }
    pager.wait_until(|p| p.requests().total == 8).await;
    assert_eq!(world.metric(series), Some(1.0));
    for _ in 0..5 {
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
    }
    assert_eq!(world.metric(series), Some(0.0));
    assert_eq!(pager.incidents().len(), 5);
}

#[tokio::test]
async fn a_removed_integration_still_delivers_what_it_has() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("old", webhook(pager.url("/webhook/old")))]));
    pager.script(fault(500, 2));
    world.deliverer.send(notification(1, "old", "webhook[0]", Kind::Page), false);
    let new = receivers([("new", webhook(pager.url("/webhook/new")))]);
    world.deliverer.reload(&new).unwrap();
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let resolve = notification(1, "old", "webhook[0]", Kind::Resolve);
    world.deliverer.send(Notification { id: NotificationId(2), ..resolve }, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert!(pager.incidents()[0].closed_at.is_some());
    world.deliverer.send(notification(3, "new", "webhook[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!(pager.incidents()[1].routing_key, "webhook/new");
    world.deliverer.send(notification(4, "never", "webhook[0]", Kind::Page), false);
    assert!(world.rejection().await.detail.contains("no integration"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_being_sent() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", webhook(pager.url("/webhook/team")))]));
    pager.script(Fault { hang_ms: 100, ..Fault::default() });
    world.deliverer.send(notification(1, "team", "webhook[0]", Kind::Page), false);
    assert_eq!(world.deliverer.drain(Duration::from_secs(10)).await, 0);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);

    let mut world = World::new(&receivers([("team", webhook(pager.url("/webhook/team")))]));
    pager.script(Fault { hang_ms: 60_000, ..Fault::default() });
    world.deliverer.send(notification(2, "team", "webhook[0]", Kind::Page), false);
    assert_eq!(world.deliverer.drain(Duration::from_millis(100)).await, 1);
    assert!(world.reports.try_recv().is_err(), "what was not answered has no end");
}

#[tokio::test]
async fn a_template_that_fails_gives_way_to_the_default_text() {
    let pager = pager().await;
    let mut config = pagerduty_config(pager.url("/v2/enqueue"));
    config.description = Some("{{ range 10000 }}{{ range 10000 }}{{ end }}{{ end }}".into());
    config.severity = Some("{{ .Severity | toUpper }}".into());
    let mut config =
        config.with_details([("team", "{{ .CommonLabels.alertname }}/{{ len .Alerts.Firing }}")]);
    let templated = integration("pagerduty[0]", Arc::new(config.clone()));
    let mut world = World::new(&receivers([("team", templated)]));
    world.deliverer.send(notification(1, "team", "pagerduty[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let incident = &pager.incidents()[0];
    assert_eq!(incident.summary, "[FIRING:1] HighLatency (critical)");
    assert_eq!(incident.details["team"], "HighLatency/1");
    let series = "squelch_notification_template_errors_total{integration=\"pagerduty\",receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(1.0));

    config.description = Some("{{ unclosed".into());
    let broken = integration("pagerduty[0]", Arc::new(config));
    world.deliverer.reload(&receivers([("team", broken)])).unwrap();
    world.deliverer.send(notification(2, "team", "pagerduty[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!(pager.incidents()[0].summary, "[FIRING:1] HighLatency (critical)");
    assert_eq!(world.metric(series), Some(2.0));
}

#[tokio::test]
async fn a_message_that_renders_to_nothing_gives_way_to_the_default_text_and_counts() {
    let pager = pager().await;
    let mut config = slack_config_with(pager.url("/slack/x"), "fallback: ''");
    config.texts.set("title", "{{ .CommonAnnotations.summary }}");
    config.texts.set("text", "{{ range .Alerts }}{{ .Annotations.summary }}{{ end }}");
    config.texts.set("channel", "#alerts-{{ .CommonLabels.alertname }}-@x");
    let templated = integration("slack[0]", Arc::new(config));
    let mut world = World::new(&receivers([("team", templated)]));
    world.deliverer.send(notification(1, "team", "slack[0]", Kind::Page), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let message = pager.messages().pop().unwrap().body;
    let attachment = &message["attachments"][0];
    assert_eq!(attachment["title"].as_str().unwrap_or_default(), "");
    assert!(attachment["text"].as_str().unwrap().contains("alertname = HighLatency"), "{message}");
    assert_eq!(attachment["fallback"], "", "what is empty in the configuration is meant so");
    assert_eq!(message["channel"], "#alerts-HighLatency-@x");
    let series = "squelch_notification_template_errors_total{integration=\"slack\",receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(1.0));
}

#[tokio::test]
async fn a_routing_key_may_be_a_template() {
    let pager = pager().await;
    let mut config = pagerduty_config(pager.url("/v2/enqueue"));
    let team = |labels: &[(&str, &str)]| {
        let mut page = notification(1, "team", "pagerduty[0]", Kind::Page);
        page.group_labels = LabelSet::from_pairs(labels.iter().copied());
        page
    };
    config.routing_key = Secret::Inline("{{ .GroupLabels.pd_key }}".into());
    let templated = integration("pagerduty[0]", Arc::new(config));
    let mut world = World::new(&receivers([("team", templated)]));
    world.deliverer.send(team(&[("pd_key", ROUTING_KEY)]), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert!(pager.incidents()[0].routing_key.ends_with("cdef"));
    // Without the label there is no service to page.
    let Outcome::Rejected(rejection) = ({
        world.deliverer.send(Notification { id: NotificationId(2), ..team(&[]) }, false);
        world.report().await.outcome
    }) else {
        panic!("not refused")
    };
    assert!(rejection.detail.contains("routing_key renders to nothing"), "{}", rejection.detail);
    let series = "squelch_notification_template_errors_total{integration=\"pagerduty\",receiver=\"team\"}";
    assert_eq!(world.metric(series), Some(1.0));
}

#[tokio::test]
async fn an_incident_larger_than_pagerduty_takes_is_shortened() {
    let pager = pager().await;
    let mut world = World::new(&receivers([("team", pagerduty(pager.url("/v2/enqueue")))]));
    let mut large = notification(1, "team", "pagerduty[0]", Kind::Page);
    let mut alert = large.alerts[0].clone();
    alert.annotations = LabelSet::from_pairs([("description", "x".repeat(4000))]);
    large.alerts = vec![alert; 1000];
    world.deliverer.send(large.clone(), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    large.id = NotificationId(2);
    large.alerts.truncate(1);
    large.alerts[0].annotations = LabelSet::from_pairs([("description", "x".repeat(900_000))]);
    world.deliverer.send(large, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn every_series_starts_at_zero() {
    let world = World::new(&receivers([("a", webhook("http://127.0.0.1:9/".into()))]));
    let reasons = [
        "other",
        "clientError",
        "serverError",
        "contextCanceled",
        "contextDeadlineExceeded",
        "authError",
        "rateLimited",
    ];
    for reason in reasons {
        let series = format!(
            "squelch_notifications_failed_total{{integration=\"webhook\",reason=\"{reason}\",receiver=\"a\"}}"
        );
        assert_eq!(world.metric(&series), Some(0.0), "{series}");
    }
    for name in ["queue_length", "queue_oldest_timestamp_seconds", "receiver_circuit_open"] {
        assert_eq!(world.metric(&format!("squelch_{name}{{receiver=\"a\"}}")), Some(0.0), "{name}");
    }
    let count = "squelch_notification_latency_seconds_count{integration=\"webhook\"}";
    assert_eq!(world.metric(count), Some(0.0));
}
