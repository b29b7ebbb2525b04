//! `squelch incidents`: the open incidents, their receivers, their causes, and the next step.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use smol_str::SmolStr;

use super::asking::filters;
use super::ending::senseless;
use super::screen::{ListView, Screen};
use super::server::{self, ServerClient};
use crate::decision_log::{PastIncident, PastIncidentPage};
use crate::engine::{Origin, RowState};
use crate::model::Duration;
use crate::node::clock::wall;
use crate::templates::clean_line;
use crate::web::{IncidentEntry, IncidentPage, span};

/// Options of `squelch incidents`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only incidents with an alert that matches, such as alertname=Down. The first matcher may be a bare
    /// alertname.
    #[arg(value_name = "MATCHERS")]
    pub matchers: Vec<String>,
    /// Only at this receiver.
    #[arg(short, long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Only incidents in this state: passing, paged, flapping, resolving, superseded, closing, or observed
    /// for incidents whose profile only observes.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// List incidents that closed, with the times that they took.
    #[arg(long, conflicts_with = "state")]
    pub closed: bool,
    /// With --closed: how far back they opened.
    #[arg(long, value_name = "DURATION", default_value = "7d", requires = "closed")]
    pub since: Duration,
    /// How many are listed at most: internal incidents, and the newest of the others.
    #[arg(long, default_value = "1000", value_name = "N")]
    pub limit: NonZeroUsize,
    /// The server.
    #[command(flatten)]
    pub server: server::Args,
    /// How the list is shown.
    #[command(flatten)]
    pub view: ListView,
}

const EXAMPLES: &str = "\
Examples:
  List the open incidents, and redraw the list every 2 s:
    squelch incidents --watch
  List the open incidents of an alert at a receiver, with whole keys and titles:
    squelch incidents DiskFull --receiver=pager --wide
  List the incidents of the last month that closed:
    squelch incidents --closed --since=30d
  Write the keys of the open incidents:
    squelch incidents -o json | jq -r '.[].dedupKey'";

/// Lists. The code is 0 then, 1 if no server answers, 2 if the question is invalid.
pub async fn run(args: Args) -> ExitCode {
    let mut parameters = match filters(&args.matchers) {
        Ok(parameters) => parameters,
        Err(why) => return senseless(&why),
    };
    parameters.extend(args.receiver.iter().map(|name| ("receiver", name.clone())));
    if args.closed {
        return closed(&args, parameters).await;
    }
    parameters.extend(args.state.iter().map(|state| ("state", state.clone())));
    let ask = async |count| {
        let page = |page: IncidentPage| (page.incidents, page.next);
        let server = ServerClient::new(&args.server)?;
        let mut listed =
            server.list("/api/v1/incidents", &parameters, (args.limit.get(), count), page).await?;
        listed.entries.sort_by_cached_key(importance);
        Ok(listed)
    };
    args.view.list("incident", ask, simple).await
}

