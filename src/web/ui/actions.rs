//! Actions of a person: release, silence, expire, acknowledge, note, rate. Each is durable before it is
//! answered, and each leaves a line in the log with its author and address.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use smol_str::SmolStr;

use super::page::{self, Frame};
use super::silence::{self, WrongField};
use crate::decision_log::{PastIncidentDetail, WhichIncident};
use crate::engine::Release;
use crate::model::{Duration, RemarkContent, Silence, SilenceRequest, Timestamp, parse_matchers_within};
use crate::web::app::{App, Posted};
use crate::web::gate::ReleaseError;
use crate::web::look::finished;
use crate::web::problem::Problem;
use crate::web::v1::history;
use crate::web::v2::silencing::{MADE_COMPILED, ask};

/// How often, and how many times, an answer checks whether the decision log has the person's remark.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);
const LOOKS: usize = 20;
/// A longer silence is probably a mistake of the person who fills in the form.
const LONGEST: Duration = Duration::from_hours(366 * 24);

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
pub(in crate::web) async fn release(State(app): State<App>, posted: Posted) -> Response {
    let frame = Frame::new(&app, &posted.uri, &posted.headers, posted.caller.clone()).await;
    let done = async {
        let form: ReleaseForm = form(&app, &posted.headers, posted.body).await?;
        let alert = super::alert_id(&form.alert)?;
        let by = history::author(&form.by, posted.peer, posted.caller);
        let release = Release { alert, receiver: form.receiver, by: by.clone() };
        let (gate, asked) = (Arc::clone(&app.gate), release.clone());
        finished(&app, tokio::spawn(async move { gate.release(asked).await })).await?.map_err(
            |e| match e {
                ReleaseError::NotHeld => Problem::new(StatusCode::CONFLICT, e.to_string()),
                ReleaseError::Unavailable(e) => Problem::unavailable(e.to_string()),
            },
        )?;
        tracing::info!(%by, peer = %posted.peer.0, alert = %alert, receiver = %release.receiver, "released");
        Ok(("../".into(), "released"))
    };
    answer(&frame, done.await)
}

/// `POST /act/silence`
///
/// A form that cannot be granted comes back as it was filled in, with the error. So does one whose matchers
/// differ from those whose count it showed.
pub(in crate::web) async fn silence(State(app): State<App>, posted: Posted) -> Response {
    let frame = Frame::new(&app, &posted.uri, &posted.headers, posted.caller.clone()).await;
    let form = match form::<silence::Form>(&app, &posted.headers, posted.body).await {
        // The lines of the field mean nothing.
        Ok(form) => silence::Form { matchers: form.matchers.lines().collect::<Vec<_>>().join(" "), ..form },
        Err(problem) => return frame.problem(&problem),
    };
    let _turn = match app.outgoing.change(&*app.gate).await {
        Ok(turn) => turn,
        Err(problem) => return frame.problem(&problem),
    };
    let by = history::author(&form.by, posted.peer, posted.caller);
    let wanted = match wanted(&form, app.gate.now(), &by) {
        Ok(wanted) => wanted,
        Err(wrong) => return silence::again(&app, &frame, &form, Some(&wrong)).await,
    };
    if form.counted.as_ref().is_some_and(|counted| !silence::same(counted, &form.matchers)) {
        return silence::again(&app, &frame, &form, None).await;
    }
    match ask(&app, SilenceRequest::Set(wanted)).await {
        Ok(id) => {
            tracing::info!(%by, peer = %posted.peer.0, %id, "silenced");
            let next = match form.incident.as_str() {
                "" => "../".to_owned(),
                key => format!("../incident{}", super::text::query(&[("key", key)])),
            };
            page::led(&next, &format!("silenced.{id}"))
        }
        Err(problem) if problem.status == StatusCode::BAD_REQUEST => {
            let wrong = WrongField { field: "", why: problem.detail };
            silence::again(&app, &frame, &form, Some(&wrong)).await
        }
        Err(problem) => frame.problem(&problem),
    }
}

