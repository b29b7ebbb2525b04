//! `/api/v1/silences`: made, changed, listed and ended.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::parameters::no_parameters;
use super::parameters::{PageLimit, matchers, parameters, word};
use super::reply;
use super::reply::Refusal;
use crate::model::{SilenceRequest, SilenceState};
use crate::web::app::{App, Named, Posted};
use crate::web::look::look;
use crate::web::problem::{Details, Problem};
use crate::web::v2::silencing::{SilenceEntry, SilenceForm, ask, is_selected, posted};

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct SilenceListParams {
    /// Matchers on the silence's matchers, as if those were labels. You can give it more than once.
    filter: Vec<String>,
    /// `active`, `pending` or `expired`.
    state: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// One page of silences, in the order of their ids.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Silences)]
pub struct SilencePage {
    /// The silences.
    pub silences: Vec<SilenceEntry>,
    /// The cursor of the next page. Missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The silence that was made, changed or ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SilenceId)]
pub(super) struct Changed {
    /// Its id. It differs from the id before, if the silence's matchers changed.
    #[serde(rename = "silenceID")]
    silence_id: String,
}

/// Silences that are kept: all that are in force or to come, and expired ones for five days.
#[utoipa::path(
    get, path = "/api/v1/silences", operation_id = "listSilences", tag = "silences", params(SilenceListParams),
    responses((status = 200, description = "One page.", body = SilencePage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<SilencePage, Problem> {
    let asked: SilenceListParams = parameters(uri)?;
    let filter = matchers(&asked.filter)?;
    let state = word("state", asked.state.as_ref(), &SilenceState::ALL, SilenceState::as_str)?;
    let (after, limit) = (asked.cursor, asked.limit.0);
    let mut silences = look(app, move |engine| {
        let wanted = engine.query().silences_after(after.as_deref()).filter(|(silence, now)| {
            state.is_none_or(|state| state == *now) && is_selected(silence, &filter)
        });
        wanted.take(limit + 1).map(|(silence, now)| SilenceEntry::new(silence, now)).collect::<Vec<_>>()
    })
    .await?;
    let more = silences.len() > limit;
    silences.truncate(limit);
    let next = silences.last().filter(|_| more).map(|silence| silence.id.clone());
    Ok(SilencePage { silences, next })
}

/// Makes a silence, or changes the one whose id is given.
#[utoipa::path(
    post, path = "/api/v1/silences", operation_id = "setSilence", tag = "silences",
    request_body = SilenceForm,
    responses(
        (status = 200, description = "It is in force, and on disk.", body = Changed),
        (status = 413, description = "Too long.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Details, content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn set(State(app): State<App>, sent: Posted) -> Response {
    let set = async {
        no_parameters(&sent.uri)?;
        let request = posted(&app, &sent.headers, sent.body, sent.caller).await?;
        Ok(Changed { silence_id: ask(&app, request).await?.to_string() })
    };
    reply(set.await)
}

/// One silence.
#[utoipa::path(
    get, path = "/api/v1/silences/{id}", operation_id = "readSilence", tag = "silences",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The silence.", body = SilenceEntry), Refusal)
)]
pub(super) async fn one(State(app): State<App>, Named(id): Named, uri: Uri) -> Response {
    let found = async {
        no_parameters(&uri)?;
        let one = look(&app, move |engine| {
            engine.query().silence_by_id(&id).map(|(silence, state)| SilenceEntry::new(silence, state))
        });
        one.await?.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no silence of that id"))
    };
    reply(found.await)
}

/// Ends a silence. An alert that it suppressed pages then, if it still fires. You may end it again.
#[utoipa::path(
    delete, path = "/api/v1/silences/{id}", operation_id = "expireSilence", tag = "silences",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It is over.", body = Changed), Refusal)
)]
pub(super) async fn expire(State(app): State<App>, Named(id): Named, uri: Uri) -> Response {
    let ended = async {
        no_parameters(&uri)?;
        Ok(Changed { silence_id: ask(&app, SilenceRequest::Expire(id.into())).await?.to_string() })
    };
    reply(ended.await)
}
