//! Silences as JSON, in Alertmanager's own form, and the requests about them. API v1, API v2, the pages and
//! the commands share them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::refusal::{REQUIRED, Refusal, TOO_FEW};
use crate::ingest::GoJson;
use crate::model::{MatchOp, Matcher, Silence, SilenceError, SilenceRequest, SilenceState, Timestamp};
use crate::web::access::Caller;
use crate::web::app::App;
use crate::web::gate::SilenceFailure;
use crate::web::look::finished;
use crate::web::problem::Problem;
use crate::web::receive::not_json;

/// The bytes that the compiled expressions of one silence may take. The bound of all silences together
/// comes after it.
pub(in crate::web) const MADE_COMPILED: usize = 8 << 20;

/// A silence as clients post it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PostableSilence)]
#[serde(rename_all = "camelCase")]
pub struct SilenceForm {
    /// The one to change. Without it, a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// All must match.
    pub matchers: Vec<MatcherForm>,
    /// From when.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// The creator. Where users are configured, it is the user who is logged in.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// One matcher of a silence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Matcher)]
#[serde(rename_all = "camelCase")]
pub struct MatcherForm {
    /// The label.
    pub name: String,
    /// Its value, or a regular expression.
    pub value: String,
    /// Whether the value is a regular expression.
    pub is_regex: bool,
    /// Whether it must match, or must not. Clients from before there were negative matchers leave it out.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

/// A silence that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Silence)]
#[serde(rename_all = "camelCase")]
pub struct SilenceEntry {
    /// Its id.
    pub id: String,
    /// Where it is in its life.
    pub status: SilenceStatus,
    /// When it was made or changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// All must match.
    pub matchers: Vec<MatcherForm>,
    /// From when.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// The creator.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SilenceStatus {
    /// `active`, `pending` or `expired`.
    #[schema(value_type = String)]
    pub state: SilenceState,
}

fn yes() -> bool {
    true
}

impl From<&Matcher> for MatcherForm {
    fn from(m: &Matcher) -> MatcherForm {
        MatcherForm {
            name: m.name().to_owned(),
            value: m.value().to_owned(),
            is_regex: matches!(m.op(), MatchOp::Regex | MatchOp::NotRegex),
            is_equal: matches!(m.op(), MatchOp::Equal | MatchOp::Regex),
        }
    }
}

impl MatcherForm {
    /// Its text, if it has one.
    ///
    /// # Errors
    /// It does not, for the reason given.
    pub fn matcher(&self) -> Result<Matcher, String> {
        let mut allowance = MADE_COMPILED;
        self.matcher_within(&mut allowance)
    }

