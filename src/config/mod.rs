//! `squelch.yml` → a validated [`Config`]. Every error names the file, the line and the right value.

mod access;
mod dead_man;
mod effective;
mod enrichment;
mod masked;
mod on_call;
mod overlap;
mod read;
mod report;
mod storage;
mod tracing;
mod validated;
mod warnings;
mod web;

use std::io::Read;
use std::path::Path;

use crate::outside;
use crate::settings::with_variables;

pub(crate) use read::read_node;

pub use crate::receivers::Integration;
pub use crate::settings::{
    AddressPolicy, ConfigErrors, Grant, HttpAuth, HttpConfig, JwtAlgorithm, JwtBearer, Network, OAuth2, Pem,
    PemSource, Problem, ProxyConfig, ProxySource, Secret, SecretError, SecretFile, SecretForm, SecretUrl,
    SigningKeys, SigningSecretError, TlsConfig, Url,
};
pub use access::{AccessRules, AlertSource, Credential, Role, User};
pub use dead_man::dead_mans_switches;
pub use effective::profile as effective_profile;
pub use enrichment::Enrichment;
pub use masked::for_alertmanager;
pub use on_call::OnCall;
pub use read::{MAX_FILE, database_url, keys};
pub use report::{Every, ReportSchedule};
pub use squelch_core::policy::{
    Alone, Busy, FailOpen, Flapping, GroupBy, Heartbeat, Hold, InhibitRule, IntegrationRef, KnownBy, Level,
    Limit, Limits, Lines, Location, LocationError, Mode, Noise, Policy, Receiver, Route, SelfCheckSettings,
    Severities, Span, Storm, TimeInterval, TimeRange, Windows,
};
pub use storage::Storage;
pub use tracing::Tracing;
pub use validated::{Config, GroupTimes};
pub use warnings::{lost_digests, warnings, wrong_secrets};
pub use web::{ClientAuth, TlsServerConfig, WebConfig, load_web, parse_web};

/// Reads and validates a file. `_file` keys in it are relative to its folder.
///
/// # Errors
/// All errors of the file, not only the first. It also fails if the file cannot be read, is not UTF-8 or is
/// larger than [`MAX_FILE`].
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let name = path.display().to_string();
    let whole = |message: String| ConfigErrors::of_file(&name, message);
    let text = read_file(path).map_err(whole)?;
    parse(&text, &name, path.parent().unwrap_or(Path::new("")))
}

/// The text of a configuration file, of at most [`MAX_FILE`] bytes. Blocks the thread for at most
/// [`outside::PATIENCE`].
pub(crate) fn read_file(path: &Path) -> Result<String, String> {
    let bytes = outside::read(path, MAX_FILE).map_err(|e| e.to_string())?;
    read_bounded(&*bytes)
}

/// The text of a configuration, of at most [`MAX_FILE`] bytes.
///
/// # Errors
/// One sentence that says why there is none.
pub fn read_bounded(from: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes. Make it smaller"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8. Save it as UTF-8".into())
}

/// Validates the text of a file. Errors call it `file_name`. `_file` keys in it are relative to `base_dir`.
///
/// # Errors
/// Everything that is wrong with it, not only the first.
pub fn parse(text: &str, file_name: &str, base_dir: &Path) -> Result<Config, ConfigErrors> {
    let wrong = |problems| ConfigErrors::new(file_name, with_variables(problems, text));
    read::read(text, base_dir).map_err(wrong)
}

/// Reads the options of an HTTP client: the keys of Prometheus' `http_config`, as amtool and promtool take
/// them by `--http.config.file`.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load_http(path: &Path) -> Result<HttpConfig, ConfigErrors> {
    let name = path.display().to_string();
    let whole = |message: String| ConfigErrors::of_file(&name, message);
    let text = read_file(path).map_err(whole)?;
    let base = path.parent().unwrap_or(Path::new(""));
    read::http_file(&text, base).map_err(|problems| ConfigErrors::new(&name, problems))
}
