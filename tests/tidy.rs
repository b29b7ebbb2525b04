//! Holds the sources to their rules: the place of each thing, its length, and who imports whom.
//!
//! The compiler and clippy look after the rest. A finding names the file, the line and the rule.

#![allow(clippy::unwrap_used, reason = "a test that panics fails, which is what it is for")]

#[path = "tidy/calls.rs"]
mod calls;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, sources};

/// The rooms, top to bottom. A room imports only from rooms below it.
const ROOMS: [&str; 18] = [
    "commands",
    "node",
    "web",
    "deliver",
    "decision_log",
    "journal",
    "history",
    "engine",
    "ingest",
    "config",
    "receivers",
    "settings",
    "templates",
    "causes",
    "policy",
    "spans",
    "model",
    "outside",
];

/// Names of the standard library that make a decision depend on more than its events. The crate has no
/// dependency that could add to them.
const NOT_IN_ENGINE: [&str; 13] = [
    "SystemTime",
    "Instant",
    "HashMap",
    "HashSet",
    "RandomState",
    "println",
    "eprintln",
    "dbg",
    "f32",
    "f64",
    "thread_local",
    "OnceLock",
    "LazyLock",
];

/// Paths that read the world: by room, those that it may not name.
const FS: &str = "std::fs";
const WORLD: [&str; 12] = [
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::SystemTime",
    "std::time::Instant",
    "tokio",
    "hyper",
    "hyper_util",
    "axum",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

const MOST_LINES: usize = 600;
const MOST_COLUMNS: usize = 110;

const ENGINE: &str = "crates/core/src/engine";

/// The most lines of `impl Engine`. The parts of the engine do not see it.
const MOST_OF_ENGINE: usize = 600;
const MOST_FILES_OF_ENGINE: usize = 4;

/// So many files may lead to each other by calls of a type on itself.
const MOST_IN_CIRCLE: usize = 2;

/// So many files of the program may import each other, as a file and its parts do. In the core none may.
const MOST_IN_IMPORTS: usize = 3;

/// The sources of the program: the core and everything around it.
fn product() -> Vec<Source> {
    sources("src").into_iter().chain(sources("crates/core/src")).collect()
}

/// Fails with all findings at once: one run, one list to work through.
fn no_findings(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// The findings of `rule` about each line of code, comments and strings blanked out.
fn each_line(files: &[Source], rule: impl Fn(&Source, &str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (i, line) in file.code.lines().enumerate() {
            findings.extend(rule(file, line).map(|what| format!("{}:{}: {what}", file.path, i + 1)));
        }
    }
    findings
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

#[test]
fn imports_point_down_only() {
    no_findings(upward_imports(&product()));
}

fn upward_imports(files: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let Some(from) = file.room().and_then(rank) else { continue };
        for (line, path) in file.paths() {
            // `super::super::node` climbs out of a room as well as `crate::node` does.
            let climbed = path
                .strip_prefix("crate::")
                .or_else(|| path.starts_with("super::super::").then(|| path.trim_start_matches("super::")));
            let Some(to) = climbed.and_then(|p| p.split("::").next()) else { continue };
            if rank(to).is_some_and(|to| to < from) {
                findings
                    .push(format!("{}:{line}: {} imports {path}, which lies above", file.path, ROOMS[from]));
            }
        }
    }
    findings
}

#[test]
fn imports_make_no_large_circles() {
    no_findings(large_circles(&product()));
}

fn large_circles(files: &[Source]) -> Vec<String> {
    let most = |file: &str| match file {
        _ if file.starts_with("crates/core/") => 1,
        _ => MOST_IN_IMPORTS,
    };
    let circles = calls::circles(&imports::imports(files));
    let large = circles.into_iter().filter(|circle| circle.iter().any(|file| circle.len() > most(file)));
    large.map(|circle| format!("{circle:?} import each other: move shared data below them")).collect()
}

fn rank(room: &str) -> Option<usize> {
    ROOMS.iter().position(|r| *r == room)
}

#[test]
fn the_engine_is_deterministic() {
    let engine: Vec<Source> = sources(ENGINE);
    no_findings(each_line(&engine, |_, line| {
        let word = words(line).find(|w| NOT_IN_ENGINE.contains(w))?;
        Some(format!("`{word}` has no place in the engine"))
    }));
}

/// The places in the core that may have sentences: errors about a person's text, and code for tests only.
const SPEAKS: [&str; 7] = [
    "crates/core/src/model/go_regex",
    "crates/core/src/model/matcher.rs",
    "crates/core/src/model/matcher_syntax.rs",
    "crates/core/src/engine/mutes/silences.rs",
    "crates/core/src/engine/audit.rs",
    "crates/core/src/engine/consumers.rs",
    "crates/core/src/engine/testing.rs",
];

/// Causes are data: `src/causes.rs` makes text of them, so that the journal holds none and prose can change.
#[test]
fn no_sentence_stands_in_the_core() {
    let core = sources("crates/core/src").into_iter();
    let silent = core.filter(|file| !SPEAKS.iter().any(|path| file.path.starts_with(path)));
    no_findings(silent.flat_map(|file| sentences(&file)).collect());
}

/// Strings of three words or more. Attributes, `expect` and `debug_assert` may explain themselves.
fn sentences(file: &Source) -> Vec<String> {
    let (code, text): (Vec<char>, Vec<char>) = (file.code.chars().collect(), file.text.chars().collect());
    let mut findings = Vec::new();
    let mut quotes = code.iter().enumerate().filter(|(_, c)| **c == '"').map(|(i, _)| i);
    while let (Some(start), Some(end)) = (quotes.next(), quotes.next()) {
        let literal: String = text[start + 1..end].iter().collect();
        // Text in braces is filled in.
        let said = literal.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
        let said = said.collect::<String>();
        let words = said.split_whitespace().filter(|word| word.contains(char::is_alphabetic)).count();
        let before: String = code[..start].iter().collect();
        let attribute = before.rfind("#[").is_some_and(|at| !before[at..].contains(']'));
        let line = before.lines().next_back().unwrap_or_default();
        let explains = ["expect(", "debug_assert!("].iter().any(|call| line.contains(call));
        if words > 2 && !attribute && !explains {
            let number = before.matches('\n').count() + 1;
            findings.push(format!(
                "{}:{number}: {literal:?} is a sentence: hold data, and render it in src/causes.rs",
                file.path
            ));
        }
    }
    findings
}

#[test]
fn pure_rooms_do_not_read_the_world() {
    let mut findings = Vec::new();
    for room in ["engine", "ingest", "policy", "model", "config", "receivers", "settings", "templates"] {
        let files: Vec<Source> = product().into_iter().filter(|file| file.room() == Some(room)).collect();
        findings.extend(world_readers(room, &files));
    }
    no_findings(findings);
}

fn world_readers(room: &str, files: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        for (line, path) in file.paths() {
            let named = |forbidden: &str| path == forbidden || path.starts_with(&format!("{forbidden}::"));
            // The configuration is read from files, and secrets are. Nothing else here is. A URL is a text,
            // and its parser opens nothing.
            let parser = path == "hyper::Uri";
            if (!parser && WORLD.iter().any(|p| named(p))) || (room != "config" && named(FS)) {
                findings.push(format!("{}:{line}: {room} names {path}", file.path));
            }
        }
    }
    findings
}

/// Where the standard streams may be named: each of these waits for its output, or knows how not to.
const STREAMS: [&str; 2] = ["src/commands/", "src/deliver/console.rs"];

/// A stream that blocks or fails must cost its lines and nothing else: `serve` writes to `outside::LOG`.
#[test]
fn nothing_that_serves_writes_to_a_stream() {
    no_findings(stream_writers(&sources("src")));
}

fn stream_writers(files: &[Source]) -> Vec<String> {
    let serves = |file: &&Source| {
        file.path == "src/commands/serve.rs" || !STREAMS.iter().any(|free| file.path.starts_with(free))
    };
    let names = ["println", "eprintln", "print", "eprint", "dbg", "stdout", "stderr"];
    files
        .iter()
        .filter(serves)
        .flat_map(|file| {
            each_line(std::slice::from_ref(file), |_, line| {
                let word = words(line).find(|w| names.contains(w))?;
                Some(format!("`{word}` waits for a stream. Log it, by `tracing` or `commands::log`"))
            })
        })
        .collect()
}

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for file in product().iter().chain(&sources("tests")) {
        let lines = file.text.lines().count();
        if lines > MOST_LINES {
            findings.push(format!("{}: {lines} lines. At most {MOST_LINES}: make it a folder", file.path));
        }
    }
    no_findings(findings);
}

