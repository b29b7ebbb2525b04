//! Writes the text format 0.0.4, one family after the other.

use std::fmt::{Display, Write};

/// The type of a family, as its `# TYPE` line says it.
#[derive(Clone, Copy)]
pub(super) enum Type {
    Counter,
    Gauge,
    Histogram,
}

/// A text under construction. A family is opened once, then its samples are written.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Opens the family `name`. The samples that follow belong to it.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        self.name = name;
        self.push(format_args!(
            "# HELP {name} {}\n# TYPE {name} {kind}\n",
            Escaped { text: help, quote: false }
        ));
    }

    /// One sample of the open family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.suffixed("", labels, value);
    }

    /// One sample whose name has a suffix: `_bucket`, `_sum`, `_count`.
    pub(super) fn suffixed(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let name = self.name;
        self.push(format_args!("{name}{suffix}"));
        for (i, (name, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            self.push(format_args!("{open}{name}=\"{}\"", Escaped { text, quote: true }));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.push(format_args!("{close} {value}\n"));
    }

    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn push(&mut self, args: std::fmt::Arguments<'_>) {
        // Writing to a String fails only if a Display does, and none of ours does.
        let _ = self.text.write_fmt(args);
    }
}

/// Backslash and line feed escaped, and quotes too, inside a label value.
struct Escaped<'a> {
    text: &'a str,
    quote: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quote => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_would_break_a_line() {
        let mut out = Exposition::default();
        out.family("m", Type::Gauge, "a \"b\"\nc\\d");
        out.sample(&[("l", "x\"y\nz\\")], 1);
        out.sample(&[], 0.5);
        let want = "# HELP m a \"b\"\\nc\\\\d\n# TYPE m gauge\nm{l=\"x\\\"y\\nz\\\\\"} 1\nm 0.5\n";
        assert_eq!(out.into_text(), want);
    }
}
