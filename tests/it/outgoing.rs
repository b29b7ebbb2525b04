//! Outgoing requests: signed, to allowed addresses only, and safe from text in labels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use squelch::commands::fake_pager::FakePager;
use squelch::config::{AddressPolicy, HttpConfig, Integration, Secret, SecretFile, SecretForm, SecretUrl};
use squelch::deliver::{Deliverer, DeliveryOptions, HttpClient};
use squelch::model::{Kind, LabelSet, Notification, Outcome, Timestamp};
use squelch::receivers::console::ConsoleConfig;
use squelch::receivers::webhook::WebhookConfig;
use squelch::receivers::{
    Answer, Attempt, AttemptError, HttpMethod, HttpRequest, Notifier, ReceiverType, Request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::deliver::{integration, notification, pagerduty_config, receivers, slack_config};
use crate::wire;

const NOW: &str = "2026-11-24T12:00:07.5Z";

/// Sends one notification. It returns head and body of each of `answers` requests that arrived, and the
/// report's end.
async fn sent(
    kind: impl Fn(String) -> Arc<dyn Notifier>,
    n: Notification,
    answers: &[&str],
) -> (Vec<(String, String)>, Outcome) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (reports, mut ends) = mpsc::unbounded_channel();
    let wall = || Timestamp::parse(NOW).unwrap();
    let backoff =
        squelch::deliver::Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(2) };
    let options = DeliveryOptions { wall, backoff, ..DeliveryOptions::default() };
    let made = Integration { name: n.integration.clone(), ..integration("", kind(url)) };
    let receivers = BTreeMap::from([(n.receiver.clone(), vec![made])]);
    let deliverer = Deliverer::new(&receivers, reports, options).unwrap();
    deliverer.send(n, false);
    let mut arrived = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, body) = wire::request(&mut stream).await.expect("the request is whole");
        arrived.push((head.to_ascii_lowercase(), body));
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    let outcome = tokio::time::timeout(Duration::from_secs(20), ends.recv()).await.unwrap().unwrap().outcome;
    (arrived, outcome)
}

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

fn header<'h>(head: &'h str, name: &str) -> &'h str {
    wire::header(head, name).unwrap_or_default()
}

/// HMAC as RFC 2104 writes it down, so that the program's library is not checked by itself.
fn hmac(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |with: u8| block.map(|byte| byte ^ with).to_vec();
    let inner = Sha256::digest([pad(0x36), text.to_vec()].concat());
    STANDARD.encode(Sha256::digest([pad(0x5c), inner.to_vec()].concat()))
}

fn webhook(secret: Option<Secret>) -> impl Fn(String) -> Arc<dyn Notifier> {
    move |url| {
        let url = SecretUrl(Secret::Inline(url.into()));
        Arc::new(WebhookConfig {
            url,
            max_alerts: 0,
            signing_secret: secret.clone(),
            payload: None,
            texts: Default::default(),
        })
    }
}

