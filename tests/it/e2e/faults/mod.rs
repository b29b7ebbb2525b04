//! Faults, on the real program: of disk and clock, of receivers, of senders, of signals.
//!
//! `docs/reliability.md` lists them all. Slow tests are ignored here and run by `tests/faults`.

mod alertmanager;
mod attacks;
mod bounds;
mod clock;
mod damage;
mod directory;
mod disk;
mod hangs;
mod memory;
mod receivers;
mod rogue;
mod shim;
mod signals;
mod tls;
mod watch;

use squelch::commands::fake_pager::FakePager;

use super::http;
use super::sender::Told;
use super::squelch::Squelch;
use super::until;

/// Everything pages at once at one webhook of `pager`, an incident for each `alertname`.
fn config(pager: &FakePager) -> String {
    format!(
        "\
route: {{receiver: pager, group_by: [alertname]}}
receivers:
  - name: pager
    webhook_configs: [{{url: '{}', timeout: 5s}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        pager.url("/webhook/a")
    )
}

/// A critical alert of its own group.
fn alert(name: &str) -> Told {
    Told::fires(name, "host", "a")
}

/// Sends as Alertmanager does, which tries again after 5xx and broken connections, until it is taken.
async fn insist(squelch: &Squelch, body: &serde_json::Value) {
    let text = body.to_string();
    until("the alerts are taken", async || {
        let answer = http::post(squelch.address, "/alertmanager/webhook", text.as_bytes()).await.ok()?;
        assert!(answer.status == 200 || answer.status >= 500, "{}: {}", answer.status, answer.body);
        (answer.status == 200).then_some(())
    })
    .await;
}

/// So many characters that no compression makes fewer than half.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digits = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
    });
    digits.take(length).collect()
}

/// The most memory of a process so far, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
}
