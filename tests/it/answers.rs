//! Was the message accepted? Receivers whose answers are slow, without end, broken off or unknown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use squelch::model::{Kind, Outcome, Rejection, Report};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::deliver::{ROUTING_KEY, World, integration, notification, pagerduty, receivers, slack, webhook};
use crate::wire;

/// The action of a server after it wrote its answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Closes,
    /// Keeps the connection open and says nothing more.
    Hangs,
    /// Writes this again and again.
    Goes(&'static str),
}

/// A server that answers every request with the same bytes. The bodies that it took.
struct Server {
    url: String,
    took: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Into<String>, then: Then) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v2/enqueue", listener.local_addr().unwrap());
        let (took, answer) = (Arc::new(Mutex::new(Vec::new())), answer.into());
        let taken = took.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), then, taken.clone()));
            }
        });
        Server { url, took }
    }

    fn took(&self) -> Vec<String> {
        self.took.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answer: String, then: Then, took: Arc<Mutex<Vec<String>>>) {
    let Some((_, body)) = wire::request(&mut stream).await else { return };
    took.lock().unwrap().push(body);
    let mut written = stream.write_all(answer.as_bytes()).await;
    match then {
        Then::Closes => {}
        Then::Hangs => std::future::pending().await,
        Then::Goes(on) => {
            while written.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                written = stream.write_all(on.as_bytes()).await;
            }
        }
    }
}

/// The end of a page at a receiver of `kind`, and the server that it went to.
async fn page(kind: &str, answer: &str, then: Then) -> (Report, Server) {
    let server = Server::start(answer, then).await;
    let integration = match kind {
        "pagerduty" => pagerduty(server.url.clone()),
        "slack" => slack(server.url.clone()),
        _ => webhook(server.url.clone()),
    };
    let name = integration.name.clone();
    let mut world = World::new(&receivers([("r", integration)]));
    world.deliverer.send(notification(1, "r", &name, Kind::Page), false);
    (world.report().await, server)
}

fn rejection(report: Report) -> Rejection {
    match report.outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

/// No body, and none of its faults, makes a refusal of a 2xx.
#[tokio::test]
async fn a_2xx_of_a_webhook_or_of_pagerduty_is_accepted_without_its_body() {
    let answers = [
        ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nok", Then::Hangs),
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 1000\r\n\r\n{", Then::Hangs),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{", Then::Closes),
        ("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", Then::Hangs),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Then::Goes("1\r\nx\r\n")),
        ("HTTP/1.1 200 OK\r\n\r\n", Then::Goes("x")),
        ("HTTP/1.0 200 OK\r\n\r\n", Then::Closes),
        ("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", Then::Hangs),
        ("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nno chunk", Then::Closes),
    ];
    for kind in ["webhook", "pagerduty"] {
        for (answer, then) in answers {
            let (report, server) = page(kind, answer, then).await;
            assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1), "{kind}: {answer}");
            assert_eq!(server.took().len(), 1, "{kind}: {answer}");
        }
    }
}

/// Alertmanager accepts these too.
#[tokio::test]
async fn a_2xx_with_odd_headers_is_accepted() {
    let many: String = (0..900).map(|n| format!("X-Header-{n}: {n}\r\n")).collect();
    let odd = ["X-Folded: a\r\n b\r\n\tc\r\n", "X Blank: a\r\n", "X-Before : a\r\n", &many];
    for headers in odd {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 2\r\n\r\nok");
        for kind in ["webhook", "slack"] {
            let (report, server) = page(kind, &answer, Then::Hangs).await;
            assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1), "{kind}: {headers}");
            assert_eq!(server.took().len(), 1, "{kind}: {headers}");
        }
    }
}

