//! `squelch test`: behaviour tests of a configuration, under a clock that runs as fast as it can.
//!
//! In: YAML files that say which alerts fire when, and which notifications must follow
//! (`docs/behaviour-tests.md`). They run on the engine itself. Nothing is sent, no clock is read, and the
//! same file gives the same result each time.

mod compare;
mod expect;
mod junit;
mod place;
mod report;
mod run;
mod series;
mod spec;
mod steps;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use regex::Regex;

use report::{FileOutcome, TestOutcome};

/// Runs behaviour tests of a configuration.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files of tests.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Run only tests whose name matches this regular expression. You can give it more than once.
    #[arg(long, value_name = "REGEX")]
    pub run: Vec<Regex>,
    /// Write the results to this file too, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// How to write the results.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  Run the tests of a file:
    squelch test tests.yml
  Run the tests about flapping, and write the results for CI:
    squelch test tests/*.yml --run=flap --junit=results.xml";

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Simple,
    /// One JSON document.
    Json,
}

/// Runs the tests and writes their results to `out`. The code is 0 if all passed. It is 1 if one failed, a
/// file is not valid or a result cannot be written, and 2 if `--run` leaves no test.
pub fn run(args: &Args, out: &mut dyn Write) -> ExitCode {
    match all(args, out) {
        Ok(code) => ExitCode::from(code),
        Err(error) => super::unwritten(error),
    }
}

fn all(args: &Args, out: &mut dyn Write) -> io::Result<u8> {
    let wanted = |name: &str| args.run.is_empty() || args.run.iter().any(|regex| regex.is_match(name));
    let mut outcomes = Vec::new();
    for file in &args.files {
        let outcome = one(file, &wanted);
        if args.output == Output::Simple {
            out.write_all(report::simple(&outcome).as_bytes())?;
        }
        outcomes.push(outcome);
    }
    match args.output {
        Output::Simple => {
            if let Some(summary) = report::summary(&outcomes) {
                writeln!(out, "{summary}")?;
            }
        }
        Output::Json => {
            serde_json::to_writer_pretty(&mut *out, &report::json(&outcomes))?;
            writeln!(out)?;
        }
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::xml(&outcomes))
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    }
    if !outcomes.iter().all(FileOutcome::passed) {
        return Ok(1);
    }
    let ran = outcomes.iter().filter_map(|o| o.tests.as_ref().ok()).flatten().count();
    if ran == 0 {
        // A misspelt name must not look like a success.
        super::complain("no test has a name that --run matches");
        return Ok(2);
    }
    Ok(0)
}

fn one(file: &Path, wanted: &dyn Fn(&str) -> bool) -> FileOutcome {
    let name = file.display().to_string();
    let tests = spec::load(file).map(|suite| {
        let tests = suite.tests.iter().filter(|test| wanted(&test.name));
        let outcome = |test: &spec::Test| TestOutcome {
            name: test.name.clone(),
            line: test.line,
            lasted: test.until.since(test.start),
            result: run::run(&suite.policy, test).map(|shown| compare::compare(test, &shown)),
        };
        tests.map(outcome).collect()
    });
    FileOutcome { file: name, tests }
}
