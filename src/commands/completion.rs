//! `squelch completion`: completions for a shell.

use std::io::Write;
use std::process::ExitCode;

use clap_complete::Shell;

/// Options of `squelch completion`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell that reads them.
    #[arg(value_enum)]
    pub shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  Complete commands and flags in this bash:
    squelch completion bash > /etc/bash_completion.d/squelch";

/// Prints the completions: 0, or 1 if the output cannot be written.
pub fn run(args: &Args, mut command: clap::Command, out: &mut impl Write) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "squelch", &mut text);
    super::wrote(out.write_all(&text).and_then(|()| out.flush()))
}