/// The vector that the standard's libraries publish, against this file's own HMAC.
#[test]
fn the_check_itself_agrees_with_the_published_vector() {
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let text = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
    assert_eq!(hmac(&key, text), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[tokio::test]
async fn webhooks_are_signed_with_each_secret_and_keep_their_id_when_sent_again() {
    let keys = [[1u8; 32].to_vec(), [2u8; 24].to_vec()];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, format!("whsec_{}\n{}\n", STANDARD.encode(&keys[0]), STANDARD.encode(&keys[1])))
        .unwrap();
    let form = SecretForm::Signing;
    let file = SecretFile { path: file, key: "signing_secret_file".into(), line: 0, form };
    let file = std::sync::Arc::new(file);
    let secret = || webhook(Some(Secret::File(file.clone())));
    let (arrived, outcome) =
        sent(secret(), notification(7, "a", "webhook[0]", Kind::Page), &[BUSY, OK]).await;
    assert_eq!(outcome, Outcome::Accepted);
    let ids: Vec<&str> = arrived.iter().map(|(head, _)| header(head, "webhook-id")).collect();
    assert_eq!(ids, ["msg_key7_7"; 2]);
    for (head, body) in &arrived {
        let raw = std::str::from_utf8(body.as_bytes()).unwrap();
        let at = header(head, "webhook-timestamp");
        assert_eq!(at, "1795521607");
        let text = format!("{}.{at}.{raw}", header(head, "webhook-id"));
        let expected: Vec<String> = keys
            .iter()
            .map(|key| format!("v1,{}", hmac(key, text.as_bytes())).to_ascii_lowercase())
            .collect();
        assert_eq!(header(head, "webhook-signature"), expected.join(" "));
    }
    let (resolve, _) = sent(secret(), notification(8, "a", "webhook[0]", Kind::Resolve), &[OK]).await;
    assert_ne!(header(&resolve[0].0, "webhook-id"), "msg_key7_7", "a resolve is no repeat of its page");
}

/// A tracker that is asked for the ticket of a key before the ticket is changed.
#[derive(Debug)]
struct Tracker {
    url: String,
    token: Secret,
}

impl Notifier for Tracker {
    fn kind(&self) -> &'static ReceiverType {
        &squelch::receivers::webhook::TYPE
    }

    fn secrets(&self) -> Vec<(&Secret, SecretForm)> {
        vec![(&self.token, SecretForm::Password)]
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        let key = &attempt.view.notification.dedup_key;
        let post = HttpRequest::post(format!("{}?key={key}", self.url), Vec::new());
        Ok(Request::Http(HttpRequest { method: HttpMethod::Get, ..post }))
    }

    fn reads(&self, _: u16) -> bool {
        true
    }

    fn next(&self, attempt: &Attempt<'_>, answers: &[Answer]) -> Result<Option<Request>, AttemptError> {
        answers.last().map_or(Ok(()), |answer| self.judge(answer))?;
        let [found] = answers else { return Ok(None) };
        let ticket = String::from_utf8_lossy(&found.body);
        let text = format!("ticket={ticket}&token={}", attempt.secret(&self.token)?);
        let post = HttpRequest::post(&self.url, text.into_bytes());
        let content_type = "application/x-www-form-urlencoded";
        Ok(Some(Request::Http(HttpRequest { method: HttpMethod::Put, content_type, ..post })))
    }
}

#[tokio::test]
async fn a_receiver_type_may_need_two_requests_with_state_from_the_answer() {
    let tracker = |url: String| -> Arc<dyn Notifier> {
        Arc::new(Tracker { url, token: Secret::Inline("sesame-open".into()) })
    };
    let found = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nT-17";
    let (arrived, outcome) =
        sent(tracker, notification(7, "a", "tracker[0]", Kind::Page), &[found, OK]).await;
    assert_eq!(outcome, Outcome::Accepted);
    let [(asked, nothing), (changed, body)] = &arrived[..] else { panic!("{arrived:?}") };
    assert!(asked.starts_with("get /hook?key=key-7 ") && nothing.is_empty(), "{asked}");
    assert!(changed.starts_with("put /hook "), "{changed}");
    assert_eq!(header(changed, "content-type"), "application/x-www-form-urlencoded");
    assert_eq!(body, "ticket=T-17&token=sesame-open");
    // An attempt that fails halfway begins anew. A secret that the second answer echoes is hidden too.
    let echo = "HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 11\r\n\r\nsesame-open";
    let (arrived, outcome) =
        sent(tracker, notification(7, "a", "tracker[0]", Kind::Page), &[found, BUSY, found, echo]).await;
    let Outcome::Rejected(rejection) = outcome else { panic!("not refused") };
    assert_eq!((arrived.len(), rejection.detail.as_str()), (4, "status 400: <secret>"));
}

#[tokio::test]
async fn a_receiver_that_echoes_the_secret_gets_it_into_no_error() {
    let secret = STANDARD.encode([7; 32]);
    let body = format!("your secret whsec_{secret}, or {secret}");
    let answer: &'static str = Box::leak(
        format!("HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_boxed_str(),
    );
    let kind = webhook(Some(Secret::Inline(format!("whsec_{secret}").into())));
    let (_, outcome) = sent(kind, notification(7, "a", "webhook[0]", Kind::Page), &[answer]).await;
    let Outcome::Rejected(rejection) = outcome else { panic!("not refused") };
    assert!(
        rejection.detail.contains("your secret") && !rejection.detail.contains(&secret),
        "{}",
        rejection.detail
    );
}

