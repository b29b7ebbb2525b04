//! One file a subcommand.

mod alertmanager_flags;
pub mod alerts;
mod asking;
pub mod backtest;
pub mod check_config;
mod client_file;
pub mod cluster;
pub mod completion;
pub mod demo;
mod document;
mod ending;
pub mod explain;
pub mod fake_pager;
pub mod incident;
pub mod incidents;
mod listen;
pub mod log;
pub mod man;
pub mod migrate;
pub mod report;
mod screen;
pub mod serve;
mod server;
pub mod silence;
pub mod storage;
pub mod test;

use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser};

use ending::{Stopped, complain, failed, senseless, unwritten, wrote};
use listen::address;

use crate::REVISION;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "squelch", version = VERSION.as_str(), about, propagate_version = true)]
struct Cli {
    /// Whether the output has colours. `auto` colours a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Stand between Alertmanager and the pager.
    Serve(serve::Args),
    /// Say whether configuration files are valid, and list their contents.
    CheckConfig(check_config::CheckConfig),
    /// List the changes for a user of Alertmanager, and the two edits to make.
    Migrate(migrate::Args),
    /// Run behaviour tests of a configuration: the alerts that fire, and the notifications that must
    /// follow.
    Test(test::Args),
    /// Replay the past under a configuration, and count its pages.
    Backtest(backtest::Args),
    /// Say of alerts why they did or did not page.
    Explain(explain::Args),
    /// List the alerts that a server remembers, or export their history.
    Alerts(alerts::Args),
    /// List the open incidents, their receivers and the next steps, or list closed ones.
    Incidents(incidents::Args),
    /// Show one incident, acknowledge it, write a note about it, or write its review.
    Incident(incident::Args),
    /// Make, list, change and end silences.
    Silence(silence::Args),
    /// List the replicas that share a PostgreSQL, and say which one decides.
    Cluster(cluster::Args),
    /// Move the content of a storage from a file to PostgreSQL, or back.
    Storage(storage::Args),
    /// Show how much noise Squelch removed, where it comes from, and how to reduce it.
    Report(report::Args),
    /// Show Squelch at work within a minute, on a generated storm.
    Demo(demo::Args),
    /// A pager to practise on: PagerDuty, Slack and webhooks.
    FakePager(fake_pager::Args),
    /// Print the completions of a shell.
    Completion(completion::Args),
    /// Write the manual pages.
    Man(man::Args),
}

/// Runs the command line: 0 well, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(why) => return senseless(&why),
    };
    screen::set_colour(cli.color);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(args).await,
            Command::CheckConfig(args) => check_config::run(&args, &mut std::io::stdout()),
            Command::Migrate(args) => migrate::run(&args, &mut std::io::stdout()),
            Command::Test(args) => test::run(&args, &mut std::io::stdout()),
            Command::Backtest(args) => backtest::run(args).await,
            Command::Explain(args) => explain::run(args).await,
            Command::Alerts(args) => alerts::run(args).await,
            Command::Incidents(args) => incidents::run(args).await,
            Command::Incident(args) => incident::run(args).await,
            Command::Silence(args) => silence::run(args).await,
            Command::Cluster(args) => cluster::run(args).await,
            Command::Storage(args) => storage::run(args).await,
            Command::Report(args) => report::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::FakePager(args) => match fake_pager::run(args).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error.to_string()),
            },
            Command::Completion(args) => completion::run(&args, Cli::command(), &mut std::io::stdout()),
            Command::Man(args) => man::run(&args, Cli::command()),
        }
    });
    // A drop would wait for tasks that hang.
    runtime.shutdown_background();
    code
}

