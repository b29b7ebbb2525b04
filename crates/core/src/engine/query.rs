//! The read side: what the API, the pages and the dry run ask of the engine. Nothing here changes it.

use super::Engine;
use super::mute::Mutes;
use super::pages::Pages;
use super::self_check::SelfCheck;
use super::world::World;

/// A view of an engine that only reads.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    pub(super) world: &'a World,
    pub(super) mutes: &'a Mutes,
    pub(super) pages: &'a Pages,
    pub(super) checks: &'a SelfCheck,
}

impl Engine {
    /// Answers questions about alerts, incidents, silences and counters.
    pub fn query(&self) -> Query<'_> {
        let Engine { world, mutes, pages, checks } = self;
        Query { world, mutes, pages, checks }
    }
}
