//! `squelch test`: its output for good, failing and malformed files, and that the examples hold.
//!
//! `tests/data/behaviour/failing/*.out` and `malformed/*.err` hold the output. `UPDATE_GOLDEN=1` writes
//! them anew. Read the difference before you keep it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::repository::{is_golden, place, read};

const DATA: &str = "tests/data/behaviour";

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn squelch_test(args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_squelch"))
        .arg("test")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The files of a folder, as they are named on the command line.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let paths = fs::read_dir(place(folder)).unwrap().map(|entry| entry.unwrap().path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
    let mut names: Vec<String> =
        wanted.map(|path| format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap())).collect();
    names.sort();
    names
}

/// Decisions that were wrong once: each folder has a configuration and the behaviour that is right.
#[test]
fn decisions_that_were_wrong_once_are_right() {
    let folders = fs::read_dir(place(DATA).join("decisions")).unwrap();
    let folders: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(folders.len() >= 8, "{folders:?}");
    for folder in folders {
        let all = files(&format!("{DATA}/decisions/{folder}"), "yml");
        let tests = all.iter().filter(|path| path.rsplit('/').next().unwrap().starts_with("test"));
        for test in tests {
            let ran = squelch_test(&[test]);
            assert_eq!(ran.code, Some(0), "{test}: {}{}", ran.out, ran.err);
        }
    }
}

#[test]
fn the_examples_behave_as_their_tests_say() {
    let examples = files("config/examples/tests", "yml");
    let configs = files("config/examples", "yml");
    let tested: Vec<String> = configs.iter().map(|c| c.replace("examples/", "examples/tests/")).collect();
    assert_eq!(examples, tested, "each example configuration has its tests");
    let names: Vec<&str> = examples.iter().map(String::as_str).collect();
    let ran = squelch_test(&names);
    let said: String = names.iter().map(|name| format!("Unit Testing:  {name}\n  SUCCESS\n\n")).collect();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), said.as_str(), ""));
}

/// The program does what the documentation shows.
#[test]
fn the_documented_examples_run() {
    let text = read("docs/behaviour-tests.md");
    let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut tests = 0;
    for (i, block) in blocks.enumerate() {
        if block.starts_with("# squelch.yml") {
            fs::write(dir.path().join("squelch.yml"), block).unwrap();
        } else if block.contains("config_file:") {
            let path = dir.path().join(format!("{i}.yml"));
            fs::write(&path, block).unwrap();
            let ran = squelch_test(&[path.to_str().unwrap()]);
            assert_eq!(ran.code, Some(0), "block {i}:\n{block}\n{}", ran.out);
            tests += 1;
        }
    }
    assert!(tests >= 4, "only {tests} examples");
}

#[test]
fn failures_are_told_side_by_side() {
    let all = files(&format!("{DATA}/failing"), "yml");
    assert!(!all.is_empty());
    for file in all {
        let ran = squelch_test(&[&file]);
        assert_eq!(ran.code, Some(1), "{file}");
        for line in ran.out.lines().filter(|line| !line.contains("name: ")) {
            assert!(line.chars().count() <= 100, "more than 100 columns: {line}");
        }
        is_golden(Path::new(&file).with_extension("out"), &ran.out);
    }
}

#[test]
fn malformed_files_are_refused_with_line_and_remedy() {
    let all = files(&format!("{DATA}/malformed"), "yml");
    assert!(all.len() >= 5);
    for file in all {
        let ran = squelch_test(&[&file]);
        assert_eq!(ran.code, Some(1), "{file}");
        is_golden(
            Path::new(&file).with_extension("err"),
            &ran.out.replace(&format!("{DATA}/malformed/"), ""),
        );
    }
}

#[test]
fn silences_reloads_and_restarts_are_scripted() {
    let file = format!("{DATA}/passing/people.yml");
    let ran = squelch_test(&[&file]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("Unit Testing:  {file}\n  SUCCESS\n\n")));
}

