//! `squelch check-config`: says of each file whether it is valid, and lists its content.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::unwritten;
use crate::config::{self, Config, ConfigErrors};
use crate::deliver;

/// Validates configuration files.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckConfig {
    /// Files to check. `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Check a file before a reload:
    squelch check-config squelch.yml
  Check every file of a folder, as a step of CI:
    squelch check-config config/*.yml";

/// Checks `files` and writes the findings to `out` as `amtool check-config` does. It writes success or
/// failure of each file, its content, and warnings, which do not fail it. The code is 0 if all are valid, 1
/// if one is not or `out` cannot be written.
pub fn run(files: &[PathBuf], out: &mut dyn Write) -> ExitCode {
    match check(files, out) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => unwritten(error),
    }
}

/// The same, saying whether all files are valid.
fn check(files: &[PathBuf], out: &mut dyn Write) -> io::Result<bool> {
    let mut failed = 0;
    for file in files {
        write!(out, "Checking '{}'", file.display())?;
        match load(file).and_then(|config| sound(config, file)) {
            Ok(config) => found(&config, file, out)?,
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

fn load(file: &Path) -> Result<Config, ConfigErrors> {
    if file != Path::new("-") {
        return config::load(file);
    }
    let text = config::read_bounded(io::stdin().lock());
    let text = text.map_err(|message| ConfigErrors::of_file("<stdin>", message))?;
    config::parse(&text, "<stdin>", Path::new(""))
}

/// The files that the configuration names must be right too, if they exist.
fn sound(config: Config, file: &Path) -> Result<Config, ConfigErrors> {
    let mut wrong = config::wrong_secrets(&config);
    wrong.extend(deliver::wrong_certificates(&config.receivers));
    wrong.extend(config::lost_digests(&config));
    match wrong.is_empty() {
        true => Ok(config),
        false => Err(ConfigErrors::new(&file.display().to_string(), wrong)),
    }
}

fn found(config: &Config, file: &Path, out: &mut dyn Write) -> io::Result<()> {
    let policy = &config.policy;
    let warnings = config::warnings(config);
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
        assert!(check(std::slice::from_ref(&good), &mut out).unwrap());
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
        assert!(!check(&[good, bad], &mut out).unwrap());
        let told = String::from_utf8(out).unwrap();
        assert!(told.contains("bad.yml'  FAILED: ") && told.contains("bad.yml:2: unknown key"), "{told}");
        assert!(told.ends_with("1 file failed\n"), "{told}");
    }
}
