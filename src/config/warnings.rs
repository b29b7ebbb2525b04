//! Valid settings that are probably mistakes.

use std::collections::BTreeSet;

use super::{Config, Credential, Integration, Mode, Problem, Secret, overlap};
use crate::model::Duration;

/// Probable mistakes in a valid configuration, in the order of its lines.
///
/// Reads the files of secrets, since one that is missing costs a page later.
pub fn warnings(config: &Config) -> Vec<Problem> {
    let mut found = config.doubts.clone();
    stale(config, &mut found);
    unreachable_routes(config, &mut found);
    unused_receivers(config, &mut found);
    absent_and_doubtful_files(config, &mut found);
    overlap::rings(&config.policy, &mut found);
    digests(config, &mut found);
    found.sort_by_key(|p| p.line);
    found
}

/// An alert that is merely between two repeats must not be taken for one that is gone. The file of an
/// Alertmanager says nothing about the sender, so only a user who sets `stale_after` is warned.
fn stale(config: &Config, found: &mut Vec<Problem>) {
    let policy = &config.policy;
    let Some(longest) = policy.routes.iter().max_by_key(|route| route.repeat_interval) else { return };
    let least = Duration::from_millis(longest.repeat_interval.as_millis().saturating_mul(3));
    if policy.stale_after < least && policy.stale_after != Config::default().policy.stale_after {
        let message = format!(
            "stale_after {} is less than three times repeat_interval {}. If the sender repeats as rarely, \
             live alerts are closed as stale. Write stale_after: {least} or more",
            policy.stale_after, longest.repeat_interval,
        );
        found.push(Problem::new(longest.line, message));
    }
}

fn unreachable_routes(config: &Config, found: &mut Vec<Problem>) {
    let routes = &config.policy.routes;
    for parent in routes {
        let takes_all = |i: &&usize| routes[**i].matchers.is_empty() && !routes[**i].continue_;
        let Some(&first) = parent.children.iter().find(takes_all) else { continue };
        for &child in parent.children.iter().filter(|child| **child > first) {
            let message = format!(
                "no alert gets to this route: the one on line {} takes all. Give that one matchers or continue: true",
                routes[first].line
            );
            found.push(Problem::new(routes[child].line, message));
        }
    }
}

fn unused_receivers(config: &Config, found: &mut Vec<Problem>) {
    let policy = &config.policy;
    let mut used: BTreeSet<&str> = policy.routes.iter().map(|route| route.receiver.as_str()).collect();
    used.extend(policy.receivers.values().filter_map(|receiver| receiver.fallback.as_deref()));
    used.extend(policy.severities.levels.iter().filter_map(|level| level.escalate_to.as_deref()));
    used.extend(policy.heartbeats.iter().filter_map(|heartbeat| heartbeat.receiver.as_deref()));
    used.extend(policy.self_check.receiver.as_deref());
    used.extend(config.report.iter().map(|report| report.receiver.as_str()));
    for name in config.receivers.keys().filter(|name| !used.contains(name.as_str())) {
        let message = format!(
            "receiver {name:?} gets nothing: no route, fallback, escalate_to, heartbeat, self_check or report \
             names it"
        );
        found.push(Problem::new(0, message));
    }
}

/// A digest that no integration of its receiver can show. `check-config` refuses one that is written down.
fn digests(config: &Config, found: &mut Vec<Problem>) {
    let policy = &config.policy;
    let mut named = BTreeSet::new();
    for route in policy.routes.iter().filter(|route| policy.shows_no_digest(&route.receiver)) {
        let digest = policy.noise.get(&route.noise).filter(|noise| noise.mode == Mode::Enforce);
        let digest = digest.map_or(Duration::ZERO, |noise| noise.digest);
        if !digest.is_zero() && named.insert(&route.receiver) {
            let message = format!(
                "receiver {:?} gets no digest of alerts held back there: {}, or digest: 0s in a noise profile for \
                 this route",
                route.receiver,
                shows_no_digest(config, &route.receiver)
            );
            found.push(Problem::new(route.line, message));
        }
    }
}

/// Why the integrations of a receiver show no digest, and how to change that.
fn shows_no_digest(config: &Config, receiver: &str) -> &'static str {
    let integrations = config.receivers.get(receiver).into_iter().flatten();
    let why = integrations.filter_map(|integration| integration.notifier.shows_no_digest()).next();
    why.unwrap_or("it has no integration. Give it one")
}

