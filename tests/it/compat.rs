//! The corpus of `tests/compat`: configurations that Alertmanager takes and that it refuses. Squelch must
//! come to the same verdict. amtool 0.25 confirms the verdict on each file that it is new enough for.

use std::fs;
use std::path::{Path, PathBuf};

use squelch::config;

use crate::tools;

/// The version of amtool that Debian has.
const AMTOOL: &str = "0.25";

struct Case {
    path: PathBuf,
    text: String,
}

impl Case {
    /// The value of a header such as `# since: 0.25`.
    fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("# {name}: ");
        self.text.lines().take(4).find_map(|line| line.trim_start_matches('\u{feff}').strip_prefix(&*prefix))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn base(&self) -> &Path {
        self.path.parent().unwrap()
    }
}

fn cases(folder: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compat").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "yml")).collect();
    paths.sort();
    let case = |path: PathBuf| Case { text: fs::read_to_string(&path).unwrap(), path };
    paths.into_iter().map(case).collect()
}

#[test]
fn every_configuration_that_alertmanager_takes_loads() {
    let all = cases("valid");
    assert!(all.len() >= 60, "only {} files were found", all.len());
    let mut wrong = String::new();
    for case in all.iter().filter(|case| case.header("squelch").is_none()) {
        if let Err(errors) = config::parse(&case.text, &case.name(), case.base()) {
            wrong.push_str(&format!("{errors}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A setting that cannot be in force, and would lose a page, is refused by name. A header of the file says
/// so.
#[test]
fn what_would_lose_a_page_is_refused_although_alertmanager_takes_it() {
    let all = cases("valid");
    let mut seen = 0;
    for (case, word) in all.iter().filter_map(|case| Some((case, case.header("squelch")?))) {
        let said = config::parse(&case.text, &case.name(), case.base()).unwrap_err().to_string();
        assert!(said.contains(word) && said.lines().count() == 1, "{}: {said}", case.name());
        seen += 1;
    }
    assert_eq!(seen, 2, "the exceptions of docs/compatibility.md");
}

#[test]
fn every_configuration_that_alertmanager_refuses_is_refused_with_its_line() {
    let all = cases("invalid");
    assert!(all.len() >= 80, "only {} files were found", all.len());
    let mut wrong = String::new();
    for case in &all {
        let said = match config::parse(&case.text, &case.name(), case.base()) {
            Ok(_) => "it loads".to_owned(),
            Err(errors) => errors.to_string(),
        };
        let word = case.header("wrong").unwrap_or("# wrong: is missing");
        let line = case.header("line").unwrap_or("# line: is missing");
        let place = format!("{}:{line}: ", case.name());
        let has_words = |error: &str| word.split(' ').all(|word| error.contains(word));
        let found = said.lines().any(|error| error.starts_with(&place) && has_words(error));
        if !found {
            wrong.push_str(&format!("{place}no word of {word:?}:\n    {said}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn amtool_comes_to_the_same_verdict() {
    let mut wrong = String::new();
    for (folder, valid) in [("valid", true), ("invalid", false)] {
        for case in cases(folder).iter().filter(|case| case.header("since") == Some(AMTOOL)) {
            let path = case.path.display().to_string();
            let Some(verdict) = tools::ask("amtool", &["check-config", &path], "") else { return };
            if verdict.passed != valid {
                wrong.push_str(&format!("{folder}/{}: {}\n", case.name(), verdict.said));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