#[tokio::test]
async fn connections_go_only_where_the_policy_allows_by_name_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    });
    let get = async |addresses: AddressPolicy, url: String| {
        let config = HttpConfig { addresses, ..HttpConfig::default() };
        HttpClient::new(&config, Duration::from_secs(10), || Timestamp::ZERO).unwrap().get(&url, 100).await
    };
    let deny = || AddressPolicy {
        deny: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        allow: vec![],
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
        let error = get(deny(), format!("http://{host}:{port}/")).await.unwrap_err().detail;
        assert!(error.contains("no connection is allowed"), "{host}: {error}");
    }
    for url in ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://[::ffff:a9fe:a9fe]/"]
    {
        let error = get(AddressPolicy::default(), url.into()).await.unwrap_err().detail;
        assert!(error.contains("no connection is allowed"), "{url}: {error}");
    }
    // There was no connection yet: this is the first one that the server sees.
    let answer = get(AddressPolicy::default(), format!("http://localhost:{port}/")).await.unwrap();
    assert_eq!(answer.status, 200);
    server.await.unwrap();
}

/// Texts of an attacker that must never arrive: the text, and the parts that must not be in the message.
const HOSTILE: [(&str, &[&str]); 9] = [
    ("<!channel> <!here> <!everyone>", &["<!channel", "<!here", "<!everyone"]),
    ("<@U012ABCDEF> <#C012ABCDEF>", &["<@U0", "<#C0"]),
    ("@here @channel", &["@here", "@channel"]),
    ("<https://evil.example|our runbook>", &["<https://evil"]),
    ("a\r\nlevel=INFO msg=\"all is well\"", &["\r"]),
    ("\u{1b}[2J\u{1b}]0;owned\u{7}", &["\u{1b}", "\u{7}"]),
    ("\u{202e}lamron si lla\u{202c}\u{2066}\u{200f}", &["\u{202e}", "\u{2066}", "\u{200f}"]),
    ("&lt;!channel&gt;", &["&lt;!channel"]),
    ("\u{0}\u{8}\u{9b}31m", &["\u{0}", "\u{8}", "\u{9b}"]),
];

fn hostile(text: &str, integration: &str) -> Notification {
    let mut n = notification(7, "a", integration, Kind::Page);
    let labels = LabelSet::from_pairs([("alertname", text), ("severity", "critical")]);
    n.group_labels = labels.clone();
    n.alerts[0].labels = labels;
    n.alerts[0].annotations = LabelSet::from_pairs([
        ("summary", text),
        ("description", text),
        ("runbook_url", "javascript:alert(1)"),
    ]);
    n.alerts[0].generator_url = "javascript:alert(document.domain)".into();
    n
}

/// Every text in a JSON value, names too.
fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(list) => list.iter().for_each(|v| texts(v, found)),
        serde_json::Value::Object(map) => map.iter().for_each(|(k, v)| {
            found.push(k.clone());
            texts(v, found);
        }),
        _ => {}
    }
}

#[tokio::test]
async fn hostile_labels_reach_slack_and_pagerduty_as_text_that_does_nothing() {
    for (text, never) in HOSTILE {
        let slack = |url: String| -> Arc<dyn Notifier> {
            let mut config = slack_config(url);
            let text = "{{ .CommonAnnotations.summary }} {{ (index .Alerts.Firing 0).Labels.alertname }}";
            config.texts.set("text", text);
            config.texts.set("title_link", "{{ .CommonAnnotations.runbook_url }}");
            Arc::new(config)
        };
        let (arrived, _) = sent(slack, hostile(text, "slack[0]"), &[OK]).await;
        let default = |url: String| -> Arc<dyn Notifier> { Arc::new(slack_config(url)) };
        let (more, _) = sent(default, hostile(text, "slack[0]"), &[OK]).await;
        let of_user = arrived.len();
        for (n, (_, body)) in arrived.iter().chain(&more).enumerate() {
            let mut found = Vec::new();
            texts(&serde_json::from_str(body).unwrap(), &mut found);
            // A template of the user keeps links, and text that is already escaped.
            let kept = |bad: &str| n < of_user && (bad.starts_with("<https") || bad.starts_with('&'));
            let never = never.iter().filter(|bad| !kept(bad));
            for (bad, shown) in never.flat_map(|bad| found.iter().map(move |shown| (bad, shown))) {
                assert!(!shown.contains(bad), "{bad:?} in {shown:?}");
            }
            assert!(!found.iter().any(|shown| shown.starts_with("javascript:")), "{body}");
        }
        let pagerduty = |url: String| -> Arc<dyn Notifier> { Arc::new(pagerduty_config(url)) };
        let taken = "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let (arrived, _) = sent(pagerduty, hostile(text, "pagerduty[0]"), &[taken]).await;
        let event: serde_json::Value = serde_json::from_str(&arrived[0].1).unwrap();
        let summary = event["payload"]["summary"].as_str().unwrap();
        assert!(
            summary.chars().count() <= 1024 && !summary.contains(['\n', '\r', '\u{1b}', '\u{202e}']),
            "{summary:?}"
        );
        let mut found = Vec::new();
        texts(&event["links"], &mut found);
        texts(&event["client_url"], &mut found);
        assert!(!found.iter().any(|link| link.contains("javascript:")), "{event}");
        // PagerDuty shows plain text: markup is shown, control characters would be obeyed.
        for bad in never.iter().filter(|bad| bad.chars().all(|c| c.is_control() || c > '\u{2000}')) {
            let mut found = Vec::new();
            texts(&event, &mut found);
            assert!(!found.iter().any(|shown| shown.contains(bad)), "{bad:?} in {event}");
        }
    }
}

