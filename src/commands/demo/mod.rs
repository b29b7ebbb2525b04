//! `squelch demo`: a storm, the real server and a fake pager in one process, over real HTTP.

mod report;
mod storm;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use crate::model::Timestamp;
use crate::node::clock::wall;
use crate::node::{Node, NodeError, NodeOptions};

use super::fake_pager::{FakePager, Incident};
use super::{failed, log, wrote};
use storm::{SECONDS, StormStep, Without};

/// Options of `squelch demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How long the storm lasts, in seconds. Its times and those of the configuration scale with it.
    #[arg(long, default_value_t = SECONDS, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub seconds: u64,
    /// The same within 12 seconds.
    #[arg(long, conflicts_with = "seconds")]
    pub fast: bool,
    /// Stay up after the storm, until Ctrl-C, so that you can look at the pages.
    #[arg(long)]
    pub keep: bool,
}

const EXAMPLES: &str = "\
Examples:
  Watch a storm for 12 seconds, then look at its incidents in a browser:
    squelch demo --fast --keep
  Watch the same storm within a minute:
    squelch demo";

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the fake pager cannot listen: {0}")]
    Pager(std::io::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("the server does not listen anywhere")]
    Deaf,
    #[error("interrupted")]
    Interrupted,
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// Shows it: 0 if the one incident that matters reached a human, else 1.
pub async fn run(args: Args) -> ExitCode {
    log::init(log::Args { level: log::LogLevel::Warn, format: log::Format::Logfmt });
    let folder = std::env::temp_dir().join(format!("squelch-demo-{}", std::process::id()));
    let shown = show(&args, &folder).await;
    let _ = std::fs::remove_dir_all(&folder);
    log::flush();
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => failed(&format!("{} was not paged", storm::PLANTED)),
        Err(DemoError::Output(error)) => wrote(Err(error)),
        Err(error) => failed(&error.to_string()),
    }
}

/// Whether the planted incident was paged.
async fn show(args: &Args, folder: &Path) -> Result<bool, DemoError> {
    let seconds = if args.fast { 12 } else { args.seconds };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let pager = FakePager::bind(any).await.map_err(DemoError::Pager)?;
    let text = config(&pager.url("/v2/enqueue"), seconds);
    let file = folder.join("squelch.yml");
    std::fs::create_dir(folder)
        .and_then(|()| std::fs::write(&file, &text))
        .map_err(|source| DemoError::Write { path: file.clone(), source })?;
    let node = Node::start(NodeOptions {
        config_file: file,
        storage: folder.join("data"),
        listen: vec![any],
        external_url: String::new(),
        route_prefix: String::new(),
        web_config_file: None,
        advertise: None,
    })
    .await?;
    let address = *node.addresses().first().ok_or(DemoError::Deaf)?;
    let began = wall();
    let mut without = Without::default();
    let storm = async {
        introduce(&text, seconds, address, &pager)?;
        blow(&node, &pager, address, seconds, &mut without).await
    };
    let stormed = tokio::select! {
        blown = storm => blown.map_err(DemoError::from),
        _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    };
    let mut told = stormed.map(|()| report::text(&node.gate().stats(), &without, &pager.incidents(), began));
    if args.keep
        && let Ok(text) = &mut told
    {
        text.push_str(&format!("\nSquelch is still up: open http://{address}/, press Ctrl-C to stop.\n"));
        text.push_str(&format!("Its incidents have closed: http://{address}/history lists them.\n"));
        let is_planted = |incident: &&Incident| incident.summary.contains(storm::PLANTED);
        if let Some(planted) = pager.incidents().iter().find(is_planted) {
            let key = &planted.dedup_key;
            text.push_str(&format!("The incident that mattered: http://{address}/incident?key={key}\n"));
        }
        text.push_str(&format!("The fake pager shows its pages at {}.\n", pager.url("/")));
        io::stdout().write_all(std::mem::take(text).as_bytes())?;
        // Without a handler, Ctrl-C ends the process too.
        let _ = tokio::signal::ctrl_c().await;
    }
    node.stop().await;
    let incidents = pager.incidents();
    io::stdout().write_all(told?.as_bytes())?;
    Ok(incidents.iter().any(|i| i.summary.contains(storm::PLANTED) && i.notified > 0))
}

