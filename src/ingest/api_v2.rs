//! `POST /api/v2/alerts`: what Prometheus, and anything else that speaks to an Alertmanager, sends.
//!
//! Rules of Alertmanager `api/v2/api.go` (`postAlertsHandler`): a missing `startsAt` is now, or `endsAt`
//! if only that is given; a missing `endsAt` is now + `resolve_timeout`; an alert whose `endsAt` has
//! come is resolved.

use serde::de::{DeserializeSeed, IgnoredAny};

use super::alert::{Episode, Intake, List, RawAlert, Times};
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
    let rule = |_: &RawAlert<'_>, times: Times| {
        let starts_at = times.starts_at.or(times.ends_at).unwrap_or(received_at);
        let ends_at = times.ends_at.unwrap_or(received_at + resolve_timeout);
        if ends_at < starts_at {
            let error = format!(
                "endsAt {ends_at} is before startsAt {starts_at}; an end at or after the start would be right"
            );
            return Err((InvalidReason::BadTime, error));
        }
        let status = if ends_at <= received_at { Status::Resolved } else { Status::Firing };
        Ok(Episode { status, starts_at, ends_at: Some(ends_at), by_receipt: true })
    };
    let mut intake = Intake::new(&rule);
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
