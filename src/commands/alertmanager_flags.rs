//! The flags of Alertmanager that have no place in Squelch. A command line of an Alertmanager starts
//! Squelch too, or its error names the way of Squelch.

use clap::builder::OsStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

/// A flag of Alertmanager.
struct Flag {
    name: &'static str,
    /// The flag that switches it off. One without it has a value.
    off: Option<&'static str>,
    /// Squelch cannot start with it, because it would not do its work.
    refused: bool,
    /// The way of Squelch.
    instead: &'static str,
}

/// A flag that changes nothing.
const fn idle(name: &'static str, instead: &'static str) -> Flag {
    Flag { name, off: None, refused: false, instead }
}

const RETENTION: &str = "storage.retention in the configuration says how long Squelch keeps its history";
const TIDY: &str = "Squelch cleans its storage without a setting";
const ALERTS: &str = "limits.alerts in the configuration bounds the alerts";
const BOUNDS: &str = "Squelch bounds each request without a setting";
const CLUSTER: &str = "replicas share a PostgreSQL: storage.postgres in the configuration";
const RUNTIME: &str = "limits.memory in the configuration bounds the memory";
const SILENCES: &str = "Squelch bounds its silences without a setting";

/// All of them, in the order of Alertmanager's `--help`.
const FLAGS: [Flag; 31] = [
    idle("data.retention", RETENTION),
    idle("data.maintenance-interval", TIDY),
    idle("alerts.gc-interval", TIDY),
    idle("alerts.per-alertname-limit", ALERTS),
    idle("silences.max-silences", SILENCES),
    idle("silences.max-silence-size-bytes", SILENCES),
    Flag {
        name: "web.systemd-socket",
        off: Some("no-web.systemd-socket"),
        refused: true,
        instead: "Squelch opens its socket itself. Remove the flag, and write --web.listen-address",
    },
    idle("web.get-concurrency", BOUNDS),
    idle("web.timeout", BOUNDS),
    idle("web.ui-path", "the program holds its pages"),
    idle("dispatch.maintenance-interval", TIDY),
    idle("dispatch.start-delay", "Squelch remembers over a restart which alerts fire"),
    Flag { off: Some("no-log.silences"), ..idle("log.silences", "the decision log names each silence") },
    idle("enable-feature", "Squelch has no feature flags"),
    idle("auto-gomemlimit.ratio", RUNTIME),
    idle("cluster.listen-address", CLUSTER),
    Flag {
        name: "cluster.peer",
        off: None,
        refused: true,
        instead: "each of these Squelches would page on its own. Remove the flag, and write \
                  storage.postgres into the configuration of each replica",
    },
    idle("cluster.peer-name", CLUSTER),
    idle("cluster.peers-resolve-timeout", CLUSTER),
    idle("cluster.peer-timeout", CLUSTER),
    idle("cluster.gossip-interval", CLUSTER),
    idle("cluster.pushpull-interval", CLUSTER),
    idle("cluster.tcp-timeout", CLUSTER),
    idle("cluster.probe-timeout", CLUSTER),
    idle("cluster.probe-interval", CLUSTER),
    idle("cluster.settle-timeout", CLUSTER),
    idle("cluster.reconnect-interval", CLUSTER),
    idle("cluster.reconnect-timeout", CLUSTER),
    idle("cluster.tls-config", CLUSTER),
    idle("cluster.label", CLUSTER),
    Flag {
        off: Some("no-cluster.allow-insecure-public-advertise-address-discovery"),
        ..idle("cluster.allow-insecure-public-advertise-address-discovery", CLUSTER)
    },
];

/// The flags of Alertmanager that a command line gives.
#[derive(Clone, Default)]
pub struct Given(Vec<&'static Flag>);

impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|flag| flag.name)).finish()
    }
}

impl Given {
    /// Logs for each of them that it changes nothing, and the way of Squelch.
    pub fn log(&self) {
        for flag in &self.0 {
            let name = flag.name;
            tracing::info!("--{name} has no effect: {}", flag.instead);
        }
    }

