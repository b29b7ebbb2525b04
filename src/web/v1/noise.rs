//! `GET /api/v1/noise`: the decision log, counted.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parameters::{PageLimit, parameters, time};
use super::reply::Refusal;
use super::{reply, unsearched};
use crate::decision_log::{By, NoiseEntry, changing_labels, unknown_severities};
use crate::model::Duration;
use crate::web::app::App;
use crate::web::budget;
use crate::web::problem::{Details, Problem};

/// How far back, by default.
const SPAN: Duration = Duration::from_hours(24);

/// The parameters.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct NoiseParams {
    /// The start, RFC 3339. By default a day before `until`.
    since: Option<String>,
    /// The end. By default now.
    until: Option<String>,
    /// Alert names that are listed at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
    /// The length of one step of the trend. By default `day`.
    by: By,
}

/// The observations and notifications of a stretch of time, and which rules to fix first.
#[utoipa::path(
    get, path = "/api/v1/noise", operation_id = "countNoise", tag = "history", params(NoiseParams),
    responses(
        (status = 200, description = "The counts.", body = NoiseEntry),
        (status = 422, description = "The counting takes too long.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn count(State(app): State<App>, uri: Uri) -> Response {
    reply(counted(&app, &uri).await)
}

async fn counted(app: &App, uri: &Uri) -> Result<NoiseEntry, Problem> {
    let asked: NoiseParams = parameters(uri)?;
    let until = time("until", asked.until.as_ref())?.unwrap_or_else(|| app.gate.now());
    let since = time("since", asked.since.as_ref())?.unwrap_or(until - SPAN);
    if since >= until {
        return Err(Problem::bad(format!("since is {since}. Write a time before {until}")));
    }
    let budgets = budget::declared(app).await?;
    let before = since - until.since(since);
    let (tally, before) = tokio::join!(app.gate.noise(since, until), app.gate.noise(before, since));
    let (tally, before) = (tally.map_err(unsearched)?, before.ok().filter(|before| before.cut_at.is_none()));
    let stats = app.gate.stats();
    let changing_labels = changing_labels(&stats.changing_labels);
    let unknown_severities = unknown_severities(&stats.unknown_severities);
    let counted = NoiseEntry::new(&tally, before.as_ref(), &budgets, asked.limit.0, asked.by);
    let counted = counted.suggesting(&app.gate.suggestions());
    Ok(NoiseEntry { changing_labels, unknown_severities, ..counted })
}
