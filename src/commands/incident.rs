//! `squelch incident`: one incident, open or closed, with all that happened to it, and changes of it.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::asking::account;
use super::ending::Output;
use super::ending::{say, say_json};
use super::failed;
use super::screen::{ListView, Screen};
use super::server::{self, ServerClient};
use crate::decision_log::{PastIncidentDetail, Review, SHORTEST_KEY, plain};
use crate::model::LabelSet;
use crate::web::{IncidentEntry, IncidentPage};

/// So many alerts of an incident are shown, if `--wide` does not ask for all that the server lists.
const ALERTS: usize = 20;

/// Options of `squelch incident`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Show one incident with its timeline.
    Show(Show),
    /// Write the review of an incident in Markdown, with empty sections for people to complete.
    #[command(alias = "review")]
    Export(Export),
    /// Acknowledge an open incident, so that Squelch does not repeat or escalate it, or take that back.
    Acknowledge(Acknowledge),
    /// Write a note about an incident, open or closed.
    Note(Note),
}

const EXAMPLES: &str = "\
Examples:
  Show an incident by the first digits of its key:
    squelch incident show 4be1ab29c16d
  Write its review:
    squelch incident export 4be1ab29c16d > review.md
  Take it on, and say what you do:
    squelch incident acknowledge 4be1ab29c16d
    squelch incident note 4be1ab29c16d 'rolled back to release 11'";

const ACKNOWLEDGE_EXAMPLES: &str = "\
Examples:
  Acknowledge an incident by the first digits of its key:
    squelch incident acknowledge 4be1ab29c16d
  Take the acknowledgement back, so that Squelch repeats and escalates the incident again:
    squelch incident acknowledge 4be1ab29c16d --take-back";

const NOTE_EXAMPLES: &str = "\
Examples:
  Write a note about an incident:
    squelch incident note 4be1ab29c16d 'rolled back to release 11'
  Write it under another name:
    squelch incident note 4be1ab29c16d 'the disk is full' --author=ada";

const SHOW_EXAMPLES: &str = "\
Examples:
  Show an incident by the first digits of its key, and redraw it every 2 s:
    squelch incident show 4be1ab29c16d --watch
  Show an older incident that had the same key:
    squelch incident show 4be1ab29c16d --number=17";

const EXPORT_EXAMPLES: &str = "\
Examples:
  Write the review of an incident:
    squelch incident export 4be1ab29c16d > review.md
  Write the same as JSON:
    squelch incident export 4be1ab29c16d -o json";

/// Which incident.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
struct Which {
    /// The key of the incident, or a beginning of at least 6 hex digits that no other incident has.
    #[arg(value_name = "KEY", value_parser = key)]
    key: String,
    /// The number of an older incident with the same key. By default the newest.
    #[arg(long, value_name = "N")]
    number: Option<u64>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct Show {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: server::Args,
    #[command(flatten)]
    view: ListView,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXPORT_EXAMPLES)]
struct Export {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    server: server::Args,
    /// Output format: Markdown, or the same as JSON.
    #[arg(short, long, value_enum, default_value = "simple")]
    output: Output,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ACKNOWLEDGE_EXAMPLES)]
struct Acknowledge {
    /// The key of the incident, or a beginning of at least 6 hex digits that no other incident has.
    #[arg(value_name = "KEY", value_parser = key)]
    key: String,
    /// Take the acknowledgement back. A pager that shows the incident as acknowledged goes on showing that.
    #[arg(long = "take-back")]
    take_back: bool,
    /// Your name. Where users are configured, Squelch takes the name of the user. By default the name of
    /// your account on this machine.
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    #[command(flatten)]
    server: server::Args,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = NOTE_EXAMPLES)]
struct Note {
    /// The key of the incident, or a beginning of at least 6 hex digits that no other incident has.
    #[arg(value_name = "KEY", value_parser = key)]
    key: String,
    /// The note, at most 10,000 bytes.
    #[arg(value_name = "TEXT")]
    text: String,
    /// Your name. Where users are configured, Squelch takes the name of the user. By default the name of
    /// your account on this machine.
    #[arg(short, long, value_name = "NAME")]
    author: Option<String>,
    #[command(flatten)]
    server: server::Args,
}

