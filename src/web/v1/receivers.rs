//! `GET /api/v1/receivers`: how delivery goes.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::{IntoParams, ToSchema};

use super::parameters::{PageLimit, parameters};
use super::reply;
use super::reply::Refusal;
use crate::config::Receiver;
use crate::deliver::Health;
use crate::journal::LetterQuery;
use crate::model::{Duration, Timestamp};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::Problem;

/// The parameters.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct ReceiverParams {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// One page of receivers, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Receivers)]
struct ReceiverPage {
    /// The receivers of the configuration.
    receivers: Vec<ReceiverEntry>,
    /// The cursor of the next page. Missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How delivery to a receiver goes. Times are of this run of the program.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Receiver)]
#[serde(rename_all = "camelCase")]
struct ReceiverEntry {
    /// Its name.
    receiver: String,
    /// Its integrations, such as `pagerduty[0]`.
    integrations: Vec<String>,
    /// The receiver that is notified if this one cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    /// When it last accepted a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success: Option<Timestamp>,
    /// How an attempt failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureEntry>,
    /// Notifications that it has neither accepted nor refused.
    queued: usize,
    /// When the oldest of them was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_queued: Option<Timestamp>,
    /// Integrations whose circuit is open: nothing is tried but a probe.
    open_circuits: Vec<String>,
    /// Notifications that it refused for good.
    dead_letters: u64,
}

/// A failed attempt.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Failure)]
struct FailureEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// At which integration.
    integration: String,
    /// Its class: `clientError`, `serverError`, `authError`, `rateLimited`, …
    reason: String,
    /// The failure, without secrets.
    detail: String,
}

/// How delivery to each receiver goes.
#[utoipa::path(
    get, path = "/api/v1/receivers", operation_id = "listReceivers", tag = "delivery", params(ReceiverParams),
    responses((status = 200, description = "One page.", body = ReceiverPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<ReceiverPage, Problem> {
    let asked: ReceiverParams = parameters(uri)?;
    let (after, limit) = (asked.cursor.map(SmolStr::from), asked.limit.0);
    let mut receivers: Vec<(SmolStr, Receiver)> = look(app, move |engine| {
        let behind = after.map_or(Unbounded, Excluded);
        let all = engine.policy().receivers.range((behind, Unbounded)).take(limit + 1);
        all.map(|(name, receiver)| (name.clone(), receiver.clone())).collect()
    })
    .await?;
    let more = receivers.len() > limit;
    receivers.truncate(limit);
    let next = receivers.last().filter(|_| more).map(|(name, _)| name.to_string());
    let letters = app.gate.dead_letters(LetterQuery::newest(0)).await;
    let letters = letters.map_err(|e| Problem::unavailable(e.to_string()))?.by_receiver;
    let (now, health) = (app.gate.now(), app.gate.health());
    let entry = |(name, receiver)| entry(now, name, &receiver, &health, &letters);
    Ok(ReceiverPage { receivers: receivers.into_iter().map(entry).collect(), next })
}

fn entry(
    now: Timestamp,
    name: SmolStr,
    receiver: &Receiver,
    health: &BTreeMap<SmolStr, Health>,
    letters: &BTreeMap<SmolStr, u64>,
) -> ReceiverEntry {
    let health = health.get(&name).cloned().unwrap_or_default();
    let ago = |ago: std::time::Duration| {
        now - Duration::from_millis(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
    };
    ReceiverEntry {
        integrations: receiver.integrations.iter().map(|i| i.name.to_string()).collect(),
        fallback: receiver.fallback.as_ref().map(ToString::to_string),
        last_success: health.accepted.map(ago),
        last_failure: health.failed.map(|failure| FailureEntry {
            at: ago(failure.ago),
            integration: failure.integration.to_string(),
            reason: failure.reason.as_str().to_owned(),
            detail: failure.detail,
        }),
        queued: health.queued,
        oldest_queued: health.oldest,
        open_circuits: health.open_circuits.iter().map(ToString::to_string).collect(),
        dead_letters: letters.get(&name).copied().unwrap_or(0),
        receiver: name.to_string(),
    }
}
