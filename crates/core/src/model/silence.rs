//! Silences: the alerts that a person silenced, until when, and why.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::{LabelSet, Matcher, MatcherError, Timestamp};

/// One silence: matchers, a time range, and the person who set it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Silence {
    /// A UUID. It is empty for a silence that a request asks for and that does not exist yet.
    pub id: SmolStr,
    /// Sets of matchers. It silences the alerts that all matchers of any one set match. Read from a store,
    /// they are not compiled.
    #[serde(deserialize_with = "plain")]
    pub matchers: Vec<Vec<Matcher>>,
    /// From when.
    pub starts_at: Timestamp,
    /// The end. At that moment the silence no longer applies.
    pub ends_at: Timestamp,
    /// When it was made or changed last.
    pub updated_at: Timestamp,
    /// The person who made it.
    pub created_by: SmolStr,
    /// Why.
    pub comment: SmolStr,
}

/// The state of a silence, in Alertmanager's words.
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

/// A person's request about silences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SilenceRequest {
    /// Make it, or, if it has an id, change the one of that id.
    Set(Silence),
    /// End the one of this id.
    Expire(SmolStr),
}

/// The result of a granted request about silences, in its journalled form.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceChange {
    /// It is made or changed.
    Set {
        /// The current state.
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
    /// It asks for an impossible value.
    #[error("invalid silence: {0}")]
    Invalid(&'static str),
    /// Its expressions would take more memory than all silences may.
    #[error(
        "the silence takes {0} KiB, its expressions compiled, and all silences together may take {1} KiB \
         (a part of limits.memory). Make the repetitions of its expressions smaller, or write the values \
         themselves, as in a|b|c"
    )]
    TooCostly(u64, u64),
    /// The others take too much memory.
    #[error(
        "the silence takes {0} KiB, its expressions compiled, and of the memory for silences {1} KiB are left. \
         Expire some, or write simpler expressions"
    )]
    NoRoom(u64, u64),
    /// There is no room for more.
    #[error("there are {0} silences that have not expired, and no more are kept. Expire some")]
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

    /// The most matchers of one silence.
    pub const MOST_MATCHERS: usize = 100;

    /// The memory that it takes, in bytes, its expressions as they are compiled now.
    pub fn cost(&self) -> usize {
        let texts = |m: &Matcher| size_of::<Matcher>() + m.name().len() + m.value().len() + m.cost();
        let matchers = self.matchers.iter().flatten().map(texts).sum::<usize>();
        size_of::<Silence>() + matchers + self.comment.len() + self.created_by.len() + self.id.len()
    }

    /// Compiles its expressions, and takes their memory off `allowance`. It takes the smallest cost off
    /// `allowance` in any case.
    ///
    /// # Errors
    /// An expression is none, or takes more than there is. None of them is compiled then, and it silences
    /// nothing.
    pub fn compile(&mut self, allowance: &mut usize) -> Result<(), MatcherError> {
        let mut compiled = Ok(());
        let bare = self.cost() - self.matchers.iter().flatten().map(Matcher::cost).sum::<usize>();
        let mut left = allowance.saturating_sub(bare);
        for matcher in self.matchers.iter_mut().flatten() {
            if compiled.is_ok() {
                compiled = matcher.compile(&mut left);
            }
        }
        match &compiled {
            Ok(()) => *allowance = left,
            Err(_) => {
                self.release();
                *allowance = allowance.saturating_sub(bare);
            }
        }
        compiled
    }

    /// Gives up its compiled expressions.
    pub fn release(&mut self) {
        self.matchers.iter_mut().flatten().for_each(Matcher::release);
    }

    /// Whether all its expressions are compiled. Otherwise it silences nothing.
    pub fn is_compiled(&self) -> bool {
        self.matchers.iter().flatten().all(Matcher::is_compiled)
    }

    /// Whether it is about an alert with these labels.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        self.matchers.iter().any(|set| set.iter().all(|m| m.matches(labels)))
    }
}

/// Sets of matchers in their stored form. The owner compiles them, since only it knows how much memory
/// there is.
fn plain<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<Matcher>>, D::Error> {
    let sets = Vec::<Vec<std::borrow::Cow<'de, str>>>::deserialize(d)?;
    let read = |text: &std::borrow::Cow<'_, str>| Matcher::parse_plain(text).map_err(D::Error::custom);
    sets.iter().map(|set| set.iter().map(read).collect()).collect()
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
