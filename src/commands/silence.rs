//! `squelch silence`: made, listed, changed and ended, by amtool's conventions.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::asking::{account, filters, matchers};
use super::ending::Output;
use super::ending::{say, say_json, senseless};
use super::failed;
use super::screen::{ListView, Screen};
use super::server::{self, ServerClient};
use crate::model::{Duration, SilenceState, Timestamp};
use crate::node::clock::wall;
use crate::web::{MatcherForm, SilenceEntry, SilenceForm, SilencePage};

/// Options of `squelch silence`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Silence matching alerts, from now on. Prints the id.
    Add(Add),
    /// List silences. By default those in force or to come, the first to end first.
    #[command(alias = "list")]
    Query(Query),
    /// Change the end of silences, or their comment. Prints their ids.
    Update(Update),
    /// End silences. An alert that they suppressed pages then, if it still fires.
    Expire(Expire),
}

const EXAMPLES: &str = "\
Examples:
  Silence an alert of a host for two hours, and end the silence early:
    squelch silence add DiskFull host=db-1 -c 'disk swap' -d 2h
    squelch silence expire 8a1c5b3e-0d4f-4a57-9c1e-2f60b7d3a915
  List the silences in force:
    squelch silence query";

const ADD_EXAMPLES: &str = "\
Examples:
  Silence an alert of a host for two hours:
    squelch silence add DiskFull host=db-1 -c 'disk swap' -d 2h
  Silence a maintenance window that begins later:
    squelch silence add 'cluster=eu' -c 'upgrade' --start=2027-01-09T22:00:00Z --end=2027-01-10T02:00:00Z";

const QUERY_EXAMPLES: &str = "\
Examples:
  List the silences that end within an hour:
    squelch silence query --within=1h
  List the silences of a person that are over, by their ids only:
    squelch silence query --expired --created-by=ada -q";

const UPDATE_EXAMPLES: &str = "\
Examples:
  Let a silence last four hours from now on:
    squelch silence update 8a1c5b3e-0d4f-4a57-9c1e-2f60b7d3a915 -d 4h -c 'the disk is late'";

const EXPIRE_EXAMPLES: &str = "\
Examples:
  End a silence:
    squelch silence expire 8a1c5b3e-0d4f-4a57-9c1e-2f60b7d3a915
  End every silence of a person:
    squelch silence query --created-by=ada -q | xargs squelch silence expire";

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
struct Add {
    /// The alerts to silence: matchers such as alertname=Down host=~"db.*". The first may be a bare
    /// alertname.
    #[arg(required = true, value_name = "MATCHERS")]
    matchers: Vec<String>,
    /// Why.
    #[arg(short, long, required = true)]
    comment: String,
    /// Your name, by default the name of your account. A server with users writes the user instead.
    #[arg(short, long)]
    author: Option<String>,
    /// How long.
    #[arg(short, long, default_value = "2h", value_name = "DURATION")]
    duration: Duration,
    /// The start, RFC 3339. By default now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    start: Option<Timestamp>,
    /// Until when, RFC 3339, in place of --duration.
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<Timestamp>,
    #[command(flatten)]
    server: server::Args,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    output: Output,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = QUERY_EXAMPLES)]
struct Query {
    /// Only silences with such matchers, as if those were labels. The first may be a bare alertname.
    #[arg(value_name = "MATCHERS")]
    matchers: Vec<String>,
    /// Only expired silences, in place of those in force or to come.
    #[arg(long)]
    expired: bool,
    /// Only silences that end within this time. With --expired, those that ended within it.
    #[arg(long, value_name = "DURATION")]
    within: Option<Duration>,
    /// Only those of this author.
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// Only their ids.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    server: server::Args,
    #[command(flatten)]
    view: ListView,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = UPDATE_EXAMPLES)]
struct Update {
    /// Which ones.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// How long from now on.
    #[arg(short, long, value_name = "DURATION")]
    duration: Option<Duration>,
    /// Until when, RFC 3339, in place of --duration.
    #[arg(long, value_name = "TIME", value_parser = time)]
    end: Option<Timestamp>,
    /// Why.
    #[arg(short, long)]
    comment: Option<String>,
    #[command(flatten)]
    server: server::Args,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXPIRE_EXAMPLES)]
struct Expire {
    /// Which ones.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    server: server::Args,
}

/// The server's answer about a silence that it made, changed or ended.
#[derive(Serialize, Deserialize)]
struct Changed {
    #[serde(rename = "silenceID")]
    silence_id: String,
}

/// Runs it. The code is 0, 1 if the server refused or none answers, 2 if the request is invalid.
pub async fn run(args: Args) -> ExitCode {
    match args.action {
        Action::Add(args) => add(args).await,
        Action::Query(args) => query(args).await,
        Action::Update(args) => update(args).await,
        Action::Expire(args) => expire(args).await,
    }
}