    fn read(matches: &ArgMatches) -> Result<Given, Error> {
        let given = |flag: &&Flag| match flag.off {
            // An empty value switches it off.
            None => {
                matches.get_raw(flag.name).is_some_and(|mut values| values.any(|value| !value.is_empty()))
            }
            Some(_) => matches.get_flag(flag.name),
        };
        let given: Vec<&'static Flag> = FLAGS.iter().filter(given).collect();
        match given.iter().find(|flag| flag.refused) {
            Some(flag) => {
                let message = format!("--{} is a flag of Alertmanager: {}\n", flag.name, flag.instead);
                Err(Error::raw(ErrorKind::UnknownArgument, message))
            }
            None => Ok(Given(given)),
        }
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Given::read(matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Given::read(matches)?;
        Ok(())
    }
}

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).hide(true);
            let Some(off) = flag.off else {
                return command.arg(arg.action(ArgAction::Append).value_parser(OsStringValueParser::new()));
            };
            let off = Arg::new(off).long(off).hide(true).action(ArgAction::SetTrue);
            command.arg(arg.action(ArgAction::SetTrue)).arg(off.overrides_with(flag.name))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &[&str]) -> Result<Vec<&'static str>, String> {
        let command = <Given as clap::Args>::augment_args(Command::new("serve"));
        let matches = command.try_get_matches_from(["serve"].iter().chain(flags));
        let given = matches.and_then(|matches| Given::read(&matches));
        given.map(|given| given.0.iter().map(|flag| flag.name).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_of_alertmanager_starts_squelch_or_is_told_the_way() {
        let flags = ["--data.retention=120h", "--web.timeout", "5s", "--cluster.listen-address=0.0.0.0:9094"];
        assert_eq!(read(&flags), Ok(vec!["data.retention", "web.timeout", "cluster.listen-address"]));
        assert_eq!(read(&["--cluster.listen-address=", "--cluster.peer="]), Ok(vec![]));
        assert_eq!(read(&["--cluster.listen-address", ""]), Ok(vec![]));
        for (flag, way) in [
            ("--cluster.peer=am-1:9094", "storage.postgres"),
            ("--web.systemd-socket", "--web.listen-address"),
        ] {
            let said = read(&[flag]).unwrap_err();
            assert!(said.contains(way), "{said}");
        }
        let newer =
            ["--alerts.per-alertname-limit=9", "--dispatch.maintenance-interval=1m", "--log.silences"];
        assert_eq!(
            read(&newer),
            Ok(vec!["alerts.per-alertname-limit", "dispatch.maintenance-interval", "log.silences"])
        );
        assert_eq!(read(&["--no-web.systemd-socket", "--log.silences", "--no-log.silences"]), Ok(vec![]));
        assert!(read(&["--no.such=1"]).is_err());
    }

    /// The flags of an installed Alertmanager: Squelch has each one.
    #[test]
    fn each_flag_of_alertmanager_is_known() {
        let Ok(output) = std::process::Command::new("prometheus-alertmanager").arg("--help").output() else {
            return;
        };
        let help = [output.stdout, output.stderr].concat();
        let help = String::from_utf8_lossy(&help);
        let serve = <crate::commands::serve::Args as clap::Args>::augment_args(Command::new("serve"));
        let known: Vec<&str> = serve.get_arguments().filter_map(Arg::get_long).collect();
        // Other lines name flags in their texts.
        let flags = help.lines().filter_map(|line| line.strip_prefix("      --"));
        let names = flags.filter_map(|flag| flag.split(['=', ' ']).next());
        let names: Vec<&str> = names.filter(|name| !name.starts_with("help") && *name != "version").collect();
        assert!(names.len() > 20, "{help}");
        for name in names {
            assert!(known.contains(&name), "--{name}");
        }
    }
}