/// A webhook may do its work before it answers. `0s` is Alertmanager's default, and means the default here.
#[test]
fn a_webhook_has_a_minute_to_answer() {
    let text = "route: {receiver: r}\nreceivers:\n- name: r\n  webhook_configs:\n  - {url: 'http://a/'}\n  \
                - {url: 'http://a/', timeout: 0s}\n  - {url: 'http://a/', timeout: 3s}\n  slack_configs:\n  \
                - {api_url: 'http://a/'}\n  - {api_url: 'http://a/', timeout: 0s}\n";
    let config = squelch::config::parse(text, "squelch.yml", std::path::Path::new("")).unwrap();
    let timeouts: Vec<String> =
        config.receivers["r"].iter().map(|one| format!("{} {}", one.name, one.timeout)).collect();
    let expected = ["slack[0] 10s", "slack[1] 10s", "webhook[0] 1m", "webhook[1] 1m", "webhook[2] 3s"];
    assert_eq!(timeouts, expected);
}

/// The status of a refusal stands. A body that hangs costs its text only.
#[tokio::test]
async fn a_refusal_whose_body_does_not_end_is_a_refusal() {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\n{\"errors\": [\"bad key\"";
    for (kind, then) in [("webhook", Then::Hangs), ("pagerduty", Then::Goes(" ")), ("slack", Then::Closes)] {
        let (report, server) = page(kind, head, then).await;
        assert_eq!((report.attempts, server.took().len()), (1, 1), "{kind}");
        let rejection = rejection(report);
        assert_eq!((rejection.reason.as_str(), rejection.ambiguous), ("clientError", false), "{kind}");
        assert!(rejection.detail.contains("bad key"), "{kind}: {}", rejection.detail);
    }
}

#[tokio::test]
async fn a_slack_body_that_says_ok_before_it_hangs_is_accepted() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nok";
    let (report, server) = page("slack", answer, Then::Hangs).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1));
    assert_eq!(server.took().len(), 1);
}

/// `chat.postMessage` repeats the message: more than is read, and `ok` stands before that.
#[tokio::test]
async fn a_slack_answer_that_is_longer_than_what_is_read_is_accepted() {
    let long = format!("{{\"ok\":true,\"message\":{{\"text\":\"{}\"}}}}", "\\u00e9".repeat(50_000));
    let (report, server) = page("slack", &wire::answer(200, "", &long), Then::Closes).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1));
    assert_eq!(server.took().len(), 1);
}

/// Servers that are compatible with Slack may answer in words of their own. They get three attempts at
/// most, and the second and third message carry a mark.
#[tokio::test]
async fn an_unknown_2xx_of_a_server_like_slack_is_accepted_after_three_marked_attempts() {
    let empty = wire::answer(200, "", "");
    let answers = [
        (empty.as_str(), Then::Closes),
        (&wire::answer(200, "", "<html>thanks</html>"), Then::Closes),
        (&wire::answer(201, "", "{\"id\":\"4711\"}"), Then::Closes),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"i", Then::Closes),
    ];
    for (answer, then) in answers {
        let (report, server) = page("slack", answer, then).await;
        assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 3), "{answer}");
        let marks: Vec<bool> = server.took().iter().map(|body| body.contains("(possible repeat)")).collect();
        assert_eq!(marks, [false, true, true], "{answer}");
    }
}

#[tokio::test]
async fn the_success_of_rocket_chat_and_a_204_are_accepted_at_once() {
    for answer in [&wire::answer(200, "", "{\"success\":true}"), "HTTP/1.1 204 No Content\r\n\r\n"] {
        let (report, server) = page("slack", answer, Then::Hangs).await;
        assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1), "{answer}");
        assert_eq!(server.took().len(), 1, "{answer}");
    }
}

/// An unknown error does not cause posts without end: after the third there is an alarm.
#[tokio::test]
async fn an_unknown_error_of_slack_is_a_dead_letter_after_three_attempts() {
    let answer = wire::answer(200, "", "{\"ok\":false,\"error\":\"a_word_of_tomorrow\"}");
    let (report, server) = page("slack", &answer, Then::Closes).await;
    assert_eq!((report.attempts, server.took().len()), (3, 3));
    let rejection = rejection(report);
    assert!(rejection.detail.contains("a_word_of_tomorrow"), "{}", rejection.detail);
}

