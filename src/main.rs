//! `squelch`: parses the command line and hands over to a command.

fn main() -> std::process::ExitCode {
    squelch::commands::main()
}
