//! The data of a notification for templates: Alertmanager's, and beside it Squelch's own.
//!
//! Source: Alertmanager `template/template.go` (`Data`, `Alert`).

use std::collections::BTreeMap;

use gotmpl::Value;

use super::text::clean_line;
use super::time::GoTime;
use super::value::{PLACE, Struct, list, record, set, text};
use crate::causes;
use crate::model::{
    AlertId, AlertView, Cause, Fingerprint, Kind, LabelSet, Notification, Status, Timestamp,
    alertmanager_order,
};

/// So many digits of a key name an incident: every command and page takes them, and two incidents hardly
/// share them.
const SHORT_KEY: usize = 12;

/// The facts of one attempt beside its notification.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// `firing` or `resolved`.
    pub status: &'a str,
    /// `--web.external-url`. It may be empty.
    pub external_url: &'a str,
    /// The receiver may have had it before.
    pub possible_repeat: bool,
    /// The readings of the alerts' rules.
    pub readings: &'a Readings,
}

/// The value of an alert's rule for this alert when its page left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleReading {
    /// The value.
    pub value: String,
    /// The last hour, as a line of bars.
    pub graph: String,
}

/// The known facts about a page when it leaves, beside its notification.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readings {
    /// The readings of those alerts that have one.
    pub of_alerts: BTreeMap<AlertId, RuleReading>,
    /// How often its rules fire at this time of the week, as one line. Empty = unknown.
    pub baseline: String,
}

/// Nothing is known.
pub static NO_READINGS: Readings = Readings { of_alerts: BTreeMap::new(), baseline: String::new() };

/// The data of one notification.
#[derive(Clone, Debug)]
pub struct Data {
    pub(super) value: Value,
    /// The labels of the route that fail, with their errors.
    pub(super) wrong: Vec<(String, String)>,
}

impl Data {
    /// The labels of the route, rendered. Labels that fail are left out.
    pub fn route_labels(&self) -> LabelSet {
        match self.value.field("RouteLabels") {
            Some(Value::Map(labels)) => {
                let pairs = labels.iter().filter_map(|(name, value)| Some((&**name, value.as_str()?)));
                LabelSet::from_pairs(pairs)
            }
            _ => LabelSet::default(),
        }
    }

    /// The errors in the labels of the route, which are left out.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        self.wrong.iter().map(|(label, why)| format!("labels.{label} of the route, which is left out: {why}"))
    }
}

/// The page of the incident, below `--web.external-url`. A digest is about no incident, so it leads to the
/// first page. Empty without `--web.external-url`.
pub fn incident_url(external_url: &str, n: &Notification) -> String {
    match external_url.is_empty() || n.kind == Kind::Digest {
        true => external_url.to_owned(),
        false => format!("{}/incident?key={}", external_url.trim_end_matches('/'), key_of(n)),
    }
}

/// The key by which Squelch knows the incident.
fn key_of(n: &Notification) -> &str {
    n.incident_key.as_ref().unwrap_or(&n.dedup_key)
}

/// The alerts in the order of Alertmanager. Each knows its place among the worst.
fn of_alerts(n: &Notification, readings: &Readings) -> Value {
    let mut alerts: Vec<(usize, &AlertView)> = n.alerts.iter().enumerate().collect();
    alerts.sort_by(|(_, a), (_, b)| alertmanager_order(&a.labels, &b.labels));
    list(alerts.into_iter().map(|(place, alert)| of_alert((alert, place), n.at, readings)))
}

pub(super) fn of_notification(
    n: &Notification,
    facts: Facts<'_>,
    route_labels: Value,
    reason: &str,
) -> Value {
    let common = |labels: fn(&AlertView) -> &LabelSet| of_set(&LabelSet::common(n.alerts.iter().map(labels)));
    let title = n.headline().to_string();
    record(
        Struct::Data,
        [
            ("Receiver", text(quote_meta(&n.receiver))),
            ("Status", text(facts.status)),
            ("Alerts", of_alerts(n, facts.readings)),
            ("GroupLabels", of_set(&n.group_labels)),
            ("CommonLabels", common(|alert| &alert.labels)),
            ("CommonAnnotations", common(|alert| &alert.annotations)),
            ("RouteLabels", route_labels),
            ("ExternalURL", text(facts.external_url)),
            ("NotificationReason", text(reason)),
            ("TruncatedAlerts", number(n.truncated)),
            ("TruncatedFiring", number(n.truncated_firing)),
            ("TruncatedResolved", number(n.truncated.saturating_sub(n.truncated_firing))),
            ("Kind", text(n.kind.as_str())),
            ("Severity", text(&n.severity)),
            ("Title", text(clean_line(&title))),
            ("Why", text(clean_line(&causes::text(&n.cause)))),
            ("Baseline", text(clean_line(&facts.readings.baseline))),
            ("DedupKey", text(&n.dedup_key)),
            ("IncidentKey", text(key_of(n).get(..SHORT_KEY).unwrap_or(key_of(n)))),
            ("IncidentURL", text(incident_url(facts.external_url, n))),
            ("PossibleRepeat", Value::Bool(facts.possible_repeat)),
        ],
    )
}

fn number(n: u64) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn of_set(labels: &LabelSet) -> Value {
    set(labels.iter())
}

/// An alert that fires has no end: Go's zero time.
fn of_alert((alert, place): (&AlertView, usize), at: Timestamp, readings: &Readings) -> Value {
    let reading = readings.of_alerts.get(&alert.id);
    let ends_at = match alert.status {
        Status::Firing => Timestamp::ZERO,
        Status::Resolved => alert.ends_at.unwrap_or(at),
    };
    record(
        Struct::Alert,
        [
            ("Status", text(alert.status.as_str())),
            ("Labels", of_set(&alert.labels)),
            ("Annotations", of_set(&alert.annotations)),
            ("StartsAt", GoTime::utc(alert.starts_at).value()),
            ("EndsAt", GoTime::utc(ends_at).value()),
            ("GeneratorURL", text(&alert.generator_url)),
            ("Fingerprint", text(Fingerprint::of(&alert.labels).to_string())),
            (PLACE, number(place as u64)),
            ("Flaps", Value::Int(alert.flaps.unwrap_or(0).into())),
            ("Value", text(reading.map_or("", |reading| &reading.value))),
            ("Graph", text(reading.map_or("", |reading| &reading.graph))),
        ],
    )
}

/// Why a notification leaves, in Alertmanager's words, where one of them is true.
pub fn reason(n: &Notification) -> &'static str {
    match n.kind {
        Kind::Page => "first notification",
        Kind::Resolve => "all alerts resolved",
        Kind::Update if matches!(n.cause, Cause::Repeated { .. }) => "repeat interval elapsed",
        Kind::Update | Kind::Digest | Kind::Acknowledge => "unknown",
    }
}

/// Go's `regexp.QuoteMeta`, which Alertmanager puts the receiver's name through.
pub fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
