//! One file a subcommand.

pub mod check_config;
pub mod fake_pager;

/// Runs the command line.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
