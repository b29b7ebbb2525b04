//! `squelch explain`: why alerts did or did not page, as a timeline in plain sentences.

use std::path::PathBuf;
use std::process::ExitCode;

use super::asking::matchers;
use super::ending::Output;
use super::ending::{say, say_json, senseless};
use super::failed;
use super::screen::Screen;
use super::server::{self, ServerClient};
use crate::decision_log::{
    DecisionPage, DecisionQuery, NamedIncident, Reader, SHORTEST_KEY, WhichIncident, timeline,
};
use crate::model::{Duration, Fingerprint, Matcher, Timestamp};
use crate::node::clock::wall;
use crate::templates::clean_line;
use crate::web::{AlertPage, IncidentEntry, IncidentPage};

/// Options of `squelch explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A fingerprint (16 hex digits), the key of an incident (its first 6 to 64 hex digits), or matchers such
    /// as alertname=Down host=~"db.*". The first matcher may be a bare alertname, as for amtool.
    #[arg(required = true, value_name = "FINGERPRINT|DEDUP_KEY|MATCHERS")]
    pub what: Vec<String>,
    /// How far to look back.
    #[arg(long, default_value = "7d", value_name = "DURATION")]
    pub since: Duration,
    /// Only at this receiver.
    #[arg(long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// How many decisions are read at most, the newest, from 1 to 1000.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Read the storage directory of a server instead of asking one. The server may be running.
    #[arg(long = "storage.path", value_name = "DIR")]
    pub storage: Option<PathBuf>,
    /// The server.
    #[command(flatten)]
    pub server: server::Args,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Say why an alert of a host did or did not page in the last two days:
    squelch explain DiskFull host=db-1 --since=2d
  Show the story of an incident:
    squelch explain 4be1ab29c16d
  Read the files of a server that is down:
    squelch explain DiskFull --storage.path=data/";

/// The subject of the question.
#[derive(Debug)]
enum Subject {
    Fingerprint(Fingerprint),
    Incident(String),
    Matchers(Vec<Matcher>),
}

/// The most alerts of which the present state is shown.
const MOST_NOW: usize = 20;

/// Explains. The code is 0 then, 1 if nothing is known or no server answers, 2 if the question is invalid.
pub async fn run(args: Args) -> ExitCode {
    let what = match read(&args.what) {
        Ok(what) => what,
        Err(why) => return senseless(&why),
    };
    let since = wall() - args.since;
    // The files of a server do not say how an alert stands now.
    let now = match (&args.storage, args.output) {
        (None, Output::Simple) => standing(&what, &args).await,
        _ => Ok(String::new()),
    };
    let page = match &args.storage {
        Some(dir) => {
            let (reader, query) = (Reader::new(dir), query(what, since, &args));
            let found = tokio::task::spawn_blocking(move || stored(&reader, query)).await;
            found.map_err(|e| e.to_string()).flatten()
        }
        None => ask(what, since, &args).await,
    };
    let (page, now) = match (page, now) {
        (Ok(page), Ok(now)) => (page, now),
        (Err(why), _) | (_, Err(why)) => return failed(&why),
    };
    let incidents = match (&args.storage, args.output) {
        (None, Output::Simple) => open_incidents(&page, &args).await,
        _ => Ok(String::new()),
    };
    let incidents = match incidents {
        Ok(incidents) => incidents,
        Err(why) => return failed(&why),
    };
    let told = match args.output {
        Output::Json => say_json(&page.decisions),
        Output::Simple => {
            let left_out = format!("Older decisions are left out, because --limit is {}.\n", args.limit);
            let screen = Screen::new(true);
            say(&(timeline(&page.decisions, |at| screen.moment(at))
                + if page.next.is_some() { &left_out } else { "" }
                + &now
                + &incidents))
        }
    };
    if page.decisions.is_empty() && now.is_empty() {
        return failed(&format!(
            "no decision of the last {} matches. Look further back with --since",
            args.since
        ));
    }
    told
}

