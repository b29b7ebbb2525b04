//! The text of `squelch.yml` → a validated [`Config`], or everything that is wrong with it.

mod access;
mod enrichment;
mod escalation;
mod foreign;
mod inhibition;
mod intervals;
mod lines;
mod noise;
mod not_in_force;
mod on_call;
mod receivers;
mod report;
mod routes;
mod storage;
mod templates;
mod tracing;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use receivers::Defaults;
pub use storage::database_url;
pub use templates::MAX_FILE;

use super::Problem;
use super::masked::masked;
use super::{Config, HttpConfig, Lines, Policy};
use crate::model::Duration;
use crate::receivers::TYPES;
use crate::settings::section::{Problems, Section};
use crate::settings::yaml::Node;
use crate::settings::{http, yaml};

/// Keys of Alertmanager's `global` for its integrations. Those that no receiver type here reads are refused.
const OF_INTEGRATIONS: [&str; 24] = [
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "opsgenie_api_url",
    "opsgenie_api_key",
    "opsgenie_api_key_file",
    "wechat_api_url",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_corp_id",
    "victorops_api_url",
    "victorops_api_key",
    "victorops_api_key_file",
    "telegram_api_url",
    "telegram_bot_token",
    "telegram_bot_token_file",
    "webex_api_url",
    "jira_api_url",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "mattermost_webhook_url",
];

/// Reads the whole text. `_file` keys are relative to the folder `base`.
pub(super) fn read(text: &str, base: &Path) -> Result<Config, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|problem| vec![problem])?;
    if let Some(problem) = foreign::of(&root) {
        return Err(vec![problem]);
    }
    let mut config = read_node(&root, base)?;
    if let Some((_, line)) = yaml::second_document(text) {
        let message = "a second document begins here and is not in force. Write one document, as Alertmanager \
                       too reads the first one only";
        config.doubts.push(Problem::new(line, message));
    }
    Ok(config)
}

/// Reads a configuration that stands in another file. Lines are those of that file.
pub(crate) fn read_node(root: &Node, base: &Path) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let config = Section::new(root, "the configuration", &problems);
    let config = config.map(|top| read_top(top, base, lines::read(root)));
    let (doubts, is_secret) = (problems.take_doubts(), problems.take_secrets());
    let found = problems.into_inner();
    match config {
        Some(config) if found.is_empty() => {
            Ok(Config { masked: masked(root, &is_secret).into(), doubts, ..config })
        }
        _ => Err(found),
    }
}

/// The keys of each section that stands in `text`, by the name that errors use for the section.
pub fn keys(text: &str) -> Result<BTreeMap<String, BTreeSet<&'static str>>, Problem> {
    let root = yaml::parse(text)?;
    let problems = Problems::default();
    if let Some(top) = Section::new(&root, "the configuration", &problems) {
        read_top(top, Path::new(""), lines::read(&root));
    }
    Ok(problems.take_keys())
}

/// Reads the options of an HTTP client.
pub(super) fn http_file(text: &str, base: &Path) -> Result<HttpConfig, Vec<Problem>> {
    let root = yaml::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let config = Section::new(&root, "the file", &problems).map(|keys| http::client(keys, base));
    match (config, problems.into_inner()) {
        (Some(config), found) if found.is_empty() => Ok(config),
        (_, found) => Err(found),
    }
}