/// Reads the command line, and the client files for a command that asks a server. `serve` reads none of them.
fn parsed() -> Result<Cli, String> {
    let given = Cli::command().try_get_matches();
    let mut matches = given.unwrap_or_else(|error| match misses_serve(std::env::args().nth(1).as_deref()) {
        Some(hint) => Cli::command().error(ErrorKind::UnknownArgument, hint).exit(),
        None => error.exit(),
    });
    if client_file::asks_a_server(&matches) {
        matches = client_file::apply(Cli::command())?.get_matches();
    }
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// Whether the first word is a flag of `serve`, which is a command of its own here. Alertmanager has no
/// commands.
fn misses_serve(first: Option<&str>) -> Option<String> {
    let flag = first?.strip_prefix("--")?.split('=').next()?;
    let serve = Cli::command().find_subcommand("serve")?.clone();
    let its = serve.get_arguments().any(|arg| arg.get_long() == Some(flag));
    its.then(|| format!("--{flag} is a flag of serve. Write: squelch serve --{flag}"))
}

/// `0.1.0 (revision 0123456789ab, 2026-11-28)`, with the parts that `build.rs` knows.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let known: Vec<String> = [("revision ", REVISION), ("", env!("SQUELCH_REVISION_DATE"))]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}{value}"))
        .collect();
    match known.is_empty() {
        true => env!("CARGO_PKG_VERSION").to_owned(),
        false => format!("{} ({})", env!("CARGO_PKG_VERSION"), known.join(", ")),
    }
});

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// `env!` in `build.rs` is wrong without an error if a variable is misspelt.
    #[test]
    fn the_version_names_what_the_build_knows() {
        let version = VERSION.as_str();
        assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{version}");
        assert_eq!(version.contains("revision"), !REVISION.is_empty(), "{version}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The words of a line as a shell reads them, up to a pipe or a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => (quote, word) = (Some(c), Some(word.unwrap_or_default())),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.extend(word.take()),
                (c, _) => word.get_or_insert_default().push(c),
            }
        }
        assert!(quote.is_none(), "a quote is open: {line}");
        words.extend(word);
        words.into_iter().take_while(|word| !["|", ">", "&&"].contains(&word.as_str())).collect()
    }

    #[test]
    fn each_command_has_examples_and_they_parse() {
        fn check(command: &clap::Command, path: &str) {
            for inner in command.get_subcommands() {
                let name = format!("{path} {}", inner.get_name());
                let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
                let examples: Vec<&str> = help
                    .lines()
                    .filter_map(|line| {
                        line.strip_prefix("    ")?.split_once("squelch ").map(|(_, rest)| rest)
                    })
                    .collect();
                assert!(
                    help.contains("Examples:\n") && !examples.is_empty(),
                    "{name} --help has no examples"
                );
                let lines: Vec<String> = examples.iter().map(|rest| format!("squelch {rest}")).collect();
                assert!(lines.iter().any(|line| line.starts_with(&name)), "{name} has examples of others");
                for line in lines {
                    if let Err(error) = Cli::try_parse_from(words(&line)) {
                        panic!("{line}: {error}");
                    }
                }
                check(inner, &name);
            }
        }
        check(&Cli::command(), "squelch");
    }

    /// The commands in the fenced blocks of the documents, each with its file. A backslash ends a line of a
    /// command that goes on.
    fn documented() -> Vec<(PathBuf, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut waiting, mut found) = (vec![root.join("docs")], Vec::new());
        let mut documents = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
        while let Some(folder) = waiting.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match path.extension() {
                    Some(end) if end == "md" => documents.push(path),
                    _ if path.is_dir() => waiting.push(path),
                    _ => {}
                }
            }
        }
        for document in documents.into_iter().filter(|path| !path.ends_with("reference/cli.md")) {
            let text = std::fs::read_to_string(&document).unwrap().replace("\\\n", " ");
            for block in text.split("```").skip(1).step_by(2) {
                let lines = block.lines().map(|line| line.trim().trim_start_matches("$ "));
                let commands = lines.filter(|line| line.starts_with("squelch "));
                found.extend(commands.map(|line| (document.clone(), line.to_owned())));
            }
        }
        found
    }

    #[test]
    fn each_command_in_the_documents_parses() {
        let documented = documented();
        assert!(documented.len() > 20, "{documented:?}");
        for (document, line) in documented {
            let line = line.split(" # ").next().unwrap();
            if let Err(error) = Cli::command().try_get_matches_from(words(line)) {
                let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                assert!(shown, "{}: {line}: {error}", document.display());
            }
        }
    }

    #[test]
    fn flags_are_prometheus_flags() {
        let cli = Cli::try_parse_from([
            "squelch",
            "serve",
            "--config.file=a.yml",
            "--storage.path=d",
            "--web.listen-address=127.0.0.1:1",
            "--web.listen-address=[::1]:2",
            "--log.level=debug",
            "--log.format=json",
        ])
        .unwrap();
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        assert_eq!(args.listen.len(), 2);
        assert_eq!((args.log.level, args.log.format), (log::LogLevel::Debug, log::Format::Json));
        assert_eq!(Cli::try_parse_from(["squelch", "serve", "--no.such"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn an_address_that_is_none_is_told_what_would_be() {
        for command in ["serve", "fake-pager"] {
            for text in ["squelch:8096", "8096"] {
                let flag = format!("--web.listen-address={text}");
                let error = Cli::try_parse_from(["squelch", command, &flag]).unwrap_err().to_string();
                let port = if text.contains(':') { "8096" } else { "9096" };
                assert!(error.contains(&format!("127.0.0.1:{port}, or 0.0.0.0:{port}")), "{error}");
            }
        }
    }

    #[test]
    fn a_flag_of_serve_without_serve_is_told_the_command() {
        let hint = misses_serve(Some("--config.file=a.yml")).unwrap();
        assert!(hint.contains("squelch serve --config.file"), "{hint}");
        assert!(misses_serve(Some("--cluster.listen-address=")).is_some());
        for first in [None, Some("serve"), Some("--no.such"), Some("--help"), Some("-h")] {
            assert_eq!(misses_serve(first), None, "{first:?}");
        }
    }
}
