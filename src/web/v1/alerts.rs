//! `GET /api/v1/alerts`: the alerts that are remembered, and where they stand.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{self, PageLimit, asked, cursor, hex, matchers, word};
use super::document::Refusal;
use super::{LOOKS, reply};
use crate::engine::{AlertEntry, AlertQuery, RowState};
use crate::model::{AlertId, Fingerprint, Status, Timestamp};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::Problem;

/// What is asked for: all that is given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Matchers on the alert's labels, as `alertname="Down",host=~"db.*"`; may be given more than once.
    filter: Vec<String>,
    /// Alertmanager's fingerprint, 16 hex digits.
    fingerprint: Option<String>,
    /// `firing` or `resolved`.
    status: Option<String>,
    /// Only alerts that went to this receiver.
    receiver: Option<String>,
    /// Only alerts at this at a receiver: `passing`, `paged`, `flapping`, `resolving`, `held`,
    /// `rate_limited`, `quiet` or `muted`, or `observed` for what a profile only observes.
    state: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
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
    /// The cursor of the page behind; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Alerts that are remembered, and where they stand.
#[utoipa::path(
    get, path = "/api/v1/alerts", operation_id = "listAlerts", tag = "state", params(Asked),
    responses((status = 200, description = "One page.", body = AlertPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<AlertPage, Problem> {
    let asked: Asked = asked(uri)?;
    let mut query = AlertQuery {
        matchers: matchers(&asked.filter)?,
        fingerprint: asked::read("fingerprint", asked.fingerprint.as_ref(), "16 hex digits", |text| {
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
        let glance = look(app, move |engine| engine.alerts(&once)).await?;
        alerts.extend(glance.found);
        (query.after, query.limit) = (glance.next, wanted - alerts.len());
        if query.after.is_none() || query.limit == 0 || glance.full {
            break;
        }
    }
    Ok(AlertPage { now: app.gate.now(), alerts, next: query.after.map(|id| id.to_string()) })
}
