//! The promises of each parser about any input, and inputs to begin with. The mutating test in `tests/it`
//! and the coverage-guided fuzzer (`fuzz/`) check the same.

use std::path::{Path, PathBuf};

use squelch::config::{self, AddressPolicy, Config, Network, SigningKeys};
use squelch::engine::{Engine, Event};
use squelch::history::Jsonl;
use squelch::ingest::{Parsed, api_v2, bounds, webhook};
use squelch::model::{Duration, Matcher, Status, Timestamp, parse_matchers};

use super::ROOT;

/// No error about an input of at most 16 KiB is longer.
const SAID: usize = 32 << 10;

/// A parser: its name, its promise about an input, and inputs that are valid.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// Every parser.
pub const TARGETS: [Target; 12] = [
    ("webhook", a_webhook, || files("tests/data/ingest", "json")),
    ("api_v2", an_api_v2, || files("tests/data/ingest", "json")),
    ("config", a_config, configurations),
    ("web_config", a_web_config, || vec![WEB.into()]),
    ("matchers", some_matchers, || {
        texts(&["{a=\"b\"}", "a=~\"x|y\",b!=c", "{\"odd name\"!~\"^(?:a)$\"}", "a=\"\\n\""])
    }),
    ("template", a_template, || {
        texts(&[
            "{{ .Alerts.Firing | len }}{{ with $x := .CommonLabels.SortedPairs.Values }}{{ $x | join \" \" }}{{ end }}",
            "{{ range .Alerts }}{{ .Labels.x }}{{ end }}{{ if (index .Alerts 0).StartsAt.Unix }}x{{ end }}",
            "{{ define \"a\" }}{{ printf \"%5.2f\" 1.5 }}{{ end }}{{ template \"a\" . }}",
        ])
    }),
    ("interval", an_interval, || {
        texts(&[
            "{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday']}",
            "{months: ['1:3'], days_of_month: ['-1'], years: ['2024:2026'], location: Europe/Berlin}",
        ])
    }),
    ("duration", a_duration, || texts(&["1h30m", "0", "1y2w3d4h5m6s7ms"])),
    ("timestamp", a_timestamp, || texts(&["2026-11-23T00:16:19.123456789Z", "2026-11-23T00:16:19+05:30"])),
    ("event", an_event, events),
    ("secret", a_secret, || texts(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "10.0.0.0/8", "fd00::/8"])),
    ("history", a_history, || texts(&[HISTORY])),
];

const WEB: &str = "tls_server_config:\n  cert_file: a\n  key_file: b\n  client_auth_type: RequireAndVerifyClientCert\n  \
    client_ca_file: c\n  client_allowed_sans: [a.example]\n  min_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n\
    http_server_config:\n  headers: {X-Frame-Options: deny}\nbasic_auth_users:\n  \
    a: $2y$04$.....................................................\n";
const HISTORY: &str = r#"{"at":"2026-11-23T00:16:19Z","alerts":[{"status":"firing","labels":{"a":"b"},"annotations":{},"startsAt":"2026-11-23T00:16:19Z","endsAt":"0001-01-01T00:00:00Z"}]}"#;

fn received() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000)
}

fn said(error: impl std::fmt::Display, input: &[u8]) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() <= SAID, "{} bytes are said about {}", text.len(), input.len());
}

fn parsed(
    result: Result<Parsed, squelch::ingest::IngestError>,
    again: impl Fn() -> Option<Parsed>,
    input: &[u8],
) {
    match result {
        Ok(parsed) => {
            for observation in &parsed.batch.observations {
                assert!(observation.labels.iter().next().is_some(), "an alert without labels");
                assert!(observation.labels.iter().all(|(name, value)| !name.is_empty() && !value.is_empty()));
                assert!(observation.starts_at <= received() + bounds::AHEAD, "a start that cannot be");
                assert!(observation.starts_at >= received() - bounds::AGO, "a start that cannot be");
                let ended = observation.ends_at.is_some_and(|end| end >= observation.starts_at);
                let open = observation.ends_at.is_none() && observation.status == Status::Firing;
                assert!(ended || open, "an end that cannot be");
            }
            let all = parsed.batch.observations.len() + usize::try_from(parsed.rejected_total()).unwrap();
            assert!(all <= input.len(), "more alerts than bytes");
            assert!(parsed.rejects.iter().all(|reject| reject.index < all && !reject.error.is_empty()));
            assert!(parsed.rejected.keys().all(|reason| !reason.is_mended()), "what can be mended is taken");
            assert!(parsed.mended.keys().all(|reason| reason.is_mended()));
            assert_eq!(Some(&parsed), again().as_ref(), "the same bytes mean the same");
            // Accepted input becomes an event, and must be readable when it comes out of the journal.
            an_event(&serde_json::to_vec(&Event::Observe(parsed.batch)).unwrap());
        }
        Err(error) => said(error, input),
    }
}

fn a_webhook(input: &[u8]) {
    let parse = || webhook::parse(input, "p", received(), &Default::default());
    parsed(parse(), || parse().ok(), input);
}