#[tokio::test]
async fn a_webhook_gets_labels_as_they_are_in_json_that_holds_them() {
    for (text, _) in HOSTILE {
        let (arrived, _) = sent(webhook(None), hostile(text, "webhook[0]"), &[OK]).await;
        let (head, body) = &arrived[0];
        assert_eq!(header(head, "webhook-signature"), "", "unsigned unless a secret is given");
        assert!(!body.trim_end().contains(['\n', '\r', '\u{0}', '<', '>']), "{body:?}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body["alerts"][0]["labels"]["alertname"], text,
            "a machine reads it, and must match on it"
        );
    }
}

#[tokio::test]
async fn the_console_writes_one_line_whatever_the_labels_say() {
    struct Lines(mpsc::UnboundedSender<String>);
    impl squelch::deliver::ConsoleSink for Lines {
        fn write_line(&self, line: &str) -> std::io::Result<()> {
            self.0.send(line.to_owned()).map_err(std::io::Error::other)
        }
    }
    let (lines, mut written) = mpsc::unbounded_channel();
    let (reports, _ends) = mpsc::unbounded_channel();
    let made = integration("console[0]", Arc::new(ConsoleConfig {}));
    let receivers = BTreeMap::from([("a".into(), vec![made])]);
    let options = DeliveryOptions {
        console: squelch::deliver::Console::new(std::sync::Arc::new(Lines(lines))),
        ..DeliveryOptions::default()
    };
    let deliverer = Deliverer::new(&receivers, reports, options).unwrap();
    for (i, (text, _)) in (1..).zip(HOSTILE) {
        let n = hostile(text, "console[0]");
        deliverer.send(Notification { id: squelch::model::NotificationId(i), ..n }, false);
        let line = tokio::time::timeout(Duration::from_secs(20), written.recv()).await.unwrap().unwrap();
        assert!(
            !line.contains(|c: char| c.is_control() || ('\u{200e}'..='\u{2069}').contains(&c) && c != '…'),
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn after_a_takeover_a_resolve_waits_for_the_requests_of_the_owner_before() {
    let pager = FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (sender, mut reports) = mpsc::unbounded_channel();
    let mut team = crate::deliver::webhook(pager.url("/webhook/team"));
    team.timeout = squelch::model::Duration::from_secs(1);
    let began = std::time::Instant::now();
    let options = DeliveryOptions { took_over: Arc::new(move || Some(began)), ..DeliveryOptions::default() };
    let deliverer = Deliverer::new(&receivers([("team", team)]), sender, options).unwrap();
    deliverer.send(notification(1, "team", "webhook[0]", Kind::Resolve), false);
    deliverer.send(notification(2, "team", "webhook[0]", Kind::Page), false);
    let mut next = async || reports.recv().await.unwrap().id.0;
    assert_eq!(next().await, 2, "a page waits for nothing");
    assert_eq!(next().await, 1);
    assert!(began.elapsed() >= Duration::from_secs(1));
}
