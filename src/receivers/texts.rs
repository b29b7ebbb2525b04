//! The templated keys of an integration, read and declared by their names.

use super::{Escape, Templated};
use crate::settings::section::Section;
use crate::settings::template_check;

/// The templated keys of an integration and their templates: the user's, or Alertmanager's default. The text
/// of a key with neither is empty.
#[derive(Clone, Debug, Default)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// Reads these keys of a section, each with its default.
    pub(super) fn read(keys: &mut Section<'_>, names: &[(&'static str, &str)]) -> Texts {
        let mut texts = Texts::default();
        for (name, default) in names {
            let given = template_check::read(keys, name);
            let default = Some(*default).filter(|text| !text.is_empty());
            if let Some(source) = given.or_else(|| default.map(str::to_owned)) {
                texts.0.push(((*name).to_owned(), source));
            }
        }
        texts
    }

    /// Reads these keys of a section that stands below `place`, such as `fields[0]`. They have no defaults.
    pub(super) fn read_below(&mut self, place: &str, keys: &mut Section<'_>, names: &[&'static str]) {
        for name in names {
            let source = template_check::read(keys, name).unwrap_or_default();
            self.set(format!("{place}.{name}"), source);
        }
    }

    /// Reads the templates under free names below `key`, such as `details`, and returns the names. Squelch
    /// sets those of `reserved` itself.
    pub(super) fn read_free(
        &mut self,
        keys: &mut Section<'_>,
        key: &'static str,
        reserved: &[&str],
    ) -> Vec<String> {
        let mut names = Vec::new();
        for (name, text) in keys.text_map(key) {
            if reserved.contains(&name) {
                let message = format!("{key} has {name}, which is set already. Give it another name");
                keys.problems.add(text.line, message);
            }
            let source = template_check::check(keys.problems, name, text).unwrap_or_default();
            self.set(format!("{key}.{name}"), source);
            names.push(name.to_owned());
        }
        names
    }

    /// Gives a key another template. An empty one takes the key away.
    pub fn set(&mut self, key: impl Into<String>, source: impl Into<String>) {
        let (key, source) = (key.into(), source.into());
        self.0.retain(|(known, _)| *known != key);
        if !source.is_empty() {
            self.0.push((key, source));
        }
    }

    /// The template of a key. It is empty if the key has none.
    pub(super) fn source(&self, key: &str) -> &str {
        self.0.iter().find(|(known, _)| known == key).map_or("", |(_, source)| source)
    }

    /// The keys and their templates.
    pub(super) fn sources(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().cloned()
    }

    /// Whether a key is given, and left empty.
    pub(super) fn is_empty(&self, key: &str) -> bool {
        self.0.iter().any(|(known, source)| known == key && source.is_empty())
    }

    /// The keys as [`super::Notifier::templates`] declares them, all with the same escape.
    pub(super) fn templated(&self, escape: Escape) -> Vec<Templated> {
        let one =
            |(key, source): &(String, String)| Templated { key: key.clone(), source: source.clone(), escape };
        self.0.iter().map(one).collect()
    }
}
