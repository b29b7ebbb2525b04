//! The state of the engine that other threads may read at any time.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::memory::Memory;
use super::metrics::NodeMeter;
use crate::deliver::Recalls;
use crate::engine::Stats;
use crate::spans::Tracer;

/// The state of the engine that other threads may read at any time.
pub struct Published {
    /// The counters as of the last durable tick.
    pub stats: ArcSwap<Stats>,
    /// Why nothing can be accepted, if so.
    pub trouble: ArcSwapOption<String>,
    /// The owner's name, if this process is a standby that accepts alerts for the owner.
    pub standby: ArcSwapOption<String>,
    /// That another process has taken over, if so: this one ends.
    pub fenced: ArcSwapOption<String>,
    /// The notifications on their way that the engine wants back.
    pub recalls: Arc<Recalls>,
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
            recalls: Arc::default(),
            memory: Memory::default(),
            meter,
            tracer: Tracer::default(),
        }
    }

    /// The memory budget in bytes, if it is known.
    pub(super) fn budget(&self, bytes: Option<u64>) {
        self.memory.allow(bytes);
        self.meter.memory_budget(bytes);
    }
}