async fn closed(args: &Args, mut parameters: Vec<(&'static str, String)>) -> ExitCode {
    parameters.push(("state", "closed".into()));
    parameters.push(("since", (wall() - args.since).to_string()));
    let ask = async |count| {
        let page = |page: PastIncidentPage| (page.incidents, page.next);
        let server = ServerClient::new(&args.server)?;
        server.list("/api/v1/incidents/history", &parameters, (args.limit.get(), count), page).await
    };
    args.view.list("incident", ask, past).await
}

/// The order of the page *Now*: internal incidents first and those of observe mode last, then by state, the
/// highest severity first, then the newest.
fn importance(incident: &IncidentEntry) -> impl Ord + use<> {
    let state = incident.would.or_else(|| {
        RowState::OF_INCIDENTS.into_iter().find(|state| state.as_str() == incident.state.as_str())
    });
    let ordinary = (incident.origin != Origin::Internal, incident.would.is_some());
    (ordinary, state, incident.level, std::cmp::Reverse((incident.opened_at, incident.number)))
}

fn past(incidents: &[PastIncident], screen: &Screen) -> String {
    let length = |time: Option<Duration>| time.map_or("-".to_owned(), span);
    let row = |incident: &PastIncident| {
        vec![
            incident.severity.clone(),
            incident.title.clone(),
            incident.receiver.clone(),
            screen.moment(incident.opened_at),
            incident.closed_at.map_or("-".to_owned(), |at| screen.moment(at)),
            length(incident.time_to_notify()),
            length(incident.time_to_acknowledge()),
            length(incident.time_to_resolve()),
            screen.key(&incident.dedup_key),
        ]
    };
    let rows: Vec<_> = incidents.iter().map(row).collect();
    let head = [
        "Severity",
        "Title",
        "Receiver",
        "Opened At",
        "Closed At",
        "Notify",
        "Acknowledge",
        "Resolve",
        "Key",
    ];
    screen.list("incident", &head, &rows)
}

fn simple(incidents: &[IncidentEntry], screen: &Screen) -> String {
    let row = |incident: &IncidentEntry| {
        let next = incident
            .next
            .as_ref()
            .map_or("-".to_owned(), |next| format!("{} {}", next.action, screen.moment(next.at)));
        vec![
            if screen.is_narrow() { short_state(incident) } else { state(incident) },
            incident.title.clone(),
            incident.severity.to_string(),
            incident.receiver.to_string(),
            screen.moment(incident.opened_at),
            format!("{}/{}", incident.firing, incident.size),
            next,
            screen.key(&incident.dedup_key),
        ]
    };
    let rows: Vec<_> = incidents.iter().map(row).collect();
    let head = ["State", "Title", "Severity", "Receiver", "Opened At", "Firing", "Next", "Key"];
    let mut text = screen.list("incident", &head, &rows);
    for incident in incidents {
        if let Some(why) = &incident.not_accepted {
            text.push_str(&clean_line(&format!("Incident {}: {why}.", screen.key(&incident.dedup_key))));
            text.push('\n');
        }
    }
    text
}

/// Its state, and the decider.
pub(super) fn state(incident: &IncidentEntry) -> String {
    let by = |by: &SmolStr| format!(", acknowledged by {by}");
    let to = |to: &SmolStr| format!(", escalated to {to}");
    let by = incident.acknowledged_by.as_ref().map(by).unwrap_or_default();
    let to = incident.escalated_to.as_ref().map(to).unwrap_or_default();
    stated(incident, &format!("{by}{to}"))
}

/// The same without names, so that the title has room.
fn short_state(incident: &IncidentEntry) -> String {
    let acked = if incident.acknowledged_by.is_some() { ", acked" } else { "" };
    let escalated = if incident.escalated_to.is_some() { ", escalated" } else { "" };
    stated(incident, &format!("{acked}{escalated}"))
}

fn stated(incident: &IncidentEntry, people: &str) -> String {
    let state = match &incident.would {
        Some(would) => format!("observed (would be {})", would.as_str()),
        None => incident.state.to_string(),
    };
    let refused = if incident.refused.is_empty() { "" } else { ", refused" };
    let silenced =
        if incident.silenced > 0 && incident.silenced >= incident.firing { ", silenced" } else { "" };
    let waits = if incident.not_accepted.is_some() { ", not accepted" } else { "" };
    let state = format!("{state}{waits}{silenced}{people}");
    match incident.origin {
        Origin::Squelch => format!("{state}{refused}"),
        Origin::Sender => format!("{state}{refused} (as sent)"),
        Origin::Internal => format!("{state}{refused} (internal)"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_narrow_list_has_short_states_and_readable_titles() {
        let incident = json!({
            "number": 1, "dedupKey": "4be1ab29c16d", "groupKey": "k", "generation": 1, "receiver": "pager",
            "severity": "critical", "state": "paged", "origin": "squelch",
            "title": "CheckoutDown eu-1 (shop-1:8080)", "openedAt": "2026-11-28T14:03:10Z",
            "why": "first page", "delivered": [], "refused": [], "firing": 1, "size": 1, "alerts": [],
            "acknowledgedBy": "somebody at 127.0.0.1", "escalatedTo": "boss",
        });
        let incident: IncidentEntry = serde_json::from_value(incident).unwrap();
        let drawn = |width| simple(std::slice::from_ref(&incident), &Screen::of_width(width));
        let narrow = drawn(Some(80));
        assert!(
            narrow.contains("paged, acked, escalated ") && narrow.contains("CheckoutDown eu-1"),
            "{narrow}"
        );
        for width in [Some(120), None] {
            let roomy = drawn(width);
            assert!(roomy.contains("acknowledged by somebody at 127.0.0.1, escalated to boss"), "{roomy}");
        }
    }
}
