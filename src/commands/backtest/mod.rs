//! `squelch backtest`: the past under another configuration.

mod ask;
mod labels;
mod page;
mod progress;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::ending::{Output, senseless};
use super::storage::place;
use super::{Stopped, complain, wrote};
use crate::config::{self, HttpConfig};
use crate::history::{self, BacktestReport, Candidate, HistoryError, Jsonl, Past};
use crate::journal::JournalPast;
use crate::model::Duration;
use ask::Question;
use labels::Unseen;
use progress::{Counted, Shown};

/// Options of `squelch backtest`.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("past").required(true).args(["history", "prometheus", "storage"])))]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration on trial. Its receivers get no notifications. An alertmanager.yml is one too.
    #[arg(long = "config.file", default_value = "squelch.yml", value_name = "FILE")]
    pub config_file: PathBuf,
    /// Try this noise profile on every route, in place of those that the file names.
    #[arg(long, value_name = "NAME")]
    pub noise: Option<String>,
    /// Another configuration to compare with: pages gained, lost and later as seen from it.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Alert history, JSON lines, plain or gzip. `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Base URL of a Prometheus-compatible server. Its ALERTS series are the history.
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// With --prometheus: options of the HTTP client, such as basic_auth or http_headers, as promtool takes
    /// them.
    #[arg(long = "http.config.file", value_name = "FILE", conflicts_with_all = ["history", "storage"])]
    pub http_config: Option<PathBuf>,
    /// With --prometheus: a label that each alert gets if it lacks it, as the server's external_labels would
    /// give it. May be given more than once.
    #[arg(long = "external-label", value_name = "NAME=VALUE", value_parser = label,
          conflicts_with_all = ["history", "storage"])]
    pub external: Vec<(String, String)>,
    /// With --prometheus: how far to look back.
    #[arg(long, default_value = "30d", value_name = "DURATION")]
    pub since: Duration,
    /// With --prometheus: from one sample to the next.
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub step: Duration,
    /// Data directory of a server, or a file with the URL of its PostgreSQL. The events that its journal
    /// still holds are the history. The server may be running.
    #[arg(long = "storage.path", value_name = "DIR|URL_FILE")]
    pub storage: Option<PathBuf>,
    /// Write every notification to this file, a JSON object a line. `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub notifications: Option<PathBuf>,
    /// Write the report with figures to this file: one HTML page that needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Replay the last 30 days of a Prometheus with your alertmanager.yml, and keep the report:
    squelch backtest --config.file=alertmanager.yml --prometheus=http://127.0.0.1:9090 --html=report.html
  The same with a tenant header, where http.yml is {http_headers: {X-Scope-OrgID: {values: [team]}}}:
    squelch backtest --prometheus=https://mimir/prometheus --http.config.file=http.yml --external-label=cluster=eu
  Try another noise profile, and compare it with the file as it is:
    squelch backtest --history=alerts.jsonl.gz --noise=balanced --against=squelch.yml
  Replay what a running server still has in its journal:
    squelch backtest --storage.path=data/";

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write a label and its value, such as cluster=eu".into()),
    }
}

/// Replays and reports: 0 then, 1 if it cannot, 2 if an option makes no sense.
pub async fn run(args: Args) -> ExitCode {
    if args.step.is_zero() {
        return senseless("--step 0s: a step above 0, such as 1m, would be right");
    }
    let shown = Arc::new(Shown::default());
    let told = shown.clone();
    let ticker = tokio::spawn(async move { progress::tell(&told).await });
    let output = args.output;
    let report = replayed(args, shown).await;
    ticker.abort();
    progress::clear();
    wrote(report.and_then(|report| Ok(print(&report, output)?)))
}

