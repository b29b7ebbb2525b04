//! Programs of the neighbours (promtool, amtool, docker-compose) that judge the shipped files.

use std::io::Write;
use std::process::{Command, Stdio};

/// The output of a program about its input.
pub struct Verdict {
    /// It left with status 0.
    pub passed: bool,
    /// Both of its outputs.
    pub said: String,
}

/// Says that `program` cannot be asked.
///
/// `tests/run` installs them all and sets `SQUELCH_TESTS_NEED_TOOLS`, under which a missing one
/// fails the test: a check that is left out unseen checks nothing.
pub fn missing(program: &str, error: &std::io::Error) {
    let needed = std::env::var_os("SQUELCH_TESTS_NEED_TOOLS").is_some();
    assert!(!needed, "{program}: {error}; tests/run installs it");
    println!("not checked by {program}: {error}");
}

/// Runs `program` with `input` on its standard input, or `None` where it is [`missing`].
pub fn ask(program: &str, args: &[&str], input: &str) -> Option<Verdict> {
    let spawned = Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            missing(program, &error);
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    // A program that read enough may close its end early. Its status tells.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(Verdict { passed: output.status.success(), said: String::from_utf8_lossy(&said).into_owned() })
}

/// [`ask`]. It fails with the program's output unless the program passed.
pub fn must_pass(program: &str, args: &[&str], input: &str) {
    if let Some(verdict) = ask(program, args, input) {
        assert!(verdict.passed, "{program} {args:?}:\n{}", verdict.said);
    }
}
