//! The words of the project as types: labels, matchers, alerts, notifications, durations, time.

mod alert;
mod cause;
mod decision;
mod disposition;
mod duration;
mod expression;
mod fingerprint;
mod go_regex;
mod headline;
mod history;
mod labels;
mod matcher;
mod matcher_syntax;
mod notification;
mod order;
mod problem;
mod shares;
mod silence;
mod time;

use smol_str::{SmolStr, format_smolstr};

pub use alert::{Batch, EVENT_KEY, INTEGRATION, Observation, Source, Status, Upstream};
pub use cause::{Cause, Counted, HeldBack};
pub use decision::{Basis, Decision, Otherwise};
pub use disposition::{Disposition, Reason};
pub use duration::{Duration, DurationError};
pub use fingerprint::{AlertId, Fingerprint, hash64, hex, sha256};
pub use go_regex::go_pattern;
pub use headline::{Headline, SEVERITY, headline, merged_headline};
pub use history::{
    IncidentChange, IncidentDelivery, IncidentIssued, IncidentOpened, IncidentRecord, IncidentRule, Remark,
    RemarkContent,
};
pub use labels::{LabelSet, Quoted};
pub(crate) use labels::{pop_length, push_length};
pub use matcher::{Matcher, MatcherError, parse_matchers, parse_matchers_within};
pub use matcher_syntax::MatchOp;
pub use notification::{
    AlertView, FailedDelivery, Kind, Notification, NotificationId, Outcome, Recalled, Rejection, Report,
};
pub use order::alertmanager_order;
pub use problem::{ClockError, NameCount, OrphanedIncident, Problem};
pub use shares::{Share, partial_shares, shares};
pub use silence::{Silence, SilenceChange, SilenceError, SilenceRequest, SilenceState};
pub use time::{TimeError, Timestamp};

/// The first `most` characters of a text, and an ellipsis if there are more.
pub(crate) fn shortened(text: &str, most: usize) -> SmolStr {
    match text.char_indices().nth(most) {
        Some((end, _)) => format_smolstr!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// The beginning of a text, at most so many bytes.
pub fn beginning(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
