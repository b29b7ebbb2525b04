//! The mechanical part of the rules for writing: short sentences, no semicolons, clauses with a subject, and
//! the terms of the glossary.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::no_findings;
use super::source::{Source, repository};

/// A longer sentence is hard to read at first sight.
const MOST_WORDS: usize = 25;

/// Terms that the glossary replaced, and the terms in their place.
const REPLACED: [(&str, &str); 7] = [
    ("ledger", "decision log or accounting"),
    ("self-watch", "self-check"),
    ("lapse", "expiry"),
    ("shadow mode", "observe mode"),
    ("mirror mode", "observe mode"),
    ("kept quiet", "withheld"),
    ("untold", "not notified"),
];

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// A clause that begins with a bare relative or negative pronoun, so that the reader has to find its subject.
static BARE: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?ix) (?: ^ | [.,:;(]\s+ | \b(?:and|or|but|of|for|with|that|from|to|by|in|on|as|than)\s+ )
          (what|whatever|whoever|nobody)\b",
    )
});
/// Parts of a text that are no prose, each with a word in its place.
static NO_PROSE: LazyLock<[(Regex, &str); 7]> = LazyLock::new(|| {
    [
        (regex(r"!\[[^\]]*\]\([^)]*\)"), ""),
        (regex(r"\[([^\]]*)\]\([^)]*\)"), "$1"),
        (regex(r"\[([^\]]*)\]\[[^\]]*\]"), "$1"),
        (regex(r"`[^`]*`"), "X"),
        (regex(r"https?://\S+"), "URL"),
        (regex(r"<[^>]+>"), ""),
        (regex("\"[^\"]*\""), "Q"),
    ]
});
static SENTENCE_ENDS: LazyLock<Regex> = LazyLock::new(|| regex(r"[.!?][\s)]+[A-Z(X*_Q]|:\s+[A-Z]"));
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"[\w'’/%.-]*\w[\w'’/%.-]*"));
static ITEM: LazyLock<Regex> = LazyLock::new(|| regex(r"^(?:[-*+]|\d+\.)\s+(.*)"));
static RUST: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*//[/!]?\s?(.*)"));
static YAML: LazyLock<Regex> = LazyLock::new(|| regex(r"^\s*#\s?(.*)"));
static YAML_TAIL: LazyLock<Regex> = LazyLock::new(|| regex(r"\s{2}# (.*)"));
/// A setting that stands in a comment, to be copied.
static YAML_KEY: LazyLock<Regex> = LazyLock::new(|| regex(r#"^[-\w{}\[\]"./ ]*:( |$)|^- \w+:"#));

/// A plain word with a blank behind it. With four of them, a string is a text for a person.
static PLAIN_WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[A-Za-z][a-z'’]*,? "));
/// SQL, or a header that restricts a browser.
static LANGUAGE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|FROM|WHERE)\b|-src '"));
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| regex(r"\{[\w.:?#$<>^+-]*\}"));

/// How prose stands in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Markdown,
    Rust,
    Yaml,
}

fn form(path: &str) -> Option<Form> {
    match Path::new(path).extension()?.to_str()? {
        "md" => Some(Form::Markdown),
        "rs" => Some(Form::Rust),
        "yml" => Some(Form::Yaml),
        _ => None,
    }
}

/// The breaches in the files that git keeps and `chosen` takes.
fn breaches(chosen: impl Fn(&str) -> bool) -> Vec<String> {
    let mut paths = Vec::new();
    for folder in ["", "docs", "config", "packages", "src", "crates", "tests"] {
        collect(&repository().join(folder), folder.is_empty(), &mut paths);
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| chosen(path)) {
        let text = std::fs::read_to_string(repository().join(path)).unwrap();
        found.extend(in_text(path, &text));
    }
    found
}

fn collect(folder: &Path, flat: bool, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !flat && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, false, paths);
        } else if path.is_file() {
            let shown = path.strip_prefix(repository()).unwrap().display().to_string();
            paths.extend(form(&shown).map(|_| shown));
        }
    }
}

/// The breaches of a file, each with its line.
fn in_text(path: &str, text: &str) -> Vec<String> {
    let Some(form) = form(path) else { return Vec::new() };
    let mut found = Vec::new();
    let strings = if form == Form::Rust { Source::new(path, text).strings() } else { Vec::new() };
    let in_strings = strings.iter().flat_map(|(line, text)| of_string(*line, text));
    for (line, paragraph) in paragraphs(form, text).into_iter().chain(in_strings) {
        for sentence in sentences(&paragraph) {
            let mut why = Vec::new();
            let words = WORD.find_iter(&sentence).count();
            if words > MOST_WORDS {
                why.push(format!("{words} words, and {MOST_WORDS} are the most"));
            }
            if sentence.contains(';') {
                why.push("a semicolon".to_owned());
            }
            if let Some(bare) = BARE.captures(&sentence)
                && !sentence.trim_end().ends_with('?')
            {
                why.push(format!("a clause begins with a bare \"{}\"", &bare[1]));
            }
            let lower = sentence.to_lowercase();
            for (term, now) in REPLACED {
                let before = |at: usize| lower[..at].chars().next_back().is_some_and(char::is_alphanumeric);
                if lower.match_indices(term).any(|(at, _)| !before(at)) {
                    why.push(format!("\"{term}\" is now {now}"));
                }
            }
            if !why.is_empty() {
                found.push(format!("{path}:{line}: {}: {sentence}", why.join(", ")));
            }
        }
    }
    found
}