#[test]
fn lines_are_short() {
    let mut findings = Vec::new();
    for file in product().iter().chain(&sources("tests")) {
        // A string may be a wire format, which cannot be broken.
        for (i, line) in file.without_strings.lines().enumerate() {
            let columns = line.trim_end().chars().count();
            let table = line.trim_start().starts_with("//! |");
            if columns > MOST_COLUMNS && !line.contains("://") && !table {
                findings.push(format!("{}:{}: {columns} columns. At most {MOST_COLUMNS}", file.path, i + 1));
            }
        }
    }
    no_findings(findings);
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut findings = Vec::new();
    for file in product().iter().chain(&sources("tests")) {
        // A file of tests beside its module needs no more than its name.
        if !file.is_test_file() && !file.text.starts_with("//! ") {
            findings.push(format!("{}: begins without a //! line", file.path));
        }
    }
    no_findings(findings);
}

#[test]
fn nothing_is_left_undone() {
    let files: Vec<Source> = product().into_iter().chain(sources("tests")).collect();
    // Written apart, so that this file passes its own rule.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut findings = each_line(&files, |_, line| {
        let stub = words(line).find(|w| ["todo", "unimplemented"].contains(w))?;
        line.contains(&format!("{stub}!")).then(|| format!("`{stub}!` is no code"))
    });
    for file in &files {
        for (i, line) in file.text.lines().enumerate() {
            if let Some(mark) = words(line).find(|w| marks.contains(w)) {
                findings.push(format!("{}:{}: {mark}: do it, or open an issue", file.path, i + 1));
            }
        }
    }
    no_findings(findings);
}

