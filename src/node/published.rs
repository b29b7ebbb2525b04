//! The state of the engine that other threads may read at any time.

use arc_swap::{ArcSwap, ArcSwapOption};

use super::memory::Memory;
use super::metrics::NodeMeter;
use crate::engine::Stats;
use crate::spans::Tracer;

/// The state of the engine that other threads may read at any time.
pub struct Published {
    /// The counters as of the last durable tick.
    pub stats: ArcSwap<Stats>,
    /// Why nothing can be accepted, if so.
    pub trouble: ArcSwapOption<String>,
    /// That this process is a standby which accepts alerts for the owner, if so, and who the owner is.
    pub standby: ArcSwapOption<String>,
    /// That another process has taken over, if so: this one ends.
    pub fenced: ArcSwapOption<String>,
    /// How much memory there is, and whether it is short.
    pub memory: Memory,
    /// Metrics of the node.
    pub meter: NodeMeter,
    /// Where spans come from.
    pub tracer: Tracer,
}

impl Published {
    /// Nothing counted, no trouble.
    pub fn new(meter: NodeMeter) -> Published {
        Published {
            stats: ArcSwap::default(),
            trouble: ArcSwapOption::empty(),
            fenced: ArcSwapOption::empty(),
            standby: ArcSwapOption::empty(),
            memory: Memory::default(),
            meter,
            tracer: Tracer::default(),
        }
    }

    /// So much memory there is, in bytes, if anybody knows.
    pub(super) fn budget(&self, bytes: Option<u64>) {
        self.memory.allow(bytes);
        self.meter.memory_budget(bytes);
    }
}
