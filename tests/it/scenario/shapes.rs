//! The shapes, one function each. Sizes and lengths are those measured on recorded storms.

use super::{Plan, Shape};
use squelch::model::{LabelSet, Status};

const MINUTE: i64 = 60_000;

/// Plants one incident of `shape` at `start`, milliseconds since 1970, and the alerts around it.
pub(super) fn plant(plan: &mut Plan, shape: Shape, round: u32, start: i64) {
    match shape {
        Shape::FanOut => fan_out(plan, round, start),
        Shape::Cascade => cascade(plan, round, start),
        Shape::Flapper => flapper(plan, round, start),
        Shape::DuplicateBurst => duplicate_burst(plan, round, start),
        Shape::Chronic => chronic(plan, round, start),
        Shape::Needle => needle(plan, round, start),
        Shape::Sweep => sweep(plan, round, start),
        Shape::SlowBurn => slow_burn(plan, round, start),
    }
}

fn labels(alertname: &str, cluster: &str, instance: &str, severity: &str) -> LabelSet {
    LabelSet::from_pairs([
        ("alertname", alertname),
        ("cluster", cluster),
        ("instance", instance),
        ("severity", severity),
    ])
}

fn fan_out(plan: &mut Plan, round: u32, start: i64) {
    let (count, length) = (plan.dice.within(5, 30), plan.dice.minutes(20, 200));
    let mut alerts = Vec::new();
    for i in 0..count {
        let alert = labels("InstanceDown", "east", &format!("db-{round}-{i}"), "critical");
        let from = if i == 0 { start } else { start + plan.dice.within(0, 120_000) };
        let to = start + length + plan.dice.within(0, 60_000);
        plan.alert(&alert, from, to);
        alerts.push(alert);
    }
    plan.truth(alerts, (start, start + length + MINUTE), true);
}

fn cascade(plan: &mut Plan, round: u32, start: i64) {
    let (count, length) = (plan.dice.within(4, 20), plan.dice.minutes(20, 120));
    let root = labels("SwitchDown", "west", &format!("switch-{round}"), "critical");
    plan.alert(&root, start, start + length);
    let mut alerts = vec![root];
    for i in 0..count {
        let alert = labels("TargetDown", "west", &format!("rack-{round}-{i}"), "warning");
        let from = start + plan.dice.within(30_000, 300_000);
        let to = start + length + plan.dice.within(0, 60_000);
        plan.alert(&alert, from, to);
        alerts.push(alert);
    }
    plan.truth(alerts, (start, start + length + MINUTE), true);
}

fn flapper(plan: &mut Plan, round: u32, start: i64) {
    let alert = labels("ProbeFailed", "edge", &format!("site-{round}"), "critical");
    let mut at = start;
    for _ in 0..12 {
        let on = plan.dice.minutes(1, 19);
        plan.alert(&alert, at, at + on);
        at += on + plan.dice.minutes(1, 60);
    }
    plan.truth(vec![alert], (start, at), true);
}

fn duplicate_burst(plan: &mut Plan, round: u32, start: i64) {
    let (alert, end) = (labels("WebScan", "dmz", &format!("www-{round}"), "warning"), start + 20 * MINUTE);
    plan.alert(&alert, start, end);
    for _ in 0..plan.dice.within(200, 600) {
        let at = plan.dice.within(start + 1, end - 1);
        plan.say(&alert, Status::Firing, at, (start, end));
    }
    plan.truth(vec![alert], (start, end), false);
}

/// The chronic alert fires before all else and is repeated as Alertmanager does. Each round is another
/// alert beside it.
fn chronic(plan: &mut Plan, round: u32, start: i64) {
    let stuck = labels("KubeJobFailed", "batch", "nightly", "warning");
    let from = super::START_MS - 60 * MINUTE;
    let times = (from, from + 400 * 24 * 60 * MINUTE);
    if round == 0 {
        plan.say(&stuck, Status::Firing, from, times);
        plan.truth(vec![stuck.clone()], (from, from + 60 * MINUTE), false);
    }
    let repeats = super::START_MS + i64::from(round) * super::HALF_DAY_MS;
    for i in 0..3 {
        plan.say(&stuck, Status::Firing, repeats + i * 240 * MINUTE, times);
    }
    let alert = labels("DiskFull", "batch", &format!("node-{round}"), "critical");
    let length = plan.dice.minutes(20, 120);
    plan.alert(&alert, start, start + length);
    plan.truth(vec![alert], (start, start + length), true);
}

fn needle(plan: &mut Plan, round: u32, start: i64) {
    let (count, length) = (plan.dice.within(100, 500), 60 * MINUTE);
    let mut flood = Vec::new();
    for i in 0..count {
        let alert = labels("PodCrashLooping", "prod", &format!("pod-{round}-{i}"), "warning");
        // The first one comes at once. The others come all along, so that the needle is among them.
        let from = if i == 0 { start } else { start + plan.dice.within(1, length) };
        let to = from + plan.dice.minutes(5, 30);
        plan.alert(&alert, from, to);
        flood.push(alert);
    }
    plan.truth(flood, (start, start + length), false);
    let at = start + plan.dice.minutes(20, 50);
    let mut needles = Vec::new();
    for i in 0..plan.dice.within(1, 3) {
        let alert = labels("PrimaryLost", "prod", &format!("pg-{round}-{i}"), "critical");
        plan.alert(&alert, at + i * 1000, at + 40 * MINUTE);
        needles.push(alert);
    }
    plan.truth(needles, (at, at + 40 * MINUTE), true);
}

fn sweep(plan: &mut Plan, round: u32, start: i64) {
    let (nodes, mut alerts, mut end) = (plan.dice.within(6, 20), Vec::new(), start);
    for i in 0..nodes {
        let alert = labels("NodeNotReady", "south", &format!("node-{round}-{i}"), "warning");
        let (from, length) = (start + i * 5 * MINUTE, plan.dice.minutes(10, 60));
        plan.alert(&alert, from, from + length);
        end = end.max(from + length);
        alerts.push(alert);
    }
    plan.truth(alerts, (start, end), false);
}

fn slow_burn(plan: &mut Plan, round: u32, start: i64) {
    let alert = labels("ErrorBudgetBurn", "north", &format!("api-{round}"), "critical");
    let length = plan.dice.minutes(30, 300);
    plan.alert(&alert, start, start + length);
    plan.truth(vec![alert], (start, start + length), true);
}
