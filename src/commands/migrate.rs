//! `squelch migrate`: lists the changes for a user who moves from Alertmanager to Squelch.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use axum::http::uri::Authority;

use super::wrote;
use crate::config::{self, Config, GroupBy, IntegrationRef, KnownBy, Problem, Route};

/// Checks an alertmanager.yml, and says what changes with Squelch and which two edits to make.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The configuration of your Alertmanager.
    #[arg(value_name = "ALERTMANAGER.YML")]
    pub file: PathBuf,
    /// Where Squelch will listen, as Prometheus and Alertmanager will call it.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9096", value_parser = called)]
    pub address: String,
}

const EXAMPLES: &str = "\
Examples:
  Check the configuration of an Alertmanager, for a Squelch at squelch:9096:
    squelch migrate /etc/prometheus/alertmanager.yml --address=squelch:9096";

/// Reads the address by which others will call Squelch, also as a URL.
fn called(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let parsed = address.parse::<Authority>().ok();
    match parsed.filter(|parsed| !parsed.host().is_empty() && !address.contains('@')) {
        Some(parsed) if parsed.port_u16().is_some() => Ok(address.to_owned()),
        _ => Err("write a host and a port without a path, such as squelch:9096".into()),
    }
}

/// The address for Squelch to listen on. A name may stand for several addresses.
fn listens(called: &str) -> String {
    let port = called.rsplit_once(':').map_or("9096", |(_, port)| port);
    if super::address(called).is_ok() { called.to_owned() } else { format!(":{port}") }
}

/// Writes the report to `out`. The code is 1 if the file does not load or `out` fails.
pub fn run(args: &Args, out: &mut dyn Write) -> ExitCode {
    let config = match config::load(&args.file) {
        Ok(config) => config,
        Err(errors) => {
            let _ = writeln!(out, "{} does not load:", args.file.display());
            let _ = writeln!(out, "{errors}");
            return ExitCode::FAILURE;
        }
    };
    wrote(report(&config, args, out))
}

fn report(config: &Config, args: &Args, out: &mut dyn Write) -> io::Result<()> {
    let file = args.file.display();
    writeln!(out, "{file} loads unchanged.\n")?;
    receivers(config, out)?;
    groups(&config.policy.routes, out)?;
    differences(config, out)?;
    let switches = config::dead_mans_switches(config);
    warnings(config, &switches, &args.file, out)?;
    let root = config.policy.routes.first();
    edits(args, root.map_or(String::new(), |root| names(&root.group_by)), &switches, out)
}

fn receivers(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Receivers in force")?;
    let used: BTreeSet<&str> = config.policy.routes.iter().map(|route| route.receiver.as_str()).collect();
    for (name, receiver) in &config.policy.receivers {
        let unused = match used.contains(name.as_str()) {
            true => String::new(),
            false => format!(" ({})", use_of(config, name)),
        };
        writeln!(out, "  {name}{unused}")?;
        if receiver.integrations.is_empty() {
            writeln!(out, "    no integration: it notifies nobody, as in Alertmanager")?;
        }
        for integration in &receiver.integrations {
            let resolves = if integration.send_resolved { "" } else { " (send_resolved is false)" };
            writeln!(out, "    {}: {}{resolves}", integration.name, of_incident(integration.known_by))?;
        }
    }
    writeln!(out)
}

/// The use of a receiver that no route names.
fn use_of(config: &Config, name: &str) -> String {
    let policy = &config.policy;
    let levels = policy.severities.levels.iter().filter(|level| level.escalate_to.as_deref() == Some(name));
    let escalated = levels.map(|level| format!("it gets the escalations of severity {}", level.name));
    let first = policy.receivers.iter().filter(|(_, one)| one.fallback.as_deref() == Some(name));
    let fallen = first.map(|(first, _)| format!("it is the fallback of {first}"));
    let uses: Vec<String> = escalated.chain(fallen).collect();
    if uses.is_empty() { "no route names it".into() } else { uses.join(", ") }
}

/// How an incident looks at an integration, by the key that the integration uses.
fn of_incident(known_by: KnownBy) -> &'static str {
    match known_by {
        KnownBy::DedupKey => "one incident per problem, which updates and resolves change in place",
        KnownBy::Group => "one request per change, in Alertmanager's format",
        KnownBy::Nothing => "one message for each page and each resolve",
    }
}

