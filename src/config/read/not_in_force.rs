//! `event_recorder`, which Squelch checks as Alertmanager does and does not put in force. It changes no
//! notification, so it gets a warning.

use std::path::Path;

use crate::settings::SecretForm;
use crate::settings::http;
use crate::settings::section::{Section, shown};

/// Checks the section.
pub(super) fn check(top: &mut Section<'_>, base: &Path) {
    if let Some(keys) = top.section("event_recorder") {
        let instead = "Squelch records every decision in its decision log. See `squelch explain`";
        keys.problems.doubt(keys.line, format!("event_recorder is not in force. {instead}"));
        event_recorder(keys, base);
    }
}

fn event_recorder(mut keys: Section<'_>, base: &Path) {
    each(&mut keys, "file_outputs", |keys| required(keys, "path"));
    each(&mut keys, "webhook_outputs", |keys| webhook_output(keys, base));
    each(&mut keys, "kafka_outputs", kafka_output);
    each(&mut keys, "stdout_outputs", |_| {});
    keys.finish();
}

fn webhook_output(keys: &mut Section<'_>, base: &Path) {
    if http::secret(keys, ("url", ""), SecretForm::Url, base).is_none() {
        keys.problems.add(keys.line, "webhook_outputs has no url. Write url");
    }
    http::http_config(keys, base);
    for key in ["timeout", "retry_backoff"] {
        keys.duration(key);
    }
    for key in ["workers", "max_retries"] {
        keys.whole::<i64>(key, "a whole number");
    }
    let batch = keys.boolean("batch").unwrap_or(false);
    let events: Option<u64> = keys.whole("batch_max_events", "a whole number");
    let bytes: Option<u64> = keys.whole("batch_max_bytes", "a whole number");
    let interval = keys.duration("batch_flush_interval").map(|interval| interval.as_millis());
    if !batch && [events, bytes, interval].into_iter().flatten().any(|value| value > 0) {
        let message = "webhook_outputs limits its batches and has none. Write batch: true";
        keys.problems.add(keys.line, message);
    }
}

fn kafka_output(keys: &mut Section<'_>) {
    if keys.texts("brokers").is_none_or(|brokers| brokers.iter().all(|broker| broker.text.is_empty())) {
        keys.problems.add(keys.line, "kafka_outputs has no brokers. Write brokers: [HOST:PORT]");
    }
    required(keys, "topic");
    keys.text("client_id");
    one_of(keys, "format", &["json", "protobuf"]);
    one_of(keys, "acks", &["none", "leader", "all"]);
    one_of(keys, "compression", &["none", "gzip", "snappy", "lz4", "zstd"]);
    keys.whole::<i64>("buffer_size", "a whole number");
    ignored(keys, "tls_config");
}

/// Reads every entry of a list.
fn each(keys: &mut Section<'_>, list: &'static str, read: impl Fn(&mut Section<'_>)) {
    for node in keys.list(list).unwrap_or_default() {
        if let Some(mut entry) = Section::new(node, list, keys.problems) {
            read(&mut entry);
            entry.finish();
        }
    }
}

fn required(keys: &mut Section<'_>, key: &'static str) {
    if keys.text(key).is_none_or(|text| text.text.is_empty()) {
        keys.problems.add(keys.line, format!("{key} is missing. Write {key}"));
    }
}

/// A section that is not looked into.
fn ignored(keys: &mut Section<'_>, key: &'static str) {
    keys.section(key);
}

/// A text out of a list. The empty one means the default.
pub(super) fn one_of<'a>(keys: &mut Section<'a>, key: &'static str, all: &[&str]) -> Option<&'a str> {
    let text = keys.text(key).filter(|text| !text.text.is_empty())?;
    if !all.contains(&text.text) {
        keys.problems
            .add(text.line, format!("{key} is {}. Write one of {}", shown(text.text), all.join(", ")));
    }
    Some(text.text)
}
