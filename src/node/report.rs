//! The report that is due again and again: it is counted, and handed to the engine, which sends it once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock::wall;
use super::gate::NodeGate;
use crate::config::ReportSchedule;
use crate::decision_log::{By, NoiseEntry};
use crate::engine::PeriodReport;
use crate::model::Timestamp;
use crate::web::Gate;

/// From one look at the clock to the next.
const CHECK: Duration = Duration::from_secs(10);
/// A report lists so many rules.
const RULES: usize = 10;
/// A report has so many characters at most.
const LONGEST: usize = 12_000;

/// Sends reports for ever. To be aborted.
pub(super) async fn run(gate: Arc<NodeGate>) {
    let (mut seen, mut sent) = (None, None);
    let mut clock = tokio::time::interval(CHECK);
    loop {
        clock.tick().await;
        // The owner of the storage sends the report.
        let Some(schedule) = gate.report().filter(|_| gate.standby().is_none()) else { continue };
        let Some((since, due)) = schedule.last(wall()) else { continue };
        let now = Some((schedule.receiver.clone(), due));
        if sent == now {
            continue;
        }
        // Suggestions are priced until the next look.
        let priced = gate.suggestions();
        if seen != now && priced.at.is_none_or(|at| at < due) {
            seen = now;
            continue;
        }
        match send(&gate, &schedule, since, due).await {
            Ok(()) => sent = now,
            Err(why) => tracing::warn!(receiver = %schedule.receiver, %why, "the report is not sent yet"),
        }
    }
}

/// Counts a period, and hands its report to the engine. A period without observations has no report.
async fn send(
    gate: &NodeGate,
    schedule: &ReportSchedule,
    since: Timestamp,
    due: Timestamp,
) -> Result<(), String> {
    let tally = gate.noise(since, due).await.map_err(|e| e.to_string())?;
    let before = gate.noise(since - due.since(since), since).await.ok();
    let before = before.filter(|before| before.cut_at.is_none());
    let counted = NoiseEntry::new(&tally, before.as_ref(), &BTreeMap::new(), RULES, By::Day);
    if counted.is_empty() {
        return Ok(());
    }
    let text = counted.suggesting(&gate.suggestions()).markdown_in(&schedule.location);
    let text: String = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}\n…\n", &text[..end]),
        None => text,
    };
    let report = PeriodReport { receiver: schedule.receiver.clone(), since, due, text: text.into() };
    gate.send_report(report).await.map_err(|e| e.to_string())
}
