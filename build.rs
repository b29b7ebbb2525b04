//! Tells the program which compiler built it, from which revision, and of which day.
//!
//! The revision and its day come from `SQUELCH_REVISION` and `SQUELCH_REVISION_DATE`, as the Dockerfile sets them.
//! Without them, an optimised build asks git, and a package from a registry reads `.cargo_vcs_info.json`.
//! Other builds do not ask git, since they would be made anew after each commit.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.toml");
    for variable in ["SQUELCH_REVISION", "SQUELCH_REVISION_DATE"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let rustc = var("RUSTC").unwrap_or_else(|_| "rustc".into());
    // "rustc 1.95.0 (59807616e 2026-04-14)"
    let said = said_by(&rustc, &["--version"]).unwrap_or_default();
    let version = said.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=SQUELCH_RUST_VERSION={version}");

    let git = Some(()).filter(|()| var("PROFILE").as_deref() == Ok("release")).and_then(|()| asked_git());
    let (revision, date) = git.or_else(|| Some((packaged()?, String::new()))).unwrap_or_default();
    let given =
        |variable, else_it_is| var(variable).ok().filter(|text| !text.is_empty()).unwrap_or(else_it_is);
    println!("cargo::rustc-env=SQUELCH_REVISION={}", given("SQUELCH_REVISION", revision));
    println!("cargo::rustc-env=SQUELCH_REVISION_DATE={}", given("SQUELCH_REVISION_DATE", date));
}

/// The first line that a program prints.
fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// The revision of this checkout and its day. Cargo asks again after each commit.
fn asked_git() -> Option<(String, String)> {
    // A checkout of something else may lie around an unpacked source archive.
    said_by("git", &["ls-files", "--error-unmatch", "build.rs"])?;
    for path in ["HEAD", "logs/HEAD"] {
        println!("cargo::rerun-if-changed={}", said_by("git", &["rev-parse", "--git-path", path])?);
    }
    Some((
        said_by("git", &["rev-parse", "--short=12", "HEAD"])?,
        said_by("git", &["log", "-1", "--format=%cs"])?,
    ))
}

/// The revision that `cargo publish` wrote into the package.
fn packaged() -> Option<String> {
    let info = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\": \"")?;
    rest.get(..12).map(str::to_owned)
}
