//! `squelch report`: how much noise was removed over a time, where it comes from, and what would calm it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use super::asking::{moment, say, say_json, senseless};
use super::backtest::Output;
use super::failed;
use super::screen::Screen;
use super::server::{self, Server};
use crate::config;
use crate::decision_log::{NoiseEntry, Reader, plain};
use crate::model::{Duration, Timestamp};
use crate::node::clock::wall;

/// Options of `squelch report`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// How far to look back from --until.
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    pub since: Duration,
    /// Until when, RFC 3339; now if it is not given.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// How many alert names are listed, those that came most.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = top())]
    pub top: u16,
    /// Read the storage directory of a server instead of asking one; it may be running.
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// With --storage.path: the configuration, for the page budgets that it declares.
    #[arg(long = "config.file", value_name = "FILE", requires = "storage")]
    pub config_file: Option<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: server::Args,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Report the last seven days of a server:
    squelch report
  Report October, from the files of a server that may be down, with the page budgets of its configuration:
    squelch report --since=31d --until=2026-11-01T00:00:00Z --storage.path=data/ --config.file=squelch.yml";

fn top() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1000)
}

/// Reports: 0 then, 1 if nobody can be asked, 2 if the question makes no sense.
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
            let (reader, config, top) = (Reader::new(dir), args.config_file.clone(), args.top.into());
            let counted = tokio::task::spawn_blocking(move || {
                let budgets = match config {
                    Some(file) => config::load(&file).map_err(|e| e.to_string())?.policy.budgets(),
                    None => BTreeMap::new(),
                };
                let tally = reader.tally(since, until).map_err(|e| e.to_string())?;
                Ok(NoiseEntry::new(&tally, &budgets, top))
            });
            counted.await.unwrap_or_else(|e| Err(e.to_string()))
        }
        None => ask(&args, since, until).await,
    };
    match (counted, args.output) {
        (Err(why), _) => failed(&why),
        (Ok(noise), Output::Json) => say_json(&noise),
        (Ok(noise), Output::Simple) => say(&simple(&noise, &Screen::new(true))),
    }
}

async fn ask(args: &Args, since: Timestamp, until: Timestamp) -> Result<NoiseEntry, String> {
    let parameters =
        [("since", since.to_string()), ("until", until.to_string()), ("limit", args.top.to_string())];
    Server::new(&args.server)?.get("/api/v1/noise", &parameters).await
}

fn simple(noise: &NoiseEntry, screen: &Screen) -> String {
    let mut text = format!("From {} to {}\n", moment(noise.since), moment(noise.until));
    if let Some(since) = noise.counted_since {
        text.push_str(&format!("There is more than one look reads: counted since {}\n", moment(since)));
    }
    if noise.came == 0 {
        return text + "Nothing came in.\n";
    }
    let removed = noise.removed_percent.unwrap_or(0);
    let (came, pages) = (noise.came, noise.pages);
    text.push_str(&format!("\n{came} observations in, {pages} pages out: {removed} % interrupted nobody\n"));

    if let Some(observed) = &noise.observed {
        let (pages, removed) = (observed.pages, observed.removed_percent);
        let came = observed.came;
        text.push_str(&format!(
            "Observe mode sent these as the senders sent them. Only observed: {pages} pages would have gone out for \
             {came} observations, and {removed} % would have interrupted nobody\n"
        ));
    }

    text.push_str("\nDispositions\n");
    let fate = |fate: &crate::decision_log::FateEntry| {
        let word = fate.reason.as_ref().unwrap_or(&fate.disposition).replace('_', " ");
        vec![word, fate.count.to_string(), format!("{} %", share(fate.count, came))]
    };
    text.push_str(
        &screen.table(&["Disposition", "In", "Share"], &noise.fates.iter().map(fate).collect::<Vec<_>>()),
    );

    if let Some(observed) = &noise.observed {
        let fate = |fate: &crate::decision_log::FateEntry| {
            let word = fate.reason.as_ref().unwrap_or(&fate.disposition).replace('_', " ");
            vec![word, fate.count.to_string(), format!("{} %", share(fate.count, observed.came))]
        };
        text.push_str("\nDispositions of alerts that are only observed\n");
        let rows: Vec<_> = observed.fates.iter().map(fate).collect();
        text.push_str(&screen.table(&["Disposition", "In", "Share"], &rows));
    }

    text.push_str("\nMost frequent alerts\n");
    let name = |name: &crate::decision_log::NameEntry| {
        let lasted = name.median_seconds.map_or("-".to_owned(), |s| Duration::from_secs(s).to_string());
        let (came, pages, flaps) = (name.came.to_string(), name.pages.to_string(), name.flaps.to_string());
        vec![came, pages, flaps, lasted, name.night_pages.to_string(), name.alertname.clone()]
    };
    let head = ["In", "Pages", "Flaps", "Lasted (median)", "Night pages (22-6 UTC)", "Alert"];
    text.push_str(&screen.table(&head, &noise.alerts.iter().map(name).collect::<Vec<_>>()));

    text.push_str("\nReceivers\n");
    let receiver = |receiver: &crate::decision_log::ReceiverNoiseEntry| {
        let budget = match &receiver.budget {
            None => "-".to_owned(),
            Some(budget) => {
                let over = if budget.most > budget.pages.into() { ", over budget" } else { "" };
                format!("at most {} of {} in {}{over}", budget.most, budget.pages, budget.per)
            }
        };
        vec![receiver.receiver.clone(), receiver.came.to_string(), receiver.pages.to_string(), budget]
    };
    let rows: Vec<_> = noise.receivers.iter().map(receiver).collect();
    text.push_str(&screen.table(&["Receiver", "In", "Pages", "Budget"], &rows));

    if !noise.changing_labels.is_empty() {
        text.push_str(
            "\nLabels whose value changes at each evaluation\n\
             Each change ends one alert and starts another one. Add the line under `identity`.\n",
        );
        let row = |one: &crate::decision_log::ChangingLabelEntry| {
            vec![plain(&one.alertname), plain(&one.label), one.changes.to_string(), plain(&one.yaml)]
        };
        let rows: Vec<_> = noise.changing_labels.iter().map(row).collect();
        text.push_str(&screen.table(&["Alert", "Label", "Changes in a row", "Line"], &rows));
    }

    if !noise.unknown_severities.is_empty() {
        text.push_str(
            "\nSeverity values that no level names\n\
             Correct the rules, or add the values to the aliases of a level.\n",
        );
        let row =
            |one: &crate::decision_log::UnknownSeverityEntry| vec![plain(&one.value), one.alerts.to_string()];
        let rows: Vec<_> = noise.unknown_severities.iter().map(row).collect();
        text.push_str(&screen.table(&["Value", "Alerts in 24 h"], &rows));
    }

    if !noise.advice.is_empty() {
        text.push_str("\nWhat would calm what flaps\n");
    }
    for advice in &noise.advice {
        let labels = crate::model::LabelSet::from_pairs(
            advice.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        );
        text.push_str(&format!("# {}: {} kept back\n", plain(&labels.to_string()), advice.flaps));
        text.push_str(&advice.yaml);
    }
    text
}

/// In percent, rounded down.
fn share(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}
