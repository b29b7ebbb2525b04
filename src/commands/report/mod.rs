//! `squelch report`: how much noise Squelch removed over a time, where it comes from, and how to reduce it.

mod page;
mod patch;
mod simple;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use super::ending::{say, say_json, senseless};
use super::screen::Screen;
use super::server::{self, ServerClient};
use super::{complain, failed};
use crate::config;
use crate::decision_log::{By, NoiseEntry, Reader};
use crate::history::{self, Effort, HistoryError, Priced};
use crate::journal::{JournalPast, JournalPlace};
use crate::model::{Duration, Timestamp};
use crate::node::clock::wall;
use crate::node::database;

/// Options of `squelch report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How far to look back from --until.
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    pub since: Duration,
    /// The end of the time, RFC 3339. By default now.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How many alert names are listed, the most frequent first.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = top())]
    pub top: u16,
    /// Length of one step of the trend.
    #[arg(long, value_enum, default_value = "day")]
    pub by: By,
    /// Write the report with figures to this file: one HTML page that needs no other file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print the suggestions as a patch of these rule files in place of the report. `patch -p1` takes it.
    #[arg(long = "rules-patch", value_name = "FILE", num_args = 1.., conflicts_with_all = ["html", "output"])]
    pub rules_patch: Vec<PathBuf>,
    /// Read the storage directory of a server instead of asking one. The server may be running.
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// With --storage.path: the configuration, for its page budgets and the suggestions. If it names a
    /// PostgreSQL, the suggestions come from there.
    #[arg(long = "config.file", value_name = "FILE", requires = "storage")]
    pub config_file: Option<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: server::Args,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    Simple,
    /// Markdown.
    Markdown,
    /// One JSON object.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  Report the last seven days of a server:
    squelch report
  Keep the last four weeks as a page, with a trend by week:
    squelch report --since=28d --by=week --html=report.html
  Make rules wait longer as the suggestions say, and check the rules:
    squelch report --rules-patch rules/*.yml | patch -p1 && promtool check rules rules/*.yml
  Report October, from the files of a server that may be down, with the page budgets of its configuration:
    squelch report --since=31d --until=2026-11-01T00:00:00Z --storage.path=data/ --config.file=squelch.yml";

fn top() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1000)
}

/// Reports. The code is 0 then, 1 if no server answers, 2 if the question is invalid.
pub async fn run(args: Args) -> ExitCode {
    let until = match args.until.as_deref().map(Timestamp::parse) {
        Some(Err(e)) => return senseless(&format!("--until: {e}")),
        Some(Ok(until)) => until,
        None => wall(),
    };
    if args.since.is_zero() {
        return senseless("--since 0s: a length above 0, such as 7d, would be right");
    }
    let since = until - args.since;
    let counted = match &args.storage {
        Some(dir) => {
            let (reader, asked) = (Reader::new(dir), args.clone());
            let counted = tokio::task::spawn_blocking(move || read(&reader, &asked, since, until));
            counted.await.unwrap_or_else(|e| Err(e.to_string()))
        }
        None => ask(&args, since, until).await,
    };
    let noise = match counted {
        Err(why) => return failed(&why),
        Ok(noise) => noise,
    };
    if !args.rules_patch.is_empty() {
        let suggestions: Vec<_> = noise.suggestions.into_iter().map(|one| one.suggestion).collect();
        return match patch::patch(&args.rules_patch, &suggestions) {
            Err(why) => failed(&why),
            Ok(patch) => {
                patch.missing.iter().for_each(|missing| complain(missing));
                if suggestions.is_empty() {
                    complain("there is no suggestion for this period, so no rule changes");
                }
                say(&patch.diff)
            }
        };
    }
    if let Some(file) = &args.html
        && let Err(error) = std::fs::write(file, page::page(&noise).into_string())
    {
        return failed(&format!("{}: {error}", file.display()));
    }
    match args.output {
        Output::Json => say_json(&noise),
        Output::Markdown => say(&noise.markdown()),
        Output::Simple => say(&simple::simple(&noise, &Screen::new(true))),
    }
}

/// Counts what the files of a server say.
fn read(reader: &Reader, args: &Args, since: Timestamp, until: Timestamp) -> Result<NoiseEntry, String> {
    let config = args.config_file.as_deref().map(config::load).transpose().map_err(|e| e.to_string())?;
    let budgets = config.as_ref().map_or_else(BTreeMap::new, |config| config.policy.budgets());
    let location = config.as_ref().map(|config| config.on_call.location.clone()).unwrap_or_default();
    let tally = reader.tally(&location, since, until).map_err(|e| e.to_string())?;
    let before = reader.tally(&location, since - args.since, since).ok();
    let before = before.filter(|before| before.cut_at.is_none());
    let counted = NoiseEntry::new(&tally, before.as_ref(), &budgets, args.top.into(), args.by);
    let Some(config) = config else { return Ok(counted) };
    let place = match database(&config) {
        Some(url) => JournalPlace::Postgres(url),
        None => JournalPlace::Sqlite(reader.dir().to_owned()),
    };
    let past = || {
        let records = JournalPast::open(&place).map_err(|e| HistoryError::Source(e.to_string()))?;
        Ok(history::journal::past(records.map(|read| read.map(|record| (record.now, record.event)))))
    };
    let suggestions = history::suggest(past, &config.policy, Effort::COMMAND).map_err(|e| e.to_string())?;
    Ok(counted.suggesting(&Priced { at: Some(wall()), suggestions }))
}

async fn ask(args: &Args, since: Timestamp, until: Timestamp) -> Result<NoiseEntry, String> {
    let (since, until, limit) = (since.to_string(), until.to_string(), args.top.to_string());
    let parameters =
        [("since", since), ("until", until), ("limit", limit), ("by", args.by.as_str().to_owned())];
    ServerClient::new(&args.server)?.get("/api/v1/noise", &parameters).await
}