/// The paragraphs of a string that a person reads. An indented line is an example or an item of a list.
fn of_string(line: usize, text: &str) -> Vec<(usize, String)> {
    if PLAIN_WORD.find_iter(text).count() < 4 || LANGUAGE.is_match(text) {
        return Vec::new();
    }
    let text = PLACEHOLDER.replace_all(text, "X").replace("\n ", "\n\n ");
    paragraphs(Form::Markdown, &text).into_iter().map(|(_, paragraph)| (line, paragraph)).collect()
}

fn sentences(paragraph: &str) -> Vec<String> {
    let mut text = paragraph.to_owned();
    for (part, word) in NO_PROSE.iter() {
        text = part.replace_all(&text, *word).into_owned();
    }
    let mut sentences = Vec::new();
    let mut from = 0;
    while let Some(end) = SENTENCE_ENDS.find_at(&text, from) {
        // The match ends with the first letter of the next sentence, which has one byte.
        let next = end.end() - 1;
        sentences.push(text[from..next].trim().to_owned());
        from = next;
    }
    sentences.push(text[from..].trim().to_owned());
    sentences
}

/// The paragraphs of prose with the line of each. A cell of a table, a heading and an item are paragraphs.
fn paragraphs(form: Form, text: &str) -> Vec<(usize, String)> {
    let (mut found, mut current, mut code) = (Vec::new(), (0, String::new()), false);
    let flush = |current: &mut (usize, String), found: &mut Vec<(usize, String)>| {
        if !current.1.is_empty() {
            found.push(std::mem::take(current));
        }
    };
    for (number, line) in text.lines().enumerate() {
        let comment = match form {
            Form::Markdown => Some(line),
            Form::Rust => RUST.captures(line).map(|c| c.get(1).unwrap().as_str()),
            Form::Yaml => YAML.captures(line).map(|c| c.get(1).unwrap().as_str()),
        };
        let Some(comment) = comment.map(str::trim) else {
            flush(&mut current, &mut found);
            if form == Form::Yaml {
                found.extend(YAML_TAIL.captures(line).map(|c| (number + 1, c[1].to_owned())));
            }
            continue;
        };
        let fence = comment.starts_with("```");
        code ^= fence;
        let apart = fence
            || code
            || comment.is_empty()
            || comment.starts_with(['|', '#'])
            || form == Form::Yaml && YAML_KEY.is_match(comment);
        if apart {
            flush(&mut current, &mut found);
            if !code && form == Form::Markdown && comment.starts_with('#') {
                found.push((number + 1, comment.trim_start_matches(['#', ' ']).to_owned()));
            } else if !code && form == Form::Markdown && comment.starts_with('|') {
                found.extend(
                    comment.trim_matches('|').split('|').map(|cell| (number + 1, cell.trim().to_owned())),
                );
            }
            continue;
        }
        let item = ITEM.captures(comment).map(|c| c.get(1).unwrap().as_str());
        if item.is_some() {
            flush(&mut current, &mut found);
        }
        if current.1.is_empty() {
            current.0 = number + 1;
        } else {
            current.1.push(' ');
        }
        current.1.push_str(item.unwrap_or(comment));
    }
    flush(&mut current, &mut found);
    found
}

/// The pages of `docs/reference` come from the program, and an example is the output of a test.
#[test]
fn sentences_are_short_and_have_subjects() {
    let written = |path: &str| path.starts_with("docs/reference/") || path.starts_with("docs/examples/");
    no_findings(breaches(|path| !written(path)));
}

#[test]
fn each_rule_finds_its_breach_and_only_that() {
    let long = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
                seventeen eighteen nineteen twenty twenty-one twenty-two twenty-three twenty-four twenty-five";
    for (path, text, expected) in [
        ("a.md", "It sends a page. The page arrives.", None),
        ("a.md", &format!("{long}."), None),
        ("a.md", &format!("{long} more."), Some("a.md:1: 26 words")),
        ("a.md", "One; two.", Some("a semicolon")),
        ("a.md", "`a; b` and [c; d](e;f)", Some("a semicolon")),
        ("a.md", "```\nwhat; is this\n```\n", None),
        (
            "a.md",
            "\nText\nthat says, what fires is sent.",
            Some("a.md:2: a clause begins with a bare \"what\""),
        ),
        ("a.md", "What is it?", None),
        ("a.md", "- Nobody is asked.", Some("bare \"Nobody\"")),
        ("a.md", "| a | of what |", Some("bare \"what\"")),
        ("a.rs", "let a = 1; // code; no prose\nlet b;", None),
        ("a.rs", "    /// Its ledger.", Some("is now decision log")),
        ("a.rs", "// The time that elapsed.", None),
        (
            "src/a.rs",
            "\nerr(\"the name {a:?} is not known; write another\")",
            Some("src/a.rs:2: a semicolon"),
        ),
        (
            "src/a.rs",
            "say(\"The page has \\\n    the alerts and what else it needs\")",
            Some("bare \"what\""),
        ),
        ("src/a.rs", "say(\"The ledger has the alerts\")", Some("is now decision log")),
        ("src/a.rs", &format!("say(r#\"{long} more\"#)"), Some("26 words")),
        ("src/a.rs", &format!("say(\"{long}.\\n  more and more of it\")"), None),
        ("src/a.rs", "ask(\"SELECT one and the other FROM a; COMMIT\")", None),
        ("src/a.rs", "send(\"a=b; Path=/; Secure\")", None),
        ("src/a.rs", "#[cfg(test)]\nmod tests { const A: &str = \"it is not known; write another\"; }", None),
        ("tests/a.rs", "say(\"the name is not known; write another\")", None),
        ("a.yml", "# route: {a: b; c}\na: 1  # one; two", Some("a.yml:2: a semicolon")),
    ] {
        let found = in_text(path, text);
        match expected {
            None => assert!(found.is_empty(), "{text}: {found:?}"),
            Some(expected) => assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:?}"),
        }
    }
}