/// The server's answer to a change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    dedup_key: String,
}

/// An incident as the history has it, and as it stands if it is open.
#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    detail: PastIncidentDetail,
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<IncidentEntry>,
    /// The address of its page.
    page: String,
}

impl Which {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        self.number.iter().map(|number| ("number", number.to_string())).collect()
    }
}

/// Reads a key, or the beginning of one.
fn key(text: &str) -> Result<String, String> {
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    match hex && (SHORTEST_KEY..=64).contains(&text.len()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("write {SHORTEST_KEY} to 64 hex digits, as `squelch incidents` shows them")),
    }
}

/// Shows or writes: 0 then, 1 if there is no such incident or the server does not answer.
pub async fn run(args: Args) -> ExitCode {
    match args.action {
        Action::Show(args) => {
            let path = format!("/api/v1/incidents/{}", args.which.key);
            let ask = async || {
                let server = ServerClient::new(&args.server)?;
                let detail: PastIncidentDetail = server.get(&path, &args.which.parameters()).await?;
                let (key, number) = (&detail.incident.dedup_key, detail.incident.number);
                let page = server.page(&format!("/incident?key={key}"));
                // One that closed is listed until its receivers have accepted the resolve.
                let listed: IncidentPage = server.get("/api/v1/incidents", &[("key", key.clone())]).await?;
                let open = listed.incidents.into_iter().find(|open| open.number == number);
                Ok(Found { detail, open, page })
            };
            args.view.show(ask, simple).await
        }
        Action::Export(args) => {
            let path = format!("/api/v1/incidents/{}/review", args.which.key);
            let found = async {
                ServerClient::new(&args.server)?.get::<Review>(&path, &args.which.parameters()).await
            };
            match (found.await, args.output) {
                (Err(why), _) => failed(&why),
                (Ok(review), Output::Json) => say_json(&review),
                (Ok(review), Output::Simple) => say(&review.markdown()),
            }
        }
        Action::Acknowledge(args) => {
            let form = serde_json::json!({"by": by(args.author), "acknowledged": !args.take_back});
            let done = match args.take_back {
                false => "is acknowledged",
                true => "is not acknowledged any more",
            };
            change(&args.server, &args.key, "acknowledge", &form, done).await
        }
        Action::Note(args) => {
            let form = serde_json::json!({"by": by(args.author), "note": args.text});
            change(&args.server, &args.key, "notes", &form, "has the note").await
        }
    }
}

fn by(author: Option<String>) -> String {
    author.unwrap_or_else(account)
}

/// Sends a change of an incident, and says that it is `done`.
async fn change(
    server: &server::Args,
    key: &str,
    what: &str,
    form: &serde_json::Value,
    done: &str,
) -> ExitCode {
    let path = format!("/api/v1/incidents/{key}/{what}");
    let changed = async { ServerClient::new(server)?.post::<Changed>(&path, form).await };
    match changed.await {
        Ok(changed) => say(&format!("Incident {} {done}.\n", Screen::new(false).key(&changed.dedup_key))),
        Err(why) => failed(&why),
    }
}

