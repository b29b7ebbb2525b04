//! Silences: what a person told to be quiet, until when, and why.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{LabelSet, Matcher, Timestamp};

/// What a person told to be quiet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// A UUID; empty for one that is asked for and not there yet.
    pub id: SmolStr,
    /// Sets of matchers: it silences what all matchers of any one set match.
    pub matchers: Vec<Vec<Matcher>>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; that moment is not silenced any more.
    pub ends_at: Timestamp,
    /// When it was made or changed last.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: SmolStr,
    /// Why.
    pub comment: SmolStr,
}

/// Where a silence is in its life; Alertmanager's words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// In force.
    Active,
    /// Not begun.
    Pending,
    /// Over.
    Expired,
}

/// What a person asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SilenceRequest {
    /// Make it, or, if it has an id, change the one of that id.
    Set(Silence),
    /// End the one of this id.
    Expire(SmolStr),
}

/// What became of silences: the journalled form of a request that was granted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceChange {
    /// It is made or changed.
    Set {
        /// As it is now.
        silence: Silence,
        /// The id of one that ends, this one standing for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<SmolStr>,
    },
    /// The one of this id ends.
    Expire {
        /// Its id.
        id: SmolStr,
    },
}

/// Why a request about silences was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// There is none of that id.
    #[error("there is no silence {0:?}")]
    Unknown(SmolStr),
    /// It says what cannot be.
    #[error("invalid silence: {0}")]
    Invalid(&'static str),
    /// There is no room for more.
    #[error("there are {0} silences that have not expired, and no more are kept; expire some")]
    TooMany(usize),
}

impl Silence {
    /// Where it is in its life.
    pub fn state(&self, now: Timestamp) -> SilenceState {
        match now {
            now if now < self.starts_at => SilenceState::Pending,
            now if now < self.ends_at => SilenceState::Active,
            _ => SilenceState::Expired,
        }
    }

    /// Whether it is about an alert with these labels.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matchers.iter().any(|set| set.iter().all(|m| m.matches(labels)))
    }
}

impl SilenceState {
    /// Every state, for zero-initialised metrics.
    pub const ALL: [SilenceState; 3] = [SilenceState::Active, SilenceState::Pending, SilenceState::Expired];

    /// The word that Alertmanager uses.
    pub fn as_str(self) -> &'static str {
        match self {
            SilenceState::Active => "active",
            SilenceState::Pending => "pending",
            SilenceState::Expired => "expired",
        }
    }
}

impl SilenceChange {
    /// The id of the silence that it is about.
    pub fn id(&self) -> &SmolStr {
        match self {
            SilenceChange::Set { silence, .. } => &silence.id,
            SilenceChange::Expire { id } => id,
        }
    }
}
