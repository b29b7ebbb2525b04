//! Silences through a whole node, with the amtool that people have.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squelch::node::{Node, NodeOptions};

use crate::tools;

const CONFIG: &str = "route: {receiver: console}\nreceivers: [{name: console, console_configs: [{}]}]\n";

struct Running {
    node: Node,
    address: SocketAddr,
    _files: tempfile::TempDir,
}

async fn start() -> Running {
    let files = tempfile::tempdir().unwrap();
    let config_file = files.path().join("squelch.yml");
    std::fs::write(&config_file, CONFIG).unwrap();
    let options = NodeOptions {
        config_file,
        storage: files.path().join("data"),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        external_url: String::new(),
        route_prefix: String::new(),
        web_config_file: None,
        advertise: None,
    };
    let node = Node::start(options).await.unwrap();
    let address = node.addresses()[0];
    Running { node, address, _files: files }
}

impl Running {
    /// The output of amtool. `None` where there is no amtool.
    async fn amtool(&self, args: &[&str]) -> Option<tools::Verdict> {
        let url = format!("--alertmanager.url=http://{}", self.address);
        let args: Vec<String> =
            [&[url.as_str(), "--no-version-check"], args].concat().iter().map(|a| (*a).to_owned()).collect();
        let ask = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            tools::ask("amtool", &args, "")
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    async fn says(&self, args: &[&str]) -> Option<String> {
        let verdict = self.amtool(args).await?;
        assert!(verdict.passed, "amtool {args:?}: {}", verdict.said);
        Some(verdict.said.trim().to_owned())
    }

    async fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amtool_adds_queries_updates_and_expires() {
    let running = start().await;
    let add = ["silence", "add", "--author=me", "--comment=disk swap", "alertname=Down", "host=~a|b"];
    let Some(id) = running.says(&add).await else { return running.node.stop().await };
    assert_eq!(id.len(), 36, "{id}");
    let query = running.says(&["silence", "query"]).await.unwrap();
    assert!(query.contains(&id) && query.contains("disk swap") && query.contains("host=~\"a|b\""), "{query}");
    assert!(running.says(&["silence", "query", "host=c"]).await.unwrap().lines().count() <= 1);
    running.says(&["silence", "update", "--duration=2h", &id]).await.unwrap();
    assert_eq!(running.says(&["silence", "query", "-q"]).await.unwrap(), id, "the same, but longer");

    let alert = r#"[{"labels":{"alertname":"Down","host":"a"}}]"#;
    assert_eq!(running.http("POST", "/api/v2/alerts", alert).await.0, 200);
    let (_, alerts) = running.http("GET", "/api/v1/alerts", "").await;
    assert!(alerts.contains(&format!("silence {id} of")), "{alerts}");
    let silenced = r#"{receiver="console",disposition="suppressed",reason="silenced"} 1"#;
    let (_, metrics) = running.http("GET", "/metrics", "").await;
    assert!(
        metrics.contains(silenced) && metrics.contains("squelch_silences{state=\"active\"} 1"),
        "{metrics}"
    );

    running.says(&["silence", "expire", &id]).await.unwrap();
    let query = running.says(&["silence", "query", "--expired", "-q"]).await.unwrap();
    assert_eq!(query, id);
    assert_eq!(running.says(&["silence", "query", "-q"]).await.unwrap(), "");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (_, metrics) = running.http("GET", "/metrics", "").await;
        if metrics.contains(r#"{receiver="console",disposition="page",reason=""} 1"#) {
            break;
        }
        assert!(Instant::now() < deadline, "what still fires pages: {metrics}");
    }
    let unknown =
        running.amtool(&["silence", "expire", "11111111-2222-4333-8444-555555555555"]).await.unwrap();
    assert!(!unknown.passed && unknown.said.contains("404"), "{}", unknown.said);
    let twice = running.says(&["silence", "expire", &id]).await.unwrap();
    assert_eq!(twice, "", "what is over may be ended again");
    running.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_silence_is_refused_and_unknown_ones_are_404() {
    let running = start().await;
    let matchers = r#"[{"name":"a","value":"","isRegex":false}]"#;
    let times = r#""startsAt":"2026-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z""#;
    let body = format!(r#"{{"matchers":{matchers},{times},"createdBy":"me","comment":"c"}}"#);
    let (status, said) = running.http("POST", "/api/v2/silences", &body).await;
    assert_eq!(status, 400);
    assert!(said.contains("must not match the empty string"), "{said}");
    assert_eq!(running.http("POST", "/api/v2/silences", "{").await.0, 400);
    let unknown = "/api/v2/silence/11111111-2222-4333-8444-555555555555";
    for (path, status) in [("/api/v2/silence/nope", 422), (unknown, 404)] {
        assert_eq!(running.http("GET", path, "").await.0, status, "{path}");
        assert_eq!(running.http("DELETE", path, "").await.0, status, "{path}");
    }
    assert_eq!(running.http("GET", "/api/v2/silences?filter=%3D1", "").await.0, 400);
    assert_eq!(running.http("GET", "/api/v2/silences?filter=a%3D1", "").await, (200, "[]\n".to_owned()));
    running.node.stop().await;
}