/// The silence that a form asks for.
fn wanted(form: &silence::Form, now: Timestamp, by: &SmolStr) -> Result<Silence, WrongField> {
    let wrong =
        |field, what: &str, why: &dyn std::fmt::Display| WrongField { field, why: format!("{what}: {why}") };
    let mut allowance = MADE_COMPILED;
    let matchers = parse_matchers_within(&form.matchers, &mut allowance);
    let matchers = matchers.map_err(|e| wrong("matchers", "the alerts to silence", &e))?;
    let length: Duration = form.length.trim().parse().map_err(|e| wrong("for", "for how long", &e))?;
    if length > LONGEST {
        let why =
            format!("at most {LONGEST} would be right. The command line and the API take a longer time");
        return Err(wrong("for", "for how long", &why));
    }
    if form.comment.trim().is_empty() {
        return Err(wrong("comment", "because", &"the reason is missing, such as the work under way"));
    }
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
pub(in crate::web) async fn expire(State(app): State<App>, posted: Posted) -> Response {
    let frame = Frame::new(&app, &posted.uri, &posted.headers, posted.caller.clone()).await;
    let done = async {
        let form: ExpireForm = form(&app, &posted.headers, posted.body).await?;
        let id = ask(&app, SilenceRequest::Expire(form.id)).await?;
        let by = history::author(&form.by, posted.peer, posted.caller);
        tracing::info!(%by, peer = %posted.peer.0, %id, "silence expired");
        Ok(("../".into(), "expired"))
    };
    answer(&frame, done.await)
}

/// The common fields of an incident's forms.
#[derive(Deserialize)]
struct IncidentForm {
    key: String,
    number: Option<u64>,
    #[serde(default)]
    observed: bool,
    #[serde(default)]
    by: String,
    /// Takes an acknowledgement back.
    #[serde(default)]
    back: bool,
    #[serde(default)]
    note: String,
    useful: Option<bool>,
}

/// The action that a form of an incident asks for.
#[derive(Clone, Copy)]
enum Wish {
    Acknowledge,
    Note,
    Rate,
}

/// `POST /incident/acknowledge`
pub(in crate::web) async fn acknowledge(State(app): State<App>, posted: Posted) -> Response {
    respond(app, posted, Wish::Acknowledge).await
}

/// `POST /incident/note`
pub(in crate::web) async fn note(State(app): State<App>, posted: Posted) -> Response {
    respond(app, posted, Wish::Note).await
}

/// `POST /incident/useful`
pub(in crate::web) async fn useful(State(app): State<App>, posted: Posted) -> Response {
    respond(app, posted, Wish::Rate).await
}

/// Waits until the decision log has more of an incident than before, so that the next page shows it. The
/// action is durable already, so the wait is short.
async fn indexed(app: &App, wanted: WhichIncident, before: &PastIncidentDetail) {
    let events = |detail: &PastIncidentDetail| detail.events.len() as u64 + detail.left_out;
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        match history::recorded(app, wanted.clone()).await {
            Ok(now) if events(&now) == events(before) => {}
            _ => return,
        }
    }
}

/// Carries out the action of an incident's form, and leads back to the page of the incident.
async fn respond(app: App, posted: Posted, wish: Wish) -> Response {
    let frame = Frame::new(&app, &posted.uri, &posted.headers, posted.caller.clone()).await;
    let done = async {
        let form: IncidentForm = form(&app, &posted.headers, posted.body).await?;
        let by = history::author(&form.by, posted.peer, posted.caller);
        let wanted =
            WhichIncident { key: form.key.clone(), number: form.number, observed: Some(form.observed) };
        let detail = history::incident(&app, wanted.clone()).await?;
        let incident = &detail.incident;
        let said = match wish {
            Wish::Acknowledge => {
                let by = (!form.back).then_some(by.clone());
                history::acknowledged(&app, incident, by).await?;
                if form.back { "unacknowledged" } else { "acknowledged" }
            }
            Wish::Note => {
                history::remarked(&app, incident, by.clone(), history::note_of(&form.note)?).await?;
                "noted"
            }
            Wish::Rate => {
                let useful = form.useful.ok_or_else(|| Problem::bad("useful is missing: true or false"))?;
                history::remarked(&app, incident, by.clone(), RemarkContent::Useful(useful)).await?;
                "rated"
            }
        };
        let (key, number) = (&incident.dedup_key, incident.number);
        tracing::info!(%by, peer = %posted.peer.0, incident = %key, number, "{said}");
        indexed(&app, wanted, &detail).await;
        let number = incident.number.to_string();
        let observed = if form.observed { "true" } else { "" };
        let query = [("key", incident.dedup_key.as_str()), ("number", &number), ("observed", observed)];
        Ok((format!("../incident{}", super::text::query(&query)), said))
    };
    answer(&frame, done.await)
}

/// Reads a form, at most 64 kB of it.
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
    super::fields(&uri, "form", "Go back, and send the form again")
}

/// Leads to a page that says what was done, so that a reload of the page does not ask again.
fn answer(frame: &Frame, done: Result<(String, &'static str), Problem>) -> Response {
    match done {
        Ok((next, said)) => page::led(&next, said),
        Err(problem) => frame.problem(&problem),
    }
}
