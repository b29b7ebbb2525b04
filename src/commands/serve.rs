//! `squelch serve`: the proxy itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{OsStringValueParser, TypedValueParser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::journal;
use crate::node::{self, NodeOptions};

use super::{alertmanager_flags, log};

/// Options of `squelch serve`, in Prometheus' style.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Configuration file. It is read again on SIGHUP and POST /-/reload.
    #[arg(
        long = "config.file",
        env = "SQUELCH_CONFIG_FILE",
        default_value = "squelch.yml",
        value_name = "FILE"
    )]
    pub config_file: PathBuf,
    /// Directory of the journal. It is created if it does not exist.
    #[arg(long = "storage.path", env = "SQUELCH_STORAGE_PATH", default_value = "data/", value_name = "DIR")]
    pub storage: PathBuf,
    /// Address to listen on. You may give several, separated by commas.
    #[arg(long = "web.listen-address", env = "SQUELCH_WEB_LISTEN_ADDRESS", default_value = "127.0.0.1:9096",
          value_name = "ADDRESS", value_delimiter = ',', value_parser = super::address)]
    pub listen: Vec<SocketAddr>,
    /// TLS, headers and users of the HTTP surface, as in Prometheus' exporter-toolkit. The file is read
    /// again on reload.
    #[arg(long = "web.config.file", env = "SQUELCH_WEB_CONFIG_FILE", value_name = "FILE",
          value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub web_config: Option<PathBuf>,
    /// URL under which people reach this server. It stands in notifications.
    #[arg(long = "web.external-url", env = "SQUELCH_WEB_EXTERNAL_URL", default_value = "", value_name = "URL", value_parser = external_url)]
    pub external_url: String,
    /// Path under which everything is served. By default the path of --web.external-url.
    #[arg(long = "web.route-prefix", env = "SQUELCH_WEB_ROUTE_PREFIX", value_name = "PATH")]
    pub route_prefix: Option<String>,
    /// Where the other replicas reach this one, for replicas that share a PostgreSQL. By default the address
    /// from which PostgreSQL sees this process, with the port of the first --web.listen-address.
    #[arg(
        long = "cluster.advertise-address",
        env = "SQUELCH_CLUSTER_ADVERTISE_ADDRESS",
        value_name = "HOST[:PORT]",
        value_parser = reachable
    )]
    pub advertise: Option<String>,
    /// Flags of Alertmanager that have no place here.
    #[command(flatten)]
    pub of_alertmanager: alertmanager_flags::Given,
    /// The log.
    #[command(flatten)]
    pub log: log::Args,
}

const EXAMPLES: &str = "\
Examples:
  Serve on this machine only:
    squelch serve --config.file=squelch.yml --storage.path=data/
  Serve behind a proxy, with users, and with links in pages that lead to it:
    squelch serve --web.listen-address=0.0.0.0:9096 --web.external-url=https://ops.example/squelch --web.config.file=web.yml";

impl From<Args> for NodeOptions {
    fn from(args: Args) -> NodeOptions {
        let prefix = args.route_prefix.unwrap_or_else(|| path_of(&args.external_url).to_owned());
        let prefix = prefix.trim_matches('/');
        NodeOptions {
            config_file: args.config_file,
            storage: args.storage,
            listen: args.listen,
            // Alertmanager's default is the empty name: no file.
            web_config_file: args.web_config.filter(|file| !file.as_os_str().is_empty()),
            advertise: args.advertise,
            external_url: args.external_url.trim_end_matches('/').to_owned(),
            route_prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
        }
    }
}

/// Serves until a signal ends it. The code is 0 then, 1 if it cannot serve.
pub async fn run(args: Args) -> ExitCode {
    log::init(args.log);
    args.of_alertmanager.log();
    if args.external_url.is_empty() {
        tracing::warn!(
            "notifications carry no links: write --web.external-url, the URL at which people reach this server"
        );
    }
    raise_open_files();
    let code = match node::serve(args.into()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // On lines of its own: a configuration may be wrong in several places.
            log::say(&format!("squelch: {error}"));
            ExitCode::FAILURE
        }
    };
    log::flush();
    code
}

/// Takes as many open files as the system lets it have: connections, deliveries and the storage share them.
fn raise_open_files() {
    let limits = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits });
    if let Err(error) = raised {
        tracing::warn!(%error, limit = ?limits.current, "the limit of open files cannot be raised");
    }
}

fn reachable(text: &str) -> Result<String, String> {
    journal::wrong_address(text).map_or_else(|| Ok(text.to_owned()), Err)
}

/// Reads the URL that will stand in notifications: a link that leads nowhere is found out at night.
fn external_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '"' | '<' | '>');
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && host.chars().all(plain) => {
            Ok(text.into())
        }
        None if text.is_empty() => Ok(String::new()),
        _ => Err("write http:// or https://, a host, and a path if there is one".into()),
    }
}

/// The path of `http://host/path`. It is empty if there is none.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_url_that_leads_nowhere_is_refused() {
        for url in ["", "http://a", "https://ops.example:8443/squelch/"] {
            assert_eq!(external_url(url).as_deref(), Ok(url));
        }
        for url in ["nonsense", "ops.example", "ftp://a", "http://", "http:///a", "http://a b", "http://a/?b"]
        {
            assert!(external_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_empty_web_config_file_is_none() {
        let of = |flag: &str| {
            let command = <Args as clap::Args>::augment_args(clap::Command::new("serve"));
            let matches = command.try_get_matches_from(["serve", flag]).unwrap();
            let args = <Args as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            NodeOptions::from(args).web_config_file
        };
        assert_eq!(of("--web.config.file="), None);
        assert_eq!(of("--web.config.file=web.yml"), Some("web.yml".into()));
    }

    #[test]
    fn the_prefix_follows_the_external_url_unless_given() {
        let prefix = |url: &str, prefix: Option<&str>| {
            let args = Args {
                config_file: "c".into(),
                storage: "d".into(),
                listen: Vec::new(),
                web_config: None,
                advertise: None,
                external_url: url.into(),
                route_prefix: prefix.map(Into::into),
                of_alertmanager: Default::default(),
                log: log::Args { level: log::LogLevel::Info, format: log::Format::Logfmt },
            };
            NodeOptions::from(args).route_prefix
        };
        assert_eq!(prefix("https://ops.example/squelch/", None), "/squelch");
        assert_eq!(prefix("https://ops.example", None), "");
        assert_eq!(prefix("", None), "");
        assert_eq!(prefix("https://ops.example/squelch", Some("/")), "");
        assert_eq!(prefix("https://ops.example", Some("x/y/")), "/x/y");
    }
}
