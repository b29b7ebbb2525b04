//! How much memory there is, how much is used, and which input Squelch refuses when it runs short.
//!
//! The budget is the smallest of the control groups' limits, the machine's memory, and `limits.memory`. It
//! determines how many alerts may be known at once. [`watch::watch`] handles all other growth.

mod budget;
pub(super) mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use crate::config::Config;

pub use budget::{Budget, Shares};

/// The unit in which resident memory is counted.
const MIB: u64 = 1 << 20;

/// The state of the memory, for any thread.
#[derive(Debug, Default)]
pub struct Memory {
    /// In bytes. 0 means unknown.
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

    /// Looks at resident memory. It returns `Some` if the answer changed: the refusal, or its end.
    ///
    /// It begins above nine tenths of the budget, and ends below seven eighths. A refusal that comes and
    /// goes each second would not help.
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
                    "memory is short: more than nine tenths of {budget} MiB are in use. Squelch answers 503 to new alerts, so \
                     their senders keep them"
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
        tracing::warn!("the memory of this machine is unknown: set limits.memory");
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
}
