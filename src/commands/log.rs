//! The log: logfmt or JSON lines on standard error.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::node::clock::wall;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `time=… level=INFO msg="…" key=value`
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// What is written at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Everything.
    Debug,
    /// What a person may want to know afterwards.
    Info,
    /// What may need somebody.
    Warn,
    /// What needs somebody.
    Error,
}

/// Options of the log, in Prometheus' style.
#[derive(Clone, Copy, Debug, clap::Args)]
// Flattened into commands whose own options form the group of this name.
#[group(skip)]
pub struct Args {
    /// Only log messages with this severity or above.
    #[arg(long = "log.level", value_enum, default_value = "info")]
    pub level: Level,
    /// Output format of log messages.
    #[arg(long = "log.format", value_enum, default_value = "logfmt")]
    pub format: Format,
}

/// Sends everything logged from now on to standard error. The first call in a process counts.
pub fn init(args: Args) {
    let level = match args.level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    // Libraries have their say from warnings on: what they debug is not about pages.
    let others = if level == "error" { "error" } else { "warn" };
    let filter = EnvFilter::new(format!("{others},squelch={level}"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match args.format {
        Format::Logfmt => log.event_format(Logfmt).try_init(),
        Format::Json => log.json().flatten_event(true).with_current_span(false).try_init(),
    };
    // Somebody logs already, as in a test: theirs stays.
    drop(outcome);
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

/// Quotes what is not one plain word, and escapes what a terminal or a parser would act on.
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
            // Control characters of both sets, line separators, and what reorders a line.
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
