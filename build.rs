//! Tells the program which compiler built it: `squelch_build_info{rustversion}`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The revision comes from the environment, not from git: a source archive has no git, and a
    // build that watched it would recompile after each commit.
    println!("cargo::rerun-if-env-changed=SQUELCH_REVISION");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().map(|out| out.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    // "rustc 1.95.0 (59807616e 2026-04-14)"
    let version = said.split_whitespace().nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=SQUELCH_RUST_VERSION={version}");
}