async fn add(args: Add) -> ExitCode {
    let starts_at = args.start.unwrap_or_else(wall);
    let ends_at = args.end.unwrap_or(starts_at + args.duration);
    let matchers = match matchers(&args.matchers) {
        Ok(matchers) if matchers.is_empty() => {
            return senseless("no matcher is given. Give one such as alertname=Down");
        }
        Ok(matchers) => matchers,
        Err(why) => return senseless(&why),
    };
    if ends_at <= starts_at {
        return senseless(&format!("the silence would end at {ends_at}. Give a time after {starts_at}"));
    }
    let form = SilenceForm {
        id: None,
        matchers: matchers.iter().map(MatcherForm::from).collect(),
        starts_at,
        ends_at,
        created_by: args.author.unwrap_or_else(account),
        comment: args.comment,
    };
    let made = async { set(&ServerClient::new(&args.server)?, &form).await };
    match (made.await, args.output) {
        (Err(why), _) => failed(&why),
        (Ok(changed), Output::Json) => say_json(&changed),
        (Ok(changed), Output::Simple) => say(&format!("{}\n", changed.silence_id)),
    }
}

async fn set(server: &ServerClient, form: &SilenceForm) -> Result<Changed, String> {
    server.post("/api/v1/silences", form).await
}

async fn query(args: Query) -> ExitCode {
    let parameters = match filters(&args.matchers) {
        Ok(parameters) => parameters,
        Err(why) => return senseless(&why),
    };
    let ask = async || {
        let page = |page: SilencePage| (page.silences, page.next);
        let found = ServerClient::new(&args.server)?
            .list("/api/v1/silences", &parameters, (usize::MAX, false), page)
            .await?
            .entries;
        Ok(chosen(&args, found))
    };
    let ids =
        |silences: &Vec<SilenceEntry>| silences.iter().map(|silence| format!("{}\n", silence.id)).collect();
    match args.quiet {
        true => {
            ListView { output: Output::Simple, ..args.view.clone() }.show(ask, |found, _| ids(found)).await
        }
        false => args.view.show(ask, |found, screen| simple(found, screen)).await,
    }
}

/// The silences that the options ask for, the first to end first.
fn chosen(args: &Query, mut silences: Vec<SilenceEntry>) -> Vec<SilenceEntry> {
    let now = wall();
    silences.retain(|silence| {
        let within = |length| match args.expired {
            true => silence.ends_at >= now - length,
            false => silence.ends_at <= now + length,
        };
        (silence.status.state == SilenceState::Expired) == args.expired
            && args.within.is_none_or(within)
            && args.created_by.as_ref().is_none_or(|name| *name == silence.created_by)
    });
    silences.sort_by(|a, b| (a.ends_at, &a.id).cmp(&(b.ends_at, &b.id)));
    silences
}

fn simple(silences: &[SilenceEntry], screen: &Screen) -> String {
    let row = |silence: &SilenceEntry| {
        let matchers = silence.matchers.iter().map(|m| m.matcher().map_or_else(|e| e, |m| m.to_string()));
        vec![
            silence.id.clone(),
            matchers.collect::<Vec<_>>().join(" "),
            screen.moment(silence.starts_at),
            screen.moment(silence.ends_at),
            silence.status.state.as_str().to_owned(),
            silence.created_by.clone(),
            silence.comment.clone(),
        ]
    };
    let rows: Vec<_> = silences.iter().map(row).collect();
    screen.list(
        "silence",
        &["ID", "Matchers", "Starts At", "Ends At", "State", "Created By", "Comment"],
        &rows,
    )
}

async fn update(args: Update) -> ExitCode {
    if args.duration.is_none() && args.end.is_none() && args.comment.is_none() {
        return senseless("nothing is changed. Give --duration, --end or --comment");
    }
    let done = async {
        let server = ServerClient::new(&args.server)?;
        let mut ids = String::new();
        for id in &args.ids {
            let old: SilenceEntry = server.get(&one(id), &[]).await?;
            let end = args.end.or(args.duration.map(|length| wall() + length));
            let form = SilenceForm {
                id: Some(old.id),
                matchers: old.matchers,
                starts_at: old.starts_at,
                ends_at: end.unwrap_or(old.ends_at),
                created_by: old.created_by,
                comment: args.comment.clone().unwrap_or(old.comment),
            };
            ids.push_str(&format!("{}\n", set(&server, &form).await?.silence_id));
        }
        Ok::<_, String>(ids)
    };
    match done.await {
        Ok(ids) => say(&ids),
        Err(why) => failed(&why),
    }
}

async fn expire(args: Expire) -> ExitCode {
    let done = async {
        let server = ServerClient::new(&args.server)?;
        for id in &args.ids {
            let _: Changed = server.delete(&one(id)).await?;
        }
        Ok::<_, String>(())
    };
    match done.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

fn one(id: &str) -> String {
    format!("/api/v1/silences/{}", server::encoded(id))
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_another_word_for_query() {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("silence"));
        for word in ["list", "query"] {
            let read = command.clone().try_get_matches_from(["silence", word]);
            assert_eq!(read.unwrap().subcommand_name(), Some("query"), "{word}");
        }
    }
}
