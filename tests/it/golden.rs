//! The wire formats, byte for byte. `UPDATE_GOLDEN=1` writes the files anew. Read the difference.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use squelch::config::{Integration, Secret, SecretUrl};
use squelch::deliver::{Console, ConsoleSink, Deliverer, DeliveryOptions};
use squelch::model::{
    AlertId, AlertView, Kind, LabelSet, Notification, NotificationId, Outcome, Status, Timestamp,
};
use squelch::model::{Cause, Counted, Duration, HeldBack, NameCount, Reason};
use squelch::receivers::Notifier;
use squelch::receivers::console::ConsoleConfig;
use squelch::receivers::discord::DiscordConfig;
use squelch::receivers::msteamsv2::MsTeamsV2Config;
use squelch::receivers::pagerduty::{PagerdutyImage, PagerdutyLink};
use squelch::receivers::webhook::WebhookConfig;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::deliver::{integration, notification, pagerduty_config, slack_config};
use crate::repository;
use crate::wire;

fn assert_golden(name: &str, actual: &str) {
    repository::is_golden(format!("tests/data/golden/{name}"), actual);
}

/// Sends one notification, and returns the body and the request line that arrived.
async fn sent(
    kind: impl FnOnce(String) -> Arc<dyn Notifier>,
    n: Notification,
    repeat: bool,
    answer: &'static str,
) -> (String, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, body) = wire::request(&mut stream).await.expect("the request is whole");
        stream.write_all(answer.as_bytes()).await.unwrap();
        (head.lines().next().unwrap().to_owned(), body)
    });
    let integration = Integration { name: n.integration.clone(), ..integration("", kind(url)) };
    let (reports, mut ends) = mpsc::unbounded_channel();
    let options =
        DeliveryOptions { external_url: "https://squelch.example/".into(), ..DeliveryOptions::default() };
    let receivers = BTreeMap::from([(n.receiver.clone(), vec![integration])]);
    let deliverer = Deliverer::new(&receivers, reports, options).unwrap();
    deliverer.send(n, repeat);
    let arrived = server.await.unwrap();
    assert_eq!(ends.recv().await.unwrap().outcome, Outcome::Accepted);
    arrived
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

fn pretty(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    format!("{value:#}\n")
}

fn alert(instance: &str, status: Status) -> AlertView {
    let labels = LabelSet::from_pairs([
        ("alertname", "HighLatency"),
        ("cluster", "eu-west"),
        ("instance", instance),
        ("job", "checkout"),
        ("severity", "warning"),
    ]);
    AlertView {
        annotations: LabelSet::from_pairs([
            ("summary", "p99 > 2s & rising <!channel> @here \u{202e}evil"),
            ("runbook_url", "https://runbooks.example/latency?a=1&b=2"),
        ]),
        ends_at: (status == Status::Resolved).then(|| Timestamp::parse("2026-11-23T10:20:00Z").unwrap()),
        generator_url: "http://prometheus.example/graph?g0.expr=a%3Cb&g0.tab=1".into(),
        ..AlertView::new(labels, status, Timestamp::parse("2026-11-23T09:58:30.25Z").unwrap())
    }
}

fn incident(integration: &str, kind: Kind, generation: u32) -> Notification {
    let firing = if kind == Kind::Resolve { Status::Resolved } else { Status::Firing };
    Notification {
        dedup_key: "46bf8266969596eea1b8cd9f96e1719cfc44f71611d698977094e4482ef6d984".into(),
        incident_key: None,
        group_key: r#"{}/{severity="warning"}:{alertname="HighLatency", cluster="eu-west"}"#.into(),
        generation,
        group_labels: LabelSet::from_pairs([("alertname", "HighLatency"), ("cluster", "eu-west")]),
        title: None,
        headline: None,
        severity: "warning".into(),
        level: (1, 3),
        alerts: vec![alert("a:9090", firing), alert("b:9090", firing), alert("c:9090", Status::Resolved)],
        ..notification(7, "team.checkout", integration, kind)
    }
}

