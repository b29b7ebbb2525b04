//! The stored form of a text: plain, or packed by zstd if it is long.
//!
//! A flood says the same words many times: packed, a commit of hundreds of alerts takes a tenth. A short
//! body stays text, so that a person can read it with `sqlite3`: packing it would save no page.

use std::borrow::Cow;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A body that is longer than this is packed: a page of the file.
const LONG: usize = 4_096;

/// zstd's fastest level: the commit waits for it.
const LEVEL: i32 = 1;

/// A stored body: text, or a blob that zstd packed.
pub(super) enum Packed {
    Text(String),
    Zstd(Vec<u8>),
}

impl Packed {
    /// Packs `text` if it is long.
    pub fn new(text: String) -> Packed {
        if text.len() <= LONG {
            return Packed::Text(text);
        }
        match zstd::bulk::compress(text.as_bytes(), LEVEL) {
            Ok(packed) if packed.len() < text.len() => Packed::Zstd(packed),
            _ => Packed::Text(text),
        }
    }

    /// The bytes as they are stored.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Packed::Text(text) => text.as_bytes(),
            Packed::Zstd(packed) => packed,
        }
    }
}

impl ToSql for Packed {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Packed::Text(text) => ValueRef::Text(text.as_bytes()),
            Packed::Zstd(packed) => ValueRef::Blob(packed),
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

/// The text of a stored body.
///
/// # Errors
/// It is not UTF-8, or zstd did not pack it.
pub(super) fn text(stored: ValueRef<'_>) -> Result<Cow<'_, str>, String> {
    match stored {
        ValueRef::Text(text) => std::str::from_utf8(text).map(Cow::Borrowed).map_err(|e| e.to_string()),
        ValueRef::Blob(packed) => {
            let text = zstd::decode_all(packed).map_err(|e| e.to_string())?;
            String::from_utf8(text).map(Cow::Owned).map_err(|e| e.to_string())
        }
        other => Err(format!("a body is text or a blob, not {}", other.data_type())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(packed: &Packed) -> String {
        let ToSqlOutput::Borrowed(stored) = packed.to_sql().unwrap() else { panic!("not borrowed") };
        text(stored).unwrap().into_owned()
    }

    #[test]
    fn a_long_body_is_packed_and_reads_back_and_a_short_one_stays_text() {
        let long = "pod crashlooping ".repeat(1_000);
        let packed = Packed::new(long.clone());
        assert!(matches!(&packed, Packed::Zstd(bytes) if bytes.len() * 10 < long.len()));
        assert_eq!(back(&packed), long);
        let short = Packed::new("[]".into());
        assert!(matches!(short, Packed::Text(_)));
        assert_eq!(back(&short), "[]");
        assert!(text(ValueRef::Blob(b"not packed")).is_err());
        assert!(text(ValueRef::Null).is_err());
    }
}
