//! `POST /api/v2/alerts`: the requests of Prometheus, and of every other client of an Alertmanager.
//!
//! Rules of Alertmanager `api/v2/api.go` (`postAlertsHandler`). A missing `startsAt` is now, or `endsAt` if
//! only that is given and has come. A missing `endsAt` is now + `resolve_timeout`. An alert whose `endsAt`
//! has come is resolved. Alertmanager refuses an alert that ends before it starts. Here the end counts and
//! the start is taken as missing: an alert whose end has come does not fire, and any other does.

use super::alert::{Alert, Episode, Intake};
use super::go::decoded;
use super::json::{Json, NotJson};
use super::{IngestError, InvalidReason, NamedLabels, Parsed, text};
use crate::model::{Duration, Source, Status, Timestamp};

/// Reads a list of API v2 alerts that `peer` sent. Of more labels than are kept, `named` stay.
///
/// # Errors
/// The body is not JSON, or not a list.
pub fn parse(
    body: &[u8],
    peer: &str,
    received_at: Timestamp,
    resolve_timeout: Duration,
    named: &NamedLabels,
) -> Result<Parsed, IngestError> {
    let (body, mended) = decoded(body);
    let rule = |alert: &mut Alert<'_, '_>| {
        let (start, end) = alert.times();
        let starts_at = start.unwrap_or_else(|| end.unwrap_or(received_at).min(received_at));
        let ends_at = end.unwrap_or_else(|| (received_at + resolve_timeout).max(starts_at));
        let status = if ends_at <= received_at { Status::Resolved } else { Status::Firing };
        let start_unknown = start.is_none();
        Episode { status, starts_at, start_unknown, ends_at: Some(ends_at) }
    };
    let mut intake = Intake::new(Source::Prometheus, &rule, received_at, named);
    if mended {
        intake.mend(InvalidReason::InvalidUtf8);
    }
    let mut json = Json::new(&body);
    json.list(|json| intake.take(json)).map_err(|NotJson| {
        IngestError::of(&body, IngestError::NotAList { found: text::kind_of_body(&body).into() })
    })?;
    intake.ends(json);
    Ok(intake.finish(peer))
}