/// Each explicit `digest` for a receiver that cannot show one. `check-config` fails for it. A server starts
/// all the same, and withholds no page for it.
pub fn lost_digests(config: &Config) -> Vec<Problem> {
    let policy = &config.policy;
    let mut found = Vec::new();
    for (name, noise) in &policy.noise {
        let line = policy.lines.noise.get(name).and_then(|keys| keys.get("digest"));
        let Some(line) = line.filter(|_| !noise.digest.is_zero() && noise.mode == Mode::Enforce) else {
            continue;
        };
        let routes = policy.routes.iter().filter(|route| route.noise == *name);
        for route in routes.filter(|route| policy.shows_no_digest(&route.receiver)) {
            let message = format!(
                "digest: receiver {:?} of the route on line {} cannot show a digest: {}, give the receiver another \
                 integration, or give the route a noise profile with digest: 0s",
                route.receiver,
                route.line,
                shows_no_digest(config, &route.receiver)
            );
            found.push(Problem::new(*line, message));
        }
    }
    found
}

/// Wrong values in secret files, in the order of the lines that name the files. The configuration could not
/// contain such a value, so `check-config` fails for it. A server starts all the same. The other receivers
/// work, and you may fix a file while it runs.
pub fn wrong_secrets(config: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    for (secret, effect) in secrets(config) {
        let (Secret::File(file), Err(error)) = (secret, secret.reveal()) else { continue };
        if error.hangs() {
            break;
        }
        if !error.is_absent() {
            found.push(Problem::new(file.line, format!("{error}. {effect} as it stands")));
        }
    }
    found.sort_by(|a, b| (a.line, &a.message).cmp(&(b.line, &b.message)));
    found.dedup();
    found
}

fn absent_and_doubtful_files(config: &Config, found: &mut Vec<Problem>) {
    let mut files = Vec::new();
    for (secret, effect) in secrets(config) {
        let Secret::File(file) = secret else { continue };
        let message = match secret.reveal() {
            Err(error) if error.is_absent() => format!("{error}. {effect} until it is there"),
            Err(error) if error.hangs() => {
                // The others are probably on the same file system, and would take as long each.
                let rest = "secret files after one that hangs were not looked at";
                found
                    .extend([error.to_string(), rest.into()].map(|message| Problem::new(file.line, message)));
                return;
            }
            Err(_) => continue,
            Ok(text) => match file.form.doubt(&text) {
                Some(doubt) => format!("secret file {} ({}) {doubt}", file.path.display(), file.key),
                None => continue,
            },
        };
        files.push(Problem::new(file.line, message));
    }
    for notifier in config.receivers.values().flatten().map(|integration| &integration.notifier) {
        for (secret, _) in notifier.secrets() {
            if let Secret::File(file) = secret
                && let Ok(value) = secret.reveal()
                && let Some(doubt) = notifier.doubt(secret, &value)
            {
                let message = format!("secret file {} ({}) {doubt}", file.path.display(), file.key);
                files.push(Problem::new(file.line, message));
            }
        }
    }
    files.sort_by(|a, b| (a.line, &a.message).cmp(&(b.line, &b.message)));
    files.dedup();
    found.append(&mut files);
}

/// Every secret of the configuration, and the effect of one that cannot be read.
fn secrets(config: &Config) -> Vec<(&Secret, &'static str)> {
    let of_receivers = config.receivers.values().flatten().flat_map(of_integration);
    let mut all: Vec<_> = of_receivers.map(|secret| (secret, "Nothing can be sent with it")).collect();
    let (sources, users) = (&config.access.sources, &config.access.users);
    let of_access =
        sources.iter().flat_map(|s| &s.credentials).chain(users.iter().flat_map(|u| &u.credentials));
    all.extend(of_access.filter_map(|credential| match credential {
        Credential::Bearer(secret) | Credential::Basic { password: secret, .. } => {
            Some((secret, "Squelch does not start"))
        }
        Credential::ClientSan(_) => None,
    }));
    all
}

fn of_integration(integration: &Integration) -> Vec<&Secret> {
    let own = integration.notifier.secrets().into_iter().map(|(secret, _)| secret);
    integration.http.secrets().chain(own).chain(integration.notifier.callback_secret()).collect()
}
