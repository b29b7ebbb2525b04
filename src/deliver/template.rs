//! Templated configuration keys: minijinja, with limits, and the default text behind them.
//!
//! A template sees: `status`, `kind`, `receiver`, `group_labels`, `common_labels`,
//! `common_annotations`, `alerts.firing` and `alerts.resolved` (lists of `{status, labels,
//! annotations, starts_at, ends_at, generator_url, flaps}`), `external_url`, `severity`, `why`,
//! `dedup_key`, `num_firing`, `num_resolved`, `truncated` and `possible_repeat`. A label that is not
//! there is the empty string.

use std::cell::RefCell;
use std::io;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::text::clean_text;
use super::view::View;

/// Steps that one template may take; a loop over 1,000 alerts with ten labels fits.
const FUEL: u64 = 500_000;
/// Bytes that one template may write.
const OUTPUT_BYTES: usize = 64 * 1024;

/// How values (not the text round them) are made safe.
pub(super) type Escape = fn(&str) -> String;

/// The templates of one integration, compiled.
pub(super) struct Templates {
    env: Environment<'static>,
}

impl Templates {
    /// Compiles `(key, source)` pairs; the error names the key.
    pub(super) fn new(sources: Vec<(String, String)>, escape: Escape) -> Result<Self, (String, String)> {
        let mut env = Environment::new();
        env.set_fuel(Some(FUEL));
        env.set_undefined_behavior(UndefinedBehavior::Chainable);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_formatter(move |out, _, value| {
            if value.is_undefined() || value.is_none() {
                return Ok(());
            }
            out.write_str(&escape(&value.to_string())).map_err(minijinja::Error::from)
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
        let Ok(template) = self.templates.env.get_template(key) else { return default() };
        let mut out = Capped(Vec::new());
        match template.render_captured_to(&self.context, &mut out) {
            Ok(_) => String::from_utf8_lossy(&out.0).into_owned(),
            Err(error) => {
                self.errors.borrow_mut().push(clean_text(&format!("{key}: {error}")));
                default()
            }
        }
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
    let n = view.notification;
    let alerts = |list: &[&crate::model::AlertView]| {
        let one = |a: &&crate::model::AlertView| {
            context! {
                status => a.status.as_str(),
                labels => map(&a.labels),
                annotations => map(&a.annotations),
                starts_at => a.starts_at.to_string(),
                ends_at => a.ends_at.map(|t| t.to_string()),
                generator_url => a.generator_url.as_str(),
                flaps => a.flaps,
            }
        };
        list.iter().map(one).collect::<Vec<Value>>()
    };
    context! {
        status => view.status(),
        kind => n.kind.as_str(),
        receiver => n.receiver.as_str(),
        group_labels => map(&n.group_labels),
        common_labels => map(&view.common_labels),
        common_annotations => map(&view.common_annotations),
        alerts => context! { firing => alerts(&view.firing), resolved => alerts(&view.resolved) },
        external_url => view.external_url,
        severity => n.severity.as_str(),
        why => n.why.as_str(),
        dedup_key => n.dedup_key.as_str(),
        num_firing => view.firing.len(),
        num_resolved => view.resolved.len(),
        truncated => n.truncated,
        possible_repeat => view.possible_repeat,
    }
}

fn map(set: &crate::model::LabelSet) -> Value {
    Value::from_pairs(set.iter())
}
