//! Tables in Markdown, with ratios to Squelch's own line.

use std::time::Duration;

use crate::load::Quantiles;
use crate::process::Target;

/// One line.
pub struct Row {
    pub target: Target,
    pub cpu: Duration,
    pub alerts: u64,
    pub rss: u64,
    pub latency: Quantiles,
    pub refused: u64,
    pub commits_per_second: Option<f64>,
}

/// Microseconds of CPU an alert.
pub fn micros(cpu: Duration, alerts: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / alerts as f64
}

pub fn print(title: &str, rows: &[Row]) {
    let own = rows.iter().find(|r| r.target == Target::Squelch).map_or(0.0, |r| micros(r.cpu, r.alerts));
    println!("\n## {title}");
    println!(
        "| who | µs of CPU an alert | alerts a CPU second | Squelch's cost is | p50 ms | p99 ms | max ms | RSS MiB | commits/s | refused |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        let cost = micros(row.cpu, row.alerts);
        let [p50, p99, max] = row.latency.map(|d| d.as_secs_f64() * 1e3);
        let commits = row.commits_per_second.map_or("-".into(), |n| format!("{n:.0}"));
        println!(
            "| {} | {cost:.2} | {:.0} | {:.2} × | {p50:.2} | {p99:.2} | {max:.1} | {:.1} | {commits} | {} |",
            row.target.title(),
            1e6 / cost,
            own / cost,
            row.rss as f64 / 1_048_576.0,
            row.refused,
        );
    }
}

pub fn latency_line(what: &str, quantiles: &Quantiles) {
    let [p50, p99, max] = quantiles.map(|d| d.as_secs_f64() * 1e3);
    println!("| {what} | {p50:.2} ms | {p99:.2} ms | {max:.1} ms |");
}
