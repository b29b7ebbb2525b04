//! Silences as Alertmanager's API v2 has them, so that amtool and dashboards need not know us:
//! `/api/v2/silences` and `/api/v2/silence/{id}`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::access::Caller;
use super::body;
use super::gate::SilenceFailure;
use super::problem::{Problem, json as json_response};
use super::receive::not_json;
use super::router::App;
use crate::model::{
    LabelSet, MatchOp, Matcher, Silence, SilenceRequest, SilenceState, Timestamp, parse_matchers,
};

/// A silence as clients post it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Posted {
    #[serde(default)]
    id: Option<SmolStr>,
    matchers: Vec<PostedMatcher>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: SmolStr,
    comment: SmolStr,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: SmolStr,
    value: SmolStr,
    is_regex: bool,
    /// Clients from before there were negative matchers leave it out.
    #[serde(default)]
    is_equal: Option<bool>,
}

/// `GET /api/v2/silences?filter=…`
pub(super) async fn list(State(app): State<App>, Query(query): Query<Vec<(String, String)>>) -> Response {
    let mut filter = Vec::new();
    for (_, text) in query.iter().filter(|(key, _)| key == "filter") {
        match parse_matchers(text) {
            Ok(matchers) => filter.extend(matchers),
            Err(e) => return Problem::new(StatusCode::BAD_REQUEST, format!("filter: {e}")).into_api_v2(),
        }
    }
    match all(&app).await {
        Ok(mut silences) => {
            silences.retain(|(silence, _)| is_selected(silence, &filter));
            silences.sort_by_key(|(silence, state)| match state {
                SilenceState::Active => (0, silence.ends_at, Reverse(Timestamp::ZERO)),
                SilenceState::Pending => (1, silence.starts_at, Reverse(Timestamp::ZERO)),
                SilenceState::Expired => (2, Timestamp::ZERO, Reverse(silence.ends_at)),
            });
            let shown: Vec<Value> = silences.iter().map(|(silence, state)| shown(silence, *state)).collect();
            json_response(StatusCode::OK, "application/json", &shown.into())
        }
        Err(problem) => problem.into_api_v2(),
    }
}

/// `GET /api/v2/silence/{id}`
pub(super) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    match all(&app).await {
        Ok(silences) => match silences.iter().find(|(silence, _)| silence.id == id) {
            Some((silence, state)) => {
                json_response(StatusCode::OK, "application/json", &shown(silence, *state))
            }
            None => Problem::new(StatusCode::NOT_FOUND, "there is no silence of that id").into_api_v2(),
        },
        Err(problem) => problem.into_api_v2(),
    }
}

/// `POST /api/v2/silences`: makes one, or changes the one whose id is given.
pub(super) async fn post(
    State(app): State<App>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    if let Some(problem) = not_json(&headers) {
        return problem.into_api_v2();
    }
    let arrived = match body::read(&headers, body, &app.limits, &app.room).await {
        Ok(arrived) => arrived,
        Err(refused) => return refused.problem.into_api_v2(),
    };
    let mut wanted = match read(&arrived.bytes) {
        Ok(wanted) => wanted,
        Err(why) => return Problem::new(StatusCode::BAD_REQUEST, why).into_api_v2(),
    };
    // Whoever is known cannot sign for another.
    if let Some(Extension(caller)) = caller {
        wanted.created_by = caller.name;
    }
    match ask(&app, SilenceRequest::Set(wanted)).await {
        Ok(id) => json_response(StatusCode::OK, "application/json", &json!({ "silenceID": id })),
        Err(problem) => problem.into_api_v2(),
    }
}

/// `DELETE /api/v2/silence/{id}`: ends it.
pub(super) async fn expire(State(app): State<App>, Path(id): Path<String>) -> Response {
    match ask(&app, SilenceRequest::Expire(id.into())).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(problem) => problem.into_api_v2(),
    }
}

fn read(bytes: &[u8]) -> Result<Silence, String> {
    let posted: Posted = serde_json::from_slice(bytes).map_err(|e| format!("not a silence: {e}"))?;
    let mut matchers = Vec::with_capacity(posted.matchers.len().min(100));
    for m in posted.matchers {
        let op = match (m.is_equal.unwrap_or(true), m.is_regex) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        matchers.push(Matcher::new(m.name, op, m.value).map_err(|e| format!("invalid silence: {e}"))?);
    }
    Ok(Silence {
        id: posted.id.unwrap_or_default(),
        matchers: vec![matchers],
        starts_at: posted.starts_at,
        ends_at: posted.ends_at,
        updated_at: Timestamp::ZERO,
        created_by: posted.created_by,
        comment: posted.comment,
    })
}

