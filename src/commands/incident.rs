//! `squelch incident`: one incident, open or closed, with all that happened to it.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::asking::{say, say_json};
use super::backtest::Output;
use super::failed;
use super::screen::{Screen, View};
use super::server::{self, Server};
use crate::decision_log::{PastIncidentDetail, Review, SHORTEST_KEY, plain};

/// Options of `squelch incident`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum What {
    /// Show one incident with its timeline.
    Show(Show),
    /// Write the review of an incident in Markdown, with empty sections for people to complete.
    Export(Export),
}

const EXAMPLES: &str = "\
Examples:
  Show an incident by the first digits of its key:
    squelch incident show 4be1ab29c16d
  Write its review:
    squelch incident export 4be1ab29c16d > review.md";

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
    view: View,
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
    match args.what {
        What::Show(args) => {
            let path = format!("/api/v1/incidents/{}", args.which.key);
            let ask = async || {
                let server = Server::new(&args.server)?;
                server.get::<PastIncidentDetail>(&path, &args.which.parameters()).await
            };
            args.view.show(ask, simple).await
        }
        What::Export(args) => {
            let path = format!("/api/v1/incidents/{}/review", args.which.key);
            let found =
                async { Server::new(&args.server)?.get::<Review>(&path, &args.which.parameters()).await };
            match (found.await, args.output) {
                (Err(why), _) => failed(&why),
                (Ok(review), Output::Json) => say_json(&review),
                (Ok(review), Output::Simple) => say(&review.markdown()),
            }
        }
    }
}

fn simple(detail: &PastIncidentDetail, screen: &Screen) -> String {
    let incident = &detail.incident;
    let mut text = format!("{}\n\n", plain(&incident.title));
    // Writing to a string cannot fail.
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<14}{}", plain(&value));
    };
    let state = if incident.closed_at.is_some() { "closed" } else { "open" };
    fact("State", if incident.observed { format!("{state} (only observed)") } else { state.to_owned() });
    fact("Severity", incident.severity.clone());
    fact("Receiver", incident.receiver.clone());
    fact("Alerts", format!("{} of {} fire", incident.firing, incident.size));
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
    for rule in &detail.rules {
        let runbook = rule.annotations.get("runbook_url").map_or("", String::as_str);
        for (name, url) in [("Runbook", runbook), ("Graph", rule.generator_url.as_str())] {
            if !url.is_empty() {
                fact(name, format!("{url} ({})", rule.name));
            }
        }
    }
    text.push_str("\nTimeline\n");
    for event in &detail.events {
        let note = event.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        let _ = writeln!(text, "  {}  {}", screen.moment(event.at), plain(&format!("{}{note}", event.text)));
    }
    if detail.left_out > 0 {
        let _ = writeln!(text, "  The list leaves out {} events in its middle.", detail.left_out);
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
