//! The real program as its users run it: child processes, real sockets, real signals, and where it
//! matters a real Prometheus and real Alertmanagers.

mod api;
mod bad_input;
mod chain;
pub(crate) mod child;
mod closed;
mod commands;
mod copy;
mod crash;
mod delivery;
mod demo;
mod direct;
mod events;
mod explain;
mod faults;
mod forward;
pub(crate) mod http;
mod incidents;
mod lifecycle;
mod neighbours;
mod packaged;
mod quickstart;
mod report;
pub(crate) mod scrape;
pub(crate) mod sender;
pub(crate) mod squelch;
mod standby;

use std::time::Duration;

use ::squelch::commands::fake_pager::{FakePager, Incident};
use tokio::time::{Instant, sleep};

/// How long anything may take before the test gives up on it. A busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` until it has an answer. It fails after [`PATIENCE`], and names the missing event.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "did not happen within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the pager's incidents are as they should be. It fails with the actual ones.
async fn shown(pager: &FakePager, what: &str, mut holds: impl FnMut(&[Incident]) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, pager.wait_until(|pager| holds(&pager.incidents())));
    assert!(waited.await.is_ok(), "the pager never showed: {what}; but\n{}", listed(&pager.incidents()));
}

/// Incidents, a line each. Of many, those that are still open.
fn listed(incidents: &[Incident]) -> String {
    let worth = |i: &&Incident| incidents.len() <= 50 || i.closed_at.is_none();
    let lines = incidents.iter().filter(worth).map(|i| {
        let closed = i.closed_at.map_or("open".to_owned(), |at| at.to_string());
        format!("{} to {closed}, {} triggers: {}\n", i.opened_at, i.triggers, i.summary)
    });
    format!("{} incidents\n{}", incidents.len(), lines.collect::<String>())
}

/// A pager on a free port.
async fn pager() -> FakePager {
    FakePager::bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// The incidents in whose summary `text` stands.
fn about(incidents: &[Incident], text: &str) -> Vec<Incident> {
    incidents.iter().filter(|i| i.summary.contains(text)).cloned().collect()
}

/// How many of `incidents` were opened, and how many of these are closed.
fn opened_and_closed(incidents: &[Incident]) -> (usize, usize) {
    (incidents.len(), incidents.iter().filter(|i| i.closed_at.is_some()).count())
}