fn read_top(mut top: Section<'_>, base: &Path, lines: Lines) -> Config {
    // Every templated key below may call them.
    templates::read(&mut top, base);
    let global = global(top.section("global"), base, top.problems);
    let (severities, escalations) = noise::severities(&mut top);
    let ignore_labels = noise::ignore_labels(top.section("identity"));
    let profiles = noise::profiles(top.section("noise"), &severities);
    let problems = top.problems;
    let nodes = top.list("receivers");
    let receivers = receivers::read(nodes.unwrap_or_default(), &global.defaults, top.problems);
    if top.node("receivers").is_none() || nodes.is_some_and(<[_]>::is_empty) {
        top.problems.add(top.line, "the configuration has no receivers. Name at least one");
    }
    let lists = [top.list("time_intervals"), top.list("mute_time_intervals")];
    let time_intervals = intervals::read(lists.into_iter().flatten(), top.problems);
    let heartbeats = trust::heartbeats(&mut top, &receivers.deciding, &severities, problems);
    let self_check = trust::self_check(top.section("self_check"), &receivers.deciding);
    let (limits, memory) = trust::limits(top.section("limits"));
    trust::known_levels(&global.failopen, &severities, top.line_of("global"), problems);
    let rules = top.list("inhibit_rules").unwrap_or_default();
    let inhibit_rules = inhibition::read(rules, top.problems);
    let names = routes::Names {
        receivers: receivers.deciding.keys().map(|name| name.as_str()).collect(),
        profiles: profiles.keys().map(|name| name.as_str()).collect(),
        intervals: time_intervals.keys().map(|name| name.as_str()).collect(),
    };
    let (routes, group_times) = match top.section("route") {
        Some(root) => routes::read(root, &names),
        None => {
            if top.node("route").is_none() {
                top.problems.add(top.line, "the configuration has no route. Write route: {receiver: NAME}");
            }
            (Vec::new(), Vec::new())
        }
    };
    escalation::check(&severities, &escalations, &routes, &receivers.deciding, problems);
    top.absent(&storage::NO_PARTITIONS);
    let (storage, postgres) = storage::read(top.section("storage"), base);
    let on_call = on_call::read(top.section("on_call"));
    let report = report::read(top.section("report"), &receivers.deciding);
    let sources = top.list("sources").unwrap_or_default();
    let users = top.list("users").unwrap_or_default();
    let access = access::read(sources, users, base, top.problems);
    let enrichment = enrichment::read(top.section("enrichment"), base);
    let tracing = tracing::read(top.section("tracing"), base);
    not_in_force::check(&mut top, base);
    top.finish();
    let policy = Policy {
        severities,
        ignore_labels,
        routes,
        receivers: receivers.deciding,
        noise: profiles,
        resolve_timeout: global.resolve_timeout,
        stale_after: global.stale_after,
        time_intervals,
        inhibit_rules,
        lines,
        failopen: global.failopen,
        heartbeats,
        self_check,
        limits,
    };
    Config {
        policy,
        receivers: receivers.sending,
        receiver_labels: receivers.labels,
        templates: problems.library(),
        access,
        tracing,
        enrichment,
        storage,
        on_call,
        report,
        postgres,
        memory,
        masked: "".into(),
        doubts: Vec::new(),
        group_times,
    }
}

struct Global<'b> {
    resolve_timeout: Duration,
    stale_after: Duration,
    failopen: crate::config::FailOpen,
    defaults: Defaults<'b>,
}

fn global<'b>(section: Option<Section<'_>>, base: &'b Path, problems: &Problems) -> Global<'b> {
    let mut keys = section.unwrap_or_else(|| Section::empty(problems));
    let mut global = Global {
        resolve_timeout: Duration::from_mins(5),
        stale_after: Duration::from_hours(12),
        failopen: crate::config::FailOpen::default(),
        defaults: Defaults { readers: Vec::new(), http: HttpConfig::default(), base },
    };
    match keys.duration("resolve_timeout") {
        Some(Duration::ZERO) => {
            let message = "resolve_timeout is 0s, with which an alert without an end would resolve at once. \
                           Squelch takes 5m";
            keys.problems.doubt(keys.line_of("resolve_timeout"), message);
        }
        given => global.resolve_timeout = given.unwrap_or(global.resolve_timeout),
    }
    global.stale_after = keys.positive("stale_after").unwrap_or(global.stale_after);
    global.failopen = trust::failopen(&mut keys);
    global.defaults.readers = TYPES.iter().map(|kind| (*kind, (kind.reader)(&mut keys, base))).collect();
    global.defaults.http = http::http_config(&mut keys, base).unwrap_or_default();
    keys.unsupported(&OF_INTEGRATIONS);
    keys.finish();
    global
}
