//! `squelch man`: a manual page for each command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_mangen::Man;

/// Options of `squelch man`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The directory to write into. Squelch creates it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  Write squelch.1, squelch-serve.1 and the pages of the other commands:
    squelch man /usr/local/share/man/man1";

/// Writes the pages: 0, or 1 if a file cannot be written.
pub fn run(args: &Args, command: clap::Command) -> ExitCode {
    let directory = &args.directory;
    match std::fs::create_dir_all(directory).and_then(|()| write(directory, command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::failed(&format!("cannot write {}: {error}", directory.display())),
    }
}

/// The pages of a command and of those below it, each under its whole name: `squelch-silence-add.1`.
fn write(directory: &Path, mut command: clap::Command) -> std::io::Result<()> {
    command = command.disable_help_subcommand(true);
    command.build();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().filter(|inner| !inner.is_hide_set()).cloned());
        let mut page = Vec::new();
        let man = Man::new(command);
        man.render(&mut page)?;
        std::fs::write(directory.join(man.get_filename()), page)?;
    }
    Ok(())
}
