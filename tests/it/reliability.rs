//! `docs/reliability.md` names tests. They must exist.

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
/// timeline, or one beside the tested code.
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
