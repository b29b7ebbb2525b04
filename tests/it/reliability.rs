//! `docs/reliability.md` names tests; they must be there.

use std::path::Path;

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The tests that a table names: paths in backquotes, the room first.
fn named(document: &str) -> Vec<&str> {
    let tables = document.lines().filter(|line| line.starts_with('|'));
    let code = tables.flat_map(|line| line.split('`').skip(1).step_by(2));
    // A command that runs one is no name of one.
    code.filter(|code| code.contains("::") && !code.contains(' ')).collect()
}

/// Whether `room::…::name` is a test: of the integration tests, of the engine's, or a timeline.
fn exists(test: &str) -> bool {
    let (room, name) = test.rsplit_once("::").unwrap();
    if room == "timelines" {
        return read(&format!("tests/data/timelines/{name}.txt")).is_some();
    }
    let path = room.replace("::", "/");
    let files = [format!("tests/it/{path}.rs"), format!("src/engine/tests/{path}.rs")];
    let has = |text: String| text.contains(&format!("fn {name}("));
    files.iter().any(|file| read(file).is_some_and(has))
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let document = read("docs/reliability.md").unwrap();
    let tests = named(&document);
    assert!(tests.len() > 70, "only {} tests are named", tests.len());
    let missing: Vec<_> = tests.into_iter().filter(|test| !exists(test)).collect();
    assert!(missing.is_empty(), "named, and not there: {missing:#?}");
    assert!(!exists("e2e::crash::no_such_test") && !exists("no_such_room::a"));
}

/// Each test of a fault stands in the table, so that the table is whole.
#[test]
fn every_test_of_a_fault_is_in_the_table() {
    let document = read("docs/reliability.md").unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/e2e/faults");
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let room = path.file_stem().unwrap().to_str().unwrap();
        for test in text.split("#[tokio::test").skip(1) {
            let name = test.split_once("fn ").unwrap().1.split('(').next().unwrap();
            let whole = format!("`e2e::faults::{room}::{name}`");
            if !document.contains(&whole) {
                missing.push(whole);
            }
        }
    }
    assert!(missing.is_empty(), "in no row of docs/reliability.md: {missing:#?}");
}