#[test]
fn exceptions_give_their_reason() {
    let files: Vec<Source> = product().into_iter().chain(sources("tests")).collect();
    no_findings(files.iter().flat_map(unreasoned).collect());
}

fn unreasoned(file: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    for (start, _) in file.code.match_indices("#[").chain(file.code.match_indices("#![")) {
        let attribute = file.code[start..].split(']').next().unwrap_or("");
        let name = attribute.trim_start_matches(['#', '!', '[']);
        let exception = ["allow(", "expect("].iter().any(|a| name.starts_with(a)) && !name.contains("reason");
        if exception || name == "ignore" {
            let line = file.code[..start].matches('\n').count() + 1;
            findings.push(format!("{}:{line}: {attribute}] gives no reason", file.path));
        }
    }
    findings
}

#[test]
fn no_test_sleeps_without_a_reason() {
    let files: Vec<Source> = sources("tests").into_iter().chain(product()).collect();
    no_findings(files.iter().flat_map(sleepers).collect());
}

fn sleepers(file: &Source) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let with_tests = if file.path.starts_with("tests/") { &file.code } else { &file.tests };
    let sleeps = with_tests.lines().enumerate().filter(|(_, line)| line.contains("thread::sleep"));
    sleeps
        .filter(|(i, _)| !lines[i.saturating_sub(1)..=*i].iter().any(|line| line.contains("// reason:")))
        .map(|(i, _)| format!("{}:{}: sleeps. Wait for the event, or say `// reason:`", file.path, i + 1))
        .collect()
}

#[test]
fn every_room_has_its_place_in_the_order() {
    let rooms: BTreeSet<String> = product().iter().filter_map(Source::room).map(str::to_owned).collect();
    let lost = rooms.iter().filter(|room| rank(room).is_none());
    no_findings(lost.map(|room| format!("src/{room}/ has no place in ROOMS (tests/tidy.rs)")).collect());
}

#[test]
fn the_engine_is_small_and_its_parts_call_one_way() {
    let files = engine_parts();
    let blocks = calls::blocks(&files);
    let (lines, of) = calls::size(&blocks, "Engine");
    assert!(lines > 100, "`impl Engine` was not found");
    let mut findings = Vec::new();
    if lines >= MOST_OF_ENGINE || of > MOST_FILES_OF_ENGINE {
        let most = format!("at most {MOST_OF_ENGINE} lines in {MOST_FILES_OF_ENGINE} files");
        findings.push(format!("impl Engine: {lines} lines in {of} files; {most}: move them to a part"));
    }
    let circle = calls::largest_circle(&blocks);
    if circle.len() > MOST_IN_CIRCLE {
        findings.push(format!("these files call each other through self: {circle:?}"));
    }
    no_findings(findings);
}

/// The files of the engine, less those that only tests use.
fn engine_parts() -> Vec<Source> {
    let only_for_tests = ["audit.rs", "consumers.rs", "testing.rs"];
    let helps = |file: &Source| only_for_tests.iter().any(|name| file.path.ends_with(&format!("/{name}")));
    sources(ENGINE).into_iter().filter(|file| !file.is_test_file() && !helps(file)).collect()
}

