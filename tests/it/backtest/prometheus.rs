//! A Prometheus-compatible server as the history: the requests to it, and the log-in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::{Place, pages};
use crate::e2e::child::{Child, free_port};
use crate::e2e::until;

/// The next request, without a body.
fn asked_of(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
}

/// Answers each request by its window: too much at first, then one alert in every window.
fn prometheus(listener: &TcpListener, requests: usize) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..requests {
        let (mut stream, head) = asked_of(listener);
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let number = |name: &str| -> f64 {
            let value = path.split(&format!("&{name}=")).nth(1).unwrap().split('&').next().unwrap();
            value.parse().unwrap()
        };
        let (status, body) = if asked.is_empty() {
            ("422 Unprocessable Entity", json!({"status": "error", "error": "too many samples"}))
        } else {
            let metric = json!({"__name__": "ALERTS", "alertstate": "firing", "alertname": "Down"});
            let middle = number("start") + 1800.0;
            let series = json!({"metric": metric, "values": [[middle, "1"], [middle + 60.0, "1"]]});
            ("200 OK", json!({"status": "success", "data": {"resultType": "matrix", "result": [series]}}))
        };
        answer(&mut stream, status, &body.to_string());
        asked.push(head);
    }
    asked
}

#[test]
fn a_prometheus_is_asked_in_windows_that_it_can_answer() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://me:pw@{}/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || prometheus(&listener, 3));
    let report = place.report(&["--prometheus", &url, "--since", "12h"]);
    let asked = server.join().unwrap();
    assert_eq!(pages(&report), [2, 2, 2], "{report}");
    assert_eq!(report["history"]["observations"], 4);
    assert!(asked[0].starts_with("GET /api/v1/query_range?query=ALERTS%7B"), "{}", asked[0]);
    assert!(asked[0].to_lowercase().contains("authorization: basic "), "{}", asked[0]);
}

/// Mimir and Cortex want a tenant, and say which one is missing.
fn with_tenants(listener: &TcpListener, requests: usize) {
    for _ in 0..requests {
        let (mut stream, head) = asked_of(listener);
        let tenant = head.to_lowercase().contains("x-scope-orgid: team-a\r\n");
        let (status, body) = match (tenant, head.split("&start=").nth(1)) {
            (true, Some(start)) => {
                let start: f64 = start.split('&').next().unwrap().parse().unwrap();
                let metric = json!({"alertname": "Down", "alertstate": "firing", "team": "web"});
                let series = json!({"metric": metric, "values": [[start, "1"]]});
                let data = json!({"resultType": "matrix", "result": [series]});
                ("200 OK", json!({"status": "success", "data": data}).to_string())
            }
            _ => ("401 Unauthorized", "no org id".to_owned()),
        };
        answer(&mut stream, status, &body);
    }
}

#[test]
fn a_tenant_header_and_external_labels_come_from_options() {
    let place = Place::new();
    place.write("http.yml", b"http_headers: {X-Scope-OrgID: {values: [team-a]}}\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/prometheus", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || with_tenants(&listener, 3));
    let args = ["--prometheus", &url, "--since", "1h"];
    let refused = place.backtest(&args);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("401: no org id") && said.contains("--http.config.file"), "{said}");

    let more = ["--http.config.file=http.yml", "--external-label=cluster=eu", "--external-label=team=core"];
    let report = place.report(&[&args[..], &more, &["--notifications=n.jsonl"]].concat());
    let without = place.backtest(&[&args[..], &more[..1]].concat());
    let said = String::from_utf8(without.stderr).unwrap();
    let hint = "which routes or inhibit_rules name: cluster. If they are external_labels of Prometheus, write \
                --external-label=cluster=VALUE";
    assert!(said.contains(hint), "{said}");
    server.join().unwrap();
    assert_eq!(pages(&report), [1, 1, 1], "{report}");
    let written = std::fs::read_to_string(place.path("n.jsonl")).unwrap();
    let page: Value = serde_json::from_str(written.lines().next().unwrap()).unwrap();
    let labels = json!({"alertname": "Down", "cluster": "eu", "team": "web"});
    assert_eq!(page["alerts"][0]["labels"], labels, "the alert's own label stays");

    for (args, part) in [
        (vec!["--history=h.jsonl", "--external-label=cluster=eu"], "cannot be used with"),
        (vec!["--storage.path=data", "--http.config.file=http.yml"], "cannot be used with"),
        (vec!["--prometheus=http://127.0.0.1:1", "--external-label=cluster"], "such as cluster=eu"),
    ] {
        let output = place.backtest(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(part), "{args:?}: {said}");
    }
}

/// A real Prometheus that wants a password, with one alert that fires.
#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_behind_basic_auth_is_asked_with_its_credentials() {
    let place = Place::new();
    let hash = bcrypt::hash_with_salt("wonderland", 4, [9; 16]).unwrap();
    place.write("web.yml", format!("basic_auth_users: {{alice: '{hash}'}}\n").as_bytes());
    place.write("password", b"wonderland\n");
    place.write("http.yml", b"basic_auth: {username: alice, password_file: password}\n");
    place.write("wrong.yml", b"basic_auth: {username: alice, password: looking-glass}\n");
    place.write("prometheus.yml", b"global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n");
    let rule = b"groups: [{name: g, rules: [{alert: Down, expr: vector(1), labels: {cluster: c}}]}]\n";
    place.write("rules.yml", rule);
    let port = free_port();
    let of = |flag: &str, file: &str| format!("--{flag}={}", place.path(file).display());
    let args = [
        of("config.file", "prometheus.yml"),
        of("web.config.file", "web.yml"),
        of("storage.tsdb.path", "tsdb"),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(server) = Child::start("prometheus", "prometheus", &args) else { return };
    server.line(&["Server is ready to receive web requests"]).await;

    let url = format!("http://127.0.0.1:{port}");
    let asked = ["--prometheus", &url, "--since=5m", "--step=1s"];
    for options in [&[][..], &["--http.config.file=wrong.yml"]] {
        let output = place.backtest(&[&asked[..], options].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains("answered 401"), "{options:?}: {said}");
        assert!(!said.contains("looking-glass"), "{said}");
    }
    let found = async || {
        let report = place.report(&[&asked[..], &["--http.config.file=http.yml"]].concat());
        (report["squelch"]["pages"] == 1).then_some(report)
    };
    let report = until("the alert is in the history", found).await;
    assert_eq!(report["squelch"]["by_alertname"], json!({"Down": 1}), "{report}");
}