fn read(words: &[String]) -> Result<Subject, String> {
    if let [word] = words {
        let is_hex = word.bytes().all(|b| b.is_ascii_hexdigit());
        match word.len() {
            16 if is_hex => {
                let number = u64::from_str_radix(word, 16).map_err(|e| e.to_string())?;
                return Ok(Subject::Fingerprint(Fingerprint(number)));
            }
            SHORTEST_KEY..=64 if is_hex => return Ok(Subject::Incident(word.to_ascii_lowercase())),
            _ => {}
        }
    }
    let matchers = matchers(words)?;
    match matchers.is_empty() {
        true => Err("no matcher is given. Give one such as alertname=Down".into()),
        false => Ok(Subject::Matchers(matchers)),
    }
}

fn query(what: Subject, since: Timestamp, args: &Args) -> DecisionQuery {
    let query = DecisionQuery {
        since: Some(since),
        receiver: args.receiver.clone(),
        limit: args.limit.into(),
        ..DecisionQuery::default()
    };
    match what {
        Subject::Fingerprint(fingerprint) => DecisionQuery { fingerprint: Some(fingerprint), ..query },
        Subject::Incident(key) => DecisionQuery { incident: Some(key), ..query },
        Subject::Matchers(matchers) => DecisionQuery { matchers, ..query },
    }
}

/// The answer from the files of a server.
fn stored(reader: &Reader, mut query: DecisionQuery) -> Result<DecisionPage, String> {
    if let Some(key) = query.incident.take_if(|key| key.len() < 64) {
        let wanted = WhichIncident { key: key.clone(), number: None, observed: None };
        query.incident = match reader.incident(&wanted).map_err(|e| e.to_string())? {
            NamedIncident::One(found) => Some(found.incident.dedup_key),
            NamedIncident::None => {
                return Err(format!(
                    "no incident has a key that begins with {key}. An alert of this name is \
                                    alertname={key}"
                ));
            }
            NamedIncident::Several(keys) => {
                return Err(format!("several incidents have a key that begins so: {}", keys.join(", ")));
            }
        };
    }
    reader.search(&query).map_err(|e| e.to_string())
}

