//! libFuzzer on one parser: `SQUELCH_FUZZ_TARGET` names it, and `tests/it/fuzz/` has its promises.
//!
//! With `SQUELCH_FUZZ_SEEDS` it writes the valid inputs and those that were found once into that folder
//! before it begins.

#![no_main]

#[path = "../../tests/it/fuzz/targets.rs"]
mod targets;

use std::path::Path;
use std::sync::LazyLock;

/// Where the repository is.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("SQUELCH_FUZZ_TARGET").unwrap_or_default();
    let names = targets::TARGETS.map(|(name, ..)| name);
    let found = targets::TARGETS.into_iter().find(|(known, ..)| *known == name);
    found.unwrap_or_else(|| panic!("SQUELCH_FUZZ_TARGET is {name:?}; write one of {names:?}"))
});

libfuzzer_sys::fuzz_target!(init: write_seeds(), |input: &[u8]| (TARGET.1)(input));

fn write_seeds() {
    let Some(folder) = std::env::var_os("SQUELCH_FUZZ_SEEDS") else { return };
    let (name, _, seeds) = *TARGET;
    let found = targets::files(&format!("tests/data/fuzz/{name}"), "");
    for (number, seed) in seeds().into_iter().chain(found).enumerate() {
        let path = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(&path, seed).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