fn simple(found: &Found, screen: &Screen) -> String {
    let (detail, open) = (&found.detail, found.open.as_ref());
    let incident = &detail.incident;
    // The history has the title of the first page. Of an open incident, receivers show the title of today.
    let title = open.map(|open| open.title.as_str()).filter(|title| !title.is_empty());
    let mut text = format!("{}\n\n", plain(title.unwrap_or(&incident.title)));
    // Writing to a string cannot fail.
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14}{}", plain(&value));
    };
    let state = match open {
        Some(open) if incident.closed_at.is_some() => super::incidents::state(open),
        Some(open) => format!("open, {}", super::incidents::state(open)),
        None if incident.observed => "closed (only observed)".to_owned(),
        None => if incident.closed_at.is_some() { "closed" } else { "open" }.to_owned(),
    };
    fact("State", state);
    if let Some(next) = open.and_then(|open| open.next.as_ref()) {
        fact("Next", format!("{} {}", next.action, screen.moment(next.at)));
    }
    if let Some(why) = open.and_then(|open| open.not_accepted.as_ref()) {
        fact("Delivery", why.clone());
    }
    fact("Severity", incident.severity.clone());
    fact("Receiver", incident.receiver.clone());
    let (firing, size) =
        open.map_or((incident.firing, incident.size), |open| (open.firing as u64, open.size as u64));
    fact("Alerts", format!("{firing} of {size} fire"));
    if let Some(open) = open.filter(|open| !open.refused.is_empty()) {
        fact("Refused by", open.refused.join(", "));
    }
    let by = incident.acknowledged_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    for (name, at, by) in [
        ("Started", Some(incident.started_at), ""),
        ("Opened", Some(incident.opened_at), ""),
        ("Notified", incident.notified_at, ""),
        ("Acknowledged", incident.acknowledged_at, by.as_str()),
        ("Closed", incident.closed_at, ""),
    ] {
        if let Some(at) = at {
            fact(name, screen.moment(at) + by);
        }
    }
    fact("Key", screen.key(&incident.dedup_key));
    fact("Page", found.page.clone());
    for rule in &detail.rules {
        let of = |name: &str| rule.annotations.get(name).map_or("", String::as_str);
        let summary = if of("summary").is_empty() { of("description") } else { of("summary") };
        for (name, value) in [
            ("Summary", summary),
            ("Runbook", of("runbook_url")),
            ("Dashboard", of("dashboard_url")),
            ("Graph", rule.generator_url.as_str()),
        ] {
            if !value.is_empty() {
                fact(name, format!("{value} ({})", rule.name));
            }
        }
    }
    text.push_str(&alerts(found, screen));
    text.push_str("\nTimeline\n");
    for event in &detail.events {
        // A note can have several lines.
        let mut lines = event.text.lines().map(plain);
        let _ = writeln!(text, "  {}  {}", screen.moment(event.at), lines.next().unwrap_or_default());
        lines.for_each(|line| text.push_str(&format!("      {line}\n")));
    }
    if detail.left_out > 0 {
        let _ = writeln!(text, "  The list leaves out {} events in its middle.", detail.left_out);
    }
    text
}

/// The alerts: of an open incident with their states, of a closed one with their times.
fn alerts(found: &Found, screen: &Screen) -> String {
    let name = |labels: &LabelSet| labels.value("alertname").to_owned();
    let others = |labels: &LabelSet| labels.filter(|name| name != "alertname").to_string();
    let (head, mut rows, size): (&[&str], Vec<Vec<String>>, u64) = match &found.open {
        Some(open) => {
            let state = |firing| if firing { "firing" } else { "resolved" }.to_owned();
            let rows = open.alerts.iter().map(|alert| {
                let labels = &alert.labels;
                vec![state(alert.firing), alert.severity.to_string(), name(labels), others(labels)]
            });
            let rows = rows.collect();
            (&["State", "Severity", "Alertname", "Labels"], rows, open.size as u64)
        }
        None => {
            let row = |alert: &crate::decision_log::IncidentAlertEntry| {
                let labels = LabelSet::from_pairs(alert.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                let (started, last) = (screen.moment(alert.started_at), screen.moment(alert.last_at));
                vec![started, last, name(&labels), others(&labels)]
            };
            let rows = found.detail.alerts.iter().map(row).collect();
            (&["Started At", "Last Decision", "Alertname", "Labels"], rows, found.detail.incident.size)
        }
    };
    if rows.is_empty() {
        return String::new();
    }
    rows.truncate(if screen.wide() { rows.len() } else { ALERTS });
    let mut text = format!("\nAlerts\n{}", screen.table(head, &rows));
    let more = size.saturating_sub(rows.len() as u64);
    if more > 0 {
        text.push_str(&format!("The list leaves out {more} alerts.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn a_key_has_six_hex_digits_at_least() {
        assert_eq!(key("4BE1ab").as_deref(), Ok("4be1ab"));
        for wrong in ["4be1a", "alerts", &"a".repeat(65)] {
            assert!(key(wrong).unwrap_err().contains("6 to 64 hex digits"), "{wrong}");
        }
    }
}
