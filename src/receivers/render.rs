//! Templated configuration keys, and the texts that stand in where a template fails.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::View;
use crate::model::{LabelSet, Timestamp};
use crate::templates::{Compiled, Data, Escape, Facts, Library, TemplateText, clean_text, http_url, scheme};

/// A templated key of an integration.
pub struct Templated {
    /// The key, by which [`Renderer::text`] asks for it.
    pub key: String,
    /// The template: the user's, or a call of a default one, such as `{{ template "slack.default.title" .
    /// }}`.
    pub source: String,
    /// How default templates make the values in them safe.
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

    /// A key with the name of the default template that it has where it is not given.
    pub fn or_default(key: &str, source: &Option<String>, default: &str, escape: Escape) -> Templated {
        let default = || format!("{{{{ template {default:?} . }}}}");
        Templated { key: key.to_owned(), source: source.clone().unwrap_or_else(default), escape }
    }
}

/// The templates of one integration, compiled.
pub struct Templates {
    compiled: Compiled,
    /// The labels of a route may call the templates in it.
    library: Arc<Library>,
}

impl Templates {
    /// Compiles the templates of an integration. They may call those of the library. Those under the keys of
    /// `html` are HTML, and `mentions` escapes the values in the user's own.
    pub fn new(library: &Arc<Library>, texts: Vec<Templated>, html: &[&str], mentions: Escape) -> Self {
        let text = |Templated { key, source, escape }| {
            let html = html.contains(&key.as_str());
            TemplateText { key, source, escape, html }
        };
        let texts = texts.into_iter().map(text).collect();
        let compiled = Compiled::new(library, texts, mentions);
        Templates { compiled, library: Arc::clone(library) }
    }
}

/// Renders the templates of one integration for one notification.
pub struct Renderer<'a> {
    templates: &'a Templates,
    view: View<'a>,
    now: Timestamp,
    data: OnceLock<Data>,
    errors: Mutex<Vec<String>>,
    left_out: Mutex<Vec<LeftOut>>,
}

/// A link that is not in the message, because it is no http or https URL, or one that the receiver refuses.
pub struct LeftOut {
    /// The key, such as `actions[0].url`.
    pub key: String,
    /// The scheme of the link, such as `grafana`. It is empty for a text without one.
    pub scheme: String,
}

impl<'a> Renderer<'a> {
    /// The templates with the data of this notification.
    pub fn new(templates: &'a Templates, view: View<'a>, now: Timestamp) -> Self {
        Renderer {
            templates,
            view,
            now,
            data: OnceLock::new(),
            errors: Mutex::default(),
            left_out: Mutex::default(),
        }
    }

    /// The text of `key`: its template's if it has one that works, else `default`.
    pub fn text(&self, key: &str, default: impl FnOnce() -> String) -> String {
        match self.render(key) {
            Some(Ok(text)) => text,
            Some(Err(reason)) => self.failed(key, &reason, default),
            None => default(),
        }
    }

    /// The same for a text that must not be empty. A template that renders to nothing counts as failed, and
    /// `default` takes its place. A key that the configuration leaves empty stays empty.
    pub fn required(&self, key: &str, default: impl FnOnce() -> String) -> String {
        match self.render(key) {
            Some(Ok(text)) if self.templates.compiled.is_empty(key) || !text.trim().is_empty() => text,
            Some(Ok(_)) => self.failed(key, "it renders to nothing, and the receiver needs a text", default),
            Some(Err(reason)) => self.failed(key, &reason, default),
            None => default(),
        }
    }

    /// The same for the text of a message that stands beside these other texts. It must not be empty where
    /// all of them are, because a receiver refuses a message without a text, or shows nothing.
    pub fn beside(&self, others: &[&str], key: &str, default: impl FnOnce() -> String) -> String {
        match others.iter().all(|text| text.trim().is_empty()) {
            true => self.required(key, default),
            false => self.text(key, default),
        }
    }

    /// The link that the text of `key` is. `None` if there is none, or it is no http or https URL.
    pub fn link(&self, key: &str, default: impl FnOnce() -> String) -> Option<String> {
        self.link_of(key, &self.text(key, default))
    }

    /// The same for the text that `key` rendered to.
    pub fn link_of(&self, key: &str, text: &str) -> Option<String> {
        let link = http_url(text);
        if link.is_none() {
            self.leave_out(key, text);
        }
        link
    }

    /// The same where the receiver takes https alone.
    pub fn https_link(&self, key: &str) -> Option<String> {
        let link = self.link(key, String::new)?;
        if !scheme(&link).eq_ignore_ascii_case("https") {
            self.leave_out(key, &link);
            return None;
        }
        Some(link)
    }

    fn leave_out(&self, key: &str, text: &str) {
        if !text.trim().is_empty() {
            let (key, scheme) = (key.to_owned(), scheme(text).to_owned());
            self.left_out.lock().unwrap_or_else(PoisonError::into_inner).push(LeftOut { key, scheme });
        }
    }

    /// The links that were left out since the last call.
    pub fn take_left_out(&self) -> Vec<LeftOut> {
        std::mem::take(&mut *self.left_out.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The labels of the route.
    pub fn route_labels(&self) -> LabelSet {
        match self.view.notification.route_labels.is_empty() {
            true => LabelSet::default(),
            false => self.data().route_labels(),
        }
    }

    fn render(&self, key: &str) -> Option<Result<String, String>> {
        self.templates.compiled.render(key, self.data(), self.now)
    }

    fn data(&self) -> &Data {
        self.data.get_or_init(|| {
            let data = data_of(&self.view, &self.templates.library, self.now);
            self.errors().extend(data.errors().map(|error| clean_text(&error)));
            data
        })
    }

    fn failed(&self, key: &str, reason: &str, default: impl FnOnce() -> String) -> String {
        self.errors().push(clean_text(&format!("{key}: {reason}")));
        default()
    }

    fn errors(&self) -> MutexGuard<'_, Vec<String>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The errors since the last call, one entry a key. The default text stood in each time.
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.errors())
    }
}

fn data_of(view: &View<'_>, library: &Library, now: Timestamp) -> Data {
    let facts = Facts {
        status: view.status(),
        external_url: view.external_url,
        possible_repeat: view.possible_repeat,
        readings: view.readings,
    };
    Data::new(view.notification, facts, library, now)
}
