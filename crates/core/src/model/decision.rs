//! Decisions: the disposition of observations, with the cause and the basis.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{AlertId, Cause, Disposition, LabelSet, Timestamp};

/// One line of the accounting: the disposition of `count` observations of one alert at one route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// When it was decided.
    pub at: Timestamp,
    /// The alert.
    pub alert: AlertId,
    /// The route's key, as in a group key.
    pub route: SmolStr,
    /// The receiver.
    pub receiver: SmolStr,
    /// Their final result.
    pub disposition: Disposition,
    /// The profile only observes. The disposition is the one that would have followed, and Squelch notified
    /// no receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// The number of observations. It is 1 except for unchanged repeats.
    pub count: u64,
    /// The incident's `dedup_key`, where there is one.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub incident: SmolStr,
    /// Why.
    pub cause: Cause,
    /// When it would be released or looked at again, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Timestamp>,
    /// The facts on which the decision rests, for people who ask for the reason.
    #[serde(default, skip_serializing_if = "Basis::is_empty")]
    pub basis: Basis,
}

impl Decision {
    /// The disposition of one observation at the root of the routes, without an incident and a basis.
    pub fn new(
        at: Timestamp,
        alert: AlertId,
        receiver: impl Into<SmolStr>,
        disposition: Disposition,
        cause: Cause,
    ) -> Decision {
        Decision {
            at,
            alert,
            route: "{}".into(),
            receiver: receiver.into(),
            disposition,
            observed: false,
            count: 1,
            incident: SmolStr::default(),
            cause,
            release: None,
            basis: Basis::default(),
        }
    }
}

/// The facts on which a decision rests. Rows from versions that did not store one read as empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Basis {
    /// The setting that decided, as a path in the configuration: `noise.default.flapping`,
    /// `inhibit_rules[0]`, `route {}/{severity="page"}`. For a silence it is `silence <id>`.
    #[serde(skip_serializing_if = "SmolStr::is_empty")]
    pub setting: SmolStr,
    /// The line of the configuration that has the setting, from 1. It is 0 if the setting stands in no
    /// file.
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u32,
    /// The alert's labels. They are empty if the accounting got them within the last day.
    #[serde(skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// When the alert's occurrence started, as its sender said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// The observations are unchanged repeats. The first of them came then, and the last at the decision's
    /// own time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats_since: Option<Timestamp>,
    /// The disposition that would have followed without the setting that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Otherwise>,
}

/// The disposition that an observation would have got without the setting that suppressed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It would have paged then.
    Page(Timestamp),
    /// It would have changed the incident of this `dedup_key`, which was open.
    Update(SmolStr),
}

impl Basis {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Basis::default()
    }
}

fn is_zero(line: &u32) -> bool {
    *line == 0
}
