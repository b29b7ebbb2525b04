//! Keys that sections of several kinds have: secrets, and URLs.

use std::path::Path;
use std::sync::Arc;

use super::section::{Problems, Section, Text, shown};
use super::url::check_url;
use super::{Secret, SecretFile, SecretForm, SecretUrl, Url, is_template};

/// A secret: `key`, or the file that `file_key` names, relative to the configuration, but not both. The
/// form of an inline secret is checked here. That of a file is checked each time it is read.
pub(crate) fn secret(
    keys: &mut Section<'_>,
    (key, file_key): (&'static str, &'static str),
    form: SecretForm,
    base: &Path,
) -> Option<Secret> {
    let (mut inline, file) = (keys.text(key), keys.text(file_key));
    // Alertmanager takes an empty text for none, but for a URL.
    if !matches!(form, SecretForm::Url | SecretForm::Signing) {
        inline = inline.filter(|inline| !inline.text.trim().is_empty());
    }
    let file = file.filter(|file| !file.text.trim().is_empty());
    if inline.is_some() && file.is_some() {
        keys.problems.add(keys.line_of(file_key), format!("{key} and {file_key} are both given. Keep one"));
    }
    match (inline, file) {
        (Some(inline), _) => Some(inline_secret(keys.problems, key, inline, form)),
        (None, Some(file)) => {
            let line = keys.line_of(file_key);
            Some(secret_file(Text { line, text: file.text }, file_key, form, base))
        }
        (None, None) => None,
    }
}

/// A secret that stands in the configuration. A problem never shows it.
pub(super) fn inline_secret(problems: &Problems, key: &str, text: Text<'_>, form: SecretForm) -> Secret {
    problems.secret(text);
    let value = text.text.trim();
    // A routing key may be a template, which whoever reads that key checks.
    let template = form == SecretForm::RoutingKey && is_template(value);
    match form.check_inline(value) {
        Ok(Some(doubt)) if !template => {
            problems.doubt(text.line, format!("{key} {doubt}. Nothing can be sent with it as it stands"));
        }
        Ok(_) => {}
        Err(wrong) => problems.add(text.line, format!("{key} {wrong}")),
    }
    Secret::Inline(value.into())
}

pub(super) fn secret_file(path: Text<'_>, key: &str, form: SecretForm, base: &Path) -> Secret {
    Secret::File(Arc::new(SecretFile { path: base.join(path.text), key: key.into(), line: path.line, form }))
}

/// The same for a secret that is a URL.
pub(crate) fn secret_url(
    keys: &mut Section<'_>,
    names: (&'static str, &'static str),
    base: &Path,
) -> Option<SecretUrl> {
    secret(keys, names, SecretForm::Url, base).map(SecretUrl)
}

/// A URL that is no secret.
pub(crate) fn url(keys: &mut Section<'_>, key: &'static str) -> Option<Url> {
    let text = keys.text(key)?;
    let message = |why| format!("{key} {} {why}. Write an http or https URL", shown(text.text));
    match check_url(text.text) {
        Ok(None) => {}
        Ok(Some(doubt)) => keys.problems.doubt(text.line, message(doubt)),
        Err(why) => keys.problems.add(text.line, message(why)),
    }
    Some(Url(text.text.to_owned()))
}

/// Whether a text is a token of HTTP.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
