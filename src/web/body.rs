//! A request's body, whole or not at all.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limits, problem::Problem};
use crate::ingest::InvalidReason;

/// Bytes for which one permit stands.
const UNIT: usize = 1 << 10;

/// A body that arrived, and the share of memory that it holds until it is dropped.
pub(super) struct Arrived {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// A share of the memory for bodies in flight; given back when dropped.
pub(super) struct Share(Option<OwnedSemaphorePermit>);

/// The memory for bodies in flight.
#[derive(Clone)]
pub(super) struct Room {
    shares: Arc<Semaphore>,
}

/// Why a body did not arrive; the class if the sender is to blame.
pub(super) struct Refused {
    pub(super) reason: Option<InvalidReason>,
    pub(super) problem: Problem,
}

impl Room {
    pub(super) fn new(limits: &Limits) -> Self {
        let shares = (limits.bodies_in_flight_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Room { shares: Arc::new(Semaphore::new(shares)) }
    }

    /// Room for `bytes` more in `share`, if there is.
    fn grow(&self, share: &mut Share, bytes: usize) -> bool {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held = share.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = units.checked_sub(u32::try_from(held).unwrap_or(u32::MAX)) else { return true };
        match Arc::clone(&self.shares).try_acquire_many_owned(more) {
            Ok(permit) => {
                match &mut share.0 {
                    Some(held) => held.merge(permit),
                    none => *none = Some(permit),
                }
                true
            }
            Err(_) => false,
        }
    }
}

/// Reads a body within size, time and memory.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    room: &Room,
) -> Result<Arrived, Refused> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let detail =
            format!("content encoding {encoding:?} is not taken; send the body as it is, not compressed");
        return Err(blamed(InvalidReason::UnsupportedType, StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let Some(found) = announced.filter(|n| *n > limits.body_bytes as u64) {
        return Err(too_large(limits, &format!("{found} bytes")));
    }
    match tokio::time::timeout(limits.body_timeout, collect(body, limits, room)).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!("the body did not arrive within {:?}", limits.body_timeout);
            // Not 408: Alertmanager does not try again after a 4xx, and the next time it may arrive.
            Err(blamed(InvalidReason::Incomplete, StatusCode::SERVICE_UNAVAILABLE, detail))
        }
    }
}

async fn collect(body: Body, limits: &Limits, room: &Room) -> Result<Arrived, Refused> {
    let mut body = Limited::new(body, limits.body_bytes);
    let mut share = Share(None);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| {
            if e.is::<LengthLimitError>() {
                return too_large(limits, "more");
            }
            let detail = format!("the body broke off after {} bytes: {e}", bytes.len());
            blamed(InvalidReason::Incomplete, StatusCode::BAD_REQUEST, detail)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if !room.grow(&mut share, bytes.len() + data.len()) {
            let detail = format!(
                "requests in flight hold {} bytes of bodies, which is the limit; try again",
                limits.bodies_in_flight_bytes
            );
            return Err(Refused { reason: None, problem: Problem::unavailable(detail) });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Arrived { bytes: bytes.into(), share })
}

fn too_large(limits: &Limits, found: &str) -> Refused {
    let detail = format!(
        "the body is larger than the limit of {} bytes: found {found}. Send fewer alerts at a time (max_alerts)",
        limits.body_bytes
    );
    blamed(InvalidReason::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, detail)
}

pub(super) fn blamed(reason: InvalidReason, status: StatusCode, detail: String) -> Refused {
    Refused { reason: Some(reason), problem: Problem::new(status, detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_bodies_is_bounded_and_given_back() {
        let room = Room::new(&Limits { bodies_in_flight_bytes: 4 * UNIT, ..Limits::default() });
        let (mut one, mut two) = (Share(None), Share(None));
        assert!(room.grow(&mut one, UNIT) && room.grow(&mut one, 3 * UNIT));
        assert!(room.grow(&mut two, 1));
        assert!(!room.grow(&mut two, UNIT + 1));
        drop(one);
        assert!(room.grow(&mut two, 4 * UNIT));
    }
}
