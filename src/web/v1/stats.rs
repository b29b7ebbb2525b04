//! `GET /api/v1/stats`: the counts since the journal began, and the current state.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::ToSchema;

use super::parameters::no_parameters;
use super::reply;
use super::reply::Refusal;
use crate::config::Limit;
use crate::decision_log::{FateEntry, removed};
use crate::engine::ReceiverStats;
use crate::model::{Disposition, Status, Timestamp};
use crate::web::BoundsInForce;
use crate::web::app::App;
use crate::web::budget;
use crate::web::problem::Problem;

/// Counts since the journal began, and how things stand. For each receiver, at every instant,
/// `routed` = the sum of `fates` + `pending`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Stats)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatsEntry {
    /// The time.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// Observations that came in.
    received: ReceivedEntry,
    /// The same, once for each receiver that they went to.
    routed: u64,
    /// Pages that went out.
    pages: u64,
    /// The share of routed observations that interrupted no person, rounded down. Missing if none were
    /// routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_percent: Option<u64>,
    /// The dispositions of routed observations.
    fates: Vec<FateEntry>,
    /// Alerts that are remembered.
    alerts: u64,
    /// Alerts that fire.
    firing: u64,
    /// Bounds of the engine's memory.
    limits: LimitsEntry,
    /// Silences that are kept, by state.
    silences: BTreeMap<String, u64>,
    /// By receiver.
    receivers: Vec<ReceiverStatsEntry>,
    /// By receiver, the dispositions that would have followed in observe mode.
    observed: Vec<ReceiverStatsEntry>,
}

/// Bounds of the engine's memory, and whether memory is short.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LimitsInForce)]
#[serde(rename_all = "camelCase")]
struct LimitsEntry {
    /// Alerts that may be known at once: `limits.alerts`, or as many as fit into memory if that is fewer.
    alerts: u64,
    /// The memory budget in bytes. Missing if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Why alerts that are not known yet are answered 503. Missing while they are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusing: Option<String>,
}

/// Observations that came in.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Received)]
struct ReceivedEntry {
    /// Observations of firing alerts.
    firing: u64,
    /// Observations of resolved alerts.
    resolved: u64,
}

/// The counts of one receiver.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ReceiverStats)]
#[serde(rename_all = "camelCase")]
struct ReceiverStatsEntry {
    /// Its name.
    receiver: String,
    /// Observations that were routed here, once for each route.
    routed: u64,
    /// Those of which it is not decided yet.
    pending: u64,
    /// The dispositions of the others.
    fates: Vec<FateEntry>,
    /// Pages that went out.
    pages: u64,
    /// The share of routed observations that interrupted no person, rounded down. Missing if none were
    /// routed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_percent: Option<u64>,
    /// Incidents that are open.
    open: u64,
    /// Incidents whose alerts have all resolved, and that close soon.
    resolving: u64,
    /// Alerts that flap here.
    flapping: u64,
    /// Alerts that are held before their first page.
    held: u64,
    /// Pages beyond the budget.
    over_budget: u64,
    /// The page budget, where one is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<SpentEntry>,
}

/// A page budget, and the spent part of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SpentBudget)]
struct SpentEntry {
    /// So many pages.
    pages: u32,
    /// In this time, such as `12h`.
    per: String,
    /// Pages in the last stretch of that length.
    spent: u64,
}

/// Counts since the journal began, and how things stand.
#[utoipa::path(
    get, path = "/api/v1/stats", operation_id = "readStats", tag = "state",
    responses((status = 200, description = "The counts.", body = StatsEntry), Refusal)
)]
pub(super) async fn stats(State(app): State<App>, uri: Uri) -> Response {
    reply(read(&app, &uri).await)
}

async fn read(app: &App, uri: &Uri) -> Result<StatsEntry, Problem> {
    no_parameters(uri)?;
    let now = app.gate.now();
    let budgets = budget::spent(app, now).await?;
    let stats = app.gate.stats();
    let received = |status: Status| {
        stats.received.iter().filter(|((_, s), _)| *s == status).map(|(_, count)| count).sum()
    };
    let mut disposed: BTreeMap<Disposition, u64> = BTreeMap::new();
    for (fate, count) in stats.receivers.values().flat_map(|r| &r.disposed) {
        *disposed.entry(*fate).or_default() += count;
    }
    let routed = stats.receivers.values().map(|r| r.routed).sum();
    let pages = disposed.get(&Disposition::Page).copied().unwrap_or(0);
    let nothing = BTreeMap::new();
    let BoundsInForce { alerts, memory, short } = app.gate.limits();
    let limits = LimitsEntry { alerts, memory, refusing: short };
    Ok(StatsEntry {
        now,
        received: ReceivedEntry { firing: received(Status::Firing), resolved: received(Status::Resolved) },
        routed,
        pages,
        removed_percent: removed(routed, pages),
        fates: fates(&disposed),
        alerts: stats.alerts,
        firing: stats.firing,
        limits,
        silences: stats.silences.iter().map(|(state, n)| (state.as_str().to_owned(), *n)).collect(),
        receivers: stats.receivers.iter().map(|r| receiver(r, &budgets)).collect(),
        observed: stats.observed.iter().map(|r| receiver(r, &nothing)).collect(),
    })
}

fn receiver(
    (name, stats): (&SmolStr, &ReceiverStats),
    budgets: &BTreeMap<SmolStr, (u64, Limit)>,
) -> ReceiverStatsEntry {
    let pages = stats.disposed.get(&Disposition::Page).copied().unwrap_or(0);
    let budget = budgets.get(name);
    ReceiverStatsEntry {
        receiver: name.to_string(),
        routed: stats.routed,
        pending: stats.pending,
        fates: fates(&stats.disposed),
        pages,
        removed_percent: removed(stats.routed, pages),
        open: stats.open,
        resolving: stats.resolving,
        flapping: stats.flapping,
        held: stats.held,
        over_budget: stats.over_budget,
        budget: budget.map(|(spent, limit)| SpentEntry {
            pages: limit.pages,
            per: limit.per.to_string(),
            spent: *spent,
        }),
    }
}

/// Dispositions that occurred at least once.
fn fates(disposed: &BTreeMap<Disposition, u64>) -> Vec<FateEntry> {
    let fate = |(disposition, count): (&Disposition, &u64)| FateEntry {
        disposition: disposition.as_str().to_owned(),
        reason: Some(disposition.reason().to_owned()).filter(|reason| !reason.is_empty()),
        count: *count,
    };
    disposed.iter().filter(|(_, count)| **count > 0).map(fate).collect()
}
