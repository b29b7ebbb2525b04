//! `POST /api/v2/alerts`: what Prometheus, and anything else that speaks to an Alertmanager, sends.
//!
//! Rules of Alertmanager `api/v2/api.go` (`postAlertsHandler`): a missing `startsAt` is now, or `endsAt`
//! if only that is given and has come; a missing `endsAt` is now + `resolve_timeout`; an alert whose `endsAt`
//! has come is resolved. Where it refuses an alert because of its times, they count as missing here: it
//! fires, and a page that nobody needed is better than one that never came.

use serde::de::{DeserializeSeed, IgnoredAny};

use super::alert::{Intake, List};
use super::times::{Episode, Reading};
use super::{IngestError, InvalidReason, Parsed, decoded, text};
use crate::model::{Duration, Source, Status, Timestamp};

/// Reads a list of API v2 alerts that `peer` sent.
///
/// # Errors
/// The body is not JSON, or not a list.
pub fn parse(
    body: &[u8],
    peer: &str,
    received_at: Timestamp,
    resolve_timeout: Duration,
) -> Result<Parsed, IngestError> {
    let (body, mended) = decoded(body);
    let rule = |alert: &mut Reading<'_>| {
        let start = alert.starts_at();
        let end = alert.ends_at(start);
        let starts_at = start.unwrap_or_else(|| end.unwrap_or(received_at).min(received_at));
        let ends_at = end.unwrap_or_else(|| (received_at + resolve_timeout).max(starts_at));
        let status = if ends_at <= received_at { Status::Resolved } else { Status::Firing };
        let start_unknown = start.is_none();
        Episode { status, starts_at, start_unknown, ends_at: Some(ends_at), by_receipt: true }
    };
    let mut intake = Intake::new(&rule, received_at);
    if mended {
        intake.mend(InvalidReason::InvalidUtf8);
    }
    if !body.trim_start().starts_with('[') {
        serde_json::from_str::<IgnoredAny>(&body).map_err(|e| IngestError::malformed(&body, &e))?;
        return Err(IngestError::NotAList { found: text::kind_of_body(&body).into() });
    }
    let mut json = serde_json::Deserializer::from_str(&body);
    let read = List(&mut intake).deserialize(&mut json).and_then(|list| json.end().map(|()| list));
    match read {
        Ok(Ok(())) => Ok(intake.finish(Source::Prometheus, peer)),
        Ok(Err(found)) => Err(IngestError::NotAList { found }),
        Err(e) => Err(IngestError::malformed(&body, &e)),
    }
}
