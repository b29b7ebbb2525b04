//! Reads Prometheus' text format, and asks a real node for the tests that need its metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use prometheus::Registry;
use squelch::engine::Stats;
use squelch::node::{Node, NodeOptions, metrics};
use squelch::web::Gate as _;

/// A family, as its comments and samples say it.
#[derive(Default, Debug)]
pub struct Family {
    /// Its `# HELP` lines.
    pub help: Vec<String>,
    /// Its `# TYPE` lines.
    pub kind: Vec<String>,
    /// Its samples, in order.
    pub samples: Vec<Sample>,
}

/// One line of a family.
#[derive(Debug)]
pub struct Sample {
    /// The name on the line, suffix included.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Family {
    /// The names of all labels of all samples.
    pub fn labels(&self) -> BTreeSet<&str> {
        self.samples.iter().flat_map(|s| s.labels.keys()).map(String::as_str).collect()
    }

    /// The value of the one sample that has at least these labels.
    pub fn value(&self, labels: &[(&str, &str)]) -> f64 {
        let has = |s: &&Sample| labels.iter().all(|(k, v)| s.labels.get(*k).map(String::as_str) == Some(*v));
        let found: Vec<f64> = self.samples.iter().filter(has).map(|s| s.value).collect();
        assert_eq!(found.len(), 1, "{labels:?} names {} samples", found.len());
        found[0]
    }
}

/// Parses a text strictly. Each line that is not a comment is a sample, and stands below its `# TYPE`.
pub fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("HELP has a text");
            families.entry(name.into()).or_default().help.push(help.into());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE has a type");
            families.entry(name.into()).or_default().kind.push(kind.into());
            current = name.into();
        } else {
            let sample = parse_sample(line);
            assert!(sample.name.starts_with(&current), "{line:?} stands in family {current}");
            families.entry(current.clone()).or_default().samples.push(sample);
        }
    }
    families
}

fn parse_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = BTreeMap::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let (text, after) = unquote(after);
        let twice = labels.insert(label.trim_start_matches(',').into(), text);
        assert!(twice.is_none(), "label twice: {line}");
        rest = after;
    }
    assert_eq!(rest, "}", "{line:?} is not a sample");
    Sample { name: name.into(), labels, value: value.parse().expect("a number") }
}

/// The label value up to the closing quote, unescaped, and the text behind the quote.
fn unquote(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return (value, &text[i + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    panic!("unterminated label value: {text:?}")
}

/// The configuration behind [`fresh`]: one receiver has two integrations of one kind, one has none.
const CONFIGURATION: &str = "\
route: {receiver: pager}
receivers:
  - name: pager
    pagerduty_configs:
      - {routing_key: 0123456789abcdef0123456789abcdef}
      - {routing_key: 0123456789abcdef0123456789abcdee}
  - name: chat
    slack_configs: [{api_url: 'http://127.0.0.1:9/slack'}]
    webhook_configs: [{url: 'http://127.0.0.1:9/hook'}]
    console_configs: [{}]
  - name: nobody
";

/// The answer of `/metrics` on a node that has just started, without any request yet.
pub fn fresh() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let config_file = folder.path().join("squelch.yml");
        std::fs::write(&config_file, CONFIGURATION).unwrap();
        let options = NodeOptions {
            web_config_file: None,
            advertise: None,
            config_file,
            storage: folder.path().join("data"),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            external_url: String::new(),
            route_prefix: String::new(),
        };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let node = Node::start(options).await.unwrap();
            let text = node.gate().metrics();
            node.stop().await;
            text
        })
    });
    &TEXT
}

/// The answer of `/metrics` for `stats` alone.
pub fn render(stats: &Stats) -> String {
    metrics::render(stats, &Registry::new())
}
