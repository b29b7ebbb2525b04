//! A request's body, whole or not at all.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use flate2::read::MultiGzDecoder;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::gate::{Bounded, Gate};
use super::limits::{SMALL_BODY, ServerLimits};
use super::problem::Problem;
use crate::ingest::InvalidReason;

/// Bytes for which one permit stands.
const UNIT: usize = 1 << 10;
/// How long a small body waits for the memory of others.
const PATIENCE: Duration = Duration::from_secs(2);

/// A body that arrived, and the share of memory that it holds until it is dropped.
pub(super) struct ArrivedBody {
    pub(super) bytes: Bytes,
    pub(super) share: BodyShare,
}

/// A share of the memory for bodies. A drop gives it back.
pub(super) struct BodyShare {
    #[expect(dead_code, reason = "it is held, and no more")]
    permit: Option<OwnedSemaphorePermit>,
}

/// The memory for bodies: a part for small ones, which large ones cannot take, and one for large ones.
#[derive(Clone)]
pub(super) struct BodyRoom {
    small: Pool,
    large: Pool,
}

/// Memory, and the bodies that hold some of it and have not arrived as a whole.
#[derive(Clone)]
struct Pool {
    shares: Arc<Semaphore>,
    bytes: usize,
    arriving: Arc<Mutex<BTreeMap<u64, Late>>>,
}

/// A body that has not arrived as a whole.
struct Late {
    units: u32,
    out: Arc<Notify>,
}

/// A body on its way. Bodies that began earlier have a smaller number.
struct Incoming<'r> {
    room: &'r BodyRoom,
    pool: &'r Pool,
    number: u64,
    out: Arc<Notify>,
    permit: Option<OwnedSemaphorePermit>,
}

/// Why a body did not arrive, with the class if the sender is to blame.
pub(super) struct RefusedBody {
    pub(super) reason: Option<InvalidReason>,
    pub(super) problem: Problem,
}

impl BodyRoom {
    pub(super) fn new(limits: &ServerLimits) -> Self {
        let pool = |bytes: usize| Pool {
            shares: Arc::new(Semaphore::new((bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS))),
            bytes,
            arriving: Arc::default(),
        };
        BodyRoom {
            small: pool(limits.small_bodies_in_flight_bytes),
            large: pool(limits.bodies_in_flight_bytes),
        }
    }

    /// A body that announces so many bytes, if it announces any.
    fn enter(&self, announced: Option<u64>) -> Incoming<'_> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let small = announced.is_none_or(|bytes| bytes <= SMALL_BODY as u64);
        Incoming {
            room: self,
            pool: if small { &self.small } else { &self.large },
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            out: Arc::default(),
            permit: None,
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Late>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has bodies give up `units`, the earliest first. Returns how many went.
    fn make_room(&self, units: u32) -> u64 {
        let mut arriving = self.lock();
        let (mut freed, mut gone) = (0, 0);
        while freed < units {
            let Some((_, body)) = arriving.pop_first() else { break };
            freed += body.units;
            gone += 1;
            body.out.notify_one();
        }
        gone
    }
}

impl Incoming<'_> {
    /// Room for `bytes` in all, if there is. Counts the bodies that had to make it.
    async fn grow(&mut self, bytes: usize, late: &impl Fn(u64)) -> bool {
        let large = std::ptr::eq(self.pool, &self.room.large);
        if !large && bytes > SMALL_BODY {
            // It announced nothing, and turns out to be a large one.
            self.leave();
            (self.pool, self.permit) = (&self.room.large, None);
        }
        let large = std::ptr::eq(self.pool, &self.room.large);
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held =
            self.permit.as_ref().map_or(0, |held| u32::try_from(held.num_permits()).unwrap_or(u32::MAX));
        if let Some(more @ 1..) = units.checked_sub(held) {
            let wanted = || Arc::clone(&self.pool.shares);
            let permit = match wanted().try_acquire_many_owned(more) {
                Ok(permit) => permit,
                Err(_) => {
                    // This one must not be closed with the others.
                    self.leave();
                    // Most small bodies are there at once, so one that began earlier is late. Of large ones
                    // that is not so: the new one is refused, and its sender tries again.
                    let gone = if large { 0 } else { self.pool.make_room(more) };
                    if gone == 0 {
                        return false;
                    }
                    late(gone);
                    match tokio::time::timeout(PATIENCE, wanted().acquire_many_owned(more)).await {
                        Ok(Ok(permit)) => permit,
                        _ => return false,
                    }
                }
            };
            match &mut self.permit {
                Some(held) => held.merge(permit),
                none => *none = Some(permit),
            }
        }
        let body = Late { units: units.max(held), out: Arc::clone(&self.out) };
        self.pool.lock().insert(self.number, body);
        true
    }

