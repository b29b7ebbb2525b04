//! Everything that costs more than it looks, at once, where there is little memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::memory::Group;
use super::{alert, config};
use crate::e2e::child::Child;
use crate::e2e::sender::{body, now};
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::{http, pager, shown, until};

/// As many connections as there may be, and some that wait.
const GUESSING: usize = 2_100;
const NOT_READING: usize = 150;
const UNFINISHED: usize = 256;
/// Critical alerts that page meanwhile.
const ROUNDS: usize = 15;

const SOURCE: &str = "Authorization: Bearer a-long-source-token-123456\r\n";
const ADMIN: &str = "Authorization: Bearer a-long-admin-token-1234567\r\n";

/// A request of a known caller.
async fn ask(to: SocketAddr, who: &str, request: &str, body: &str) -> std::io::Result<http::Answer> {
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{who}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    http::send(to, &head, body.as_bytes()).await
}

/// A number that no other call gets.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Wrong passwords, six requests at a time, on a connection that begins anew whenever it ends.
async fn guesses(to: SocketAddr) {
    loop {
        let Ok(mut stream) = TcpStream::connect(to).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let all: String = (0..6)
            .map(|_| {
                // `alice:` and a number in base64, without an encoder: it is no password.
                let word = format!("YWxpY2U6{:08x}", fresh());
                format!("GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {word}\r\n\r\n")
            })
            .collect();
        if stream.write_all(all.as_bytes()).await.is_ok() {
            let mut answer = [0; 4096];
            while matches!(timeout(Duration::from_secs(30), stream.read(&mut answer)).await, Ok(Ok(1..))) {}
        }
    }
}

/// Asks for a large answer and does not read it.
async fn does_not_read(to: SocketAddr) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        let _ = socket.set_recv_buffer_size(4096);
        if let Ok(mut stream) = socket.connect(to).await {
            let path = "/api/v1/alerts?limit=1000";
            let _ = stream
                .write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{ADMIN}\r\n").as_bytes())
                .await;
            sleep(Duration::from_secs(20)).await;
        }
    }
}