/// Squelch judges the words of the server, and hides secrets in its reports to people.
#[tokio::test]
async fn a_secret_in_the_answer_changes_no_judgement() {
    // The secrets of the URL and of the header are words of the answer.
    let server = Server::start(wire::answer(200, "", "{\"ok\":true,\"echo\":\"x\"}"), Then::Closes).await;
    let mut chat = slack(server.url.replace("/v2/enqueue", "/services/\"ok\":true"));
    chat.http.auth = Some(squelch::config::HttpAuth::Authorization {
        scheme: "Bearer".into(),
        credentials: squelch::config::Secret::Inline("true".into()),
    });
    let mut world = World::new(&receivers([("r", chat)]));
    world.deliverer.send(notification(1, "r", "slack[0]", Kind::Page), false);
    let report = world.report().await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1));

    let word = "channel_not_found";
    let server = Server::start(wire::answer(200, "", word), Then::Closes).await;
    let mut world = World::new(&receivers([("r", slack(server.url.replace("enqueue", word)))]));
    world.deliverer.send(notification(1, "r", "slack[0]", Kind::Page), false);
    let rejection = world.rejection().await;
    assert_eq!(rejection.reason, "clientError");
    assert!(!rejection.detail.contains(word), "{}", rejection.detail);
}

/// A secret that stands across the end of the excerpt is hidden as a whole.
#[tokio::test]
async fn half_a_secret_at_the_end_of_an_excerpt_is_hidden() {
    for before in 480..512 {
        let answer = wire::answer(400, "", &format!("{}{ROUTING_KEY}", "x".repeat(before)));
        let (report, _) = page("pagerduty", &answer, Then::Closes).await;
        let detail = rejection(report).detail;
        assert!(!detail.contains(&ROUTING_KEY[..8]), "{before}: {detail}");
    }
}

/// All three date formats that RFC 9110 knows are dates of `Retry-After`.
#[tokio::test]
async fn every_date_format_of_retry_after_is_waited_for() {
    let formats =
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
    for format in formats {
        let answer = format!(
            "HTTP/1.1 503 x\r\nConnection: close\r\nDate: Sun, 06 Nov 1994 08:39:37 GMT\r\n\
             Retry-After: {format}\r\nContent-Length: 0\r\n\r\n"
        );
        let server = Server::start(answer, Then::Closes).await;
        let hook = integration("webhook[0]", webhook(server.url.clone()).notifier);
        let world = World::new(&receivers([("r", hook)]));
        world.deliverer.send(notification(1, "r", "webhook[0]", Kind::Page), false);
        // Ten minutes: with a date that means nothing the second attempt comes at once.
        let second = async {
            while server.took().len() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(300), second).await.is_err(), "{format}");
        assert_eq!(server.took().len(), 1, "{format}");
        assert_eq!(world.deliverer.drain(Duration::from_secs(1)).await, 1, "{format}");
    }
}

/// However long a title is, its end says that the message may be a repeat.
#[tokio::test]
async fn the_mark_of_a_possible_repeat_is_never_cut_off() {
    for name in ["é&".repeat(2000), "監".repeat(1020), "<".repeat(400), "x".repeat(5000)] {
        let server = Server::start(wire::answer(200, "", "ok"), Then::Closes).await;
        let mut world = World::new(&receivers([("r", slack(server.url.clone()))]));
        let mut page = notification(1, "r", "slack[0]", Kind::Page);
        page.group_labels = squelch::model::LabelSet::from_pairs([("alertname", name.as_str())]);
        page.alerts[0].labels = page.group_labels.clone();
        world.deliverer.send(page, true);
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
        let message: serde_json::Value = serde_json::from_str(&server.took()[0]).unwrap();
        for part in ["title", "fallback"] {
            let text = message["attachments"][0][part].as_str().unwrap();
            assert!(text.ends_with(" (possible repeat)"), "{part}: {text}");
            assert!(text.chars().count() <= 1024, "{part}: {} characters", text.chars().count());
        }
    }
}