/// How the alerts that fire stand at each receiver now: a line for each, of at most [`MOST_NOW`] alerts.
async fn standing(what: &Subject, args: &Args) -> Result<String, String> {
    let mut parameters = vec![("status", "firing".to_owned()), ("limit", MOST_NOW.to_string())];
    parameters.extend(args.receiver.iter().map(|name| ("receiver", name.clone())));
    match what {
        Subject::Fingerprint(fingerprint) => parameters.push(("fingerprint", fingerprint.to_string())),
        Subject::Incident(_) => return Ok(String::new()),
        Subject::Matchers(all) => parameters.extend(all.iter().map(|m| ("filter", m.to_string()))),
    }
    let page: AlertPage = ServerClient::new(&args.server)?.get("/api/v1/alerts", &parameters).await?;
    let screen = Screen::new(true);
    let mut lines = String::new();
    for alert in &page.alerts {
        for at in &alert.receivers {
            let (labels, receiver, state, why) = (&alert.labels, &at.receiver, at.state, &at.why);
            let state = state.as_str().replace('_', " ");
            let next = at.next.as_ref();
            let next = next.map(|next| format!(". Next: {} at {}", next.action, screen.moment(next.at)));
            let next = next.unwrap_or_default();
            let line = format!("Now {labels} is {state} at {receiver}: {why}{next}.");
            lines.push_str(&clean_line(&line));
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// How the open incidents of these decisions stand, of the newest [`MOST_NOW`] incidents. It is a line if no
/// receiver has accepted the page, if a person acknowledged it, or if all its alerts resolved.
async fn open_incidents(page: &DecisionPage, args: &Args) -> Result<String, String> {
    let mut keys: Vec<&String> = Vec::new();
    for key in page.decisions.iter().filter_map(|entry| entry.incident.as_ref()) {
        if keys.len() < MOST_NOW && !keys.contains(&key) {
            keys.push(key);
        }
    }
    let (server, screen) = (ServerClient::new(&args.server)?, Screen::new(false));
    let mut lines = String::new();
    for key in keys {
        let found: IncidentPage = server.get("/api/v1/incidents", &[("key", key.clone())]).await?;
        for why in found.incidents.iter().flat_map(|incident| said_of(incident, &screen)) {
            lines.push_str(&clean_line(&format!("Incident {}: {why}.", screen.key(key))));
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// How an open incident stands, if it is not simply open at its receiver.
fn said_of(incident: &IncidentEntry, screen: &Screen) -> Vec<String> {
    let mut said: Vec<String> = incident.not_accepted.iter().cloned().collect();
    said.extend(incident.acknowledged_by.as_ref().map(|by| format!("{by} acknowledged it")));
    if let (0, Some(next)) = (incident.firing, &incident.next) {
        said.push(format!("all its alerts resolved. Next: {} at {}", next.action, screen.moment(next.at)));
    }
    said
}

async fn ask(what: Subject, since: Timestamp, args: &Args) -> Result<DecisionPage, String> {
    let mut parameters = vec![("since", since.to_string()), ("limit", args.limit.to_string())];
    parameters.extend(args.receiver.iter().map(|name| ("receiver", name.clone())));
    match what {
        Subject::Fingerprint(fingerprint) => parameters.push(("fingerprint", fingerprint.to_string())),
        Subject::Incident(key) => parameters.push(("incident", key)),
        Subject::Matchers(all) => parameters.extend(all.iter().map(|m| ("filter", m.to_string()))),
    }
    ServerClient::new(&args.server)?.get("/api/v1/decisions", &parameters).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_known_by_its_form() {
        let read = |words: &[&str]| read(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(matches!(
            read(&["22db5782a4fe1682"]),
            Ok(Subject::Fingerprint(Fingerprint(0x22db_5782_a4fe_1682)))
        ));
        assert!(matches!(read(&[&"a".repeat(64)]), Ok(Subject::Incident(_))));
        assert!(matches!(read(&["4BE1ab"]), Ok(Subject::Incident(key)) if key == "4be1ab"));
        assert!(matches!(read(&["cafe5"]), Ok(Subject::Matchers(_))), "five digits are a name");
        let Ok(Subject::Matchers(all)) = read(&["Down", "host=~a|b"]) else { panic!("no matchers") };
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [r#"alertname="Down""#, r#"host=~"a|b""#]);
        assert!(read(&["{}"]).is_err());
    }

    #[test]
    fn an_open_incident_says_who_acknowledged_it_and_when_it_closes() {
        let mut incident: IncidentEntry = serde_json::from_value(serde_json::json!({
            "number": 1, "dedupKey": "4be1ab29c16d", "groupKey": "g", "generation": 0, "receiver": "pager",
            "severity": "critical", "state": "paged", "origin": "squelch", "title": "Down", "why": "first page",
            "openedAt": "2026-11-24T00:00:00Z", "delivered": ["pagerduty[0]"], "refused": [], "firing": 1,
            "size": 1, "alerts": [], "next": {"action": "repeats", "at": "2026-11-24T04:00:00Z"},
        }))
        .unwrap();
        let screen = Screen::new(false);
        assert!(said_of(&incident, &screen).is_empty());
        (incident.firing, incident.acknowledged_by) = (0, Some("ada".into()));
        incident.next.as_mut().unwrap().action = "closes".into();
        let said = said_of(&incident, &screen);
        assert_eq!(said[0], "ada acknowledged it");
        assert!(said[1].starts_with("all its alerts resolved. Next: closes at "), "{said:?}");
        assert_eq!(said.len(), 2);
    }
}
