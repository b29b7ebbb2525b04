//! Templated configuration keys: minijinja, with limits, and the default text behind them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use minijinja::{Environment, Value};

use super::View;
use super::text::{Escape, clean_text};
use crate::settings::{TemplateData, TemplateFacts, template_environment};

/// Bytes that one template may write.
const OUTPUT_BYTES: usize = 64 * 1024;

/// A templated key of an integration.
pub struct Templated {
    /// The key, by which [`Renderer::text`] asks for it.
    pub key: String,
    /// The template.
    pub source: String,
    /// How the values in it are made safe.
    pub escape: Escape,
}

impl Templated {
    /// The keys that are given, all with the same escape.
    pub fn given<'k>(
        keys: impl IntoIterator<Item = (&'k str, &'k Option<String>)>,
        escape: Escape,
    ) -> Vec<Templated> {
        let given = keys.into_iter().filter_map(|(key, source)| Some((key.to_owned(), source.clone()?)));
        given.map(|(key, source)| Templated { key, source, escape }).collect()
    }
}

/// The templates of one integration, compiled.
pub struct Templates {
    env: Environment<'static>,
}

impl Templates {
    /// Compiles the templates.
    ///
    /// # Errors
    /// The key of one that is no template, and what is wrong with it.
    pub fn new(sources: Vec<Templated>) -> Result<Self, (String, String)> {
        let mut env = template_environment();
        let escapes: BTreeMap<String, Escape> =
            sources.iter().map(|one| (one.key.clone(), one.escape)).collect();
        env.set_formatter(move |out, state, value| {
            if value.is_undefined() || value.is_none() {
                return Ok(());
            }
            let escape = escapes.get(state.name()).copied().unwrap_or(clean_text);
            out.write_str(&escape(&value.to_string())).map_err(minijinja::Error::from)
        });
        for Templated { key, source, .. } in sources {
            env.add_template_owned(key.clone(), source).map_err(|e| (key, clean_text(&e.to_string())))?;
        }
        Ok(Templates { env })
    }
}

/// Renders the templates of one integration for one notification.
pub struct Renderer<'a> {
    templates: &'a Templates,
    context: Value,
    errors: Mutex<Vec<String>>,
}

impl<'a> Renderer<'a> {
    /// The templates with the data of this notification.
    pub fn new(templates: &'a Templates, view: &View<'_>) -> Self {
        Renderer { templates, context: context_of(view), errors: Mutex::default() }
    }

    /// The text of `key`: its template's if it has one that works, else `default`.
    pub fn text(&self, key: &str, default: impl FnOnce() -> String) -> String {
        match self.render(key) {
            Some(Ok(text)) => text,
            Some(Err(reason)) => self.failed(key, &reason, default),
            None => default(),
        }
    }

    /// The same for a text that must say something. A template that renders to nothing counts as failed, and
    /// `default` takes its place. A key that the configuration leaves empty stays empty.
    pub fn required(&self, key: &str, default: impl FnOnce() -> String) -> String {
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
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(clean_text(&format!("{key}: {reason}")));
        default()
    }

    /// What went wrong since the last call, one entry a key; the default text stands in each time.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
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