fn shown(silence: &Silence, state: SilenceState) -> Value {
    let matcher = |m: &Matcher| {
        json!({
            "name": m.name(),
            "value": m.value(),
            "isRegex": matches!(m.op(), MatchOp::Regex | MatchOp::NotRegex),
            "isEqual": matches!(m.op(), MatchOp::Equal | MatchOp::Regex),
        })
    };
    json!({
        "id": silence.id,
        "status": {"state": state.as_str()},
        "updatedAt": silence.updated_at,
        "matchers": silence.matchers.iter().flatten().map(matcher).collect::<Vec<_>>(),
        "startsAt": silence.starts_at,
        "endsAt": silence.ends_at,
        "createdBy": silence.created_by,
        "comment": silence.comment,
    })
}

/// A filter speaks of the silence's matchers as if they were labels. Rule: Alertmanager
/// `CheckSilenceMatchesFilterLabels`.
fn is_selected(silence: &Silence, filter: &[Matcher]) -> bool {
    silence.matchers.iter().any(|set| {
        let values: BTreeMap<&str, &str> = set.iter().map(|m| (m.name(), m.value())).collect();
        let labels = LabelSet::from_pairs(values.iter().map(|(name, value)| (*name, *value)));
        filter.iter().all(|m| {
            let there = values.contains_key(m.name());
            let negative = matches!(m.op(), MatchOp::NotEqual | MatchOp::NotRegex);
            (m.value().is_empty() && there == negative) || m.matches(&labels)
        })
    })
}

async fn all(app: &App) -> Result<Vec<(Silence, SilenceState)>, Problem> {
    match tokio::time::timeout(app.limits.answer_timeout, app.gate.silences()).await {
        Ok(Ok(silences)) => Ok(silences),
        Ok(Err(unavailable)) => Err(Problem::unavailable(unavailable.to_string())),
        Err(_) => Err(Problem::unavailable("no answer in time; try again")),
    }
}

/// In a task of its own: a client that goes away must not leave it open whether it is silent.
async fn ask(app: &App, request: SilenceRequest) -> Result<SmolStr, Problem> {
    let gate = Arc::clone(&app.gate);
    let task = tokio::spawn(async move { gate.silence(request).await });
    match tokio::time::timeout(app.limits.answer_timeout, task).await {
        Ok(Ok(Ok(id))) => Ok(id),
        Ok(Ok(Err(SilenceFailure::Refused(error)))) => {
            let unknown = matches!(error, crate::model::SilenceError::Unknown(_));
            let status = if unknown { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
            Err(Problem::new(status, error.to_string()))
        }
        Ok(Ok(Err(SilenceFailure::Unavailable(e)))) => Err(Problem::unavailable(e.to_string())),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("the silence is not confirmed; look again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matchers: &str) -> Silence {
        let body = format!(
            r#"{{"matchers":[{matchers}],"startsAt":"2026-11-23T00:00:00.000Z",
                "endsAt":"2026-11-23T02:00:00+01:00","createdBy":"me","comment":"why"}}"#
        );
        read(body.as_bytes()).unwrap()
    }

    #[test]
    fn reads_what_amtool_posts_and_shows_it_as_it_was() {
        let matchers = r#"{"name":"a","value":"1","isRegex":false,"isEqual":true},
            {"name":"b","value":"x|y","isRegex":true,"isEqual":false},{"name":"c","value":"z","isRegex":true}"#;
        let read = silence(matchers);
        let texts: Vec<String> = read.matchers[0].iter().map(Matcher::to_string).collect();
        assert_eq!(texts, [r#"a="1""#, r#"b!~"x|y""#, r#"c=~"z""#]);
        let shown = shown(&read, SilenceState::Pending);
        assert_eq!(shown["endsAt"], "2026-11-23T01:00:00Z");
        assert_eq!(shown["status"]["state"], "pending");
        assert_eq!(shown["matchers"][1], json!({"name":"b","value":"x|y","isRegex":true,"isEqual":false}));
        assert_eq!(shown["matchers"][2]["isEqual"], true);
    }

    #[test]
    fn what_is_no_silence_is_refused_with_what_is_wrong() {
        let regex = r#"{"matchers":[{"name":"a","value":"(","isRegex":true}],"startsAt":"2026-11-23T00:00:00Z",
            "endsAt":"2026-11-24T00:00:00Z","createdBy":"","comment":""}"#;
        for (body, says) in
            [("{}", "missing field `matchers`"), ("[", "not a silence"), (regex, "invalid silence")]
        {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn filters_as_alertmanager_does() {
        let silence =
            silence(r#"{"name":"a","value":"1","isRegex":false},{"name":"b","value":"2","isRegex":false}"#);
        for (filter, selected) in [
            ("{}", true),
            ("a=1", true),
            ("a=1,b=~2|3", true),
            ("a=2", false),
            ("c=1", false),
            ("c!=1", true),
            ("c=\"\"", true),
            ("a=\"\"", false),
            ("a!=\"\"", true),
            ("c!=\"\"", false),
        ] {
            assert_eq!(is_selected(&silence, &parse_matchers(filter).unwrap()), selected, "{filter}");
        }
    }
}