/// As the engine makes them: a group and a key of its own.
fn digest(integration: &str) -> Notification {
    Notification {
        group_key: "digest:team.checkout".into(),
        group_labels: LabelSet::from_pairs([("alertname", "SquelchDigest"), ("receiver", "team.checkout")]),
        title: Some(LabelSet::default()),
        headline: None,
        truncated: 2,
        truncated_firing: 2,
        cause: Cause::Digest {
            period: Duration::from_hours(24),
            held_back: vec![HeldBack {
                reason: Reason::Usual,
                counted: Counted {
                    count: 12,
                    names: vec![NameCount { name: "<HighLatency>".into(), count: 12 }],
                    other_names: 0,
                },
            }],
            withheld: Counted::default(),
            unnamed: 0,
        },
        ..incident(integration, Kind::Digest, 0)
    }
}

fn webhook(max_alerts: u64) -> impl FnOnce(String) -> Arc<dyn Notifier> {
    move |url| {
        let url = SecretUrl(Secret::Inline(format!("{url}/hook?token=1").into()));
        Arc::new(WebhookConfig {
            url,
            max_alerts,
            signing_secret: None,
            payload: None,
            texts: Default::default(),
        })
    }
}

#[tokio::test]
async fn webhook_bodies() {
    let cases = [
        ("webhook_firing.json", 0, incident("webhook[0]", Kind::Page, 0)),
        ("webhook_resolved.json", 0, incident("webhook[0]", Kind::Resolve, 0)),
        (
            "webhook_truncated.json",
            1,
            Notification {
                alerts: vec![alert("a:9090", Status::Firing)],
                truncated: 6,
                route_labels: LabelSet::from_pairs([
                    ("team", "shop"),
                    ("why", r#"{{ len .Alerts }} & {{ routeLabels "team" }}"#),
                ]),
                ..incident("webhook[0]", Kind::Update, 0)
            },
        ),
        ("webhook_second_generation.json", 0, incident("webhook[0]", Kind::Page, 1)),
        ("webhook_digest.json", 1, digest("webhook[0]")),
    ];
    for (name, max_alerts, n) in cases {
        let (request, body) = sent(webhook(max_alerts), n, false, OK).await;
        assert_eq!(request, "POST /hook?token=1 HTTP/1.1");
        assert_golden(name, &body);
    }
}

/// The recorded body of Alertmanager 0.25. `notification_reason` came with 0.32, and `routeLabels` with
/// 0.34.
#[tokio::test]
async fn a_webhook_body_is_alertmanagers_own() {
    let labels = LabelSet::from_pairs([("alertname", "Raw"), ("instance", "b"), ("q", "a<b&\"c\"")]);
    let raw = AlertView {
        id: AlertId::of(&labels, |_| false),
        labels,
        annotations: LabelSet::from_pairs([("summary", "s")]),
        starts_at: Timestamp::parse("2026-11-23T00:16:19Z").unwrap(),
        generator_url: "http://p/g?a=1&b=2".into(),
        ..alert("b", Status::Firing)
    };
    let n = Notification {
        group_key: "{}:{alertname=\"Raw\"}".into(),
        group_labels: LabelSet::from_pairs([("alertname", "Raw")]),
        alerts: vec![raw],
        ..notification(1, "raw.(x)", "webhook[0]", Kind::Page)
    };
    let (_, body) = sent(webhook(0), n, false, OK).await;
    let measured = concat!(
        r#"{"receiver":"raw\\.\\(x\\)","status":"firing","alerts":[{"status":"firing","labels":{"#,
        r#""alertname":"Raw","instance":"b","q":"a\u003cb\u0026\"c\""},"annotations":{"summary":"s"},"#,
        r#""startsAt":"2026-11-23T00:16:19Z","endsAt":"0001-01-01T00:00:00Z","#,
        r#""generatorURL":"http://p/g?a=1\u0026b=2","fingerprint":"22db5782a4fe1682"}],"#,
        r#""groupLabels":{"alertname":"Raw"},"commonLabels":{"alertname":"Raw","instance":"b","#,
        r#""q":"a\u003cb\u0026\"c\""},"commonAnnotations":{"summary":"s"},"#,
        r#""externalURL":"https://squelch.example/","version":"4","#,
        r#""groupKey":"{}:{alertname=\"Raw\"}","truncatedAlerts":0}"#,
        "\n"
    );
    let newer = [r#""notification_reason":"first notification","#, r#""routeLabels":{},"#];
    assert_eq!(newer.iter().fold(body, |body, field| body.replace(field, "")), measured);
}

#[tokio::test]
async fn pagerduty_events() {
    let plain =
        |url: String| -> Arc<dyn Notifier> { Arc::new(pagerduty_config(format!("{url}/v2/enqueue"))) };
    let cases = [
        ("pagerduty_trigger.json", incident("pagerduty[0]", Kind::Page, 0), "/v2/enqueue"),
        ("pagerduty_resolve.json", incident("pagerduty[0]", Kind::Resolve, 0), "/v2/enqueue"),
        ("pagerduty_acknowledge.json", incident("pagerduty[0]", Kind::Acknowledge, 0), "/v2/enqueue"),
        ("pagerduty_digest.json", digest("pagerduty[0]"), "/v2/change/enqueue"),
    ];
    for (name, n, path) in cases {
        let (request, body) = sent(plain, n, false, ACCEPTED).await;
        assert_eq!(request, format!("POST {path} HTTP/1.1"));
        assert_golden(name, &pretty(&body));
    }
}

#[tokio::test]
async fn pagerduty_templated() {
    let templated = |url: String| -> Arc<dyn Notifier> {
        let mut config = pagerduty_config(format!("{url}/v2/enqueue"));
        config.client = Some("{{ .Receiver }}".into());
        config.client_url = Some("javascript:alert(1)".into());
        config.description = Some("{{ .CommonLabels.alertname }} {{ range 2000 }}x{{ end }}".into());
        config.severity = Some("error".into());
        config.source = Some("{{ .CommonLabels.nothing }}".into());
        config.component = Some("{{ .GroupLabels.cluster }}".into());
        let mut config = config.with_details([
            ("firing", "{{ range .Alerts.Firing }}{{ .Labels.instance }} {{ end }}"),
            ("note", "{{ .Why }} {{ .Severity }} {{ .Status }} {{ .Kind }} {{ len .Alerts.Resolved }}"),
        ]);
        config.images = vec![
            PagerdutyImage { src: "http://plain.example/x.png".into(), ..Default::default() },
            PagerdutyImage {
                src: "https://i.example/x.png".into(),
                href: "javascript:1".into(),
                alt: "x".into(),
            },
        ];
        config.links = vec![PagerdutyLink { href: "{{ .ExternalURL }}x".into(), text: "Squelch".into() }];
        Arc::new(config)
    };
    let (_, body) = sent(templated, incident("pagerduty[0]", Kind::Update, 1), false, ACCEPTED).await;
    assert_golden("pagerduty_templated.json", &pretty(&body));
}

#[tokio::test]
async fn slack_messages() {
    let plain = |url: String| -> Arc<dyn Notifier> { Arc::new(slack_config(format!("{url}/services/x"))) };
    let cases = [
        ("slack_firing.json", incident("slack[0]", Kind::Page, 0), false),
        ("slack_possible_repeat.json", incident("slack[0]", Kind::Page, 0), true),
        ("slack_resolved.json", incident("slack[0]", Kind::Resolve, 0), false),
        ("slack_digest.json", digest("slack[0]"), false),
    ];
    for (name, n, repeat) in cases {
        let (_, body) = sent(plain, n, repeat, OK).await;
        assert_golden(name, &pretty(&body));
    }
    let templated = |url: String| -> Arc<dyn Notifier> {
        let mut config = slack_config(format!("{url}/services/x"));
        config.texts.set("channel", "#pages");
        config.texts.set("username", "squelch");
        config.texts.set("text", "<!here> {{ .CommonAnnotations.summary }}");
        Arc::new(config)
    };
    let (_, body) = sent(templated, incident("slack[0]", Kind::Page, 0), false, OK).await;
    assert_golden("slack_templated.json", &pretty(&body));
}

#[tokio::test]
async fn discord_messages() {
    let url = |url: String| SecretUrl(Secret::Inline(format!("{url}/api/webhooks/1/x").into()));
    let plain = |to: String| -> Arc<dyn Notifier> {
        let webhook_url = url(to);
        Arc::new(DiscordConfig {
            webhook_url,
            content: None,
            title: None,
            message: None,
            username: None,
            avatar_url: None,
        })
    };
    let cases = [
        ("discord_firing.json", incident("discord[0]", Kind::Page, 0), false),
        ("discord_possible_repeat.json", incident("discord[0]", Kind::Page, 0), true),
        ("discord_resolved.json", incident("discord[0]", Kind::Resolve, 0), false),
        ("discord_digest.json", digest("discord[0]"), false),
    ];
    for (name, n, repeat) in cases {
        let (request, body) = sent(plain, n, repeat, NO_CONTENT).await;
        assert_eq!(request, "POST /api/webhooks/1/x HTTP/1.1");
        assert_golden(name, &pretty(&body));
    }
    let templated = |to: String| -> Arc<dyn Notifier> {
        Arc::new(DiscordConfig {
            webhook_url: url(to),
            content: Some("@everyone {{ .GroupLabels.cluster }}".into()),
            title: Some("{{ .CommonLabels.alertname }} {{ range 300 }}x{{ end }}".into()),
            message: Some("{{ .CommonAnnotations.summary }}".into()),
            username: Some("squelch".into()),
            avatar_url: Some("javascript:alert(1)".into()),
        })
    };
    let (_, body) = sent(templated, incident("discord[0]", Kind::Page, 0), true, NO_CONTENT).await;
    assert_golden("discord_templated.json", &pretty(&body));
}

#[tokio::test]
async fn msteamsv2_messages() {
    let teams = |text: Option<&'static str>| {
        move |url: String| -> Arc<dyn Notifier> {
            let webhook_url = SecretUrl(Secret::Inline(format!("{url}/workflows/1?sig=x").into()));
            Arc::new(MsTeamsV2Config { webhook_url, title: None, text: text.map(str::to_owned) })
        }
    };
    let cases = [
        ("msteamsv2_firing.json", incident("msteamsv2[0]", Kind::Page, 0), false),
        ("msteamsv2_possible_repeat.json", incident("msteamsv2[0]", Kind::Page, 0), true),
        ("msteamsv2_resolved.json", incident("msteamsv2[0]", Kind::Resolve, 0), false),
        ("msteamsv2_digest.json", digest("msteamsv2[0]"), false),
    ];
    for (name, n, repeat) in cases {
        let (request, body) = sent(teams(None), n, repeat, ACCEPTED).await;
        assert_eq!(request, "POST /workflows/1?sig=x HTTP/1.1");
        assert_golden(name, &pretty(&body));
    }
    let long = Some("{{ range 10000 }}äöü{{ end }} {{ .CommonAnnotations.summary }}");
    let (_, body) = sent(teams(long), incident("msteamsv2[0]", Kind::Page, 0), false, ACCEPTED).await;
    assert!(body.len() <= 28_000 && body.contains("ü…"), "{} bytes", body.len());
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl ConsoleSink for Lines {
    fn write_line(&self, line: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push(line.to_owned());
        Ok(())
    }
}

#[tokio::test]
async fn console_lines() {
    let lines = Arc::new(Lines::default());
    let (reports, mut ends) = mpsc::unbounded_channel();
    let options = DeliveryOptions { console: Console::new(lines.clone()), ..DeliveryOptions::default() };
    let console = integration("console[0]", Arc::new(ConsoleConfig {}));
    let receivers = BTreeMap::from([("team.checkout".into(), vec![console])]);
    let deliverer = Deliverer::new(&receivers, reports, options).unwrap();
    let mut mixed = incident("console[0]", Kind::Page, 0);
    mixed.group_labels = LabelSet::from_pairs([("cluster", "eu-west")]);
    mixed.alerts = (0..5)
        .map(|i| {
            let labels =
                LabelSet::from_pairs([("alertname", format!("A{i}")), ("cluster", "eu\nwest".into())]);
            AlertView { labels, ..alert("x", Status::Firing) }
        })
        .collect();
    let sends = [
        (incident("console[0]", Kind::Page, 0), false),
        (incident("console[0]", Kind::Update, 0), false),
        (mixed, false),
        (incident("console[0]", Kind::Resolve, 0), true),
        (digest("console[0]"), false),
    ];
    for (id, (n, repeat)) in sends.into_iter().enumerate() {
        deliverer.send(Notification { id: NotificationId(id as u64), ..n }, repeat);
        assert_eq!(ends.recv().await.unwrap().outcome, Outcome::Accepted);
    }
    assert_golden("console.txt", &(lines.0.lock().unwrap().join("\n") + "\n"));
}
