//! The chats that Squelch writes to, each as a fake that has the vendor's limits and answers in the vendor's
//! words.

mod mattermost;
mod msteams;
mod rocketchat;
mod slack;
mod telegram;
mod webex;
mod wechat;

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use squelch::config::{self, Integration};
use squelch::model::{Kind, LabelSet, Notification, Outcome, Report};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::deliver::{World, notification, receivers};
use crate::wire;

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    /// In lower case.
    head: String,
    text: String,
}

impl Seen {
    fn of(head: &str, text: String) -> Seen {
        let (line, headers) = head.split_once("\r\n").unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        // Only the names of headers are the same in any case.
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let head = headers.map(|(name, value)| format!("{}: {value}\n", name.to_lowercase())).collect();
        Seen { method: words[0].to_owned(), path: words[1].to_owned(), head, text }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        wire::header(&self.head, name)
    }

    /// A value of the query.
    fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))
    }
}

/// An answer: its status and its body.
type Said = (u16, String);

/// A vendor on a free port.
struct Vendor {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Vendor {
    async fn start(mut answers: impl FnMut(&Seen) -> Said + Send + 'static) -> Vendor {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (head, text) = wire::request(&mut stream).await.expect("the request is whole");
                let request = Seen::of(&head, text);
                kept.lock().unwrap().push(request.clone());
                let (status, body) = answers(&request);
                let answer = wire::answer(status, "Content-Type: application/json\r\n", &body);
                // A client that is gone is no matter of the vendor.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Vendor { address, seen }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The integration that this YAML describes. `VENDOR` is where the vendor listens.
    fn integration(&self, yaml: &str) -> Integration {
        let yaml = yaml.replace("VENDOR", &format!("http://{}", self.address));
        let text =
            format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {}\n", yaml.replace('\n', "\n  "));
        let config = config::parse(&text, "squelch.yml", Path::new("/etc/squelch"));
        config.unwrap_or_else(|e| panic!("{e}")).receivers["r"][0].clone()
    }

    /// Delivers these to one integration, one after the other, and returns the reports.
    async fn take(&self, yaml: &str, all: &[Notification]) -> Vec<Report> {
        let integration = self.integration(yaml);
        let name = integration.name.clone();
        let mut world = World::new(&receivers([("r", integration)]));
        let mut reports: Vec<Report> = Vec::new();
        for one in all {
            // As the engine does it: the message of an incident comes with its later notifications.
            let message = reports.iter().rev().find_map(|report| report.message.clone());
            let message = one.message.clone().or(message).filter(|_| one.kind != Kind::Page);
            let one =
                Notification { integration: name.clone(), receiver: "r".into(), message, ..one.clone() };
            world.deliverer.send(one, false);
            reports.push(world.report().await);
        }
        reports
    }

    /// Delivers one, which must be taken.
    async fn accepts(&self, yaml: &str, n: Notification) {
        let reports = self.take(yaml, &[n]).await;
        assert_eq!(reports[0].outcome, Outcome::Accepted, "{:#?}", self.seen());
    }

    /// Delivers a page, which must be refused for good, and returns the reason and the detail.
    async fn refuses(&self, yaml: &str) -> (String, String) {
        match self.take(yaml, &[page()]).await.remove(0).outcome {
            Outcome::Rejected(rejection) => (rejection.reason.to_string(), rejection.detail),
            other => panic!("{other:?}"),
        }
    }
}

/// A page of one alert with a summary.
fn page() -> Notification {
    summed("p99 > 2s & \"rising\"")
}

fn summed(summary: &str) -> Notification {
    let mut n = notification(1, "r", "x", Kind::Page);
    n.alerts[0].annotations = LabelSet::from_pairs([("summary", summary)]);
    n
}

fn resolve() -> Notification {
    notification(2, "r", "x", Kind::Resolve)
}

/// The error of the only receiver of a configuration.
fn refused(yaml: &str) -> String {
    let text = format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {yaml}\n");
    let config = config::parse(&text, "squelch.yml", Path::new("/etc/squelch"));
    config.map(|_| ()).expect_err("should be refused").to_string()
}
