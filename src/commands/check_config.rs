//! `squelch check-config`: says of each file whether it is valid, and lists its content.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::unwritten;
use crate::config::{self, AccessRules, Config, ConfigErrors, Problem, WebConfig};
use crate::deliver;
use crate::journal;
use crate::node::clock::wall;
use crate::settings::Secret;
use crate::web::Access;

/// Validates configuration files.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckConfig {
    /// Files to check. `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The file with TLS, headers and users that `squelch serve` gets. It is checked too, and each user must
    /// have a credential.
    #[arg(long = "web.config.file", env = "SQUELCH_WEB_CONFIG_FILE", value_name = "FILE")]
    pub web_config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Check a file before a reload:
    squelch check-config squelch.yml
  Check every file of a folder, as a step of CI:
    squelch check-config config/*.yml
  Check the file with TLS and users too:
    squelch check-config --web.config.file=web.yml squelch.yml";

/// Checks the files of `args` and writes the findings to `out` as `amtool check-config` does. It writes
/// success or failure of each file, its content, and warnings, which do not fail it. The code is 0 if all are
/// valid, 1 if one is not or `out` cannot be written.
pub fn run(args: &CheckConfig, out: &mut dyn Write) -> ExitCode {
    match check(args, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => unwritten(error),
    }
}

/// The same, saying whether all files are valid.
fn check(args: &CheckConfig, out: &mut dyn Write) -> io::Result<bool> {
    let mut failed = 0;
    let mut web = None;
    if let Some(file) = &args.web_config {
        write!(out, "Checking '{}'", file.display())?;
        match load_web(file) {
            Ok((config, access)) => {
                found_web(&config, &access, file, out)?;
                web = Some(config);
            }
            Err(reason) => {
                failed += 1;
                writeln!(out, "  FAILED: {reason}\n")?;
            }
        }
    }
    for file in &args.files {
        write!(out, "Checking '{}'", file.display())?;
        let checked = load(file).and_then(|config| {
            let url = database_url(&config);
            let config = sound(config, web.as_ref(), url.as_ref(), file)?;
            Ok((warnings(&config, url, args), config))
        });
        match checked {
            Ok((warnings, config)) => found(&config, warnings, file, out)?,
            Err(errors) => {
                failed += 1;
                writeln!(out, "  FAILED: {errors}\n")?;
            }
        }
    }
    if failed > 0 {
        let files = if failed == 1 { "file" } else { "files" };
        writeln!(out, "{failed} {files} failed")?;
    }
    Ok(failed == 0)
}

/// The web-config file, with the certificates and keys that it names.
fn load_web(file: &Path) -> Result<(WebConfig, Access), String> {
    let config = config::load_web(file).map_err(|errors| errors.to_string())?;
    let access = Access::new(&AccessRules::default(), &config).map_err(|error| error.to_string())?;
    Ok((config, access))
}

fn found_web(config: &WebConfig, access: &Access, file: &Path, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  SUCCESS\nFound:")?;
    writeln!(
        out,
        " - {}",
        if config.tls.is_some() { "TLS" } else { "no TLS: passwords travel in the clear" }
    )?;
    writeln!(out, " - {}", plural(config.users.len(), "user"))?;
    if let Some(reason) = access.certificate_out_of_date(wall()) {
        writeln!(out, "Warning: {}: clients refuse the certificate: {reason}. Replace it", file.display())?;
    }
    writeln!(out)
}

fn load(file: &Path) -> Result<Config, ConfigErrors> {
    if file != Path::new("-") {
        return config::load(file);
    }
    let text = config::read_bounded(io::stdin().lock());
    let text = text.map_err(|message| ConfigErrors::of_file("<stdin>", message))?;
    config::parse(&text, "<stdin>", Path::new(""))
}

/// The files that the configuration names must be right too, if they exist. With a web-config file, every
/// user can log in.
fn sound(
    config: Config,
    web: Option<&WebConfig>,
    url: Option<&UrlProblem>,
    file: &Path,
) -> Result<Config, ConfigErrors> {
    let mut wrong = config::wrong_secrets(&config);
    wrong.extend(deliver::wrong_certificates(&config.receivers));
    wrong.extend(config::lost_digests(&config));
    wrong.extend(url.filter(|found| !found.absent).map(|found| found.problem.clone()));
    if let Some(Err(error)) = web.map(|web| Access::new(&config.access, web)) {
        wrong.push(Problem::new(0, error.to_string()));
    }
    match wrong.is_empty() {
        true => Ok(config),
        false => Err(ConfigErrors::new(&file.display().to_string(), wrong)),
    }
}

/// The problem of a URL file.
struct UrlProblem {
    /// The file is not there. It may come before the start.
    absent: bool,
    problem: Problem,
}

/// The problem of the file with the URL of a database, found without a connection.
fn database_url(config: &Config) -> Option<UrlProblem> {
    let Some(Secret::File(file)) = &config.postgres else { return None };
    let (absent, reason) = match Secret::File(file.clone()).reveal() {
        Err(error) => (error.is_absent(), error.to_string()),
        Ok(url) => (false, format!("storage.postgres.url_file: {}", journal::wrong_url(&url)?)),
    };
    let message = format!("{reason}. Squelch does not start with it");
    Some(UrlProblem { absent, problem: Problem::new(file.line, message) })
}

/// Valid settings that are probably mistakes. Without a web-config file, they name the users that need one.
fn warnings(config: &Config, url: Option<UrlProblem>, args: &CheckConfig) -> Vec<Problem> {
    let mut warnings = config::warnings(config);
    warnings.extend(config::dead_mans_switches(config));
    warnings.extend(url.filter(|found| found.absent).map(|found| found.problem));
    let users = config.access.users.iter().filter(|user| user.credentials.is_empty());
    let names: Vec<&str> = users.map(|user| user.name.as_str()).collect();
    if args.web_config.is_none() && !names.is_empty() {
        let names = names.join(", ");
        let message = format!(
            "these users have no credential here: {names}. They need basic_auth_users in --web.config.file. Name \
             that file here too"
        );
        warnings.push(Problem::new(0, message));
    }
    warnings
}

fn found(config: &Config, warnings: Vec<Problem>, file: &Path, out: &mut dyn Write) -> io::Result<()> {
    let policy = &config.policy;
    let warned = match warnings.len() {
        0 => String::new(),
        n => format!(", {}", plural(n, "warning")),
    };
    writeln!(out, "  SUCCESS{warned}\nFound:")?;
    writeln!(out, " - {}", plural(policy.receivers.len(), "receiver"))?;
    writeln!(out, " - route tree of {}", plural(policy.routes.len(), "route"))?;
    writeln!(out, " - {}", plural(policy.severities.levels.len(), "severity level"))?;
    let used: BTreeSet<&str> = policy.routes.iter().map(|route| route.noise.as_str()).collect();
    writeln!(out, " - {}", plural(used.len(), "noise profile"))?;
    if !policy.heartbeats.is_empty() {
        writeln!(out, " - {}", plural(policy.heartbeats.len(), "heartbeat"))?;
    }
    let (sources, users) = (config.access.sources.len(), config.access.users.len());
    let open =
        if sources + users == 0 { ". Authentication is disabled, so listen on 127.0.0.1 only" } else { "" };
    writeln!(out, " - {} and {}{open}", plural(sources, "source"), plural(users, "user"))?;
    for level in &policy.severities.levels {
        writeln!(out, "Severity level {}", described(level))?;
    }
    let default = &policy.severities.levels[policy.severities.default].name;
    writeln!(out, "Alerts with another severity or none count as {default}")?;
    for name in used {
        let keys = config::effective_profile(&policy.noise[name]).replace('\n', "\n     ");
        writeln!(out, "Noise profile {name}:\n     {keys}")?;
    }
    for warning in warnings {
        match warning.line {
            0 => writeln!(out, "Warning: {}: {}", file.display(), warning.message)?,
            line => writeln!(out, "Warning: {}:{line}: {}", file.display(), warning.message)?,
        }
    }
    writeln!(out)
}

/// A level of severity in one line.
fn described(level: &config::Level) -> String {
    let mut text = level.name.to_string();
    if !level.aliases.is_empty() {
        text.push_str(&format!(" ({})", level.aliases.join(", ")));
    }
    match (level.never_hold, level.hold.is_zero()) {
        (true, _) => text.push_str(": its first page is never held"),
        (false, true) => text.push_str(": its first page is not held"),
        (false, false) => text.push_str(&format!(": its first page is held for {}", level.hold)),
    }
    if let Some(within) = level.respond_within {
        text.push_str(&format!(", respond within {within}"));
    }
    if let Some(to) = &level.escalate_to {
        text.push_str(&format!(", then escalate to {to}"));
    }
    if !level.description.is_empty() {
        text.push_str(&format!("\n     {}", level.description.replace('\n', "\n     ")));
    }
    text
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_there_and_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (dir.path().join("good.yml"), dir.path().join("bad.yml"));
        let text = "global: {stale_after: 1h}\nroute: {receiver: a}\nreceivers: [{name: a}]\n";
        std::fs::write(&good, text).unwrap();
        std::fs::write(&bad, "route:\n  reciever: a\n").unwrap();
        let mut out = Vec::new();
        let of = |files: &[&PathBuf], web_config: Option<&PathBuf>| CheckConfig {
            files: files.iter().map(|file| (*file).clone()).collect(),
            web_config: web_config.cloned(),
        };
        assert!(check(&of(&[&good], None), &mut out).unwrap());
        let told = String::from_utf8(out).unwrap().replace(&good.display().to_string(), "F");
        let keys = config::effective_profile(&config::Noise::default()).replace('\n', "\n     ");
        let profile = format!("Noise profile default:\n     {keys}\n");
        assert!(told.contains(&profile), "{told}");
        assert_eq!(
            told.replace(&profile, ""),
            "Checking 'F'  SUCCESS, 1 warning\nFound:\n - 1 receiver\n - route tree of 1 route\n - 3 severity levels\n \
             - 1 noise profile\n - 0 sources and 0 users. Authentication is disabled, so listen on 127.0.0.1 \
             only\nSeverity level critical (page, sev1, P1): its first page is never held\nSeverity level \
             warning: its first page is not held\nSeverity level info (none): its first page is not held\n\
             Alerts with another severity or none count as critical\nWarning: F:2: stale_after 1h is less than \
             three times repeat_interval 4h. If the sender repeats as rarely, live alerts are closed as stale. \
             Write stale_after: 12h or more\n\n"
        );
        let mut out = Vec::new();
        assert!(!check(&of(&[&good, &bad], None), &mut out).unwrap());
        let told = String::from_utf8(out).unwrap();
        assert!(told.contains("bad.yml'  FAILED: ") && told.contains("bad.yml:2: unknown key"), "{told}");
        assert!(told.ends_with("1 file failed\n"), "{told}");
    }

    #[test]
    fn a_user_of_the_web_config_file_is_looked_up_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (config, web) = (dir.path().join("squelch.yml"), dir.path().join("web.yml"));
        let text = "route: {receiver: a}\nreceivers: [{name: a, console_configs: [{}]}]\n\
                    users: [{name: alice, role: admin}]\n";
        std::fs::write(&config, text).unwrap();
        let asked = |web_config: Option<&PathBuf>, users: &str| {
            std::fs::write(&web, users).unwrap();
            let args = CheckConfig { files: vec![config.clone()], web_config: web_config.cloned() };
            let mut out = Vec::new();
            let valid = check(&args, &mut out).unwrap();
            (valid, String::from_utf8(out).unwrap())
        };
        let hash = bcrypt::hash("secret", 4).unwrap();
        let (valid, told) = asked(None, "");
        assert!(valid && told.contains("SUCCESS, 1 warning"), "{told}");
        assert!(told.contains("these users have no credential here: alice."), "{told}");
        let (valid, told) = asked(Some(&web), &format!("basic_auth_users: {{alice: '{hash}'}}"));
        assert!(valid && told.contains("no TLS") && !told.contains("Warning"), "{told}");
        let (valid, told) = asked(Some(&web), &format!("basic_auth_users: {{bob: '{hash}'}}"));
        assert!(!valid && told.contains("user \"alice\" has no credential"), "{told}");
        let (valid, told) = asked(Some(&web), "basic_auth_users: {alice: secret}");
        assert!(!valid && told.contains("web.yml:1:") && told.ends_with("1 file failed\n"), "{told}");
    }

    #[test]
    fn the_file_with_the_url_of_the_database_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("squelch.yml");
        let text = "route: {receiver: a}\nreceivers: [{name: a}]\nstorage: {postgres: {url_file: url}}\n";
        std::fs::write(&config, text).unwrap();
        let args = CheckConfig { files: vec![config], web_config: None };
        let said = || {
            let mut out = Vec::new();
            let valid = check(&args, &mut out).unwrap();
            (valid, String::from_utf8(out).unwrap())
        };
        let (valid, told) = said();
        assert!(
            valid && told.contains("squelch.yml:3: ") && told.contains("does not start with it"),
            "{told}"
        );
        for (url, right) in [("", false), ("mysql://me@db/x", false), ("postgres://me:p@db/x", true)] {
            std::fs::write(dir.path().join("url"), url).unwrap();
            let (valid, told) = said();
            assert_eq!((valid, told.contains("does not start with it")), (right, !right), "{url}: {told}");
        }
    }
}
