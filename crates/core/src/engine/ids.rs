//! The names of things that the parts of the engine share.

use serde::{Deserialize, Serialize};

use crate::model::LabelSet;

/// The number of a destination. It is stable for the life of the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct DestinationId(pub(crate) u32);

/// The number of an incident. It is unique for the life of the journal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct IncidentId(pub(crate) u64);

/// The alerts that one destination puts together.
pub(crate) type GroupKey = (DestinationId, LabelSet);