fn an_api_v2(input: &[u8]) {
    let parse = || api_v2::parse(input, "p", received(), Duration::from_mins(5), &Default::default());
    parsed(parse(), || parse().ok(), input);
}

/// Each problem stands on a line that the text has.
fn in_place(errors: &config::ConfigErrors, text: &str) {
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    assert!(!errors.problems.is_empty());
    for problem in &errors.problems {
        assert!(problem.line as usize <= lines, "{problem:?} of {lines} lines");
        assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
    }
    said(errors, text.as_bytes());
}

fn a_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match config::parse(text, "squelch.yml", Path::new("/nowhere")) {
        Err(errors) => in_place(&errors, text),
        Ok(Config { policy, .. }) => {
            let stored = serde_json::to_vec(&policy).unwrap();
            let back: config::Policy = serde_json::from_slice(&stored).unwrap();
            assert_eq!(back, policy, "what stands in the journal is what was read");
        }
    }
}

fn a_web_config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Err(errors) = config::parse_web(text, "web.yml", Path::new("/nowhere")) {
        in_place(&errors, text);
    }
}

fn some_matchers(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match parse_matchers(text) {
        Ok(matchers) => {
            let written: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
            let back = parse_matchers(&format!("{{{}}}", written.join(",")));
            assert_eq!(back.ok().as_ref(), Some(&matchers), "{written:?}");
        }
        Err(error) => said(error, input),
    }
}

/// In a configuration, where templates are compiled.
fn a_template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let quoted = serde_json::to_string(text).unwrap();
    let text = format!(
        "route: {{receiver: a}}\nreceivers: [{{name: a, slack_configs: [{{api_url: 'http://a/', title: {quoted}}}]}}]\n"
    );
    if let Err(errors) = config::parse(&text, "squelch.yml", Path::new("")) {
        in_place(&errors, &text);
    }
}

fn an_interval(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let text = format!(
        "route: {{receiver: a}}\nreceivers: [{{name: a}}]\ntime_intervals: [{{name: x, time_intervals: [{text}]}}]\n"
    );
    a_config(text.as_bytes());
}

fn a_duration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match text.parse::<Duration>() {
        Ok(duration) => assert_eq!(duration.to_string().parse().ok(), Some(duration)),
        Err(error) => said(error, input),
    }
}

fn a_timestamp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Timestamp::parse(text) {
        Ok(time) => assert_eq!(Timestamp::parse(&time.to_string()).ok(), Some(time)),
        Err(error) => said(error, input),
    }
}

/// As it comes out of the journal, and through an engine.
fn an_event(input: &[u8]) {
    let event: Event = match serde_json::from_slice(input) {
        Ok(event) => event,
        Err(error) => return said(error, input),
    };
    let stored = serde_json::to_vec(&event).unwrap();
    let back: Event = serde_json::from_slice(&stored).unwrap();
    assert_eq!(serde_json::to_vec(&back).unwrap(), stored, "an event that is stored again is the same");
    // A mangled policy may refer to missing names. The journal's digests keep such policies out.
    if !matches!(event, Event::Policy(_)) {
        let mut engine = Engine::new(Config::default().policy);
        let mut effects = Default::default();
        engine.handle(received(), &Event::Started, &mut effects);
        engine.handle(received(), &event, &mut effects);
    }
}

fn a_secret(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match SigningKeys::parse(text) {
        Ok(keys) => assert!(keys.reveal().all(|key| (24..=64).contains(&key.len()))),
        Err(error) => said(error, input),
    }
    if let Ok(network) = text.parse::<Network>() {
        let policy = AddressPolicy { allow: vec![network], deny: vec![network] };
        assert!(!policy.allows(std::net::IpAddr::from([127, 0, 0, 1])), "what is denied is denied");
    }
}

fn a_history(input: &[u8]) {
    for entry in Jsonl::new(input).take(1_000) {
        match entry {
            Ok(_) => {}
            Err(error) => return said(error, input),
        }
    }
}

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// The files of a folder of the repository, in order.
pub fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(ROOT).join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    let named = |path: &&PathBuf| extension.is_empty() || path.extension().is_some_and(|e| e == extension);
    paths.iter().filter(named).filter_map(|path| std::fs::read(path).ok()).collect()
}

fn configurations() -> Vec<Vec<u8>> {
    ["config", "config/examples", "tests/data/config"]
        .iter()
        .flat_map(|folder| files(folder, "yml"))
        .collect()
}

fn events() -> Vec<Vec<u8>> {
    let batches = files("tests/data/ingest", "json");
    let observed =
        batches.iter().filter_map(|body| webhook::parse(body, "p", received(), &Default::default()).ok());
    let mut all: Vec<Event> = observed.map(|parsed| Event::Observe(parsed.batch)).collect();
    all.extend([Event::Started, Event::Tick, Event::Policy(Box::new(Config::default().policy))]);
    all.iter().map(|event| serde_json::to_vec(event).unwrap()).collect()
}
