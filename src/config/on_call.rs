//! The shifts of the people on call, for the reports of their load.

use super::Location;

/// When shifts begin. Nothing is decided by it: the on-call report counts by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnCall {
    /// Whose wall clock counts. Default UTC.
    pub location: Location,
    /// The minutes of the day at which a shift begins, ascending. Each shift ends where the next one begins.
    /// Default 08:00 and 20:00: Google's SRE book counts in shifts of 12 hours.
    pub shifts: Vec<u16>,
}

impl Default for OnCall {
    fn default() -> Self {
        OnCall { location: Location::default(), shifts: vec![8 * 60, 20 * 60] }
    }
}
