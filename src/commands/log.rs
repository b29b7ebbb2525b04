//! The log: logfmt or JSON lines on standard error.
//!
//! No thread waits for the output. Lines go into [`LOG`], from which a thread of its own writes them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::node::clock::wall;
use crate::outside::LOG;

/// How long the last lines may take at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time=… level=INFO msg="…" key=value`
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// The lowest level that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Events that a person may want to know afterwards.
    Info,
    /// Problems that may need a person.
    Warn,
    /// Problems that need a person.
    Error,
}

/// Options of the log, in Prometheus' style.
#[derive(Clone, Copy, Debug, clap::Args)]
// Flattened into commands whose own options form the group of this name.
#[group(skip)]
pub struct Args {
    /// Only log messages with this severity or above.
    #[arg(long = "log.level", env = "SQUELCH_LOG_LEVEL", value_enum, default_value = "info")]
    pub level: LogLevel,
    /// Output format of log messages.
    #[arg(long = "log.format", env = "SQUELCH_LOG_FORMAT", value_enum, default_value = "logfmt")]
    pub format: Format,
}

/// Sends everything logged from now on, panics too, to standard error. The first call in a process counts.
pub fn init(args: Args) {
    static FIRST: Once = Once::new();
    FIRST.call_once(|| {
        std::panic::set_hook(Box::new(panicked));
        let stderr = io::stderr().as_fd().try_clone_to_owned();
        // Where there is no output or no thread for it, the lines are dropped and counted.
        let _ = stderr.and_then(|stderr| LOG.write_to(File::from(stderr)));
    });
    let level = match args.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Libraries log from warnings on. Their debug lines are not about pages.
    let others = if level == "error" { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},squelch={level}"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| ToLog).log_internal_errors(false);
    let outcome = match args.format {
        Format::Logfmt => log.event_format(Logfmt).try_init(),
        Format::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Another logger is set already, as in a test: it stays.
    drop(outcome);
}

/// Writes text for a person, unchanged.
pub fn say(text: &str) {
    for line in text.lines() {
        LOG.push(format!("{line}\n").as_bytes());
    }
}

/// Waits until all lines are out, for at most a second.
pub fn flush() {
    LOG.flush(LAST_LINES);
}

/// The hook of the standard library would wait for standard error.
fn panicked(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message =
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let at = info.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => {
            tracing::error!(thread, at, panic = message, %backtrace, "a thread panicked")
        }
        _ => tracing::error!(thread, at, panic = message, "a thread panicked"),
    }
}

/// Takes each event in one piece.
struct ToLog;

impl io::Write for ToLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an event as one line of logfmt. Nothing that a client sent can begin a second line.
struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        write!(out, "time={:.3} level={level} msg=", wall())?;
        value(&mut out, &fields.message)?;
        writeln!(out, "{}", fields.rest)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            text.clone_into(&mut self.message);
        } else {
            let _ = write!(self.rest, " {}=", field.name());
            let _ = value(&mut self.rest, text);
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, text: &str) {
        self.add(field, text);
    }

    fn record_debug(&mut self, field: &Field, thing: &dyn fmt::Debug) {
        self.add(field, &format!("{thing:?}"));
    }
}

/// Quotes text that is not one plain word, and escapes characters that a terminal or a parser would act on.
fn value(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    if !text.is_empty() && text.chars().all(plain) {
        return out.write_str(text);
    }
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            // Control characters of both sets, line separators, and characters that reorder a line.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                write!(out, "\\u{:04x}", u32::from(c))?;
            }
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_stands_in_it() {
        let captured = Captured::default();
        let writer = captured.clone();
        let log = tracing_subscriber::fmt().event_format(Logfmt).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(peer = "10.0.0.1", n = 3, body = "a\n\u{1b}[31m \"x\" \u{202e}", "body refused");
        });
        let line = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let (time, rest) = line.strip_prefix("time=").unwrap().split_once("Z level=").unwrap();
        assert_eq!(time.len(), "2026-11-23T04:21:22.280".len(), "{time}: of one width");
        assert_eq!(
            rest,
            "WARN msg=\"body refused\" peer=10.0.0.1 n=3 body=\"a\\n\\u001b[31m \\\"x\\\" \\u202e\"\n"
        );
    }
}
