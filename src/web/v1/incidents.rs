//! `GET /api/v1/incidents`: what is open, where, why, and what happens next.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{PageLimit, asked, cursor, matchers, word};
use super::document::Refusal;
use super::{LOOKS, reply};
use crate::engine::{INCIDENT_STATES, IncidentCursor, IncidentEntry, IncidentQuery};
use crate::model::Timestamp;
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::Problem;

/// What is asked for: all that is given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Matchers on the labels of one of its alerts; may be given more than once.
    filter: Vec<String>,
    /// Only this receiver's.
    receiver: Option<String>,
    /// `passing`, `paged`, `flapping`, `resolving`, `superseded`, `closing`, or `observed` for what a profile
    /// only observes.
    state: Option<String>,
    /// Only the one of this `dedupKey`.
    key: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// One page of incidents: internal incidents that are open first, then the others, each the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Incidents)]
pub struct IncidentPage {
    /// The server's time. Ages and countdowns are differences to it.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The incidents.
    pub incidents: Vec<IncidentEntry>,
    /// The cursor of the page behind; missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Incidents that are not over.
#[utoipa::path(
    get, path = "/api/v1/incidents", operation_id = "listIncidents", tag = "state", params(Asked),
    responses((status = 200, description = "One page.", body = IncidentPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<IncidentPage, Problem> {
    let asked: Asked = asked(uri)?;
    let mut query = IncidentQuery {
        matchers: matchers(&asked.filter)?,
        receiver: asked.receiver.map(Into::into),
        state: word("state", asked.state.as_ref(), &INCIDENT_STATES, |state| state)?.map(Into::into),
        key: asked.key.map(Into::into),
        after: cursor(asked.cursor.as_ref(), IncidentCursor::parse)?,
        limit: asked.limit.0,
    };
    let (mut incidents, wanted) = (Vec::new(), query.limit);
    for _ in 0..LOOKS {
        let once = query.clone();
        let glance = look(app, move |engine| engine.open_incidents(&once)).await?;
        incidents.extend(glance.found);
        (query.after, query.limit) = (glance.next, wanted - incidents.len());
        if query.after.is_none() || query.limit == 0 || glance.full {
            break;
        }
    }
    let next = query.after.map(|last| last.to_string());
    Ok(IncidentPage { now: app.gate.now(), incidents, next })
}