    /// [`Self::grow`], or why there is no room.
    async fn need(&mut self, bytes: usize, gate: &dyn Gate) -> Result<(), RefusedBody> {
        let late = |gone: u64| (0..gone).for_each(|_| gate.bounded(Bounded::LateBody));
        if self.grow(bytes, &late).await {
            return Ok(());
        }
        gate.bounded(Bounded::Bodies);
        let limit = self.pool.bytes;
        let detail =
            format!("requests in flight hold {limit} bytes of bodies, which is the limit: try again");
        Err(RefusedBody { reason: None, problem: Problem::unavailable(detail) })
    }

    fn leave(&self) {
        self.pool.lock().remove(&self.number);
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl BodyRoom {
    /// Reads a body of at most `most` bytes within this time.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
        timeout: Duration,
        gate: &dyn Gate,
    ) -> Result<ArrivedBody, RefusedBody> {
        let encoding = headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes());
        let is = |name: &str| encoding.is_some_and(|e| e.eq_ignore_ascii_case(name.as_bytes()));
        let packed = is("gzip") || is("x-gzip");
        if encoding.is_some() && !packed && !is("identity") {
            let found = String::from_utf8_lossy(encoding.unwrap_or_default());
            let detail = format!("content encoding {found:?} is not taken. Send gzip or none");
            return Err(blamed(InvalidReason::UnsupportedType, StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        if let Some(found) = announced.filter(|n| *n > most as u64) {
            return Err(too_large(most, &format!("{found} bytes")));
        }
        let mut incoming = self.enter(announced);
        let mut bytes = match tokio::time::timeout(timeout, collect(body, most, &mut incoming, gate)).await {
            Ok(result) => result?,
            Err(_) => {
                let detail = format!("the body did not arrive within {timeout:?}");
                // Not 408: after a 4xx, Alertmanager waits for group_interval before it tries again.
                return Err(blamed(InvalidReason::Incomplete, StatusCode::SERVICE_UNAVAILABLE, detail));
            }
        };
        if packed {
            bytes = inflated(&bytes, most, &mut incoming, gate).await?;
        }
        Ok(ArrivedBody { bytes: bytes.into(), share: BodyShare { permit: incoming.permit.take() } })
    }
}

async fn collect(
    body: Body,
    most: usize,
    incoming: &mut Incoming<'_>,
    gate: &dyn Gate,
) -> Result<Vec<u8>, RefusedBody> {
    let mut body = Limited::new(body, most);
    let mut bytes = Vec::new();
    let unavailable = |detail| RefusedBody { reason: None, problem: Problem::unavailable(detail) };
    loop {
        let out = Arc::clone(&incoming.out);
        let frame = tokio::select! {
            biased;
            frame = body.frame() => Some(frame),
            () = out.notified() => None,
        };
        let Some(frame) = frame else {
            let detail = "the body was late, and its memory was needed for others: try again";
            return Err(unavailable(detail.to_owned()));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|e| {
            if e.is::<LengthLimitError>() {
                return too_large(most, "more");
            }
            let detail = format!("the body broke off after {} bytes: {e}", bytes.len());
            blamed(InvalidReason::Incomplete, StatusCode::BAD_REQUEST, detail)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        incoming.need(bytes.len() + data.len(), gate).await?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Bytes that are inflated before others get a turn.
const PIECE: u64 = 32 << 10;

/// The content of a gzip body, at most `most` bytes. Both forms count for the memory that bodies hold.
async fn inflated(
    packed: &[u8],
    most: usize,
    incoming: &mut Incoming<'_>,
    gate: &dyn Gate,
) -> Result<Vec<u8>, RefusedBody> {
    let (mut reader, mut bytes) = (MultiGzDecoder::new(packed), Vec::new());
    loop {
        let before = bytes.len();
        reader.by_ref().take(PIECE).read_to_end(&mut bytes).map_err(|e| {
            let detail = format!("the gzip body is broken after {before} bytes or more: {e}");
            blamed(InvalidReason::Incomplete, StatusCode::BAD_REQUEST, detail)
        })?;
        incoming.need(packed.len() + bytes.len(), gate).await?;
        if bytes.len() > most {
            return Err(too_large(most, "more, inflated"));
        }
        if bytes.len() == before {
            return Ok(bytes);
        }
        tokio::task::yield_now().await;
    }
}

fn too_large(most: usize, found: &str) -> RefusedBody {
    let hint = if most == SMALL_BODY { "" } else { ". Send fewer alerts at a time (max_alerts)" };
    let detail = format!("the body is larger than the limit of {most} bytes: found {found}{hint}");
    blamed(InvalidReason::TooLarge, StatusCode::PAYLOAD_TOO_LARGE, detail)
}

pub(super) fn blamed(reason: InvalidReason, status: StatusCode, detail: String) -> RefusedBody {
    RefusedBody { reason: Some(reason), problem: Problem::new(status, detail) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(small: usize, large: usize) -> BodyRoom {
        BodyRoom::new(&ServerLimits {
            small_bodies_in_flight_bytes: small * UNIT,
            bodies_in_flight_bytes: large * UNIT,
            ..ServerLimits::default()
        })
    }

    #[tokio::test]
    async fn memory_for_bodies_is_bounded_and_given_back() {
        let room = room(4, 1000);
        let (mut one, mut two) = (room.enter(Some(10)), room.enter(None));
        assert!(one.grow(UNIT, &drop).await && one.grow(3 * UNIT, &drop).await);
        assert!(two.grow(1, &drop).await);
        one.leave();
        let arrived = one.permit.take();
        assert!(!two.grow(UNIT + 1, &drop).await, "a body that is there is not dropped for another");
        drop(arrived);
        assert!(two.grow(4 * UNIT, &drop).await);
        assert!(two.grow(SMALL_BODY + 1, &drop).await, "it counts as a large one by now");
        assert!(room.enter(Some(1)).grow(4 * UNIT, &drop).await);
        assert!(room.small.lock().is_empty());
    }

    #[tokio::test]
    async fn large_bodies_leave_room_for_small_ones_of_which_the_earliest_goes() {
        let room = room(4, 4);
        let mut large = room.enter(Some(1 << 20));
        assert!(large.grow(4 * UNIT, &drop).await && !room.enter(Some(1 << 20)).grow(1, &drop).await);
        let (mut first, mut second) = (room.enter(Some(100)), room.enter(None));
        assert!(first.grow(2 * UNIT, &drop).await && second.grow(2 * UNIT, &drop).await);
        let out = Arc::clone(&first.out);
        let given_up = async {
            out.notified().await;
            drop(first);
        };
        let mut third = room.enter(Some(2 * UNIT as u64));
        let (grown, ()) = tokio::join!(third.grow(UNIT, &drop), given_up);
        assert!(grown);
        assert!(second.grow(3 * UNIT, &drop).await, "what is left goes to others");
    }
}
