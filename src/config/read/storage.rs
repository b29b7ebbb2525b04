//! `storage`: where the journal is, and how much of the past is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Storage;
use crate::settings::section::Section;
use crate::settings::{Secret, SecretFile, SecretForm};

/// The least that makes sense: an empty decision log has 100 kB.
const SMALLEST: u64 = 10 << 20;

/// A key that other tools have for their partitions.
pub(super) const NO_PARTITIONS: [(&str, &str); 1] = [(
    "partition_by",
    "One owner decides about all alerts, so that grouping, inhibition and limits see all of them. Two cores decide \
     about 15,000 new alerts a second. If you need more, run two clusters: docs/cluster.md says how",
)];

/// The keys that `storage.postgres` does not have, and why.
const NOT_IN_POSTGRES: [(&str, &str); 2] =
    [NO_PARTITIONS[0], ("url", "The URL has a password, so it stands in a file. Write url_file: FILE")];

/// The keys of `storage`, and the file with the URL of a PostgreSQL. A path is relative to `base`.
pub(super) fn read(section: Option<Section<'_>>, base: &Path) -> (Storage, Option<Secret>) {
    let mut storage = Storage::default();
    let Some(mut keys) = section else { return (storage, None) };
    keys.absent(&NO_PARTITIONS);
    storage.retention = keys.positive("retention").unwrap_or(storage.retention);
    let right = "a size of at least 10MB, such as 500MB or 2GB";
    let size = keys.parsed("max_size", right, |text| bytes(text).filter(|size| *size >= SMALLEST));
    storage.max_size = size.unwrap_or(storage.max_size);
    let postgres = keys.section("postgres").and_then(|keys| postgres(keys, base));
    keys.finish();
    (storage, postgres)
}

fn postgres(mut keys: Section<'_>, base: &Path) -> Option<Secret> {
    keys.absent(&NOT_IN_POSTGRES);
    let file = keys.text("url_file").filter(|file| !file.text.is_empty());
    let (line, problems, before) = (keys.line, keys.problems, keys.problems.count());
    keys.finish();
    // Another key in its place is one mistake.
    if file.is_none() && problems.count() == before {
        let message = "storage.postgres has no url_file. Write url_file: FILE, a file that holds \
                       postgres://USER:PASSWORD@HOST:5432/DATABASE";
        problems.add(line, message);
    }
    let file = file?;
    Some(database_url(base.join(file.text), "storage.postgres.url_file", file.line))
}

/// A file that holds the URL of a database.
pub fn database_url(path: PathBuf, key: &str, line: u32) -> Secret {
    Secret::File(Arc::new(SecretFile { path, key: key.into(), line, form: SecretForm::Password }))
}

/// `500MB` in bytes. Units are powers of 1024, as for Prometheus' `--storage.tsdb.retention.size`, and
/// `MiB` means the same.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let prefixes = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let units = prefixes.into_iter().chain([("KB", 10), ("MB", 20), ("GB", 30), ("TB", 40), ("B", 0)]);
    let (number, shift) =
        units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::{NO_PARTITIONS, bytes};
    use std::path::Path;

    #[test]
    fn a_key_for_partitions_is_refused_with_the_reason() {
        let rest = "route: {receiver: a}\nreceivers: [{name: a}]";
        for (text, what) in [
            ("partition_by: [team]", "the configuration"),
            ("storage: {partition_by: [team]}", "storage"),
            ("storage: {postgres: {url_file: url, partition_by: [team]}}", "postgres"),
        ] {
            let Err(found) = super::super::read(&format!("{text}\n{rest}"), Path::new("")) else {
                panic!("{text} is accepted")
            };
            let message = format!("partition_by in {what} does not exist. {}", NO_PARTITIONS[0].1);
            assert_eq!(found, [crate::config::Problem::new(1, message)]);
        }
    }

    #[test]
    fn a_postgres_without_its_url_file_is_one_mistake() {
        let rest = "route: {receiver: a}\nreceivers: [{name: a}]";
        for (keys, says) in [
            ("", "has no url_file"),
            ("url: 'postgres://me@db/x'", "url in postgres does not exist. The URL has a password"),
            ("urlfile: url", "Did you mean url_file?"),
        ] {
            let text = format!("storage: {{postgres: {{{keys}}}}}\n{rest}");
            let Err(found) = super::super::read(&text, Path::new("")) else { panic!("{keys} is accepted") };
            assert!(found.len() == 1 && found[0].message.contains(says), "{keys}: {found:?}");
        }
    }

    #[test]
    fn sizes_are_prometheus_sizes() {
        for (text, size) in
            [("2GB", Some(2 << 30)), ("512MB", Some(512 << 20)), ("512MiB", Some(512 << 20)), ("1B", Some(1))]
        {
            assert_eq!(bytes(text), size, "{text}");
        }
        for text in ["", "2", "GB", "-1GB", "1.5GB", "2 GB", "2iB", "99999999999999TB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
