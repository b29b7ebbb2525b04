//! Looks at how much memory is resident, and raises an alarm while it is too much.

use std::fs;
use std::sync::Arc;
use std::time::Duration as Wait;

use super::MIB;
use crate::engine::Alarm;
use crate::model::{Duration, Problem, Timestamp};
use crate::node::published::Published;
use crate::node::queue::{Command, Queue};

/// How often it is looked at how much is resident.
const EVERY: Wait = Wait::from_secs(1);
/// How often the alarm is raised anew while it goes on. It is a shorter time than [`LASTS`].
const RAISE_EVERY: Duration = Duration::from_mins(1);
const LASTS: Duration = Duration::from_mins(5);

/// Measures resident memory each second, for as long as it is polled. While it is too much, Squelch raises
/// an alarm at once.
pub(in crate::node) async fn watch(published: Arc<Published>, queue: Queue, now: impl Fn() -> Timestamp) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut raised = Timestamp::ZERO;
    loop {
        every.tick().await;
        let Some(resident) = resident() else { return };
        let changed = published.memory.look(resident);
        if let Some(refusal) = &changed {
            published.meter.short_of_memory(refusal.is_some());
            let mib = resident / MIB;
            match refusal {
                Some(reason) => tracing::error!(resident_mib = mib, "{reason}"),
                None => tracing::info!(resident_mib = mib, "memory suffices again: all alerts are taken"),
            }
        }
        let over = changed == Some(None);
        let due = published.memory.refusal().is_some() && now() >= raised + RAISE_EVERY;
        if changed.is_some() || due {
            raised = now();
            let _ = queue.push(Command::Alarm(alarm(published.memory.budget(), over)));
        }
    }
}

/// The alarm. It is the same each time, so that it is one incident with one text.
fn alarm(budget: Option<u64>, over: bool) -> Alarm {
    let problem = Problem::MemoryShort { budget: budget.unwrap_or_default() };
    let lasts = if over { Duration::ZERO } else { LASTS };
    Alarm { problem, lasts }
}

/// Resident memory of this process in bytes, if the system tells.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_is_resident() {
        let before = resident().unwrap();
        let held = vec![1_u8; 64 << 20];
        assert!(resident().unwrap() > before + (32 << 20), "{before}");
        drop(held);
    }
}
