//! Squelch beside Alertmanager and beside the physical limit, on the same bodies, in one run.
//!
//! `cargo bench --bench compare` prints one table for each workload. `-- --help` lists the choices. The
//! limit is a bare HTTP server that reads the same bodies with serde_json and forgets them. The peer is the
//! `prometheus-alertmanager` on the path, left out if there is none. `$SQUELCH` names another program than
//! the one that this bench built, as one of an earlier version. Costs are the CPU time of the served
//! process (`/proc/PID/stat`), so that a busy machine disturbs ratios little. All traffic stays on
//! 127.0.0.1, has a bounded amount, and ends with the run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a benchmark may panic")]

mod bodies;
mod limit;
mod load;
mod process;
mod sink;
mod table;

use std::time::Duration;

use bodies::{Api, Workload};
use load::Sent;
use process::{Target, Usage};
use table::Row;

/// The workloads to measure, unless the command line says otherwise.
struct Plan {
    /// Observations sent for each line.
    alerts: u64,
    /// Numbers of active alerts at which the cost of a repeat and the memory are taken.
    sizes: Vec<u64>,
    /// Parts to run. All if empty.
    only: Vec<String>,
}

const HELP: &str = "\
--alerts N       observations sent for each line (default 200000)
--sizes N,N,…    active alerts for cost and memory (default 1000,10000,100000)
--only PART,…    workloads, sizes, latency, recovery (default all); or one of the workloads: Repeats,
                 Storm, Resolve, Flapping, HugeGroup, ManyGroups";

fn plan() -> Plan {
    let mut plan = Plan { alerts: 200_000, sizes: vec![1_000, 10_000, 100_000], only: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value\n{HELP}"));
        match argument.as_str() {
            "--alerts" => plan.alerts = value().parse().unwrap(),
            "--sizes" => plan.sizes = value().split(',').map(|n| n.parse().unwrap()).collect(),
            "--only" => plan.only = value().split(',').map(Into::into).collect(),
            "--bench" => {}
            "--help" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            other => panic!("unknown argument {other}\n{HELP}"),
        }
    }
    plan
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(limit::COMMAND) {
        return limit::serve();
    }
    if !std::env::args().any(|argument| argument == "--bench") {
        // Built and started by `cargo test --benches`: nothing to test here.
        return;
    }
    let plan = plan();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&plan));
}

async fn run(plan: &Plan) {
    let wanted = |part: &str| plan.only.is_empty() || plan.only.iter().any(|p| p == part);
    for workload in Workload::ALL {
        let name = format!("{workload:?}");
        if wanted("workloads") || plan.only.contains(&name) {
            for api in [Api::V2, Api::Webhook] {
                compare(plan, workload, api).await;
            }
        }
    }
    if wanted("sizes") {
        sizes(plan).await;
    }
    if wanted("latency") {
        latency().await;
    }
    if wanted("recovery") {
        recovery(plan).await;
    }
}

/// One workload against all that can take it.
async fn compare(plan: &Plan, workload: Workload, api: Api) {
    let mut rows = Vec::new();
    for target in Target::ALL {
        if target == Target::Alertmanager && (api == Api::Webhook || !target.is_there()) {
            continue;
        }
        let sink = sink::Sink::start().await;
        let process = process::start(target, sink.address).await;
        let script = bodies::script(workload, api, plan.alerts);
        load::send(&process, api, &script.before).await;
        let before = process.usage();
        let sent = load::send(&process, api, &script.measured).await;
        let after = process.usage();
        rows.push(row(target, &before, &after, &sent, process.commits().await));
    }
    table::print(&format!("{} · {}", workload.title(), api.title()), &rows);
}

fn row(target: Target, before: &Usage, after: &Usage, sent: &Sent, commits: Option<u64>) -> Row {
    Row {
        target,
        cpu: after.cpu.saturating_sub(before.cpu),
        alerts: sent.alerts,
        rss: after.rss,
        latency: sent.quantiles(),
        refused: sent.refused,
        commits_per_second: commits.map(|n| n as f64 / sent.took.as_secs_f64()),
    }
}

/// The cost of one more repeat, and the size of one more alert, at rising numbers of active alerts.
async fn sizes(plan: &Plan) {
    println!("\n## repeats at rising numbers of active alerts · API v2");
    println!("| active | who | µs of CPU an alert | RSS, MiB | bytes an active alert | idle RSS, MiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for &size in &plan.sizes {
        for target in [Target::Squelch, Target::Alertmanager] {
            if !target.is_there() {
                continue;
            }
            let sink = sink::Sink::start().await;
            let process = process::start(target, sink.address).await;
            let idle = process.usage();
            let fill = bodies::repeats(Api::V2, size, size);
            load::send(&process, Api::V2, &fill).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let before = process.usage();
            // The state that lasts for hours: each alert is repeated.
            load::send(&process, Api::V2, &fill).await;
            let steady = process.usage();
            let again = bodies::repeats(Api::V2, size, plan.alerts.max(2 * size));
            let sent = load::send(&process, Api::V2, &again).await;
            let after = process.usage();
            println!(
                "| {size} | {} | {:.2} | {:.1} | {} | {:.1} |",
                target.title(),
                table::micros(after.cpu - steady.cpu, sent.alerts),
                after.rss as f64 / 1_048_576.0,
                before.rss.saturating_sub(idle.rss) / size,
                idle.rss as f64 / 1_048_576.0,
            );
        }
    }
}

/// From the request to the page's arrival, while 10,000 alerts a second are repeated.
async fn latency() {
    let sink = sink::Sink::start().await;
    let process = process::start(Target::Squelch, sink.address).await;
    load::send(&process, Api::V2, &bodies::repeats(Api::V2, 5_000, 5_000)).await;
    let outcome = load::paced_with_pages(&process, &sink, Duration::from_secs(15)).await;
    println!("\n## a page at {:.0} repeats a second", outcome.rate);
    println!("| from | p50 | p99 | max |\n| --- | --- | --- | --- |");
    table::latency_line("request to 200, of a new alert", &outcome.answered);
    table::latency_line("request to the page's arrival", &outcome.paged);
    let commits = process.commit_quantile(0.99).await;
    println!("commits, p99 by the histogram's bound: {commits:?} s; pages never seen: {}", outcome.lost);
}

/// How fast the statements from before a SIGKILL are there again.
async fn recovery(plan: &Plan) {
    let sink = sink::Sink::start().await;
    let mut process = process::start(Target::Squelch, sink.address).await;
    let script = bodies::script(Workload::Storm, Api::V2, plan.alerts);
    load::send(&process, Api::V2, &script.measured).await;
    let took = process.kill_and_restart().await;
    println!("\n## recovery after SIGKILL");
    println!(
        "{} observations are there again after {:.2} s of CPU ({:.2} s on the clock): {:.0} a CPU second",
        plan.alerts,
        took.cpu.as_secs_f64(),
        took.wall.as_secs_f64(),
        plan.alerts as f64 / took.cpu.as_secs_f64()
    );
}
