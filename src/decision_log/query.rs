//! A query of the decision log, and one page of the answer.

use serde::{Deserialize, Serialize};

use super::DecisionEntry;
use crate::model::{AlertId, Disposition, Fingerprint, Matcher, Timestamp};

/// The most entries on one page.
pub const MAX_LIMIT: usize = 1_000;

/// The conditions of a search. All that are given must hold. Newest first.
#[derive(Clone, Debug, Default)]
pub struct DecisionQuery {
    /// All must match the alert's labels.
    pub matchers: Vec<Matcher>,
    /// Alertmanager's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// The alert.
    pub alert: Option<AlertId>,
    /// The `dedup_key` of an incident.
    pub incident: Option<String>,
    /// The receiver's name.
    pub receiver: Option<String>,
    /// Any of these. All if empty.
    pub dispositions: Vec<Disposition>,
    /// Only decisions in observe mode, or only real ones.
    pub observed: Option<bool>,
    /// Decided then or later.
    pub since: Option<Timestamp>,
    /// Decided before.
    pub until: Option<Timestamp>,
    /// Only entries older than this one: see [`DecisionPage::next`].
    pub before: Option<u64>,
    /// How many at most, kept between 1 and [`MAX_LIMIT`].
    pub limit: usize,
}

/// One page of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Decisions)]
pub struct DecisionPage {
    /// Newest first.
    pub decisions: Vec<DecisionEntry>,
    /// The cursor of the next page, for `cursor`. Missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
