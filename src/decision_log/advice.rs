//! What would calm a flapping rule: `for:` and `keep_firing_for:`, from how long it fired and how long not.
//!
//! A spell is the time between two changes. `keep_firing_for` as long as the longest pause that was seen
//! makes one occurrence of all of them, and costs a resolve that comes as much later. `for` as long as the
//! longest firing spell would have kept all of them from firing, and costs a first page that comes as much
//! later; so it is said only of spells that are all short.

use smol_str::{SmolStr, format_smolstr};

use crate::model::{Duration, Timestamp};

/// Firing spells longer than this are no blips: a `for` of that length would delay what is real.
const BLIP: Duration = Duration::from_mins(5);
/// Fewer spells than this say nothing.
const ENOUGH: usize = 2;

/// What was seen, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// How long it fired, shortest first.
    pub on: Vec<Duration>,
    /// How long it did not, shortest first.
    pub off: Vec<Duration>,
    /// The `for:` that would have kept every spell from firing, where all are short.
    pub wait: Option<Duration>,
    /// The `keep_firing_for:` that would have made one occurrence of all spells.
    pub keep: Option<Duration>,
}

/// The advice for what an alert did: its newest changes, the last of which made it as it is.
pub fn advice(recent: &[Timestamp], firing: bool) -> Advice {
    let (mut on, mut off) = (Vec::new(), Vec::new());
    // Changes alternate: the newest one began what is true now.
    let ends = recent.windows(2).rev();
    for (index, pair) in ends.enumerate() {
        let was_firing = (index % 2 == 0) != firing;
        if was_firing { &mut on } else { &mut off }.push(pair[1].since(pair[0]));
    }
    on.sort_unstable();
    off.sort_unstable();
    let longest = |spells: &[Duration]| spells.last().copied().filter(|_| spells.len() >= ENOUGH);
    Advice {
        wait: longest(&on).filter(|longest| *longest <= BLIP).map(rounded),
        keep: longest(&off).map(rounded),
        on,
        off,
    }
}

/// Up to a whole half minute, five minutes above ten; always longer than what was seen.
fn rounded(length: Duration) -> Duration {
    let seconds = length.as_millis() / 1000;
    let step = if seconds < 600 { 30 } else { 300 };
    Duration::from_secs((seconds / step + 1) * step)
}

impl Advice {
    /// The rule of this name as it would be, to be copied.
    pub fn yaml(&self, alertname: &str) -> Option<SmolStr> {
        let keep = self.keep?;
        let name = crate::model::Quoted(alertname).to_string();
        let mut text = format!("- alert: {name}\n");
        if let Some(wait) = self.wait {
            text.push_str(&format!("  for: {wait}\n"));
        }
        Some(format_smolstr!("{text}  keep_firing_for: {keep}\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[u64]) -> Vec<Timestamp> {
        seconds.iter().map(|s| Timestamp::EPOCH + Duration::from_secs(*s)).collect()
    }

    fn seconds(spells: &[Duration]) -> Vec<u64> {
        spells.iter().map(|s| s.as_millis() / 1000).collect()
    }

    #[test]
    fn spells_are_told_apart_by_how_it_is_now() {
        // Fires at 0, 100, 200; resolves at 40, 150.
        let firing = advice(&at(&[0, 40, 100, 150, 200]), true);
        assert_eq!((seconds(&firing.on), seconds(&firing.off)), (vec![40, 50], vec![50, 60]));
        assert_eq!(
            (firing.wait, firing.keep),
            (Some(Duration::from_secs(60)), Some(Duration::from_secs(90)))
        );
        let resolved = advice(&at(&[0, 40, 100, 150]), false);
        assert_eq!((seconds(&resolved.on), seconds(&resolved.off)), (vec![40, 50], vec![60]));
        assert_eq!(resolved.keep, None, "one pause says nothing");
    }

    #[test]
    fn long_spells_are_no_blips() {
        let long = advice(&at(&[0, 1200, 1260, 2500, 2620]), true);
        assert_eq!((long.wait, long.keep), (None, Some(Duration::from_secs(150))));
        assert_eq!(advice(&[], true), Advice { on: vec![], off: vec![], wait: None, keep: None });
    }
}
