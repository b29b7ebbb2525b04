//! `tls_config` of a client.

use std::path::Path;

use super::section::{Section, shown};
use super::{Pem, PemSource, TlsConfig};

/// Alertmanager's names of versions, oldest first. rustls speaks the last two.
const VERSIONS: [&str; 4] = ["TLS10", "TLS11", "TLS12", "TLS13"];
/// The place of TLS12 in them.
const TLS12: usize = 2;

/// The keys of a `tls_config`. Files are relative to `base`.
pub(crate) fn tls_config(mut keys: Section<'_>, base: &Path) -> TlsConfig {
    let mut tls = TlsConfig {
        ca: pem(&mut keys, ("ca", "ca_file"), base),
        cert: pem(&mut keys, ("cert", "cert_file"), base),
        key: pem(&mut keys, ("key", "key_file"), base),
        server_name: given(&mut keys, "server_name").map(str::to_owned),
        insecure_skip_verify: keys.boolean("insecure_skip_verify").unwrap_or(false),
        ..TlsConfig::default()
    };
    match (&tls.cert, &tls.key) {
        (Some(_), None) => {
            keys.problems.add(keys.line, "tls_config has cert and no key. Write key_file (or key)")
        }
        (None, Some(_)) => {
            keys.problems.add(keys.line, "tls_config has key and no cert. Write cert_file (or cert)")
        }
        _ => {}
    }
    let (min, max) = (version(&mut keys, "min_version"), version(&mut keys, "max_version"));
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        let line = keys.line_of("max_version");
        let message = format!(
            "max_version {} is below min_version {}. Write at least that",
            VERSIONS[max], VERSIONS[min]
        );
        keys.problems.add(line, message);
    }
    if max.is_some_and(|max| max < TLS12) {
        let message = "max_version is below TLS12, and Squelch speaks TLS12 and TLS13 only, so no connection would work. Write TLS12 or TLS13";
        keys.problems.add(keys.line_of("max_version"), message);
    }
    if min.is_some_and(|min| min < TLS12) {
        let message =
            "min_version is below TLS12. Squelch speaks TLS12 and TLS13 only, so TLS12 is the least";
        keys.problems.doubt(keys.line_of("min_version"), message);
    }
    tls.only_tls13 = min == Some(TLS12 + 1);
    tls.only_tls12 = max == Some(TLS12);
    keys.unsupported(&["ca_ref", "cert_ref", "key_ref"]);
    keys.finish();
    tls
}

fn version(keys: &mut Section<'_>, key: &'static str) -> Option<usize> {
    keys.parsed(key, "TLS12 or TLS13", |text| VERSIONS.iter().position(|version| *version == text))
}

/// A text that is not empty. Alertmanager takes an empty one for none.
pub(crate) fn given<'a>(keys: &mut Section<'a>, key: &'static str) -> Option<&'a str> {
    keys.text(key).map(|text| text.text.trim()).filter(|text| !text.is_empty())
}

/// A PEM text: `key`, or the file that `file_key` names.
fn pem(keys: &mut Section<'_>, (key, file_key): (&'static str, &'static str), base: &Path) -> Option<Pem> {
    let inline = keys.text(key).filter(|text| !text.text.trim().is_empty());
    let file = given(keys, file_key);
    if let (Some(_), Some(file)) = (inline, file) {
        let line = keys.line_of(file_key);
        let file = shown(file);
        keys.problems.add(line, format!("{key} and {file_key} {file} are both given. Keep one"));
    }
    if let Some(text) = inline
        && key == "key"
    {
        keys.problems.secret(text);
    }
    let inline = inline.map(|text| Pem { key, from: PemSource::Inline(text.text.into()) });
    inline.or(file.map(|file| Pem { key: file_key, from: PemSource::File(base.join(file)) }))
}
