//! A circuit: after failures in a row, one probe at a time until one succeeds.

use std::time::Duration;

use tokio::time::Instant;

/// Whether a receiver is thought to be up.
#[derive(Debug)]
pub(super) struct Circuit {
    after: u32,
    failures: u32,
    open: Option<Open>,
}

/// The state of an open circuit.
#[derive(Debug)]
struct Open {
    probes: u32,
    probe_at: Instant,
    fresh_probe_at: Instant,
}

impl Circuit {
    /// A closed circuit that opens after `after` retryable failures in a row.
    pub(super) fn new(after: u32) -> Self {
        Circuit { after: after.max(1), failures: 0, open: None }
    }

    /// Whether only probes may leave.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The receiver answered, be it with a refusal: it is up.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.open = None;
    }

    /// A retryable failure at `now`. `wait` gives the pause after the n-th failure in a row. `fresh` is the
    /// shortest pause, after which a notification that was never tried may probe.
    pub(super) fn failed(&mut self, now: Instant, fresh: Duration, wait: impl Fn(u32) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures < self.after {
            return;
        }
        let probes = self.open.as_ref().map_or(0, |open| open.probes).saturating_add(1);
        let wait = wait(self.after.saturating_add(probes));
        self.open = Some(Open { probes, probe_at: now + wait, fresh_probe_at: now + fresh.min(wait) });
    }

    /// When the next probe may leave. `fresh` means that it was never tried. A new page does not wait out
    /// the pause of others, for the receiver may refuse only those.
    pub(super) fn probe_at(&self, fresh: bool) -> Option<Instant> {
        self.open.as_ref().map(|open| if fresh { open.fresh_probe_at } else { open.probe_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_on_an_answer() {
        let (now, fresh) = (Instant::now(), Duration::from_secs(1));
        let wait = |n: u32| Duration::from_secs(u64::from(n) * 10);
        let mut circuit = Circuit::new(3);
        circuit.failed(now, fresh, wait);
        circuit.failed(now, fresh, wait);
        circuit.answered();
        circuit.failed(now, fresh, wait);
        circuit.failed(now, fresh, wait);
        assert!(!circuit.is_open());
        circuit.failed(now, fresh, wait);
        assert!(circuit.is_open());
        assert_eq!(circuit.probe_at(false), Some(now + Duration::from_secs(40)));
        assert_eq!(circuit.probe_at(true), Some(now + fresh));
        circuit.failed(now, fresh, wait);
        assert_eq!(circuit.probe_at(false), Some(now + Duration::from_secs(50)));
        circuit.answered();
        assert!(!circuit.is_open());
        assert_eq!(circuit.probe_at(false), None);
    }
}
