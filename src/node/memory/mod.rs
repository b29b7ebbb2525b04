//! How much memory there is, how much is used, and what is refused when it runs short.
//!
//! The budget is the least of what the control groups allow, the machine has, and `limits.memory`. From it
//! follows how many alerts may be known at once; what else grows is met by [`watch`].

mod budget;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration as Wait;

use arc_swap::ArcSwapOption;

use super::core::Published;
use super::queue::{Command, Queue};
use crate::config::Config;
use crate::engine::Alarm;
use crate::model::{Duration, Timestamp};

pub use budget::{Budget, Shares};

/// How often it is looked at how much is resident.
const EVERY: Wait = Wait::from_secs(1);
/// How often the alarm is raised anew while it goes on; a shorter time than [`LASTS`].
const RAISE_EVERY: Duration = Duration::from_mins(1);
const LASTS: Duration = Duration::from_mins(5);
/// What is resident is counted in these.
const MIB: u64 = 1 << 20;

/// What is known of the memory, for any thread.
#[derive(Debug, Default)]
pub struct Memory {
    /// In bytes; 0: nobody knows.
    budget: AtomicU64,
    refusal: ArcSwapOption<String>,
}

impl Memory {
    /// The budget, in bytes, if there is one.
    pub fn budget(&self) -> Option<u64> {
        Some(self.budget.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// Sets the budget in bytes.
    pub fn allow(&self, budget: Option<u64>) {
        self.budget.store(budget.unwrap_or(0), Ordering::Relaxed);
    }

    /// Why alerts that are not known yet are refused, while they are.
    pub fn refusal(&self) -> Option<Arc<String>> {
        self.refusal.load_full()
    }

    /// Looks at what is resident. Something if the answer changed: the refusal, or that it is over.
    ///
    /// It begins above nine tenths of the budget, and ends below seven eighths: one that comes and goes each
    /// second would help nobody.
    pub fn look(&self, resident: u64) -> Option<Option<Arc<String>>> {
        let refused = self.refusal.load().is_some();
        let (over, under) = match self.budget() {
            Some(budget) => (resident > budget / 10 * 9, resident < budget / 8 * 7),
            None => (false, true),
        };
        match (refused, over, under) {
            (false, true, _) => {
                let budget = self.budget().unwrap_or_default() / MIB;
                let reason = Arc::new(format!(
                    "memory is short, more than nine tenths of {budget} MiB are in use: alerts that are not known yet are answered 503, so that their senders keep them"
                ));
                self.refusal.store(Some(reason.clone()));
                Some(Some(reason))
            }
            (true, _, true) => {
                self.refusal.store(None);
                Some(None)
            }
            _ => None,
        }
    }
}

/// Finds the budget of this process in bytes, and fits `limits.alerts` of `config` into it. Logs both.
pub(super) fn fit(config: &mut Config) -> Option<u64> {
    let Some(budget) = Budget::find(config.memory) else {
        tracing::warn!("nobody says how much memory there is: write limits.memory");
        return None;
    };
    let (most, fits) = (config.policy.limits.alerts, budget.alerts());
    config.policy.limits.alerts = most.min(fits);
    config.policy.limits.silences = Shares::of(Some(budget.bytes)).silences;
    let (mib, from) = (budget.bytes / MIB, &budget.from);
    if fits < most {
        tracing::warn!(budget_mib = mib, %from, limit = fits, "limits.alerts {most} would not fit into memory");
    } else {
        tracing::info!(budget_mib = mib, %from, limit = most, "memory");
    }
    Some(budget.bytes)
}

/// Looks each second at how much is resident, for as long as it is polled. While it is too much, whoever is
/// called for that is told at once.
pub(super) async fn watch(published: Arc<Published>, queue: Queue, now: impl Fn() -> Timestamp) {
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

/// What a person is told. The same each time, so that it is one incident that says one thing.
fn alarm(budget: Option<u64>, over: bool) -> Alarm {
    let budget = budget.unwrap_or_default() / MIB;
    let summary = format!(
        "memory is short, more than nine tenths of {budget} MiB are in use: alerts that are not known yet are refused until it is less; give it more memory, or lower limits.alerts"
    );
    let lasts = if over { Duration::ZERO } else { LASTS };
    Alarm { name: "SquelchMemoryShort".into(), summary: summary.into(), lasts }
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
    fn it_begins_above_nine_tenths_and_ends_below_seven_eighths() {
        let memory = Memory::default();
        assert_eq!(memory.look(u64::MAX), None, "nobody knows how much there is");
        memory.allow(Some(1000 * MIB));
        assert_eq!(memory.look(900 * MIB), None);
        let said = memory.look(901 * MIB).flatten().unwrap();
        assert!(said.contains("1000 MiB") && memory.refusal() == Some(said), "{:?}", memory.refusal());
        assert_eq!(memory.look(880 * MIB), None, "not yet");
        assert_eq!(memory.look(990 * MIB), None, "said once");
        assert_eq!((memory.look(874 * MIB), memory.refusal()), (Some(None), None));
        assert_eq!(memory.look(880 * MIB), None);
    }

    #[test]
    fn the_kernel_says_how_much_is_resident() {
        let before = resident().unwrap();
        let held = vec![1_u8; 64 << 20];
        assert!(resident().unwrap() > before + (32 << 20), "{before}");
        drop(held);
    }
}