    /// The same. The memory of a compiled expression comes off `allowance`, in bytes.
    fn matcher_within(&self, allowance: &mut usize) -> Result<Matcher, String> {
        let op = match (self.is_equal, self.is_regex) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        let matcher = Matcher::new_within(self.name.as_str(), op, self.value.as_str(), allowance);
        matcher.map_err(|e| e.to_string())
    }
}

impl SilenceEntry {
    /// The form of a silence.
    pub(in crate::web) fn new(silence: &Silence, state: SilenceState) -> SilenceEntry {
        SilenceEntry {
            id: silence.id.to_string(),
            status: SilenceStatus { state },
            updated_at: silence.updated_at,
            matchers: silence.matchers.iter().flatten().map(MatcherForm::from).collect(),
            starts_at: silence.starts_at,
            ends_at: silence.ends_at,
            created_by: silence.created_by.to_string(),
            comment: silence.comment.to_string(),
        }
    }
}

/// Why a body asks for no silence.
#[derive(Debug, thiserror::Error)]
pub(in crate::web) enum Unposted {
    /// It did not arrive, or is not said to be JSON.
    #[error("{}", .0.detail)]
    Problem(Problem),
    /// It is no silence.
    #[error("not a silence: {0}")]
    Malformed(String),
    /// A field is missing.
    #[error("not a silence: missing field `{0}`")]
    Missing(&'static str),
    /// It has no matcher.
    #[error("invalid silence: it has no matcher, and would silence everything")]
    NoMatcher,
    /// It asks for an impossible value.
    #[error("invalid silence: {0}")]
    Invalid(String),
}

impl From<String> for Unposted {
    fn from(wrong: String) -> Self {
        Unposted::Malformed(wrong)
    }
}

impl From<Unposted> for Problem {
    fn from(wrong: Unposted) -> Self {
        match wrong {
            Unposted::Problem(problem) => problem,
            wrong => Problem::bad(wrong.to_string()),
        }
    }
}

impl From<Unposted> for Refusal {
    fn from(wrong: Unposted) -> Self {
        match wrong {
            Unposted::Problem(problem) => problem.into(),
            Unposted::Malformed(_) => Refusal::Coded(400, wrong.to_string()),
            Unposted::Missing(field) => Refusal::Coded(REQUIRED, format!("{field} in body is required")),
            Unposted::NoMatcher => {
                Refusal::Coded(TOO_FEW, "matchers in body should have at least 1 items".to_owned())
            }
            Unposted::Invalid(_) => Refusal::Text(StatusCode::BAD_REQUEST, wrong.to_string()),
        }
    }
}

/// The silence that a body asks for, signed by the user who sends it.
pub(in crate::web) async fn posted(
    app: &App,
    headers: &HeaderMap,
    body: Body,
    caller: Option<Caller>,
) -> Result<SilenceRequest, Unposted> {
    if let Some(problem) = not_json(headers) {
        return Err(Unposted::Problem(problem));
    }
    let arrived = app.read_small(headers, body).await;
    let arrived = arrived.map_err(|refused| Unposted::Problem(refused.problem))?;
    let _turn = app.outgoing.change(&*app.gate).await.map_err(Unposted::Problem)?;
    let mut wanted = read(&arrived.bytes)?;
    // A user who is logged in cannot sign for another.
    if let Some(caller) = caller {
        wanted.created_by = caller.name;
    }
    Ok(SilenceRequest::Set(wanted))
}

fn read(bytes: &[u8]) -> Result<Silence, Unposted> {
    let posted = form(bytes)?;
    let (count, mut allowance) = (posted.matchers.len(), MADE_COMPILED);
    match count {
        0 => return Err(Unposted::NoMatcher),
        1..=Silence::MOST_MATCHERS => {}
        _ => {
            let most = Silence::MOST_MATCHERS;
            return Err(Unposted::Invalid(format!("{count} matchers. Write at most {most}")));
        }
    }
    let matcher = |form: &MatcherForm| form.matcher_within(&mut allowance);
    let matchers: Result<Vec<Matcher>, String> = posted.matchers.iter().map(matcher).collect();
    Ok(Silence {
        id: posted.id.unwrap_or_default().into(),
        matchers: vec![matchers.map_err(Unposted::Invalid)?],
        starts_at: posted.starts_at,
        ends_at: posted.ends_at,
        updated_at: Timestamp::ZERO,
        created_by: posted.created_by.into(),
        comment: posted.comment.into(),
    })
}

/// The fields of a silence, read as Alertmanager reads them. Of several that are missing it names the first.
fn form(bytes: &[u8]) -> Result<SilenceForm, Unposted> {
    let body = GoJson::body(bytes);
    let silence = body.object(&["id", "matchers", "startsAt", "endsAt", "createdBy", "comment"])?;
    let comment = silence.text("comment")?.ok_or(Unposted::Missing("comment"))?;
    let created_by = silence.text("createdBy")?.ok_or(Unposted::Missing("createdBy"))?;
    let ends_at = silence.time("endsAt")?.ok_or(Unposted::Missing("endsAt"))?;
    let matchers = silence.list("matchers")?.ok_or(Unposted::Missing("matchers"))?;
    let matchers = matchers.into_iter().map(|one| {
        let one = one.object(&["name", "value", "isRegex", "isEqual"])?;
        Ok(MatcherForm {
            name: one.text("name")?.ok_or(Unposted::Missing("name"))?,
            value: one.text("value")?.ok_or(Unposted::Missing("value"))?,
            is_regex: one.boolean("isRegex")?.ok_or(Unposted::Missing("isRegex"))?,
            is_equal: one.boolean("isEqual")?.unwrap_or(true),
        })
    });
    Ok(SilenceForm {
        matchers: matchers.collect::<Result<_, Unposted>>()?,
        id: silence.text("id")?,
        starts_at: silence.time("startsAt")?.ok_or(Unposted::Missing("startsAt"))?,
        ends_at,
        created_by,
        comment,
    })
}

/// Has a request granted. It answers with the silence's id when that is durable.
pub(in crate::web) async fn ask(app: &App, request: SilenceRequest) -> Result<SmolStr, Problem> {
    let gate = Arc::clone(&app.gate);
    let task = tokio::spawn(async move { gate.silence(request).await });
    finished(app, task).await?.map_err(|failure| match failure {
        SilenceFailure::Refused(e @ SilenceError::Unknown(_)) => {
            Problem::new(StatusCode::NOT_FOUND, e.to_string())
        }
        // Once others expired there may be room.
        SilenceFailure::Refused(e @ SilenceError::NoRoom(..)) => Problem::unavailable(e.to_string()),
        SilenceFailure::Refused(e) => Problem::bad(e.to_string()),
        SilenceFailure::Unavailable(e) => Problem::unavailable(e.to_string()),
    })
}

/// A silence is selected if it has each matcher of the filter. Rule: Alertmanager
/// `CheckSilenceMatchesFilterLabels`.
pub(in crate::web) fn is_selected(silence: &Silence, filter: &[Matcher]) -> bool {
    silence.matchers.iter().any(|set| filter.iter().all(|matcher| set.contains(matcher)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_matchers;

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
        let shown = serde_json::to_value(SilenceEntry::new(&read, SilenceState::Pending)).unwrap();
        assert_eq!(shown["endsAt"], "2026-11-23T01:00:00Z");
        assert_eq!(shown["status"]["state"], "pending");
        let second = serde_json::json!({"name":"b","value":"x|y","isRegex":true,"isEqual":false});
        assert_eq!(shown["matchers"][1], second);
        assert_eq!(shown["matchers"][2]["isEqual"], true);
    }

    #[test]
    fn a_silence_is_read_as_alertmanager_reads_it() {
        let body = "\u{feff}{\"Matchers\":[{\"NAME\":\"a\",\"value\":\"0\",\"value\":5,\"isregex\":true,\"isRegex\":false,\
            \"isEqual\":null}],\"startsAt\":\"2026-11-23T00:00:00\",\"endsat\":\"2026-11-23 02:00:00\",\
            \"createdBy\":\"me\",\"createdBy\":null,\"comment\":\"\\ud800\",\"future\":[1]} more";
        let read = read(body.as_bytes()).unwrap();
        assert_eq!(read.matchers[0][0].to_string(), r#"a="5""#);
        let times = (read.starts_at.to_string(), read.ends_at.to_string());
        assert_eq!(times, ("2026-11-23T00:00:00Z".into(), "2026-11-23T02:00:00Z".into()));
        assert_eq!((&*read.created_by, &*read.comment), ("me", "\u{fffd}"));
    }

    #[test]
    fn what_is_no_silence_is_refused_with_what_is_wrong() {
        let regex = r#"{"matchers":[{"name":"a","value":"(","isRegex":true}],"startsAt":"2026-11-23T00:00:00Z",
            "endsAt":"2026-11-24T00:00:00Z","createdBy":"","comment":""}"#;
        for (body, says) in
            [("{}", "missing field `comment`"), ("[", "not a silence"), (regex, "invalid silence")]
        {
            let error = read(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_silence_that_costs_too_much_is_refused_before_it_is_compiled() {
        let form = |value: &str, n: usize| {
            let one = serde_json::json!({"name": "a", "value": value, "isRegex": true}).to_string();
            let body = format!(
                r#"{{"matchers":[{}],"startsAt":"2026-11-23T00:00:00Z","endsAt":"2026-11-24T00:00:00Z",
                    "createdBy":"","comment":""}}"#,
                vec![one; n].join(",")
            );
            super::read(body.as_bytes())
        };
        assert!(form("x|y", 100).is_ok());
        assert!(form("x", 101).unwrap_err().to_string().contains("101 matchers. Write at most 100"));
        let error = form(r"0\.\pL{40}", 100).unwrap_err().to_string();
        assert!(error.contains("Make its repetitions smaller"), "{error}");
    }

    #[test]
    fn filters_as_alertmanager_does() {
        let silence =
            silence(r#"{"name":"a","value":"1","isRegex":false},{"name":"b","value":"2|3","isRegex":true}"#);
        for (filter, selected) in [
            ("{}", true),
            ("a=1", true),
            ("a=1,b=~\"2|3\"", true),
            ("b=2", false),
            ("b=~\"3|2\"", false),
            ("a=2", false),
            ("a=~1", false),
            ("c!=1", false),
            ("c=\"\"", false),
        ] {
            assert_eq!(is_selected(&silence, &parse_matchers(filter).unwrap()), selected, "{filter}");
        }
    }
}