#[test]
fn run_chooses_by_name_and_a_name_that_is_nowhere_is_no_success() {
    let file = format!("{DATA}/failing/marks.yml");
    let ran = squelch_test(&["--run", "^all is", "--run=^not exh", &file]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("Unit Testing:  {file}\n  SUCCESS\n\n")));
    let ran = squelch_test(&["--run=^surplus$", "-o", "json", &file]);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let tests = told["files"][0]["tests"].as_array().unwrap();
    assert_eq!((ran.code, tests.len(), &tests[0]["name"]), (Some(1), 1, &"surplus".into()));
    let ran = squelch_test(&["--run=no such", &file]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("no test has a name"), "{}", ran.err);
    for wrong in [&["--run=(", &file][..], &[][..], &["-o", "xml", &file][..]] {
        assert_eq!(squelch_test(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn json_says_what_the_table_says() {
    let marks = format!("{DATA}/failing/marks.yml");
    let ran = squelch_test(&["-o", "json", &marks, &format!("{DATA}/malformed/empty.yml")]);
    assert_eq!(ran.code, Some(1));
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told["passed"], false);
    assert_eq!(told["files"][1]["errors"][0]["line"], 1);
    let tests = told["files"][0]["tests"].as_array().unwrap();
    assert_eq!((&tests[0]["passed"], &tests[1]["passed"]), (&true.into(), &false.into()));
    let row = tests[1]["rows"].as_array().unwrap().iter().find(|row| row["mark"] == "early by 1m").unwrap();
    assert_eq!((&row["expected"]["at"], &row["got"]["at"]), (&"1m".into(), &"0s".into()));
    assert_eq!(row["got"]["alerts"][0], r#"{alertname="Down"}"#);
    let key = |row: &Value| row["got"]["incident"].as_str().map(str::len);
    assert_eq!((key(row), &row["expected"]["incident"]), (Some(64), &Value::Null), "the key of its incident");
}

#[test]
fn the_same_file_says_the_same_twice() {
    let file = format!("{DATA}/failing/marks.yml");
    assert_eq!(squelch_test(&["-o", "json", &file]).out, squelch_test(&["-o", "json", &file]).out);
}

#[test]
fn junit_is_well_formed_and_says_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.xml");
    let junit = format!("--junit={}", path.display());
    let marks = format!("{DATA}/failing/marks.yml");
    let ran = squelch_test(&[&junit, &marks, &format!("{DATA}/malformed/keys.yml")]);
    assert_eq!(ran.code, Some(1));
    let root = xml::parse(&fs::read_to_string(&path).unwrap());
    assert_eq!(root.name, "testsuites");
    let (suite, refused) = (&root.children[0], &root.children[1]);
    assert_eq!(suite.attribute("name"), marks);
    let failed: Vec<_> = suite.children.iter().filter(|case| !case.children.is_empty()).collect();
    assert_eq!(suite.attribute("tests"), suite.children.len().to_string());
    assert_eq!(suite.attribute("failures"), failed.len().to_string());
    assert_eq!(root.attribute("tests"), (suite.children.len() + 1).to_string());
    assert_eq!((root.attribute("failures"), root.attribute("errors")), (suite.attribute("failures"), "1"));
    assert_eq!(failed[0].attribute("name"), "late, early, and <missing> & \"quoted\"");
    let failure = &failed[0].children[0];
    assert_eq!((failure.name.as_str(), failure.attribute("type")), ("failure", "unexpected"));
    assert_eq!(failure.attribute("message"), "early by 1m, missing, late by 2m30s");
    assert!(failure.text.contains("| late by 2m30s\n"), "{}", failure.text);
    // Three minutes of input and three hours for late notifications, on the test's own clock.
    assert_eq!(suite.children[0].attribute("time"), (3 * 60 + 2 * 60 + 3 * 3600).to_string());
    assert_eq!(refused.children[0].children[0].name, "error");

    let ran = squelch_test(&["--junit=/no/such/folder/out.xml", &files("config/examples/tests", "yml")[0]]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("/no/such/folder/out.xml: "), "{}", ran.err);
}

/// An XML reader for these documents. It panics if one is not well-formed.
mod xml {
    pub struct Element {
        pub name: String,
        pub attributes: Vec<(String, String)>,
        pub children: Vec<Element>,
        pub text: String,
    }

    impl Element {
        pub fn attribute(&self, name: &str) -> &str {
            &self.attributes.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
        }
    }

    pub fn parse(text: &str) -> Element {
        let rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").expect("a declaration");
        let (root, rest) = element(rest.trim_start());
        assert_eq!(rest.trim(), "", "something follows the root");
        root
    }

    fn element(text: &str) -> (Element, &str) {
        let rest = text.strip_prefix('<').expect("an element");
        let end = rest.find([' ', '/', '>']).unwrap();
        let (name, mut rest) = rest.split_at(end);
        let name = name.to_owned();
        let (mut attributes, mut children, mut content) = (Vec::new(), Vec::new(), String::new());
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (key, value) = attribute.split_once("=\"").unwrap();
            let (value, after) = value.split_once('"').unwrap();
            attributes.push((key.to_owned(), unescaped(value)));
            rest = after;
        }
        if let Some(rest) = rest.strip_prefix("/>") {
            return (Element { name, attributes, children, text: content }, rest);
        }
        rest = rest.strip_prefix('>').expect("the end of a start tag");
        loop {
            let (before, markup) = rest.split_at(rest.find('<').expect("an end tag"));
            content += &unescaped(before);
            if let Some(end) = markup.strip_prefix("</") {
                let rest = end.strip_prefix(&format!("{name}>")).expect("the end tag of the element");
                return (Element { name, attributes, children, text: content }, rest);
            }
            let (child, after) = element(markup);
            children.push(child);
            rest = after;
        }
    }

    fn unescaped(text: &str) -> String {
        assert!(!text.contains(['<', '>']), "{text}");
        let mut parts = text.split('&');
        let mut out = parts.next().unwrap().to_owned();
        for part in parts {
            let (entity, rest) = part.split_once(';').expect("an entity");
            out.push(match entity {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                "quot" => '"',
                "apos" => '\'',
                other => panic!("&{other}; is not of XML"),
            });
            out += rest;
        }
        out
    }
}
