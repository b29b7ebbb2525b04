//! What a person does: release, silence, expire. Each is durable before it is answered, and each leaves a
//! line in the log that says who asked for it, and from where.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use smol_str::{SmolStr, format_smolstr};

use super::page::Frame;
use super::silence::{self, Wrong};
use crate::engine::Release;
use crate::model::{Duration, Silence, SilenceRequest, Timestamp, parse_matchers_within};
use crate::web::access::Caller;
use crate::web::app::{App, Peer};
use crate::web::gate::ReleaseError;
use crate::web::look::finished;
use crate::web::problem::Problem;
use crate::web::v2::silencing::{MADE_COMPILED, ask};

#[derive(Deserialize)]
struct ReleaseForm {
    alert: String,
    receiver: SmolStr,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
struct ExpireForm {
    id: SmolStr,
    #[serde(default)]
    by: String,
}

/// `POST /act/release`
pub(in crate::web) async fn release(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let done = async {
        let form: ReleaseForm = form(&app, &headers, body).await?;
        let alert = super::alert_id(&form.alert)?;
        let by = author(&form.by, peer, caller);
        let release = Release { alert, receiver: form.receiver, by: by.clone() };
        let (gate, asked) = (Arc::clone(&app.gate), release.clone());
        finished(&app, tokio::spawn(async move { gate.release(asked).await })).await?.map_err(
            |e| match e {
                ReleaseError::NotHeld => Problem::new(StatusCode::CONFLICT, e.to_string()),
                ReleaseError::Unavailable(e) => Problem::unavailable(e.to_string()),
            },
        )?;
        tracing::info!(%by, peer = %peer.0, alert = %alert, receiver = %release.receiver, "released");
        Ok("../?said=released")
    };
    answer(&frame, done.await)
}

/// `POST /act/silence`
///
/// A form that cannot be granted comes back as it was filled in, with what is wrong. So does one whose
/// matchers are not those of which it showed how much they match.
pub(in crate::web) async fn silence(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let form: silence::Form = match form(&app, &headers, body).await {
        Ok(form) => form,
        Err(problem) => return frame.problem(&problem),
    };
    let _turn = match app.outgoing.change(&*app.gate).await {
        Ok(turn) => turn,
        Err(problem) => return frame.problem(&problem),
    };
    let by = author(&form.by, peer, caller);
    let wanted = match wanted(&form, app.gate.now(), &by) {
        Ok(wanted) => wanted,
        Err(wrong) => return silence::again(&app, &frame, &form, Some(&wrong)).await,
    };
    if form.counted.as_ref().is_some_and(|counted| *counted != form.matchers) {
        return silence::again(&app, &frame, &form, None).await;
    }
    match ask(&app, SilenceRequest::Set(wanted)).await {
        Ok(id) => {
            tracing::info!(%by, peer = %peer.0, %id, "silenced");
            answer(&frame, Ok("../?said=silenced"))
        }
        Err(problem) if problem.status == StatusCode::BAD_REQUEST => {
            let wrong = Wrong { field: "", why: problem.detail };
            silence::again(&app, &frame, &form, Some(&wrong)).await
        }
        Err(problem) => frame.problem(&problem),
    }
}

/// The silence that a form asks for.
fn wanted(form: &silence::Form, now: Timestamp, by: &SmolStr) -> Result<Silence, Wrong> {
    let wrong =
        |field, what: &str, why: &dyn std::fmt::Display| Wrong { field, why: format!("{what}: {why}") };
    let mut allowance = MADE_COMPILED;
    let matchers = parse_matchers_within(&form.matchers, &mut allowance);
    let matchers = matchers.map_err(|e| wrong("matchers", "what to silence", &e))?;
    let length: Duration = form.length.trim().parse().map_err(|e| wrong("for", "for how long", &e))?;
    Ok(Silence {
        id: SmolStr::default(),
        matchers: vec![matchers],
        starts_at: now,
        ends_at: now + length,
        updated_at: Timestamp::ZERO,
        created_by: by.clone(),
        comment: form.comment.as_str().into(),
    })
}

/// `POST /silences/expire`
pub(in crate::web) async fn expire(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let done = async {
        let form: ExpireForm = form(&app, &headers, body).await?;
        let id = ask(&app, SilenceRequest::Expire(form.id)).await?;
        let by = author(&form.by, peer, caller);
        tracing::info!(%by, peer = %peer.0, %id, "silence expired");
        Ok("../?said=expired")
    };
    answer(&frame, done.await)
}

/// Who did it: whoever is known cannot sign for another; of others, as far as they say.
fn author(said: &str, peer: Peer, caller: Option<Extension<Caller>>) -> SmolStr {
    if let Some(Extension(caller)) = caller {
        return caller.name;
    }
    match said.trim() {
        "" => format_smolstr!("somebody at {}", peer.0),
        name => super::text::tame(name, 100).into(),
    }
}

/// Reads a form; at most 64 kB of it.
async fn form<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        let detail = "send a form: Content-Type application/x-www-form-urlencoded";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let arrived = app.read_small(headers, body).await.map_err(|refused| refused.problem)?;
    let text = std::str::from_utf8(&arrived.bytes).map_err(|_| Problem::bad("the form is not UTF-8"))?;
    let uri: Uri =
        format!("/?{text}").parse().map_err(|_| Problem::bad("not a form, or longer than 64 kB"))?;
    Query::try_from_uri(&uri).map(|Query(form)| form).map_err(|e| Problem::bad(format!("the form: {e}")))
}

/// Back to the list, so that a reload of the page does not ask again.
fn answer(frame: &Frame, done: Result<&'static str, Problem>) -> Response {
    match done {
        Ok(next) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            response.headers_mut().insert(header::LOCATION, HeaderValue::from_static(next));
            response
        }
        Err(problem) => frame.problem(&problem),
    }
}
