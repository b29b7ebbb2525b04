//! `storage`: how much of the past is kept.

use crate::config::Storage;
use crate::settings::section::Section;

/// The least that makes sense: an empty decision log has 100 kB.
const SMALLEST: u64 = 10 << 20;

pub(super) fn read(section: Option<Section<'_>>) -> Storage {
    let mut storage = Storage::default();
    let Some(mut keys) = section else { return storage };
    storage.retention = keys.positive("retention").unwrap_or(storage.retention);
    let right = "a size of at least 10MB, such as 500MB or 2GB";
    let size = keys.parsed("max_size", right, |text| bytes(text).filter(|size| *size >= SMALLEST));
    storage.max_size = size.unwrap_or(storage.max_size);
    keys.finish();
    storage
}

/// `500MB` in bytes; units are powers of 1024, as for Prometheus' `--storage.tsdb.retention.size`, and `MiB`
/// means the same.
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
    use super::bytes;

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
