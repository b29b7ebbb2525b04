//! `GET /api/v1/decisions`: the decision log, searched.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::parameters::{PageLimit, cursor, hex, matchers, parameters, read, time};
use super::reply::Refusal;
use super::{history, reply, unsearched};
use crate::decision_log::{DecisionPage, DecisionQuery, WhichIncident};
use crate::model::{AlertId, Disposition, Fingerprint};
use crate::web::app::App;
use crate::web::problem::{Details, Problem};

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct DecisionParams {
    /// Matchers on the alert's labels, as `alertname="Down",host=~"db.*"`. You can give it more than once.
    pub(in crate::web) filter: Vec<String>,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub(in crate::web) fingerprint: Option<String>,
    /// The alert's identity, 32 hex digits.
    pub(in crate::web) alert: Option<String>,
    /// The `dedupKey` of an incident, or a beginning of at least 6 hex digits that no other incident has.
    pub(in crate::web) incident: Option<String>,
    /// Only at this receiver.
    pub(in crate::web) receiver: Option<String>,
    /// `page`, `update`, `resolve` or `suppressed`. Separate several with commas.
    pub(in crate::web) disposition: Option<String>,
    /// The reason of the suppression, such as `flapping`. Separate several with commas.
    pub(in crate::web) reason: Option<String>,
    /// `true` for decisions in observe mode, `false` for real ones. Without it, both.
    pub(in crate::web) observed: Option<String>,
    /// Decided then or later, RFC 3339.
    pub(in crate::web) since: Option<String>,
    /// Decided before.
    pub(in crate::web) until: Option<String>,
    /// `next` of the page before.
    pub(in crate::web) cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    pub(in crate::web) limit: PageLimit,
}

/// The decisions about every alert with their reasons, the newest first.
#[utoipa::path(
    get, path = "/api/v1/decisions", operation_id = "listDecisions", tag = "history", params(DecisionParams),
    responses(
        (status = 200, description = "One page.", body = DecisionPage),
        (status = 422, description = "The search is too broad.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    let found = async { search(&app, parameters::<DecisionParams>(&uri)?.query()?).await };
    reply(found.await)
}

impl DecisionParams {
    /// The query.
    pub(in crate::web) fn query(&self) -> Result<DecisionQuery, Problem> {
        Ok(DecisionQuery {
            matchers: matchers(&self.filter)?,
            fingerprint: read("fingerprint", self.fingerprint.as_ref(), "16 hex digits", |text| {
                hex(text, 16).and_then(|n| u64::try_from(n).ok()).map(Fingerprint)
            })?,
            alert: read("alert", self.alert.as_ref(), "32 hex digits", |text| hex(text, 32).map(AlertId))?,
            incident: self.incident.clone(),
            receiver: self.receiver.clone(),
            dispositions: self.dispositions()?,
            observed: read("observed", self.observed.as_ref(), "true or false", |text| text.parse().ok())?,
            since: time("since", self.since.as_ref())?,
            until: time("until", self.until.as_ref())?,
            before: cursor(self.cursor.as_ref(), |text| text.parse().ok())?,
            limit: self.limit.0,
        })
    }

    fn dispositions(&self) -> Result<Vec<Disposition>, Problem> {
        let listed = |text: &Option<String>, of: fn(Disposition) -> &'static str| {
            let Some(text) = text else { return Ok(None) };
            let mut all: Vec<&str> = Disposition::ALL.into_iter().map(of).filter(|w| !w.is_empty()).collect();
            all.dedup();
            if let Some(word) = text.split(',').find(|word| !all.contains(word)) {
                let shown: String = word.chars().take(64).collect();
                return Err(Problem::bad(format!("{shown:?} is not one of {}", all.join(", "))));
            }
            Ok(Some(text.split(',').map(str::to_owned).collect::<Vec<_>>()))
        };
        let dispositions = listed(&self.disposition, Disposition::as_str)?;
        let reasons = listed(&self.reason, Disposition::reason)?;
        if dispositions.is_none() && reasons.is_none() {
            return Ok(Vec::new());
        }
        let has = |words: &Option<Vec<String>>, word: &str| {
            words.as_ref().is_none_or(|words| words.iter().any(|w| w == word))
        };
        let all = Disposition::ALL.into_iter();
        let asked: Vec<_> =
            all.filter(|d| has(&dispositions, d.as_str()) && has(&reasons, d.reason())).collect();
        match asked.is_empty() {
            true => {
                Err(Problem::bad("no decision has both that disposition and that reason. Give one of them"))
            }
            false => Ok(asked),
        }
    }
}

/// Asks the decision log.
pub(in crate::web) async fn search(app: &App, mut query: DecisionQuery) -> Result<DecisionPage, Problem> {
    if let Some(key) = query.incident.take_if(|key| key.len() < 64) {
        let wanted = WhichIncident { key: key.to_ascii_lowercase(), number: None, observed: None };
        query.incident = Some(history::incident(app, wanted).await?.incident.dedup_key.clone());
    }
    app.gate.decisions(query).await.map_err(unsearched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::ui::query_of;

    fn ask(pairs: &[(&str, &str)]) -> Result<DecisionQuery, String> {
        let uri = format!("/{}", query_of(pairs)).parse().unwrap();
        parameters::<DecisionParams>(&uri).and_then(|asked| asked.query()).map_err(|problem| problem.detail)
    }

    #[test]
    fn reads_all_that_may_be_asked() {
        let query = ask(&[
            ("filter", "alertname=A,job=~b.*"),
            ("fingerprint", "22db5782a4fe1682"),
            ("reason", "flapping,storm"),
            ("since", "2026-01-01T00:00:00Z"),
            ("cursor", "7"),
            ("limit", "10"),
        ])
        .unwrap();
        assert_eq!((query.matchers.len(), query.dispositions.len(), query.before), (2, 2, Some(7)));
        assert_eq!((query.limit, query.fingerprint.unwrap().0), (10, 0x22db_5782_a4fe_1682));
        assert_eq!(ask(&[("disposition", "suppressed")]).unwrap().dispositions.len(), 12);
    }

    #[test]
    fn what_makes_no_sense_is_told_what_would() {
        for (name, value, says) in [
            ("reason", "flaping", "flapping"),
            ("reason", ",", "flapping"),
            ("disposition", "paged", "page, update"),
            ("limit", "0", "1 to 1000"),
            ("cursor", "x", "next"),
            ("since", "yesterday", "2026-01-31"),
            ("fingerprint", "12", "16 hex"),
            ("filter", "=", "filter"),
            ("labels", "a", "expected one of `filter`, `fingerprint`"),
        ] {
            let error = ask(&[(name, value)]).unwrap_err();
            assert!(error.contains(says), "{name}={value}: {error}");
        }
        assert!(ask(&[("disposition", "page"), ("reason", "storm")]).is_err());
    }
}
