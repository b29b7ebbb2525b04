//! The configurations of the runs, read by the program's own reader.

use std::path::Path;
use std::sync::OnceLock;

use squelch::config::{self, Config};

use crate::plan::{KNOWN, LANES, POLICIES};

/// PagerDuty's routing key, and the URLs of the other receivers.
pub const SECRETS: [&str; LANES] = [
    "0123456789abcdef0123456789abcdef",
    "http://slack.invalid/hook",
    "http://team.invalid/hook",
    "fedcba9876543210fedcba9876543210",
];
/// Receiver and integration of each lane.
pub const NAMES: [(&str, &str); LANES] =
    [("oncall", "pagerduty[0]"), ("oncall", "slack[0]"), ("team", "webhook[0]"), ("lead", "pagerduty[0]")];

const NOISE: [&str; POLICIES] = [
    "{storm: {start: 0}, limit: {pages: 0, per: 10m}, flapping: {half_life: 4m}}",
    "{storm: {start: 3, window: 10m}, flapping: {half_life: 4m, suppress_at: 3}, digest: 20m}",
    "{wait: 1m, limit: {pages: 1, per: 5m}, flapping: {half_life: 2m30s}, growth: 2}",
    "{resolve_hold: 0s, merge_window: 1m, flapping: {half_life: 4m}, digest: 0s}",
];
const GROUP_BY: [&str; POLICIES] = ["[alertname]", "[instance]", "[alertname]", "[alertname, instance]"];

/// An interval within the time of trouble, and an inhibition by alert 0.
const OVERLAPS: [&str; 2] = [
    "
time_intervals:
  - name: work
    time_intervals: [{times: [{start_time: '08:05', end_time: '08:25'}]}]
inhibit_rules:
  - {source_matchers: ['alertname=\"A\"', 'severity=\"critical\"'], target_matchers: ['alertname=\"B\"'], equal: []}",
    "
    - {matchers: ['instance=~\"[468]\"'], receiver: oncall, mute_time_intervals: [work]}",
];

/// Which alerts alert 0 inhibits.
pub fn inhibited(i: usize) -> bool {
    (3..6).contains(&i)
}

/// The levels where critical incidents escalate.
const ESCALATES: &str = "
severities:
  levels:
    - {name: critical, never_hold: true, respond_within: 4m, escalate_to: lead}
    - {name: warning}
    - {name: info}";

/// Configuration number `n`, with or without mutes for some alerts, and with or without escalation.
pub fn configuration(n: usize, overlaps: bool, escalates: bool) -> &'static Config {
    static ALL: OnceLock<Vec<Config>> = OnceLock::new();
    let all = || (0..POLICIES * 4).map(|n| read(n / 4, n % 2 == 1, n % 4 > 1)).collect();
    &ALL.get_or_init(all)[n * 4 + 2 * usize::from(escalates) + usize::from(overlaps)]
}

/// Without fail open and internal incidents: the checker has no rule for those yet.
fn read(n: usize, overlaps: bool, escalates: bool) -> Config {
    let [rules, route] = if overlaps { OVERLAPS } else { [""; 2] };
    let (noise, group_by, [key, slack, team, lead]) = (NOISE[n], GROUP_BY[n], SECRETS);
    let severities = if escalates { ESCALATES } else { "" };
    let text = format!(
        "global: {{stale_after: 1h, failopen_after: 0s}}
self_check: {{enabled: false}}
limits: {{alerts: {KNOWN}}}{severities}{rules}
noise: {{default: {noise}}}
route:
  receiver: oncall
  group_by: {group_by}
  repeat_interval: 30m
  routes:
    - {{matchers: ['team=\"web\"'], receiver: team}}
    - {{matchers: ['team=\"flood\"'], receiver: nobody}}{route}
receivers:
  - name: oncall
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{api_url: '{slack}', send_resolved: true}}]
  - name: team
    webhook_configs: [{{url: '{team}'}}]
  - name: lead
    pagerduty_configs: [{{routing_key: {lead}}}]
  - name: nobody
"
    );
    config::parse(&text, "simulated.yml", Path::new("")).unwrap_or_else(|e| panic!("{e}"))
}
