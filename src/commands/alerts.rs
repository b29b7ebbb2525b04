//! `squelch alerts`: the alerts that a server remembers, with their states, or a history of them.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::asking::{filters, matchers};
use super::ending::senseless;
use super::screen::{ListView, Screen};
use super::server::{self, Listed, ServerClient};
use super::storage::place;
use super::{Stopped, wrote};
use crate::engine::{Event, Origin};
use crate::history::{self, write_history};
use crate::journal::JournalPast;
use crate::model::{Duration, LabelSet, Matcher, Observation, Status, Timestamp};
use crate::node::clock::wall;
use crate::web::{AlertEntry, AlertPage, StandingEntry};

/// Options of `squelch alerts`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only alerts that match, such as alertname=Down host=~"db.*". The first matcher may be a bare
    /// alertname.
    #[arg(value_name = "MATCHERS")]
    pub matchers: Vec<String>,
    /// Which alerts.
    #[arg(long, value_enum, default_value = "firing")]
    pub status: Which,
    /// Only alerts that went to this receiver.
    #[arg(short, long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Only alerts in this state: passing, paged, flapping, resolving, held, rate_limited, withheld, muted,
    /// or observed for alerts whose profile only observes.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// How many are listed at most.
    #[arg(long, default_value = "1000", value_name = "N")]
    pub limit: NonZeroUsize,
    /// Write a history that `backtest --history` reads, in place of a list. For a server it has the last
    /// occurrence of each remembered alert. With --storage.path it has all statements that are still there.
    #[arg(long, conflicts_with_all = ["status", "receiver", "state", "limit", "output", "watch"])]
    pub export: bool,
    /// With --export: read the data directory of a server, or its PostgreSQL, whose URL stands in this file.
    /// The server may be running.
    #[arg(long = "storage.path", value_name = "DIR|URL_FILE", requires = "export")]
    pub storage: Option<PathBuf>,
    /// With --export: how far to look back. Without it, the whole history.
    #[arg(long, value_name = "DURATION", requires = "export")]
    pub since: Option<Duration>,
    /// The server.
    #[command(flatten)]
    pub server: server::Args,
    /// How the list is shown.
    #[command(flatten)]
    pub view: ListView,
}

const EXAMPLES: &str = "\
Examples:
  List the alerts that fire and have this name and host:
    squelch alerts DiskFull 'host=~db.*'
  Watch the alerts that flap:
    squelch alerts --state=flapping --watch
  Write a history for `squelch backtest --history`:
    squelch alerts --export --storage.path=data/ > history.jsonl";

/// Which alerts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Firing alerts.
    Firing,
    /// Resolved alerts that are still remembered.
    Resolved,
    /// All.
    All,
}

/// Lists or exports. The code is 0 then, 1 if no server answers, 2 if the question is invalid.
pub async fn run(args: Args) -> ExitCode {
    let wanted = match matchers(&args.matchers) {
        Ok(wanted) => wanted,
        Err(why) => return senseless(&why),
    };
    if args.export {
        return wrote(export(&args, wanted).await);
    }
    let ask = async |count| ask(&args, args.status, (args.limit.get(), count)).await;
    args.view.list("alert", ask, simple).await
}

async fn ask(args: &Args, status: Which, limit: (usize, bool)) -> Result<Listed<AlertEntry>, String> {
    let mut parameters = filters(&args.matchers)?;
    match status {
        Which::Firing => parameters.push(("status", "firing".into())),
        Which::Resolved => parameters.push(("status", "resolved".into())),
        Which::All => {}
    }
    parameters.extend(args.receiver.iter().map(|name| ("receiver", name.clone())));
    parameters.extend(args.state.iter().map(|state| ("state", state.clone())));
    let server = ServerClient::new(&args.server)?;
    server.list("/api/v1/alerts", &parameters, limit, |page: AlertPage| (page.alerts, page.next)).await
}

/// A line for each receiver at which an alert stands, the newest alert first.
fn simple(alerts: &[AlertEntry], screen: &Screen) -> String {
    let mut alerts: Vec<&AlertEntry> = alerts.iter().collect();
    alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.starts_at), alert.labels.to_string()));
    let mut rows = Vec::new();
    for alert in alerts {
        let others = alert.labels.filter(|name| name != "alertname");
        let row = |receiver: &str, state: &str, why: &str| {
            vec![
                alert.labels.value("alertname").to_owned(),
                screen.moment(alert.starts_at),
                state.to_owned(),
                receiver.to_owned(),
                others.to_string(),
                why.to_owned(),
            ]
        };
        match alert.receivers.as_slice() {
            [] => rows.push(row("-", alert.status.as_str(), "")),
            all => rows.extend(all.iter().map(|s| row(&s.receiver, &state(s), &s.why))),
        }
    }
    screen.list("alert", &["Alertname", "Starts At", "State", "Receiver", "Labels", "Why"], &rows)
}

/// The state of an alert, and whether a receiver is notified.
fn state(standing: &StandingEntry) -> String {
    match (standing.would, standing.origin) {
        (Some(would), _) => format!("observed (would be {})", would.as_str()),
        (None, Origin::Sender) => format!("{} (as sent)", standing.state.as_str()),
        (None, _) => standing.state.as_str().to_owned(),
    }
}

async fn export(args: &Args, wanted: Vec<Matcher>) -> Result<(), Stopped> {
    let from = args.since.map_or(Timestamp::ZERO, |since| wall() - since);
    let past = match &args.storage {
        Some(dir) => {
            let dir = dir.clone();
            let written = tokio::task::spawn_blocking(move || export_journal(&dir, &wanted, from)).await;
            return written.map_err(|e| e.to_string())?;
        }
        None => said(&ask(args, Which::All, (usize::MAX, false)).await?.entries, from),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for (at, observations) in past {
        write_history(&mut out, at, &observations)?;
    }
    Ok(out.flush()?)
}

/// The latest statements about these alerts: a line for the begin of each, and one for its end.
fn said(alerts: &[AlertEntry], from: Timestamp) -> Vec<(Timestamp, Vec<Observation>)> {
    let mut lines = Vec::new();
    for alert in alerts {
        let observation = |status, ends_at| Observation {
            annotations: alert.annotations.clone(),
            generator_url: alert.generator_url.clone(),
            ..Observation::new(status, alert.labels.clone(), alert.starts_at, ends_at)
        };
        lines.push((alert.starts_at, vec![observation(Status::Firing, None)]));
        if let Some(ended) = alert.ends_at {
            let at = ended.max(alert.starts_at);
            lines.push((at, vec![observation(Status::Resolved, Some(ended))]));
        }
    }
    lines.retain(|(at, _)| *at >= from);
    // Of one time, in the order of the list: begins before ends.
    lines.sort_by_key(|(at, _)| *at);
    lines
}

fn export_journal(path: &Path, wanted: &[Matcher], from: Timestamp) -> Result<(), Stopped> {
    let records = JournalPast::open(&place(path, "--storage.path")?).map_err(|e| e.to_string())?;
    let mut out = BufWriter::new(io::stdout().lock());
    let matches = |labels: &LabelSet| wanted.iter().all(|m| m.matches(labels));
    for past in history::journal::past(records.map(|r| r.map(|r| (r.now, r.event)))) {
        let past = past.map_err(|e| e.to_string())?;
        let Event::Observe(mut batch) = past.event else { continue };
        batch.observations.retain(|o| matches(&o.labels));
        if past.at >= from && !batch.observations.is_empty() {
            write_history(&mut out, past.at, &batch.observations)?;
        }
    }
    Ok(out.flush()?)
}
