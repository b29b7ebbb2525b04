//! The words of a row: its state, its next step, and its decider.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The state of an open incident, or of an alert that waits. The order is that of importance to the reader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = State)]
pub enum RowState {
    /// Its page is on its way, and no receiver has taken it yet.
    Passing,
    /// A receiver shows it.
    Paged,
    /// An alert in it flaps: resolves and re-fires are withheld.
    Flapping,
    /// No alert fires in it any more. It closes soon.
    Resolving,
    /// It waits before its first page.
    Held,
    /// It waits for room at its receiver, or for the next merged page of a storm.
    RateLimited,
    /// It fires. The profile decided not to page now, because it is nothing unusual. A digest lists it.
    Withheld,
    /// A silence, a time interval or another alert mutes it.
    Muted,
    /// Its profile only observes, so Squelch notifies no receiver. [`crate::engine::Standing::would`] has
    /// the state that it would have.
    Observed,
    /// A worse incident took its place.
    Superseded,
    /// It is over, and a receiver does not know that yet.
    Closing,
}

/// The next step of an incident, or of an alert that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextStep {
    /// It pages.
    Pages,
    /// The receivers get an update.
    Updates,
    /// The receivers get the page again.
    Repeats,
    /// No person acknowledged the incident, so a second receiver is notified of it too.
    Escalates {
        /// That receiver.
        to: SmolStr,
    },
    /// The incident closes.
    Closes,
    /// Squelch tries a refused page again.
    Retries,
    /// Flapping ends then, if not before.
    StopsFlapping,
    /// Its mute ends. It pages, unless another cause mutes it.
    MayPage,
}

/// The decider of an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Squelch decided about the alerts of a sender.
    Squelch,
    /// The sender decides. The profile is in observe mode, and Squelch forwards the sender's statements.
    Sender,
    /// Squelch opened it about itself.
    Internal,
}

impl RowState {
    /// Every state on the board and of an alert, in order.
    pub const ALL: [RowState; 9] = [
        RowState::Passing,
        RowState::Paged,
        RowState::Flapping,
        RowState::Resolving,
        RowState::Held,
        RowState::RateLimited,
        RowState::Withheld,
        RowState::Muted,
        RowState::Observed,
    ];

    /// Every state of an incident.
    pub const OF_INCIDENTS: [RowState; 7] = [
        RowState::Passing,
        RowState::Paged,
        RowState::Flapping,
        RowState::Resolving,
        RowState::Superseded,
        RowState::Closing,
        RowState::Observed,
    ];

    /// The word of the API and of address lines.
    pub fn as_str(self) -> &'static str {
        match self {
            RowState::Passing => "passing",
            RowState::Paged => "paged",
            RowState::Flapping => "flapping",
            RowState::Resolving => "resolving",
            RowState::Held => "held",
            RowState::RateLimited => "rate_limited",
            RowState::Withheld => "withheld",
            RowState::Muted => "muted",
            RowState::Observed => "observed",
            RowState::Superseded => "superseded",
            RowState::Closing => "closing",
        }
    }
}
