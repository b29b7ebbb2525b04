//! When an alert starts and ends, as far as its sender says so and that can be.
//!
//! A time that cannot be is no reason to lose a page: it is taken as not given, and the format's own rule
//! says what stands in for it.

use super::alert::RawAlert;
use super::text::time;
use super::{InvalidReason, bounds};
use crate::model::{Status, Timestamp};

/// One alert while it is read, and what was mended in it.
pub(super) struct Reading<'a> {
    /// Its fields.
    pub(super) raw: RawAlert<'a>,
    /// When it came.
    pub(super) received_at: Timestamp,
    /// Classes, and for each what was wrong and what is taken instead.
    pub(super) mends: Vec<(InvalidReason, String)>,
}

/// What a format makes of the times (and, in the webhook's case, of the status).
pub(super) struct Episode {
    pub(super) status: Status,
    pub(super) starts_at: Timestamp,
    /// `starts_at` was not said.
    pub(super) start_unknown: bool,
    pub(super) ends_at: Option<Timestamp>,
    /// The time of receipt stands in for one that was not given.
    pub(super) by_receipt: bool,
}

impl Reading<'_> {
    /// Notes that something was mended.
    pub(super) fn mend(&mut self, reason: InvalidReason, what: String) {
        self.mends.push((reason, what));
    }

    /// When it starts, if that is said and can be.
    pub(super) fn starts_at(&mut self) -> Option<Timestamp> {
        let start = time("startsAt", self.raw.starts_at);
        let latest = self.received_at + bounds::AHEAD;
        self.believed("startsAt", start, latest, "the alert counts as started on receipt")
    }

    /// When it ends, if that is said, can be, and is not before `starts_at`.
    pub(super) fn ends_at(&mut self, starts_at: Option<Timestamp>) -> Option<Timestamp> {
        const INSTEAD: &str = "it counts as not given";
        let end = time("endsAt", self.raw.ends_at);
        let end = self.believed("endsAt", end, Timestamp::MAX, INSTEAD)?;
        let Some(start) = starts_at.filter(|start| end < *start) else { return Some(end) };
        let wrong = format!("endsAt {end} is before startsAt {start}; {INSTEAD}");
        self.mend(InvalidReason::BadTime, wrong);
        None
    }

    fn believed(
        &mut self,
        field: &str,
        said: Result<Option<Timestamp>, String>,
        latest: Timestamp,
        instead: &str,
    ) -> Option<Timestamp> {
        let wrong = match said {
            Ok(Some(at)) if at > latest => format!("{field} {at} is more than {} ahead", bounds::AHEAD),
            Ok(Some(at)) if at < self.received_at - bounds::AGO => {
                format!("{field} {at} is more than {} ago", bounds::AGO)
            }
            Ok(at) => return at,
            Err(wrong) => wrong,
        };
        self.mend(InvalidReason::BadTime, format!("{wrong}; {instead}"));
        None
    }
}
