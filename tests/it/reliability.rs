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

/// Whether `room::…::name` is a test: of the integration tests, of the engine's, of the simulator, a
/// timeline, or one that stands beside what it tests.
fn exists(test: &str) -> bool {
    let (room, name) = test.rsplit_once("::").unwrap();
    if room == "timelines" {
        return read(&format!("tests/data/timelines/{name}.txt")).is_some();
    }
    let path = room.replace("::", "/");
    let files = [
        format!("tests/it/{path}.rs"),
        format!("crates/core/src/engine/tests/{path}.rs"),
        format!("crates/core/src/engine/{path}.rs"),
        format!("src/{path}.rs"),
        format!("tests/{path}/main.rs"),
    ];
    let has = |text: String| is_test(&text, name);
    files.iter().any(|file| read(file).is_some_and(has))
}

/// Whether `text` has a function of this name that is marked as a test.
fn is_test(text: &str, name: &str) -> bool {
    let (of_itself, of_a_task) = (format!("fn {name}("), "tokio::test");
    text.split("#[")
        .scan(false, |marked, part| {
            *marked |= part.starts_with("test]") || part.starts_with(of_a_task);
            let fns = part.find("fn ");
            let found = *marked && fns.is_some_and(|at| part[at..].starts_with(&of_itself));
            if fns.is_some() {
                *marked = false;
            }
            Some(found)
        })
        .any(|found| found)
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let document = read("docs/reliability.md").unwrap();
    let tests = named(&document);
    assert!(tests.len() > 70, "only {} tests are named", tests.len());
    let missing: Vec<_> = tests.into_iter().filter(|test| !exists(test)).collect();
    assert!(missing.is_empty(), "named, and not there: {missing:#?}");
    assert!(!exists("e2e::crash::no_such_test") && !exists("no_such_room::a"));
    // Helpers are no tests, though they are functions of these files.
    assert!(exists("node::clock::a_jump_back_slows_time_and_never_turns_it"));
    assert!(!exists("node::policy") && !exists("e2e::faults::damage::starts_and_tells_again"));
}

/// The cells of the rows of the table of cases: the number, the fault, what is done, the tests, what is not
/// done.
fn cases(document: &str) -> Vec<Vec<&str>> {
    let table = document.split_once("## Case by case").unwrap().1.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// None is left out, and each says what is done, which tests show it, or why it is not done.
#[test]
fn every_case_has_a_row_with_a_test() {
    let document = read("docs/reliability.md").unwrap();
    let rows = cases(&document);
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=46).collect::<Vec<_>>());
    for row in rows {
        let [_, fault, done, tests, _] = row.as_slice() else { panic!("{row:?} has not five cells") };
        assert!(!fault.is_empty() && !done.is_empty(), "{row:?}");
        let named = tests.split("`, `").map(|name| name.trim_matches('`')).collect::<Vec<_>>();
        assert!(named.iter().all(|name| exists(name)), "{row:?} names what is no test");
    }
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
