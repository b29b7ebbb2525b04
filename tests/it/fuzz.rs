//! Every parser on mangled input: seeds that are valid, seeds that once broke something
//! (`tests/data/fuzz/TARGET/`), and mutations of both. The cases are the same in every run. For new ones,
//! run `tests/fuzz --seconds N`.

mod targets;

use std::time::{Duration as Span, Instant};

use targets::{TARGETS, Target, files};

/// Where the repository is.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Mutations of each target in an ordinary run.
const CASES: u64 = 1_500;
/// The largest input. A larger one teaches nothing new and takes long.
const MOST: usize = 16 << 10;
/// The texts that are spliced in: special cases of parsers.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ":",
    ",",
    "\n",
    "\n  - ",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "|\n ",
    "~",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "18446744073709551616",
    "0.1",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "é",
    "\\ud800",
    "{{",
    "}}",
    "{{ range .Alerts.Firing }}",
    "=~",
    "!~",
    "(",
    "[^",
    "1h30m",
    "9999y",
    "2026-11-23T00:16:19.5Z",
    "0001-01-01T00:00:00Z",
    "whsec_",
];

/// Marsaglia's xorshift: the same cases everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides.max(1) as u64).unwrap()
    }

    /// One seed, changed in one to eight places.
    fn mangled(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.roll(seeds.len())].clone();
        for _ in 0..=self.roll(8) {
            let at = self.roll(input.len() + 1);
            let end = (at + self.roll(32)).min(input.len());
            match self.roll(7) {
                0 if at < input.len() => input[at] ^= 1 << self.roll(8),
                1 => drop(input.drain(at..end)),
                2 => input.splice(at..at, input[at..end].to_vec()).for_each(drop),
                3 => input.splice(at..end, WORDS[self.roll(WORDS.len())].bytes()).for_each(drop),
                4 => input.splice(at..at, WORDS[self.roll(WORDS.len())].bytes()).for_each(drop),
                5 => {
                    let other = &seeds[self.roll(seeds.len())];
                    let from = self.roll(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => input.truncate(at.max(1)),
            }
        }
        input.truncate(MOST);
        input
    }
}

/// Seeds, found cases, then mutations until `enough` says so. It returns the number of inputs.
fn drive((name, check, seeds): Target, dice: u64, mut enough: impl FnMut(u64) -> bool) -> u64 {
    let mut all = seeds();
    assert!(!all.is_empty(), "{name} has no seeds");
    all.extend(files(&format!("tests/data/fuzz/{name}"), ""));
    let (mut dice, mut tried) = (Dice(dice | 1), 0);
    let attempt = |input: &[u8]| {
        if std::panic::catch_unwind(|| check(input)).is_err() {
            let found = std::env::temp_dir().join(format!("squelch-fuzz-{name}"));
            std::fs::write(&found, input).unwrap();
            panic!("{name}: {:?}; also in {}", String::from_utf8_lossy(input), found.display());
        }
    };
    for input in &all {
        attempt(input);
        tried += 1;
    }
    while !enough(tried) {
        attempt(&dice.mangled(&all));
        tried += 1;
    }
    tried
}

#[test]
fn no_parser_breaks_on_what_it_was_not_meant_for() {
    for target in TARGETS {
        drive(target, 0x5eed_0001, |tried| tried >= CASES);
    }
}

/// Run by `tests/fuzz`.
#[test]
#[ignore = "runs for as long as SQUELCH_FUZZ_SECONDS says: tests/fuzz"]
fn new_cases() {
    let seconds = std::env::var("SQUELCH_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let seed = std::env::var("SQUELCH_FUZZ_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    for target in TARGETS {
        let until = Instant::now() + Span::from_secs(seconds) / 12;
        let tried = drive(target, seed, |_| Instant::now() >= until);
        println!("{:12} {tried} inputs", target.0);
    }
}