/// Every rule above finds its case, in sources made for it.
#[test]
fn the_rules_bite() {
    let file = |path: &str, text: &str| Source::new(path, text);
    let up = file("src/engine/a.rs", "use std::fmt;\nuse crate::{model::X, node::{Y, z}};\n");
    assert_eq!(
        upward_imports(&[up]),
        [
            "src/engine/a.rs:2: engine imports crate::node::Y, which lies above",
            "src/engine/a.rs:2: engine imports crate::node::z, which lies above"
        ]
    );
    let inline = file("src/model/a.rs", "fn f() {\n    crate::web::serve();\n}\n");
    assert_eq!(upward_imports(&[inline]).len(), 1);
    let climbing = file("src/model/a.rs", "use super::super::web::serve;");
    assert_eq!(upward_imports(&[climbing]).len(), 1);
    let down = file("src/node/a.rs", "use crate::engine::X;\n// crate::commands::main\n");
    assert_eq!(upward_imports(&[down]), Vec::<String>::new());
    let test = file("src/model/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::web::X;\n}\n");
    assert_eq!(upward_imports(&[test]), Vec::<String>::new());

    for (text, found) in [
        ("use std::{fmt, net::TcpStream};", 1),
        ("use std::fs;", 1),
        ("let t = std::time::Instant::now();", 1),
        ("use std::time::Duration; // std::net", 0),
    ] {
        assert_eq!(world_readers("model", &[file("src/model/a.rs", text)]).len(), found, "{text}");
    }
    for (path, found) in [("src/web/a.rs", 1), ("src/commands/serve.rs", 1), ("src/commands/report.rs", 0)] {
        assert_eq!(stream_writers(&[file(path, "fn f() { eprintln!(\"x\"); }")]).len(), found, "{path}");
    }
    assert_eq!(world_readers("config", &[file("src/config/a.rs", "use std::fs;")]).len(), 0);

    for (text, found) in [
        ("#[allow(dead_code)]\nfn f() {}", 1),
        ("#![allow(dead_code)]", 1),
        ("#[expect(dead_code, reason = \"why\")]\nfn f() {}", 0),
        ("#[ignore]\nfn f() {}", 1),
        ("#[ignore = \"why\"]\nfn f() {}", 0),
        ("// #[ignore]\nconst A: &str = \"#[ignore]\";", 0),
    ] {
        assert_eq!(unreasoned(&file("src/a.rs", text)).len(), found, "{text}");
    }
    for (text, found) in [
        ("let why = \"the storm is over\";", 1),
        ("let why = format!(\"{n} of {m} alerts\");", 0),
        ("let key = format!(\"{a} {b} {c}\");", 0),
        ("// \"the storm is over\"", 0),
        ("#[error(\"{0} is not a duration\")]\nstruct E;", 0),
        ("x.expect(\"a line has two parts\");", 0),
        ("#[cfg(test)]\nmod tests { const A: &str = \"the storm is over\"; }", 0),
    ] {
        assert_eq!(sentences(&file("crates/core/src/engine/a.rs", text)).len(), found, "{text}");
    }
    let circle = [
        file("src/a.rs", "impl Engine {\n    fn a(&mut self) {\n        self.b(1);\n    }\n}\n"),
        file(
            "src/b.rs",
            "impl Engine {\n    fn b(&mut self, n: u8) {\n        self.\n            c();\n    }\n}\n",
        ),
        file("src/c.rs", "impl<'a> Engine<'a> {\n    pub fn c(&self) {\n        self.a();\n    }\n}\n"),
        file("src/d.rs", "impl Other {\n    fn a(&self) {\n        self.a();\n        self.b;\n    }\n}\n"),
    ];
    let blocks = calls::blocks(&circle);
    assert_eq!(calls::largest_circle(&blocks).len(), 3);
    assert_eq!(calls::size(&blocks, "Engine"), (16, 3));
    let ring = |places: [(&str, &str); 4]| {
        let files: Vec<Source> = places.into_iter().map(|(path, text)| file(path, text)).collect();
        large_circles(&files).len()
    };
    let (a, b) =
        (("src/a/mod.rs", "mod b;\npub use b::{B, c::C as D};"), "use super::{D, d};\npub struct B;");
    let c = "pub(crate) struct C;\nfn f() {\n    crate::a::d::g(\"crate::a::B\");\n}";
    let d = |text| ("src/a/d.rs", text);
    assert_eq!(ring([a, ("src/a/b/mod.rs", b), ("src/a/b/c.rs", c), d("pub fn g() {}")]), 0);
    let back = "use crate::a::B;\npub fn g() {}";
    assert_eq!(ring([a, ("src/a/b/mod.rs", b), ("src/a/b/c.rs", c), d(back)]), 0, "three files");
    let core = ["a/mod.rs", "a/b/mod.rs", "a/b/c.rs", "a/d.rs"].map(|end| format!("crates/core/src/{end}"));
    assert_eq!(ring([(&core[0], a.1), (&core[1], b), (&core[2], c), (&core[3], back)]), 1);
    assert_eq!(sleepers(&file("tests/it/a.rs", "std::thread::sleep(d);")).len(), 1);
    assert_eq!(sleepers(&file("tests/it/a.rs", "// reason: real\nstd::thread::sleep(d);")).len(), 0);
    assert_eq!(sleepers(&file("src/node/a.rs", "std::thread::sleep(d);")).len(), 0);
    let counted: BTreeMap<&str, usize> = [("let x: f64 = 1.0;", 1), ("x.as_secs_f64() // f64", 0)].into();
    for (text, found) in counted {
        let rule = |_: &Source, line: &str| words(line).any(|w| w == "f64").then(String::new);
        assert_eq!(each_line(&[file("src/engine/a.rs", text)], rule).len(), found, "{text}");
    }
}
