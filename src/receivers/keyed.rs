//! Keys of vendors that may be templates where they stand inline, as in Alertmanager, and texts that may be
//! empty.

use std::path::Path;

use super::text::clean_text;
use super::texts::Texts;
use super::{Attempt, AttemptError, FailureReason, Side, Templated};
use crate::settings::http::{secret, secret_url, url};
use crate::settings::section::{Section, Text};
use crate::settings::yaml::Value;
use crate::settings::{Secret, SecretForm, SecretUrl, Url, is_template, template_check};

/// A key, or the file that holds it. A template in it is checked.
pub(super) fn read_key(
    keys: &mut Section<'_>,
    names: (&'static str, &'static str),
    base: &Path,
) -> Option<Secret> {
    let found = secret(keys, names, SecretForm::RoutingKey, base)?;
    if let Some(template) = secret_template(names.0, &found) {
        let text = Text { line: keys.line_of(names.0), text: &template.source };
        template_check::check_place(keys.problems, names.0, text);
    }
    Some(found)
}

/// A vendor that knows its users by a key, and has one URL for all of them.
pub(super) struct Vendor {
    /// Its list of integrations, such as `opsgenie_configs`.
    pub(super) list: &'static str,
    /// The key of `global` for the URL, and the URL where that is not given.
    pub(super) url: (&'static str, &'static str),
    /// The keys of `global` for the key and its file.
    pub(super) key: (&'static str, &'static str),
    /// How a key is read: [`read_key`], or [`plain_key`] where no key is a template.
    pub(super) read: KeyReader,
}

/// Reads a key, or the file that holds it.
type KeyReader = fn(&mut Section<'_>, (&'static str, &'static str), &Path) -> Option<Secret>;

/// A key that is no template, or the file that holds it.
pub(super) fn plain_key(
    keys: &mut Section<'_>,
    names: (&'static str, &'static str),
    base: &Path,
) -> Option<Secret> {
    secret(keys, names, SecretForm::RoutingKey, base)
}

impl Vendor {
    /// The keys of `global`, and then `api_url`, and `api_key` or `api_key_file`, of an integration.
    pub(super) fn reader<'b>(
        self,
        global: &mut Section<'_>,
        base: &'b Path,
    ) -> impl Fn(&mut Section<'_>) -> (Url, Secret) + use<'b> {
        let lent_url = url(global, self.url.0).unwrap_or_else(|| Url(self.url.1.into()));
        let lent_key = (self.read)(global, self.key, base);
        move |keys| {
            let own = (self.read)(keys, ("api_key", "api_key_file"), base);
            let key = own.or_else(|| lent_key.clone());
            if key.is_none() {
                let (list, in_global) = (self.list, self.key.1);
                let right = format!("Write api_key_file (or api_key) here, or {in_global} in global");
                keys.problems.add(keys.line, format!("{list} has no key. {right}"));
            }
            let url = url(keys, "api_url").unwrap_or_else(|| lent_url.clone());
            (url, key.unwrap_or_else(|| Secret::Inline("".into())))
        }
    }
}

/// The text that distinguishes a vendor's accounts. A key in a file counts by the file's name, because its
/// content may change.
pub(super) fn known_as(secret: &Secret) -> String {
    match secret {
        Secret::Inline(key) => key.to_string(),
        Secret::File(file) => format!("file {}", file.path.display()),
    }
}

/// The template in a secret, if it is one.
pub(super) fn secret_template(key: &str, secret: &Secret) -> Option<Templated> {
    match secret {
        Secret::Inline(text) if is_template(text) => {
            Some(Templated { key: key.to_owned(), source: text.to_string(), escape: clean_text })
        }
        Secret::Inline(_) | Secret::File(_) => None,
    }
}

impl Attempt<'_> {
    /// The text of a key of `own`. It is empty where the configuration leaves it empty. `fallback` takes
    /// the place of a template that fails.
    pub(super) fn text(&self, own: &Texts, key: &str, fallback: impl FnOnce() -> String) -> String {
        if own.source(key).is_empty() { String::new() } else { self.texts.text(key, fallback) }
    }

    /// The value of a secret that may be a template, which [`secret_template`] declares under `key`. The
    /// request must hide it.
    ///
    /// # Errors
    /// The template writes nothing, so there is no address.
    pub(super) fn templated_secret(&self, key: &str, secret: &Secret) -> Result<String, AttemptError> {
        if secret_template(key, secret).is_none() {
            return self.secret(secret).map(str::to_owned);
        }
        let text = self.texts.required(key, String::new).trim().to_owned();
        if text.is_empty() {
            let detail =
                format!("the template in {key} writes nothing for this notification. Give it a default");
            let refused = AttemptError::refused(FailureReason::Other, detail);
            return Err(AttemptError { side: Side::Ours, ..refused });
        }
        Ok(text)
    }
}

/// The URL of an incoming webhook, which is a secret: `webhook_url` or `webhook_url_file`.
pub(super) fn webhook_url(keys: &mut Section<'_>, list: &str, base: &Path) -> SecretUrl {
    let url = secret_url(keys, ("webhook_url", "webhook_url_file"), base);
    if url.is_none() {
        keys.problems.add(keys.line, format!("{list} has no URL. Write webhook_url_file (or webhook_url)"));
    }
    url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into())))
}

/// `webhook_secret` or `webhook_secret_file`: the secret that a vendor's webhooks about acknowledgements
/// show.
pub(super) fn callback_secret(keys: &mut Section<'_>, base: &Path) -> Option<Secret> {
    secret(keys, ("webhook_secret", "webhook_secret_file"), SecretForm::Password, base)
}

/// Whether the integration's own `http_config` has a token.
pub(super) fn is_authorized(keys: &mut Section<'_>) -> bool {
    let Some(Value::Map(entries)) = keys.node("http_config").map(|node| &node.value) else { return false };
    entries
        .iter()
        .any(|(key, _)| ["authorization", "bearer_token", "bearer_token_file"].contains(&&*key.name))
}
