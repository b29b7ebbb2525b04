//! `squelch backtest`: what a configuration would have made of the past.

mod ask;
mod progress;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::failed;
use crate::config::{self, Policy};
use crate::history::{self, Candidate, HistoryError, Jsonl, Past, Report};
use crate::journal::SqlitePast;
use crate::model::Duration;
use progress::{Counted, Shown};

/// Options of `squelch backtest`.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("past").required(true).args(["history", "prometheus", "storage"])))]
pub struct Args {
    /// Configuration on trial; its receivers are told nothing.
    #[arg(long = "config.file", default_value = "squelch.yml", value_name = "FILE")]
    pub config_file: PathBuf,
    /// Another configuration to compare with: pages gained, lost and later as seen from it.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Alert history, JSON lines, plain or gzip; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Base URL of a Prometheus-compatible server; its ALERTS series are the history.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// With --prometheus: how far to look back.
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    pub since: Duration,
    /// With --prometheus: from one sample to the next.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub step: Duration,
    /// Directory of a server's journal, which may be running; what it still holds is the history.
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// Write every notification to this file, a JSON object a line; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub notifications: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Simple,
    /// One JSON object.
    Json,
}

/// Replays and reports: 0 then, 1 if it cannot, 2 if an option makes no sense.
pub async fn run(args: Args) -> ExitCode {
    if args.step.is_zero() {
        eprintln!("squelch: --step 0s: a step above 0, such as 1m, would be right");
        return ExitCode::from(2);
    }
    let shown = Arc::new(Shown::default());
    let told = shown.clone();
    let ticker = tokio::spawn(async move { progress::tell(&told).await });
    let report = replayed(args.clone(), shown).await;
    ticker.abort();
    progress::clear();
    let wrote = report.and_then(|report| print(&report, args.output).map_err(|e| e.to_string()));
    match wrote {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

async fn replayed(args: Args, shown: Arc<Shown>) -> Result<Report, String> {
    let policy = policy(&args.config_file)?;
    let against = args.against.as_deref().map(self::policy).transpose()?;
    let (asked, answers) = mpsc::channel(2);
    let asks = async {
        match &args.prometheus {
            Some(url) => ask::ask(url, args.since, args.step, &shown, asked).await,
            None => drop(asked),
        }
    };
    let (blocking, told) = (args.clone(), shown.clone());
    let replays = tokio::task::spawn_blocking(move || {
        let past = past(&blocking, answers, &told)?;
        let out = blocking.notifications.as_deref().map(create).transpose()?;
        replay(past, &policy, against.as_ref(), out, &told)
    });
    let ((), report) = tokio::join!(asks, replays);
    report.unwrap_or_else(|error| Err(error.to_string()))
}

/// The policy of a file as if it were in force: of one that observes, what it would do is the question.
fn policy(file: &Path) -> Result<Policy, String> {
    let mut policy = config::load(file).map(|config| config.policy).map_err(|errors| errors.to_string())?;
    policy.noise.values_mut().for_each(|noise| noise.mode = config::Mode::Enforce);
    Ok(policy)
}

type Events = Box<dyn Iterator<Item = Result<Past, HistoryError>>>;

/// The history that was asked for; `answers` are those of a Prometheus.
fn past(
    args: &Args,
    mut answers: mpsc::Receiver<Result<Vec<Past>, HistoryError>>,
    shown: &Arc<Shown>,
) -> Result<Events, String> {
    if let Some(file) = &args.history {
        let cannot = |e: io::Error| format!("{}: {e}", file.display());
        let input: Box<dyn io::Read + Send> = if file == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let opened = File::open(file).map_err(cannot)?;
            shown.of(opened.metadata().map_or(0, |m| m.len()));
            Box::new(opened)
        };
        let text = history::decompressed(Counted::new(input, shown.clone())).map_err(cannot)?;
        let name = file.display().to_string();
        return Ok(Box::new(Jsonl::new(text).map(move |past| match past {
            Ok(past) => Ok(past),
            Err(error) => Err(HistoryError::Source(format!("{name}: {error}"))),
        })));
    }
    if let Some(dir) = &args.storage {
        let records = SqlitePast::open(dir).map_err(|e| e.to_string())?;
        return Ok(Box::new(history::journal::past(records.map(|r| r.map(|r| (r.now, r.event))))));
    }
    let windows = std::iter::from_fn(move || answers.blocking_recv());
    Ok(Box::new(windows.flat_map(|window| match window {
        Ok(events) => events.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })))
}

fn create(file: &Path) -> Result<Box<dyn Write + Send>, String> {
    if file == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let created = File::create(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(Box::new(BufWriter::new(created)))
}

fn replay(
    past: Events,
    policy: &Policy,
    against: Option<&Policy>,
    mut out: Option<Box<dyn Write + Send>>,
    shown: &Shown,
) -> Result<Report, String> {
    let lines = |telling: &history::Telling<'_>| match &mut out {
        Some(out) => history::write_line(out, telling),
        None => Ok(()),
    };
    let report = history::backtest(past, Candidate { policy, lines }, against, &shown.progress);
    let report = report.map_err(|e| e.to_string())?;
    match out.as_mut().map_or(Ok(()), |out| out.flush()) {
        Ok(()) => Ok(report),
        Err(error) => Err(format!("writing the notifications: {error}")),
    }
}

fn print(report: &Report, output: Output) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        }
        Output::Simple => {
            let mut text = String::new();
            history::render(&mut text, report).map_err(io::Error::other)?;
            out.write_all(text.as_bytes())?;
        }
    }
    out.flush()
}