fn groups(routes: &[Route], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "Groups: each keeps its key, so Squelch resolves the incidents that Alertmanager has open"
    )?;
    for (at, route) in routes.iter().enumerate() {
        let by = names(&route.group_by);
        writeln!(out, "  line {}: {} to {}, group_by: [{by}]", route.line, route.key, route.receiver)?;
        let parent = routes.iter().find(|parent| parent.children.contains(&at));
        let above = parent.map(|parent| names(&parent.group_by)).filter(|above| !above.is_empty());
        if let Some(above) = above.filter(|_| by.is_empty()) {
            writeln!(
                out,
                "    Alertmanager up to 0.25 takes this empty list as group_by: [{above}], so the keys change. Newer \
                 releases and Squelch make one group of all alerts. Write the labels that you mean"
            )?;
        }
    }
    writeln!(out)
}

/// The content of the brackets of `group_by`.
fn names(group_by: &GroupBy) -> String {
    match group_by {
        GroupBy::All => "'...'".into(),
        GroupBy::Labels(names) => names.join(", "),
    }
}

fn differences(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let policy = &config.policy;
    writeln!(out, "Changes")?;
    let all = policy.routes.iter();
    let longest = all.clone().map(|route| route.group_wait).max().unwrap_or_default();
    let interval = all.map(|route| route.group_interval).max().unwrap_or_default();
    let wait = match longest.is_zero() {
        true => "at once".to_owned(),
        false => format!("after group_wait, which is {longest} or less here"),
    };
    writeln!(out, "  - A new problem pages {wait}. A critical one waits only in a storm.")?;
    writeln!(
        out,
        "  - Updates of an incident are at least one group_interval apart. The longest here is {interval}."
    )?;
    of_integrations(config, out)?;
    let Some(noise) = policy.routes.first().and_then(|root| policy.noise.get(&root.noise)) else {
        return writeln!(out);
    };
    writeln!(
        out,
        "  - Alerts of a group that start within {} of its page join the incident. A later one pages anew.",
        noise.merge_window
    )?;
    writeln!(out, "  - An incident resolves once it has been quiet for {}.", noise.resolve_hold)?;
    writeln!(out, "  - Flapping alerts stay one incident.")?;
    let (storm, limit) = (&noise.storm, &noise.limit);
    if limit.pages > 0 {
        writeln!(
            out,
            "  - A receiver gets at most {} pages in {}. Further ones wait and leave as one. Critical ones do \
             not wait for this.",
            limit.pages, limit.per
        )?;
    }
    if storm.start > 0 {
        writeln!(
            out,
            "  - More than {} pages in {} are a storm and become one. In it, a critical page may wait up to 60s \
             for others.",
            storm.start, storm.window
        )?;
    }
    writeln!(out, "  - Try it on your history first: squelch backtest --help.\n")
}

/// The chats in which a mention notifies people.
const MENTIONS: [&str; 5] = ["slack", "mattermost", "rocketchat", "webex", "wechat"];

/// The changes for some of the integrations that routes lead to.
fn of_integrations(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let policy = &config.policy;
    let used: BTreeSet<&str> = policy.routes.iter().map(|route| route.receiver.as_str()).collect();
    let all = || {
        let receivers = policy.receivers.iter().filter(|(name, _)| used.contains(name.as_str()));
        receivers.flat_map(|(name, receiver)| receiver.integrations.iter().map(move |one| (name, one)))
    };
    let named = |wanted: &dyn Fn(&IntegrationRef) -> bool| {
        let found = all().filter(|(_, one)| wanted(one)).map(|(name, one)| format!("{} of {name}", one.name));
        found.collect::<Vec<_>>().join(", ")
    };
    let kind = |one: &IntegrationRef| one.name.split('[').next().unwrap_or_default().to_owned();
    let quiet = named(&|one| one.known_by == KnownBy::Nothing && !one.send_updates);
    if !quiet.is_empty() {
        writeln!(
            out,
            "  - An alert that joins an open incident makes no message at {quiet}. Alertmanager sends one. If \
             people are paged there alone, write send_updates: true on it."
        )?;
    }
    let calling = named(&|one| MENTIONS.contains(&kind(one).as_str()));
    if !calling.is_empty() {
        writeln!(
            out,
            "  - A label or an annotation calls nobody, such as <!here> or @all, at {calling}. Write the \
             mention into the text of the template."
        )?;
    }
    let merged = named(&|one| kind(one) == "webhook");
    if !merged.is_empty() {
        writeln!(
            out,
            "  - Pages that Squelch merges reach {merged} as one group. Its groupLabels are squelch_merged \
             alone, and its alerts have their own labels."
        )?;
        writeln!(
            out,
            "  - An answer of {merged} must come within its timeout, by default 60s. Otherwise Squelch sends \
             again. Alertmanager waits for group_interval. If the work takes longer, write a longer timeout."
        )?;
    }
    Ok(())
}

