//! The files of this repository, by their paths in it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The place of a file or folder.
pub fn place(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = place(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Fails unless the file has this text. `UPDATE_GOLDEN=1` writes it.
pub fn is_golden(path: impl AsRef<Path>, text: &str) {
    is_current(path.as_ref(), text, "UPDATE_GOLDEN");
}

/// Fails unless the document has this text. `SQUELCH_WRITE_DOCS=1` writes it.
pub fn is_written(path: impl AsRef<Path>, text: &str) {
    is_current(path.as_ref(), text, "SQUELCH_WRITE_DOCS");
}

fn is_current(path: &Path, text: &str, variable: &str) {
    if std::env::var_os(variable).is_some() {
        std::fs::write(place(path), text).unwrap();
    }
    let written = std::fs::read_to_string(place(path)).unwrap_or_default();
    let path = path.display();
    assert!(
        written == text,
        "{path} is not current, and {variable}=1 writes it:\n{}",
        difference(&written, text)
    );
}

fn difference(expected: &str, got: &str) -> String {
    let (expected, got): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let mut text = String::new();
    for i in 0..expected.len().max(got.len()) {
        let (e, g) = (expected.get(i).unwrap_or(&""), got.get(i).unwrap_or(&""));
        let _ = if e == g { writeln!(text, "  {e}") } else { writeln!(text, "- {e}\n+ {g}") };
    }
    text
}
