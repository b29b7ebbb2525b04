//! `http_config`, secrets and URLs.

use std::path::Path;
use std::sync::Arc;

use super::oauth2::oauth2;
use super::proxy::proxy;
use super::section::{Problems, Section, Text, shown};
use super::tls::{given, tls_config};
use super::url::check_url;
use super::yaml::{Node, Value};
use super::{
    AddressPolicy, HttpAuth, HttpConfig, Network, Secret, SecretFile, SecretForm, SecretUrl, Url, is_template,
};

/// Headers that the client sets itself.
const RESERVED: [&str; 19] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "transfer-encoding",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

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
    let message = |why| format!("{key} {} {why}. Write an http or https URL", shown(text.text));
    match check_url(text.text) {
        Ok(None) => {}
        Ok(Some(doubt)) => keys.problems.doubt(text.line, message(doubt)),
        Err(why) => keys.problems.add(text.line, message(why)),
    }
    Some(Url(text.text.to_owned()))
}

/// `http_config`. `None` if there is none.
pub(crate) fn http_config(keys: &mut Section<'_>, base: &Path) -> Option<HttpConfig> {
    Some(client(keys.section("http_config")?, base))
}

/// The keys in an `http_config`.
pub(crate) fn client(mut keys: Section<'_>, base: &Path) -> HttpConfig {
    let mut http = HttpConfig { auth: auth(&mut keys, base), ..HttpConfig::default() };
    if let Some(headers) = keys.section("http_headers") {
        http.headers = self::headers(&headers, base);
    }
    if let Some(tls) = keys.section("tls_config") {
        http.tls = tls_config(tls, base);
    }
    http.addresses = AddressPolicy {
        allow: networks(&mut keys, "allow_addresses"),
        deny: networks(&mut keys, "deny_addresses"),
    };
    http.proxy = proxy(&mut keys);
    http.follow_redirects = keys.boolean("follow_redirects").unwrap_or(true);
    // Every server of HTTP/2 speaks HTTP/1.1 too, which the client uses.
    keys.boolean("enable_http2");
    keys.finish();
    http
}

/// The credentials, of which one kind may be given.
fn auth(keys: &mut Section<'_>, base: &Path) -> Option<HttpAuth> {
    let mut found: Vec<(&str, HttpAuth)> = Vec::new();
    if let Some(section) = keys.section("authorization") {
        found.push(("authorization", authorization(section, base)));
    }
    if let Some(section) = keys.section("basic_auth") {
        found.push(("basic_auth", basic_auth(section, base)));
    }
    if let Some(section) = keys.section("oauth2")
        && let Some(oauth2) = oauth2(section, base)
    {
        found.push(("oauth2", HttpAuth::OAuth2(Box::new(oauth2))));
    }
    if let Some(credentials) = secret(keys, ("bearer_token", "bearer_token_file"), SecretForm::Header, base) {
        let bearer = HttpAuth::Authorization { scheme: "Bearer".into(), credentials };
        found.push(("bearer_token", bearer));
    }
    if let [(first, _), (second, _), ..] = &found[..] {
        keys.problems.add(keys.line_of(second), format!("{first} and {second} are both given. Keep one"));
    }
    found.into_iter().next().map(|(_, auth)| auth)
}

fn networks(keys: &mut Section<'_>, key: &'static str) -> Vec<Network> {
    let read = |text: Text<'_>| match text.text.parse() {
        Ok(network) => Some(network),
        Err(_) => {
            let right = "Write addresses and networks such as 10.0.0.0/8";
            keys.problems.add(text.line, format!("{key} has {}. {right}", shown(text.text)));
            None
        }
    };
    let texts = keys.texts(key).unwrap_or_default();
    texts.into_iter().filter_map(read).collect()
}

fn authorization(mut keys: Section<'_>, base: &Path) -> HttpAuth {
    let scheme = given(&mut keys, "type").unwrap_or("Bearer");
    if scheme.eq_ignore_ascii_case("basic") {
        keys.problems.add(keys.line_of("type"), "authorization type is Basic. Write basic_auth instead");
    } else if !is_token(scheme) {
        keys.problems
            .add(keys.line_of("type"), format!("authorization type is {}. Write one word", shown(scheme)));
    }
    let credentials = secret(&mut keys, ("credentials", "credentials_file"), SecretForm::Header, base);
    if credentials.is_none() {
        keys.problems
            .doubt(keys.line, "authorization has no credentials. Write credentials or credentials_file");
    }
    keys.unsupported(&["credentials_ref"]);
    keys.finish();
    HttpAuth::Authorization { scheme: scheme.to_owned(), credentials: credentials.unwrap_or_else(nothing) }
}

fn basic_auth(mut keys: Section<'_>, base: &Path) -> HttpAuth {
    let username = username(&mut keys, base);
    let password = secret(&mut keys, ("password", "password_file"), SecretForm::Password, base);
    if username.is_none() || password.is_none() {
        keys.problems
            .doubt(keys.line, "basic_auth is incomplete. Write username, and password or password_file");
    }
    keys.unsupported(&["username_ref", "password_ref"]);
    keys.finish();
    HttpAuth::Basic { username: username.unwrap_or_else(nothing), password: password.unwrap_or_else(nothing) }
}

/// A name is no secret, and may stand in a file all the same.
fn username(keys: &mut Section<'_>, base: &Path) -> Option<Secret> {
    let (inline, file) = (keys.text("username"), keys.text("username_file"));
    if let (Some(_), Some(_)) = (inline, file) {
        let line = keys.line_of("username_file");
        keys.problems.add(line, "username and username_file are both given. Keep one");
    }
    let inline = inline.map(|name| Secret::Inline(name.text.into()));
    inline.or(file.map(|file| secret_file(file, "username_file", SecretForm::Password, base)))
}

fn nothing() -> Secret {
    Secret::Inline("".into())
}

/// `Name: {values: [x], secrets: [x], files: [f]}` as Prometheus has it.
pub(crate) fn headers(headers: &Section<'_>, base: &Path) -> Vec<(String, Vec<Secret>)> {
    let mut found = Vec::new();
    for (line, name, node) in headers.entries() {
        let problems = headers.problems;
        if !is_token(name) {
            problems.add(
                line,
                format!("{} is not the name of a header. Write letters, digits and -", shown(name)),
            );
        } else if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            problems.add(line, format!("header {name} is set by the client itself. Remove it"));
        }
        found.push((name.to_owned(), header(name, node, base, problems)));
    }
    found
}

fn header(name: &str, node: &Node, base: &Path, problems: &Problems) -> Vec<Secret> {
    let inline =
        |text: Text<'_>| inline_secret(problems, &format!("header {name}"), text, SecretForm::Header);
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        problems.add(node.line, format!("header {} has no value. Write values: [text]", shown(name)));
        return Vec::new();
    }
    let Some(mut keys) = Section::new(node, format!("header {}", shown(name)), problems) else {
        return Vec::new();
    };
    let mut all: Vec<Secret> = keys.texts("values").unwrap_or_default().into_iter().map(inline).collect();
    all.extend(keys.texts("secrets").unwrap_or_default().into_iter().map(inline));
    let files = keys.texts("files").unwrap_or_default();
    let file = |path| secret_file(path, &format!("header {name}"), SecretForm::Header, base);
    all.extend(files.into_iter().map(file));
    keys.finish();
    all
}

pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
