//! Templated configuration keys: minijinja, with limits, and the default text behind them.

use std::cell::RefCell;
use std::io;

use minijinja::{Environment, Value};

use super::text::clean_text;
use super::view::View;
use crate::config::{TemplateData, TemplateFacts, template_environment};

/// Bytes that one template may write.
const OUTPUT_BYTES: usize = 64 * 1024;

/// Keys that say where a message goes.
const PLACES: [&str; 2] = ["channel", "routing_key"];

/// How values (not the text round them) are made safe.
pub(super) type Escape = fn(&str) -> String;

/// The templates of one integration, compiled.
pub(super) struct Templates {
    env: Environment<'static>,
}

impl Templates {
    /// Compiles `(key, source)` pairs; the error names the key.
    pub(super) fn new(sources: Vec<(String, String)>, escape: Escape) -> Result<Self, (String, String)> {
        let mut env = template_environment();
        env.set_formatter(move |out, state, value| {
            if value.is_undefined() || value.is_none() {
                return Ok(());
            }
            let text = value.to_string();
            // These name a place and are no text that anybody reads.
            let text = if PLACES.contains(&state.name()) { clean_text(&text) } else { escape(&text) };
            out.write_str(&text).map_err(minijinja::Error::from)
        });
        for (key, source) in sources {
            env.add_template_owned(key.clone(), source).map_err(|e| (key, clean_text(&e.to_string())))?;
        }
        Ok(Templates { env })
    }
}

/// Renders the templates of one integration for one notification.
pub(super) struct Renderer<'a> {
    templates: &'a Templates,
    context: Value,
    errors: RefCell<Vec<String>>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(templates: &'a Templates, view: &View<'_>) -> Self {
        Renderer { templates, context: context_of(view), errors: RefCell::default() }
    }

    /// The text of `key`: its template's if it has one that works, else `default`.
    pub(super) fn text(&self, key: &str, default: impl FnOnce() -> String) -> String {
        match self.render(key) {
            Some(Ok(text)) => text,
            Some(Err(reason)) => self.failed(key, &reason, default),
            None => default(),
        }
    }

    /// The same for a text that must say something. A template that renders to nothing counts as failed, and
    /// `default` takes its place. A key that the configuration leaves empty stays empty.
    pub(super) fn required(&self, key: &str, default: impl FnOnce() -> String) -> String {
        let empty = self.templates.env.get_template(key).is_ok_and(|t| t.source().trim().is_empty());
        match self.render(key) {
            Some(Ok(text)) if empty || !text.trim().is_empty() => text,
            Some(Ok(_)) => self.failed(key, "it renders to nothing", default),
            Some(Err(reason)) => self.failed(key, &reason, default),
            None => default(),
        }
    }

    fn render(&self, key: &str) -> Option<Result<String, String>> {
        let template = self.templates.env.get_template(key).ok()?;
        let mut out = Capped(Vec::new());
        let rendered = template.render_captured_to(&self.context, &mut out);
        Some(rendered.map(|_| String::from_utf8_lossy(&out.0).into_owned()).map_err(|e| e.to_string()))
    }

    fn failed(&self, key: &str, reason: &str, default: impl FnOnce() -> String) -> String {
        self.errors.borrow_mut().push(clean_text(&format!("{key}: {reason}")));
        default()
    }

    /// What went wrong, one entry a key; the default text stands in each time.
    pub(super) fn errors(self) -> Vec<String> {
        self.errors.into_inner()
    }
}

/// Refuses what goes beyond the cap: half a text would mislead, the default one does not.
struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES {
            return Err(io::Error::other("the text is longer than 64 KiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn context_of(view: &View<'_>) -> Value {
    let facts = TemplateFacts {
        status: view.status(),
        external_url: view.external_url,
        possible_repeat: view.possible_repeat,
    };
    TemplateData::new(view.notification, facts).context()
}
