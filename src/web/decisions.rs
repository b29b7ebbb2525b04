//! `GET /api/v1/decisions`: the ledger, searched.

use axum::extract::{Query as Asked, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::gate::SearchError;
use super::problem::{Problem, json};
use super::router::App;
use crate::ledger::{LedgerError, MAX_LIMIT, Query};
use crate::model::{AlertId, Disposition, Fingerprint, Timestamp, parse_matchers};

/// Entries on a page where nobody says how many.
const LIMIT: usize = 100;

/// `GET /api/v1/decisions?filter=…&receiver=…`
pub(super) async fn list(State(app): State<App>, Asked(asked): Asked<Vec<(String, String)>>) -> Response {
    let query = match read(&asked) {
        Ok(query) => query,
        Err(why) => return Problem::new(StatusCode::BAD_REQUEST, why).into_response(),
    };
    match app.gate.decisions(query).await {
        Ok(page) => match serde_json::to_value(page) {
            Ok(page) => json(StatusCode::OK, "application/json", &page),
            Err(e) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
        },
        Err(error @ SearchError::Ledger(LedgerError::TooLong(_))) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response()
        }
        Err(error) => Problem::unavailable(error.to_string()).into_response(),
    }
}

/// The query that parameters mean.
fn read(asked: &[(String, String)]) -> Result<Query, String> {
    let mut query = Query { limit: LIMIT, ..Query::default() };
    let (mut dispositions, mut reasons): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (name, value) in asked {
        let wrong = |right: &str| {
            let shown: String = value.chars().take(64).collect();
            format!("{name} is {shown:?}; {right} would be right")
        };
        match name.as_str() {
            "filter" => {
                query.matchers.extend(parse_matchers(value).map_err(|e| format!("filter: {e}"))?);
            }
            "fingerprint" => {
                let number = u64::from_str_radix(value, 16).ok().filter(|_| value.len() == 16);
                query.fingerprint = Some(Fingerprint(number.ok_or_else(|| wrong("16 hex digits"))?));
            }
            "alert" => {
                let number = u128::from_str_radix(value, 16).ok().filter(|_| value.len() == 32);
                query.alert = Some(AlertId(number.ok_or_else(|| wrong("32 hex digits"))?));
            }
            "incident" => query.incident = Some(value.clone()),
            "receiver" => query.receiver = Some(value.clone()),
            "disposition" => dispositions.extend(value.split(',')),
            "reason" => reasons.extend(value.split(',')),
            "since" | "until" => {
                let at = Timestamp::parse(value).map_err(|_| wrong("2026-01-31T09:30:00Z"))?;
                match name.as_str() {
                    "since" => query.since = Some(at),
                    _ => query.until = Some(at),
                }
            }
            "cursor" => {
                let id = value.parse().map_err(|_| wrong("`next` of the page before"))?;
                query.before = Some(id);
            }
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                query.limit = limit.ok_or_else(|| wrong("a number from 1 to 1000"))?;
            }
            _ => return Err(format!("there is no parameter {name:?}; docs/ledger.md lists them")),
        }
    }
    for (given, of) in [(&dispositions, Disposition::as_str as fn(_) -> _), (&reasons, Disposition::reason)] {
        for word in given {
            if word.is_empty() || !Disposition::ALL.into_iter().any(|d| of(d) == *word) {
                let shown: String = word.chars().take(64).collect();
                let mut all: Vec<&str> = Disposition::ALL.into_iter().map(of).collect();
                all.dedup();
                return Err(format!(
                    "{shown:?} is not one of {}",
                    all.join(", ").trim_start_matches([',', ' '])
                ));
            }
        }
    }
    if !dispositions.is_empty() || !reasons.is_empty() {
        let asked = |d: &Disposition| {
            (dispositions.is_empty() || dispositions.contains(&d.as_str()))
                && (reasons.is_empty() || reasons.contains(&d.reason()))
        };
        query.dispositions = Disposition::ALL.into_iter().filter(asked).collect();
        if query.dispositions.is_empty() {
            return Err("no decision has both that disposition and that reason; give one of them".into());
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &[(&str, &str)]) -> Result<Query, String> {
        read(&text.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn reads_all_that_may_be_asked() {
        let query = asked(&[
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
        assert_eq!(asked(&[("disposition", "suppressed")]).unwrap().dispositions.len(), 13);
    }

    #[test]
    fn what_makes_no_sense_is_told_what_would() {
        for (name, value, says) in [
            ("reason", "flaping", "flapping"),
            ("reason", "", "flapping"),
            ("disposition", "paged", "page, update"),
            ("limit", "0", "1 to 1000"),
            ("cursor", "x", "next"),
            ("since", "yesterday", "2026-01-31"),
            ("fingerprint", "12", "16 hex"),
            ("filter", "=", "filter"),
            ("labels", "a", "docs/ledger.md"),
        ] {
            let error = asked(&[(name, value)]).unwrap_err();
            assert!(error.contains(says), "{name}={value}: {error}");
        }
        assert!(asked(&[("disposition", "page"), ("reason", "storm")]).is_err());
    }
}
