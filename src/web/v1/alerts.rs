//! `GET /api/v1/alerts`: the alerts that are remembered, and where they stand.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::{IntoParams, ToSchema};

use super::parameters::{self, PageLimit, cursor, hex, matchers, parameters, word};
use super::reply::Refusal;
use super::{LOOKS, reply};
use crate::causes;
use crate::engine::{AlertQuery, AlertStandings, NextStep, Origin, RowState, Standing};
use crate::model::{AlertId, Cause, Fingerprint, LabelSet, Status, Timestamp};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::Problem;

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertListParams {
    /// Matchers on the alert's labels, as `alertname="Down",host=~"db.*"`. You can give it more than once.
    filter: Vec<String>,
    /// Alertmanager's fingerprint, 16 hex digits.
    fingerprint: Option<String>,
    /// `firing` or `resolved`.
    status: Option<String>,
    /// Only alerts that went to this receiver.
    receiver: Option<String>,
    /// Only alerts in this state at a receiver: `passing`, `paged`, `flapping`, `resolving`, `held`,
    /// `rate_limited`, `withheld` or `muted`. `observed` selects alerts whose profile only observes.
    state: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// An alert that is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Alert)]
#[serde(rename_all = "camelCase")]
pub struct AlertEntry {
    /// Its identity, 32 hex digits.
    pub id: String,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// Whether it fires.
    #[schema(value_type = String)]
    pub status: Status,
    /// Its labels, as they were said last.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: LabelSet,
    /// Its annotations, as they were said last.
    #[schema(value_type = BTreeMap<String, String>)]
    pub annotations: LabelSet,
    /// When the occurrence started, or the last one.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// When it ended. Missing while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
    /// The address of its rule, as its sender gave it. Empty if it gave none.
    #[serde(rename = "generatorURL")]
    #[schema(value_type = String)]
    pub generator_url: SmolStr,
    /// The receivers at which it is open, or waits, with its state there.
    pub receivers: Vec<StandingEntry>,
}

/// Where an alert stands at one receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Standing)]
#[serde(rename_all = "camelCase")]
pub struct StandingEntry {
    /// The receiver.
    #[schema(value_type = String)]
    pub receiver: SmolStr,
    /// `passing`, `paged`, `flapping`, `resolving`, `held`, `rate_limited`, `withheld` or `muted`.
    /// `observed` if its profile only observes, so that no receiver is notified.
    pub state: RowState,
    /// Of `observed`: the state that it would be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<RowState>,
    /// `squelch`, or `sender` where a profile observes and Squelch forwards the sender's statements.
    #[schema(value_type = String)]
    pub origin: Origin,
    /// The `dedup_key` of the incident that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub incident: Option<SmolStr>,
    /// Why, in one sentence.
    pub why: String,
    /// Why, as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The next step, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextEntry>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Next)]
pub struct NextEntry {
    /// When, if nothing else happens before.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The action: `pages`, `updates`, `repeats`, `escalates to` and a receiver, `closes`, `tries again`, …
    pub action: String,
}

impl From<AlertStandings> for AlertEntry {
    fn from(entry: AlertStandings) -> Self {
        let AlertStandings { alert, receivers } = entry;
        AlertEntry {
            id: alert.id.to_string(),
            fingerprint: alert.fingerprint().to_string(),
            status: alert.status(),
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            generator_url: alert.generator_url,
            receivers: receivers.into_iter().map(StandingEntry::from).collect(),
        }
    }
}

impl From<Standing> for StandingEntry {
    fn from(standing: Standing) -> Self {
        StandingEntry {
            receiver: standing.receiver,
            state: standing.state,
            would: standing.would,
            origin: standing.origin,
            incident: standing.incident,
            why: standing.cause.as_ref().map(causes::text).unwrap_or_default(),
            cause: standing.cause,
            next: standing.next.map(NextEntry::from),
        }
    }
}

impl From<(Timestamp, NextStep)> for NextEntry {
    fn from((at, step): (Timestamp, NextStep)) -> Self {
        NextEntry { at, action: causes::next_step(&step).into_owned() }
    }
}

/// One page of alerts, in the order of their identity.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Alerts)]
pub struct AlertPage {
    /// The server's time. Ages and countdowns are differences to it.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The alerts.
    pub alerts: Vec<AlertEntry>,
    /// The cursor of the next page. Missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Alerts that are remembered, and where they stand.
#[utoipa::path(
    get, path = "/api/v1/alerts", operation_id = "listAlerts", tag = "state", params(AlertListParams),
    responses((status = 200, description = "One page.", body = AlertPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<AlertPage, Problem> {
    let asked: AlertListParams = parameters(uri)?;
    let mut query = AlertQuery {
        matchers: matchers(&asked.filter)?,
        fingerprint: parameters::read("fingerprint", asked.fingerprint.as_ref(), "16 hex digits", |text| {
            hex(text, 16).and_then(|n| u64::try_from(n).ok()).map(Fingerprint)
        })?,
        status: word("status", asked.status.as_ref(), &[Status::Firing, Status::Resolved], Status::as_str)?,
        receiver: asked.receiver.map(Into::into),
        state: word("state", asked.state.as_ref(), &RowState::ALL, RowState::as_str)?,
        after: cursor(asked.cursor.as_ref(), |text| hex(text, 32).map(AlertId))?,
        limit: asked.limit.0,
    };
    let (mut alerts, wanted) = (Vec::new(), query.limit);
    for _ in 0..LOOKS {
        let once = query.clone();
        let glance = look(app, move |engine| engine.query().alerts(&once)).await?;
        alerts.extend(glance.found.into_iter().map(AlertEntry::from));
        (query.after, query.limit) = (glance.next, wanted - alerts.len());
        if query.after.is_none() || query.limit == 0 || glance.full {
            break;
        }
    }
    Ok(AlertPage { now: app.gate.now(), alerts, next: query.after.map(|id| id.to_string()) })
}