async fn replayed(args: Args, shown: Arc<Shown>) -> Result<BacktestReport, Stopped> {
    let trial = candidate(&args.config_file, args.noise.as_deref())?;
    let against = args.against.as_deref().map(|file| candidate(file, None)).transpose()?;
    let question = args.prometheus.as_ref().map(|url| question(url, &args)).transpose()?;
    let (asked, answers) = mpsc::channel(2);
    let told = shown.clone();
    let asks = async {
        match question {
            Some(question) => ask::ask(question, &shown, asked).await,
            None => drop(asked),
        }
    };
    let replays = tokio::task::spawn_blocking(move || {
        let past = past(&args, answers, &told)?;
        let mut unseen = Unseen::of(&trial.policy);
        let past = past.inspect(|past| past.iter().for_each(|past| unseen.look(past)));
        let out = args.notifications.as_deref().map(create).transpose()?;
        args.html.as_deref().map_or(Ok(()), writable)?;
        let report = replay(past, &trial, against.as_ref(), out, &told)?;
        if let Some(file) = &args.html {
            page::write(&mut create(file)?, &report).map_err(|error| of_file(file, &error))?;
        }
        if let Some(hint) = unseen.hint().filter(|_| args.prometheus.is_some()) {
            progress::clear();
            complain(&hint);
        }
        Ok(report)
    });
    let ((), report) = tokio::join!(asks, replays);
    report.unwrap_or_else(|error| Err(error.to_string().into()))
}

/// A file as if it were in force. A file in observe mode is tried in enforce mode.
fn candidate(file: &Path, noise: Option<&str>) -> Result<Candidate, String> {
    let mut config = config::load(file).map_err(|errors| errors.to_string())?;
    let mut name = file.display().to_string();
    if let Some(noise) = noise {
        config = config.with_noise(noise).map_err(|why| format!("--noise: {why}"))?;
        name.push_str(&format!(", noise {noise}"));
    }
    let mut policy = config.policy;
    policy.noise.values_mut().for_each(|noise| noise.mode = config::Mode::Enforce);
    Ok(Candidate { file: name, policy, times: config.group_times })
}

fn question(url: &str, args: &Args) -> Result<Question, String> {
    let http = match &args.http_config {
        Some(file) => config::load_http(file).map_err(|errors| errors.to_string())?,
        None => HttpConfig::default(),
    };
    let (since, step, external) = (args.since, args.step, args.external.clone());
    Ok(Question { url: url.to_owned(), http, since, step, external })
}

type Events = Box<dyn Iterator<Item = Result<Past, HistoryError>>>;

/// The requested history. `answers` are those of a Prometheus.
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
    if let Some(path) = &args.storage {
        let records = JournalPast::open(&place(path, "--storage.path")?).map_err(|e| e.to_string())?;
        return Ok(Box::new(history::journal::past(records.map(|r| r.map(|r| (r.now, r.event))))));
    }
    let windows = std::iter::from_fn(move || answers.blocking_recv());
    Ok(Box::new(windows.flat_map(|window| match window {
        Ok(events) => events.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })))
}

/// Whether a file can be written. The report of a former run stays until there is a new one. If there is
/// none, a run that fails leaves no empty file.
fn writable(file: &Path) -> Result<(), String> {
    if file == Path::new("-") {
        return Ok(());
    }
    let new = !file.exists();
    let tried = || {
        File::options().append(true).create(true).open(file)?;
        if new { std::fs::remove_file(file) } else { Ok(()) }
    };
    tried().map_err(|e| format!("{}: {e}", file.display()))
}

fn create(file: &Path) -> Result<Box<dyn Write + Send>, String> {
    if file == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let created = File::create(file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(Box::new(BufWriter::new(created)))
}

/// The same error with the name of the file.
fn of_file(file: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn replay(
    past: impl Iterator<Item = Result<Past, HistoryError>>,
    trial: &Candidate,
    against: Option<&Candidate>,
    mut out: Option<Box<dyn Write + Send>>,
    shown: &Shown,
) -> Result<BacktestReport, Stopped> {
    let lines = |telling: &history::Telling<'_>| match &mut out {
        Some(out) => history::write_line(out, telling),
        None => Ok(()),
    };
    let report = match history::backtest(past, trial, against, lines, &shown.progress) {
        Err(HistoryError::Unwritten(error)) => return Err(Stopped::Unwritten(error)),
        report => report.map_err(|error| error.to_string())?,
    };
    out.as_mut().map_or(Ok(()), |out| out.flush())?;
    Ok(report)
}

fn print(report: &BacktestReport, output: Output) -> io::Result<()> {
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
