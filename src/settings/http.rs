//! `http_config`, secrets and URLs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::section::{Problems, Section, Text, scalar, shown};
use super::url::check_url;
use super::yaml::{Node, Value};
use super::{
    AddressPolicy, HttpAuth, HttpConfig, Network, Secret, SecretFile, SecretForm, SecretUrl, Url, is_template,
};

/// Keys of Prometheus' `http_config` that this version does not have.
const UNSUPPORTED: [&str; 8] = [
    "oauth2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "enable_http2",
    "bearer_token",
    "bearer_token_file",
];
const UNSUPPORTED_TLS: [&str; 9] = [
    "ca",
    "cert",
    "cert_file",
    "key",
    "key_file",
    "server_name",
    "insecure_skip_verify",
    "min_version",
    "max_version",
];
/// Headers that the client sets itself.
const RESERVED: [&str; 9] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "transfer-encoding",
    "accept-encoding",
];

/// A secret: `key`, or the file that `file_key` names, relative to the configuration; not both. What it must
/// look like is checked here if it stands inline, and each time that it is read from a file.
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
        keys.problems.add(keys.line_of(file_key), format!("{key} and {file_key} are both given; keep one"));
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
fn inline_secret(problems: &Problems, key: &str, text: Text<'_>, form: SecretForm) -> Secret {
    problems.secret(text);
    let value = text.text.trim();
    // A routing key may be a template, which whoever reads that key checks.
    let template = form == SecretForm::RoutingKey && is_template(value);
    match form.check_inline(value) {
        Ok(Some(doubt)) if !template => {
            problems.doubt(text.line, format!("{key} {doubt}; nothing can be sent with it as it stands"));
        }
        Ok(_) => {}
        Err(wrong) => problems.add(text.line, format!("{key} {wrong}")),
    }
    Secret::Inline(value.into())
}

fn secret_file(path: Text<'_>, key: &str, form: SecretForm, base: &Path) -> Secret {
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
    let message = |why| format!("{key} {} {why}; write an http or https URL", shown(text.text));
    match check_url(text.text) {
        Ok(None) => {}
        Ok(Some(doubt)) => keys.problems.doubt(text.line, message(doubt)),
        Err(why) => keys.problems.add(text.line, message(why)),
    }
    Some(Url(text.text.to_owned()))
}

/// `http_config`; `None` if there is none.
pub(crate) fn http_config(keys: &mut Section<'_>, base: &Path) -> Option<HttpConfig> {
    Some(client(keys.section("http_config")?, base))
}

/// The keys in an `http_config`.
pub(crate) fn client(mut keys: Section<'_>, base: &Path) -> HttpConfig {
    let mut http = HttpConfig::default();
    let authorization = keys.section("authorization").and_then(|keys| authorization(keys, base));
    let basic = keys.section("basic_auth").and_then(|keys| basic_auth(keys, base));
    if authorization.is_some() && basic.is_some() {
        let line = keys.line_of("basic_auth");
        keys.problems.add(line, "authorization and basic_auth are both given; keep one");
    }
    http.auth = authorization.or(basic);
    if let Some(headers) = keys.section("http_headers") {
        http.headers = self::headers(&headers, base);
    }
    if let Some(mut tls) = keys.section("tls_config") {
        http.ca_file = tls.text("ca_file").map(|file| base.join(file.text));
        tls.unsupported(&UNSUPPORTED_TLS);
        tls.finish();
    }
    http.addresses = AddressPolicy {
        allow: networks(&mut keys, "allow_addresses"),
        deny: networks(&mut keys, "deny_addresses"),
    };
    if keys.boolean("follow_redirects") == Some(true) {
        let line = keys.line_of("follow_redirects");
        let message = "follow_redirects is true; redirects are never followed, because a page can get lost in one: write false";
        keys.problems.add(line, message);
    }
    keys.unsupported(&UNSUPPORTED);
    keys.finish();
    http
}

fn networks(keys: &mut Section<'_>, key: &'static str) -> Vec<Network> {
    let read = |text: Text<'_>| match text.text.parse() {
        Ok(network) => Some(network),
        Err(_) => {
            let right = "write addresses and networks such as 10.0.0.0/8";
            keys.problems.add(text.line, format!("{key} has {}; {right}", shown(text.text)));
            None
        }
    };
    let texts = keys.texts(key).unwrap_or_default();
    texts.into_iter().filter_map(read).collect()
}

fn authorization(mut keys: Section<'_>, base: &Path) -> Option<HttpAuth> {
    let scheme = keys.text("type").map_or("Bearer", |scheme| scheme.text.trim());
    if scheme.eq_ignore_ascii_case("basic") {
        keys.problems.add(keys.line_of("type"), "authorization type is Basic; write basic_auth instead");
    } else if !is_token(scheme) {
        keys.problems
            .add(keys.line_of("type"), format!("authorization type is {}; write one word", shown(scheme)));
    }
    let credentials = secret(&mut keys, ("credentials", "credentials_file"), SecretForm::Header, base);
    if credentials.is_none() {
        keys.problems
            .add(keys.line, "authorization has no credentials; write credentials or credentials_file");
    }
    keys.finish();
    Some(HttpAuth::Authorization { scheme: scheme.to_owned(), credentials: credentials? })
}

fn basic_auth(mut keys: Section<'_>, base: &Path) -> Option<HttpAuth> {
    let username = keys.text("username").map(|name| name.text.to_owned());
    let password = secret(&mut keys, ("password", "password_file"), SecretForm::Password, base);
    if username.is_none() || password.is_none() {
        keys.problems
            .add(keys.line, "basic_auth is incomplete; write username, and password or password_file");
    }
    keys.unsupported(&["username_file", "username_ref", "password_ref"]);
    keys.finish();
    Some(HttpAuth::Basic { username: username?, password: password? })
}

/// `Name: {values: [x]}`, `{secrets: [x]}` or `{files: [f]}` as Prometheus has it, or `Name: x`.
pub(crate) fn headers(headers: &Section<'_>, base: &Path) -> BTreeMap<String, Secret> {
    let mut found = BTreeMap::new();
    for (line, name, node) in headers.entries() {
        let problems = headers.problems;
        if !is_token(name) {
            problems.add(
                line,
                format!("{} is not the name of a header; write letters, digits and -", shown(name)),
            );
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            problems.add(line, format!("header {name} is set by the client itself; remove it"));
        }
        if let Some(value) = header(name, node, base, problems) {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

fn header(name: &str, node: &Node, base: &Path, problems: &Problems) -> Option<Secret> {
    let inline =
        |text: Text<'_>| inline_secret(problems, &format!("header {name}"), text, SecretForm::Header);
    if let Some(value) = scalar(node) {
        return Some(inline(value));
    }
    if !matches!(node.value, Value::Map(_)) {
        problems.add(node.line, format!("header {} has no value; write values: [text]", shown(name)));
        return None;
    }
    let mut keys = Section::new(node, format!("header {}", shown(name)), problems)?;
    let mut all: Vec<Secret> = keys.texts("values").unwrap_or_default().into_iter().map(inline).collect();
    all.extend(keys.texts("secrets").unwrap_or_default().into_iter().map(inline));
    let files = keys.texts("files").unwrap_or_default();
    let file = |path| secret_file(path, &format!("header {name}"), SecretForm::Header, base);
    all.extend(files.into_iter().map(file));
    keys.finish();
    if all.len() != 1 {
        let message =
            format!("header {} has {} values; this version sends exactly one", shown(name), all.len());
        problems.add(node.line, message);
    }
    all.pop()
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
