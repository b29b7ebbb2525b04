//! When an alert starts and ends, as far as its sender says so and that can be.
//!
//! An impossible time is no reason to lose a page. It is taken as not given, and the format's own rule
//! supplies a value.

use super::alert::Alert;
use super::text::time;
use super::{InvalidReason, bounds};
use crate::model::Timestamp;

impl Alert<'_, '_> {
    /// When it starts, if its sender gave a possible time.
    pub(super) fn starts_at(&mut self) -> Option<Timestamp> {
        let wrong = match time("startsAt", self.starts_at.as_ref()) {
            Ok(Some(at)) if at > self.received_at + bounds::AHEAD => {
                format!("startsAt {at} is more than {} ahead", bounds::AHEAD)
            }
            Ok(Some(at)) if at < self.received_at - bounds::AGO => {
                format!("startsAt {at} is more than {} ago", bounds::AGO)
            }
            Ok(at) => return at,
            Err(wrong) => wrong,
        };
        self.mend(InvalidReason::BadTime, format!("{wrong}. The alert counts as started on receipt"));
        None
    }

    /// When it starts and ends, if its sender gave possible times. Of two that contradict each other the
    /// end counts: an alert with a passed end does not fire.
    pub(super) fn times(&mut self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (start, end) = (self.starts_at(), self.ends_at());
        let (Some(starts_at), Some(ends_at)) = (start, end) else { return (start, end) };
        if starts_at <= ends_at {
            return (start, end);
        }
        let wrong =
            format!("endsAt {ends_at} is before startsAt {starts_at}, so startsAt counts as not given");
        self.mend(InvalidReason::BadTime, wrong);
        (None, end)
    }

    /// When it ends, if its sender gave a possible time.
    fn ends_at(&mut self) -> Option<Timestamp> {
        let end = match time("endsAt", self.ends_at.as_ref()) {
            Ok(end) => end?,
            Err(wrong) => {
                self.mend(InvalidReason::BadTime, format!("{wrong}. It counts as not given"));
                return None;
            }
        };
        if end >= self.received_at - bounds::AGO {
            return Some(end);
        }
        let wrong = format!("endsAt {end} is more than {} ago, and counts as ended on receipt", bounds::AGO);
        self.mend(InvalidReason::BadTime, wrong);
        Some(self.received_at)
    }
}