fn warnings(config: &Config, switches: &[Problem], file: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut found = config::warnings(config);
    found.extend_from_slice(switches);
    found.sort_by_key(|problem| problem.line);
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "Warnings")?;
    for warning in found {
        match warning.line {
            0 => writeln!(out, "  {}: {}", file.display(), warning.message)?,
            line => writeln!(out, "  {}:{line}: {}", file.display(), warning.message)?,
        }
    }
    writeln!(out)
}

/// The steps of the user.
fn edits(args: &Args, group_by: String, switches: &[Problem], out: &mut dyn Write) -> io::Result<()> {
    let (file, address, listen) = (args.file.display(), &args.address, listens(&args.address));
    let lines: Vec<String> = switches.iter().map(|route| route.line.to_string()).collect();
    let kept = match lines.is_empty() {
        true => String::new(),
        false => format!("\n     Keep your dead man's switch there too: line {}.", lines.join(", ")),
    };
    writeln!(
        out,
        "The two edits
  1. Start Squelch with this file:
       squelch serve --config.file={file} --storage.path=data/ --web.listen-address={listen} \\
         --web.external-url=http://{address}
     The links in notifications lead to --web.external-url. Without it, they have none.
  2. Send the alerts to Squelch. Either in prometheus.yml, in place of Alertmanager:
       alerting:
         alertmanagers:
           - static_configs: [{{targets: ['{address}']}}]
     Or keep Alertmanager in front, and give it this route and this receiver:
       route: {{receiver: squelch, group_by: [{group_by}], group_wait: 1s, group_interval: 15s, repeat_interval: 4h}}
       receivers:
         - name: squelch
           webhook_configs: [{{url: 'http://{address}/alertmanager/webhook'}}]{kept}
     Delete its inhibit_rules and make new silences in Squelch: Alertmanager sends no resolve for an alert
     that ends while it is silenced or inhibited.

In place of Alertmanager, copy its silences. They get new ids, so do it once:
  amtool --alertmanager.url=http://ALERTMANAGER:9093 silence query -o json > silences.json
  amtool --alertmanager.url=http://{address} silence import silences.json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrate(text: &str) -> (ExitCode, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alertmanager.yml");
        std::fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        let code = run(&Args { file, address: "squelch:9096".into() }, &mut out);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_user_learns_what_is_in_force_what_changes_and_what_to_edit() {
        let text = "route:\n  receiver: team\n  group_by: [alertname]\n  routes:\n    - {receiver: pager, \
                    matchers: [severity=critical], group_by: ['...']}\nevent_recorder: {file_outputs: [{path: a}]}\nreceivers:\n  \
                    - {name: team}\n  - name: pager\n    pagerduty_configs: [{routing_key: abc}]\n";
        let (code, told) = migrate(text);
        assert_eq!(code, ExitCode::SUCCESS, "{told}");
        for part in [
            "alertmanager.yml loads unchanged.",
            "team\n    no integration",
            "pagerduty[0]: one incident per problem",
            "line 5: {}/{severity=\"critical\"} to pager, group_by: ['...']",
            "alertmanager.yml:6: event_recorder is not in force",
            "targets: ['squelch:9096']",
            "url: 'http://squelch:9096/alertmanager/webhook'",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
    }

    #[test]
    fn a_receiver_of_escalations_or_a_fallback_is_in_use() {
        let text = "route: {receiver: team}\nseverities:\n  levels:\n    - {name: critical, respond_within: 5m, \
                    escalate_to: boss}\n    - {name: info}\nreceivers:\n  - {name: team, fallback: spare, \
                    webhook_configs: [{url: 'http://a'}]}\n  - {name: boss, webhook_configs: [{url: 'http://b'}]}\n  \
                    - {name: spare, webhook_configs: [{url: 'http://c'}]}\n  - {name: old}\n";
        let (code, told) = migrate(text);
        assert_eq!(code, ExitCode::SUCCESS, "{told}");
        for part in [
            "boss (it gets the escalations of severity critical)\n",
            "spare (it is the fallback of team)\n",
            "old (no route names it)\n",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
    }

    #[test]
    fn a_user_learns_what_each_integration_does_otherwise() {
        let receivers = "receivers:\n- name: chat\n  slack_configs: [{api_url: 'http://s/', channel: c}]\n  \
                         telegram_configs: [{bot_token: '1:t', chat_id: 5, send_updates: true}]\n- name: hook\n  \
                         webhook_configs: [{url: 'http://h/'}]\n- name: unused\n  \
                         discord_configs: [{webhook_url: 'http://d/'}]\n";
        let told =
            migrate(&format!("route: {{receiver: chat, routes: [{{receiver: hook}}]}}\n{receivers}")).1;
        for part in [
            "makes no message at slack[0] of chat. Alertmanager sends one.",
            "send_updates: true on it",
            "such as <!here> or @all, at slack[0] of chat.",
            "merges reach webhook[0] of hook as one group",
            "An answer of webhook[0] of hook must come within its timeout, by default 60s.",
            "silence import silences.json",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
        let told = migrate(
            "route: {receiver: p}\nreceivers:\n- name: p\n  pagerduty_configs: [{routing_key: abc}]\n",
        );
        for part in ["makes no message", "calls nobody", "squelch_merged", "within its timeout"] {
            assert!(!told.1.contains(part), "{part}:\n{}", told.1);
        }
    }

    #[test]
    fn a_dead_mans_switch_stays_in_alertmanager_or_becomes_a_heartbeat() {
        let text = "route:\n  receiver: a\n  routes:\n  - {matchers: [alertname=Watchdog], receiver: dms}\n\
                    receivers:\n- name: a\n- name: dms\n  webhook_configs: [{url: 'https://nosnch.in/x'}]\n";
        let told = migrate(text).1;
        for part in [
            "alertmanager.yml:4: the route to \"dms\" looks like a dead man's switch",
            "for up to 12h (stale_after) after the death of Alertmanager",
            "write heartbeat, and give the alert a route in Alertmanager with repeat_interval: 2m",
            "Keep your dead man's switch there too: line 4.",
        ] {
            assert!(told.contains(part), "{part}:\n{told}");
        }
        let heartbeat = migrate(&format!("{text}heartbeat: {{matchers: [alertname=Watchdog]}}\n")).1;
        assert!(!heartbeat.contains("dead man's switch"), "{heartbeat}");
    }

    #[test]
    fn the_address_is_a_host_and_a_port_and_serve_takes_its_part() {
        for (written, address, listen) in [
            ("squelch:9096", "squelch:9096", ":9096"),
            ("http://squelch:9096/", "squelch:9096", ":9096"),
            ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:80"),
            ("localhost:9096", "localhost:9096", "localhost:9096"),
            ("[::1]:9096", "[::1]:9096", "[::1]:9096"),
        ] {
            assert_eq!(called(written).as_deref(), Ok(address));
            assert_eq!(listens(address), listen);
            assert!(crate::commands::address(listen).is_ok(), "{listen}");
        }
        for wrong in
            ["squelch", "https://squelch:9096", "squelch:9096/a", "me@squelch:9096", ":9096", "a:99999"]
        {
            assert!(called(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_learns_of_the_limit_the_links_and_an_empty_group_by() {
        let told = migrate(
            "route:\n  receiver: a\n  group_by: [alertname, team]\n  routes: [{matchers: [a=b], group_by: []}]\n\
             receivers: [{name: a}]\n",
        );
        for part in [
            "group_by: []\n    Alertmanager up to 0.25 takes this empty list as group_by: [alertname, team]",
            "A new problem pages at once. A critical one",
            "A receiver gets at most 6 pages in 10m.",
            "a critical page may wait up to 60s",
            "--web.listen-address=:9096 \\\n         --web.external-url=http://squelch:9096\n",
        ] {
            assert!(told.1.contains(part), "{part}:\n{}", told.1);
        }
        assert_eq!(told.1.matches("takes this empty list").count(), 1, "{}", told.1);
        assert!(!told.1.contains("never waits"), "{}", told.1);
    }

    #[test]
    fn a_file_that_does_not_load_is_told_with_its_line() {
        let (code, told) = migrate("route:\n  reciever: a\n");
        assert_eq!(code, ExitCode::FAILURE);
        // Alertmanager takes a few files that Squelch refuses.
        assert!(told.contains("alertmanager.yml does not load:\n"), "{told}");
        assert!(told.contains("alertmanager.yml:2: unknown key"), "{told}");
    }
}
