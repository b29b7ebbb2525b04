//! The address line of a page: its parameters, and the rows that it asks for.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use crate::model::AlertId;
use crate::web::problem::Problem;

/// Rows of one page of a list.
pub(super) const ROWS: usize = 50;

/// An alert as an address line names it.
pub(super) fn alert_id(text: &str) -> Result<AlertId, Problem> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    number.map(AlertId).ok_or_else(|| Problem::bad("an alert is named by 32 hex digits"))
}

/// The parameters of an address line.
pub(super) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    fields(uri, "address", "Open the page by a link")
}

/// The fields of an address or a form, which `what` names. An error names the field that is missing or wrong,
/// and ends with `remedy`.
pub(super) fn fields<T: DeserializeOwned>(uri: &Uri, what: &str, remedy: &str) -> Result<T, Problem> {
    let wrong = |e: QueryRejection| {
        let text = e.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        match text.split_once(": ") {
            _ if text.contains("missing field") => {
                let field = text.split('`').nth(1).unwrap_or_default();
                format!("The {what} has no {field}. {remedy}")
            }
            Some((field, why)) => {
                let right = match why {
                    _ if why.contains("digit") || why.contains("integer") || why.contains("number") => {
                        "It takes a whole number from 0 on"
                    }
                    _ if why.contains("`true`") => "It takes true or false",
                    _ => why,
                };
                format!("The field {field} of the {what} is wrong. {right}. {remedy}")
            }
            None => format!("Squelch cannot read the {what} ({text}). {remedy}"),
        }
    };
    Query::try_from_uri(uri).map(|Query(asked)| asked).map_err(|e| Problem::bad(wrong(e)))
}

/// The rows before page `page` (from 1).
pub(super) fn offset(page: Option<usize>) -> usize {
    page.unwrap_or(1).clamp(1, 1_000_000).saturating_sub(1) * ROWS
}