fn introduce(config: &str, seconds: u64, address: SocketAddr, pager: &FakePager) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "Squelch {} stands between a pager and a pair of simulated Alertmanagers.",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "They group by alertname and instance, and Squelch groups by service.")?;
    writeln!(out, "The storm lasts {seconds} seconds. The times of the noise profile shrink with it,")?;
    writeln!(out, "and its thresholds are lower than the defaults:\n")?;
    for line in config.lines().skip_while(|line| *line != "noise:") {
        writeln!(out, "    {line}")?;
    }
    writeln!(out, "\npages    http://{address}/")?;
    writeln!(out, "metrics  http://{address}/metrics\npager    {}\n", pager.url("/"))
}

/// Sends every step at its time, twice, and shows how it goes.
async fn blow(
    node: &Node,
    pager: &FakePager,
    to: SocketAddr,
    seconds: u64,
    without: &mut Without,
) -> io::Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let begin = Instant::now();
    let scaled = |ms: u64| Duration::from_millis(ms * seconds / SECONDS);
    let mut starts: BTreeMap<storm::StormAlert, Timestamp> = BTreeMap::new();
    let mut steps = storm::steps().into_iter().peekable();
    let mut progress = tokio::time::interval(Duration::from_millis(500));
    loop {
        let next = steps.peek().map_or(SECONDS * 1000, |step| step.at);
        tokio::select! {
            () = tokio::time::sleep_until(begin + scaled(next)) => {
                let Some(step) = steps.next() else { break };
                without.tell(&step);
                let now = wall();
                let starts_at = *starts.entry(step.alert.clone()).or_insert(now);
                if !step.firing {
                    starts.remove(&step.alert);
                }
                tell(&client, to, &step, starts_at, now).await;
            }
            _ = progress.tick() => show_progress(node, pager, begin.elapsed())?,
        }
    }
    let mut out = io::stdout();
    if out.is_terminal() {
        show_progress(node, pager, begin.elapsed())?;
        writeln!(out)?;
    }
    writeln!(out)
}

/// Sends `step` as both members of the pair do. It sends a refused request again, as they would.
async fn tell(
    client: &Client<HttpConnector, Full<Bytes>>,
    to: SocketAddr,
    step: &StormStep,
    starts_at: Timestamp,
    now: Timestamp,
) {
    for peer in storm::PEERS {
        let body = Bytes::from(storm::body(step, peer, starts_at, now).to_string());
        for pause in [Some(Duration::from_millis(100)), Some(Duration::from_secs(1)), None] {
            let request = Request::post(format!("http://{to}/alertmanager/webhook"))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()));
            let Ok(request) = request else { return };
            match client.request(request).await {
                Ok(response) if response.status() == StatusCode::OK => break,
                Ok(response) => tracing::warn!(status = %response.status(), "the server refused the request"),
                Err(error) => tracing::warn!(%error, "the request failed"),
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn show_progress(node: &Node, pager: &FakePager, elapsed: Duration) -> io::Result<()> {
    let stats = node.gate().stats();
    let alerts: u64 = stats.received.values().sum();
    let interruptions: u64 = pager.incidents().iter().map(|i| i.notified).sum();
    let line = format!("{:>4} s   {alerts:>4} alerts in   {interruptions:>3} pages out", elapsed.as_secs());
    let mut out = io::stdout();
    if out.is_terminal() {
        write!(out, "\r{line}")?;
        out.flush()
    } else if elapsed.subsec_millis() < 500 && elapsed.as_secs().is_multiple_of(5) {
        writeln!(out, "{line}")
    } else {
        Ok(())
    }
}

/// The configuration of the demo. Hours in a real configuration shrink to seconds of the storm.
fn config(pager: &str, seconds: u64) -> String {
    let time = |of_storm: u64| crate::model::Duration::from_millis(of_storm * 1000 * seconds / SECONDS);
    format!(
        "\
route:
  receiver: pager
  group_by: [service]
  group_interval: {second}
receivers:
  - name: pager
    pagerduty_configs:
      - routing_key: 0123456789abcdef0123456789abcdef
        url: {pager}
noise:
  default:
    flapping: {{half_life: {half_life}, suppress_at: 3}}
    resolve_hold: {resolve_hold}
    merge_window: {merge_window}
    growth: 3
",
        second = time(1),
        half_life = time(4),
        resolve_hold = time(2),
        merge_window = time(20),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_is_valid_at_any_length() {
        for seconds in [5, 12, 60, 3600] {
            let text = super::config("http://127.0.0.1:1/v2/enqueue", seconds);
            crate::config::parse(&text, "squelch.yml", "".as_ref()).unwrap();
        }
    }
}
