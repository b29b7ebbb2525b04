//! Defaults of the commands that ask a server, from a file of the user, as amtool has one.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};

use crate::config;
use crate::settings::section::{Problems, Section};
use crate::settings::{ConfigErrors, yaml};

/// The keys of a client file. Each is named as its flag.
const KEYS: [Key; 4] = [
    Key { name: "url", argument: "url" },
    Key { name: "http.config.file", argument: "http_config" },
    Key { name: "output", argument: "output" },
    Key { name: "author", argument: "author" },
];

/// A key, and the argument of clap whose default it is.
struct Key {
    name: &'static str,
    argument: &'static str,
}

/// Arguments of clap with their defaults. Clap holds only static text, and a process reads these once.
type Defaults = Vec<(&'static str, &'static str)>;

/// Whether the command that was given asks a server.
pub fn asks_a_server(matches: &ArgMatches) -> bool {
    let mut leaf = matches;
    while let Some((_, inner)) = leaf.subcommand() {
        leaf = inner;
    }
    leaf.try_contains_id("url").is_ok()
}

/// `command` with the defaults of the client files, for each subcommand that asks a server. A flag and an
/// environment variable come before a file, and the file of the person before that of the machine.
///
/// # Errors
/// A file exists and cannot be read, or has an error.
pub fn apply(command: Command) -> Result<Command, String> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/squelch/config.yml"));
    let files = home.into_iter().chain([PathBuf::from("/etc/squelch/client.yml")]);
    let mut defaults = Defaults::new();
    for file in files.filter(|file| file.exists()) {
        let name = file.display().to_string();
        let text = config::read_file(&file).map_err(|why| format!("{name}: {why}"))?;
        let base = file.parent().unwrap_or(Path::new(""));
        let found = read(&text, base).map_err(|problems| ConfigErrors::new(&name, problems).to_string())?;
        defaults.extend(found);
    }
    Ok(with(command, &defaults))
}

fn read(text: &str, base: &Path) -> Result<Defaults, Vec<crate::settings::Problem>> {
    let root = yaml::parse(text).map_err(|problem| vec![problem])?;
    let problems = Problems::default();
    let mut found = Defaults::new();
    if let Some(mut section) = Section::new(&root, "the client file", &problems) {
        for key in KEYS {
            let Some(value) = section.text(key.name) else { continue };
            let text = match key.name {
                "output" if !["simple", "json"].contains(&value.text) => {
                    problems.add(value.line, format!("output is {:?}. Write simple or json", value.text));
                    continue;
                }
                "http.config.file" => base.join(value.text).display().to_string(),
                _ => value.text.to_owned(),
            };
            found.push((key.argument, text.leak()));
        }
        section.finish();
    }
    match problems.into_inner() {
        found if !found.is_empty() => Err(found),
        _ => Ok(found),
    }
}

fn with(command: Command, defaults: &[(&'static str, &'static str)]) -> Command {
    let command = command.mut_subcommands(|inner| with(inner, defaults));
    if !command.get_arguments().any(|argument| argument.get_id() == "url") {
        return command;
    }
    command.mut_args(|argument| match defaults.iter().find(|(id, _)| argument.get_id() == *id) {
        Some((_, value)) => argument.default_value(*value),
        None => argument,
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::super::{Cli, Command as Given};
    use super::*;

    fn parsed(file: &str, args: &[&str]) -> Given {
        let defaults = read(file, Path::new("/home/ada")).unwrap();
        let matches = with(Cli::command(), &defaults).try_get_matches_from(args).unwrap();
        Cli::from_arg_matches(&matches).unwrap().command
    }

    #[test]
    fn a_client_file_holds_the_defaults_and_a_flag_wins() {
        let file = "url: http://a:1\nhttp.config.file: http.yml\noutput: json\nauthor: Ada\n";
        let Given::Incidents(args) = parsed(file, &["squelch", "incidents"]) else { panic!("others") };
        assert_eq!(args.server.url, "http://a:1");
        assert_eq!(args.server.http_config.as_deref(), Some(Path::new("/home/ada/http.yml")));
        assert_eq!(args.view.output, super::super::ending::Output::Json);
        let args = ["squelch", "incidents", "--url=http://b:2", "--output=simple"];
        let Given::Incidents(args) = parsed(file, &args) else { panic!("others") };
        assert_eq!(args.server.url, "http://b:2");
        assert_eq!(args.view.output, super::super::ending::Output::Simple);
        let Given::Silence(args) = parsed(file, &["squelch", "silence", "add", "Down", "-c=x"]) else {
            panic!("others")
        };
        assert!(format!("{args:?}").contains("Ada"), "{args:?}");
        // A command that asks no server has no defaults of the file.
        let args = ["squelch", "backtest", "--history=a.jsonl"];
        let Given::Backtest(args) = parsed(file, &args) else { panic!("others") };
        assert_eq!((args.output, args.http_config), (super::super::ending::Output::Simple, None));
    }

    #[test]
    fn a_key_or_a_value_that_is_none_is_refused_with_its_line() {
        for (file, line, part) in [
            ("url: http://a\nurls: b\n", 2, "urls"),
            ("output: yaml\n", 1, "Write simple or json"),
            ("- url\n", 1, "Write keys and values"),
        ] {
            let problems = read(file, Path::new("")).unwrap_err();
            let said = ConfigErrors::new("config.yml", problems).to_string();
            assert!(said.contains(part) && said.contains(&format!("config.yml:{line}")), "{said}");
        }
    }

    #[test]
    fn only_commands_that_ask_a_server_read_the_file() {
        let asks = |args: &[&str]| asks_a_server(&Cli::command().try_get_matches_from(args).unwrap());
        assert!(asks(&["squelch", "silence", "query"]) && asks(&["squelch", "report"]));
        assert!(!asks(&["squelch", "serve"]) && !asks(&["squelch", "backtest", "--history=a"]));
    }
}
