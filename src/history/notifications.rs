//! The notifications of a backtest as JSON lines, for a scorer.

use std::io::{self, Write};

use serde::Serialize;
use smol_str::SmolStr;

use super::told::Telling;
use crate::model::{Kind, LabelSet, Timestamp};

#[derive(Serialize)]
struct NotificationLine<'a> {
    at: Timestamp,
    kind: Kind,
    receiver: &'a SmolStr,
    incident: &'a SmolStr,
    alerts: Vec<NotificationAlert<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotificationAlert<'a> {
    labels: &'a LabelSet,
    starts_at: Timestamp,
}

/// Writes one notification as a line: `at`, `kind`, `receiver`, `incident` (the dedup key) and `alerts`.
/// Its kind determines the alerts: see [`Telling::alerts`].
///
/// # Errors
/// `out` failed.
pub fn write_line(out: &mut impl Write, telling: &Telling<'_>) -> io::Result<()> {
    let n = telling.notification;
    let alerts =
        telling.alerts.iter().map(|a| NotificationAlert { labels: &a.labels, starts_at: a.starts_at });
    let line = NotificationLine {
        at: n.at,
        kind: n.kind,
        receiver: &n.receiver,
        incident: &n.dedup_key,
        alerts: alerts.collect(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}