/// Sends a mebibyte of a body that it announces as thirty-one.
async fn does_not_finish(to: SocketAddr) {
    let head = format!(
        "POST /alertmanager/webhook HTTP/1.1\r\nHost: localhost\r\n{SOURCE}Content-Length: {}\r\n\r\n",
        31 << 20
    );
    loop {
        if let Ok(mut stream) = TcpStream::connect(to).await {
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&vec![b' '; 1 << 20]).await;
            let _ = timeout(Duration::from_secs(40), stream.read(&mut [0; 64])).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Silences whose expressions are large when compiled, and such as are not that large.
async fn silences(to: SocketAddr, refused: Arc<AtomicU64>) {
    loop {
        let n = fresh();
        let pattern = if n.is_multiple_of(2) { r"\pL{40}" } else { "[0-9a-f]{30}" };
        let matchers: Vec<Value> = (0..100)
            .map(|m| json!({"name": format!("l{m}"), "value": format!("{n}{pattern}"), "isRegex": true}))
            .collect();
        let silence = json!({
            "matchers": matchers, "startsAt": now(), "endsAt": "2999-01-01T00:00:00Z", "createdBy": "m",
            "comment": "c",
        });
        if let Ok(answer) = ask(to, ADMIN, "POST /api/v2/silences", &silence.to_string()).await
            && answer.status != 200
        {
            assert!([400, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
            refused.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Alerts that fire once and never again: the journal holds each.
async fn churns(to: SocketAddr) {
    loop {
        let alerts: Vec<Value> = (0..100)
            .map(|_| {
                let pod = fresh();
                json!({
                    "labels": {"alertname": format!("Churn{}", pod % 50), "severity": "info", "pod": pod.to_string()},
                    "annotations": {"summary": format!("pod {pod} is down")}, "startsAt": now(),
                })
            })
            .collect();
        let _ = ask(to, SOURCE, "POST /api/v2/alerts", &json!(alerts).to_string()).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Alerts with annotations of 8 KB, a hundred to a body.
fn heavy(from: usize) -> Value {
    let text = |n: usize| format!("{n}{}", "y".repeat(8_000));
    let alerts = (from..from + 100).map(|n| {
        json!({
            "labels": {"alertname": format!("Heavy{}", n % 10), "severity": "warning", "n": n.to_string()},
            "annotations": {"description": text(n)}, "startsAt": now(), "endsAt": "2999-01-01T00:00:00Z",
        })
    });
    Value::Array(alerts.collect())
}

/// All five attacks at once, within 512 MiB. No page of a known source is lost or late for good, the health
/// endpoint answers, and the process lives.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; tests/faults runs it"]
async fn five_attacks_at_once_stop_no_page_within_512_mib() {
    let Some(group) = Group::new(512 << 20) else {
        crate::tools::missing("a control group of one's own", &std::io::Error::other("it takes root"));
        return;
    };
    let pager = pager().await;
    let home = Home::new(&format!(
        "{}sources: [{{name: am, authorization: {{credentials: 'a-long-source-token-123456'}}}}]\n\
         users: [{{name: alice, role: read}}, {{name: root, role: admin, authorization: \
         {{credentials: 'a-long-admin-token-1234567'}}}}]\n",
        config(&pager)
    ));
    let hash = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    std::fs::write(home.path("web.yml"), format!("basic_auth_users:\n  alice: '{hash}'\n")).unwrap();
    let data = format!("--storage.path={}", home.path("data").display());
    let file = format!("--config.file={}", home.path("squelch.yml").display());
    let web = format!("--web.config.file={}", home.path("web.yml").display());
    let command = format!(
        "echo $$ >{}/cgroup.procs && exec {PROGRAM} serve {data} {file} {web} --web.listen-address=127.0.0.1:0",
        group.path().display()
    );
    let child = Child::start("squelch in a group", "sh", &["-c", &command]).unwrap();
    let squelch = Home::ready(child).await;
    let to = squelch.address;
    for from in (0..1_000).step_by(100) {
        assert_eq!(
            ask(to, SOURCE, "POST /api/v2/alerts", &heavy(from).to_string()).await.unwrap().status,
            200
        );
    }

    let (mut attacks, refused) = (JoinSet::new(), Arc::<AtomicU64>::default());
    (0..GUESSING).for_each(|_| drop(attacks.spawn(guesses(to))));
    (0..NOT_READING).for_each(|_| drop(attacks.spawn(does_not_read(to))));
    (0..UNFINISHED).for_each(|_| drop(attacks.spawn(does_not_finish(to))));
    attacks.spawn(silences(to, refused.clone()));
    attacks.spawn(churns(to));
    let scrape = async || {
        let answer = ask(to, ADMIN, "GET /metrics", "").await.ok()?;
        (answer.status == 200).then_some(answer.body)
    };
    let moved = |text: &str, series: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        value.is_some_and(|value| value > 0.0)
    };
    until("each attack meets its bound", async || {
        let text = scrape().await?;
        let bounds = ["logins", "unread", "bodies"];
        let all =
            bounds.iter().all(|b| moved(&text, &format!("squelch_http_bounded_total{{bound=\"{b}\"}}")));
        (all && refused.load(Ordering::Relaxed) > 0).then_some(())
    })
    .await;
    for round in 0..ROUNDS {
        let name = format!("Critical{round}");
        let text = body("http://am-0", &[alert(&name)]).to_string();
        until("the alert is taken", async || {
            let answer = ask(to, SOURCE, "POST /alertmanager/webhook", &text).await.ok()?;
            assert!([200, 503].contains(&answer.status), "{}: {}", answer.status, answer.body);
            (answer.status == 200).then_some(())
        })
        .await;
        shown(&pager, &name, |i| i.iter().any(|i| i.summary.contains(&name))).await;
        // A connection that has sent nothing yet may make room for another. Its client tries again, as
        // Alertmanager and probes do.
        let mut tries = 0;
        until("the health endpoint answers", async || {
            tries += 1;
            let answer = ask(to, "", "GET /-/healthy", "").await.ok()?;
            assert_eq!(answer.status, 200, "in round {round}");
            Some(())
        })
        .await;
        println!("round {round}: paged; healthy at try {tries}; at most {} MiB resident", squelch.peak_mib());
    }
    attacks.shutdown().await;
    assert!(squelch.peak_mib() < 512, "{} MiB", squelch.peak_mib());
    let text = until("metrics", scrape).await;
    assert!(moved(&text, "squelch_memory_budget_bytes"), "{text}");
    assert_eq!(squelch.stop().await.code(), Some(0));
}
