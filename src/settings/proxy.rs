//! The keys of a client that say which proxy it takes.

use super::section::{Section, scalar, shown};
use super::tls::given;
use super::url::check_url;
use super::yaml::Value;
use super::{ProxyConfig, ProxySource, Secret};

/// The schemes of proxies.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// `proxy_url`, `no_proxy`, `proxy_from_environment` and `proxy_connect_header`.
pub(super) fn proxy(keys: &mut Section<'_>) -> ProxyConfig {
    let given_url = keys.text("proxy_url");
    let url = given_url.filter(|url| !url.text.trim().is_empty());
    let no_proxy = given(keys, "no_proxy");
    let environment = keys.boolean("proxy_from_environment") == Some(true);
    let connect_headers = connect_headers(keys);
    if environment {
        for (key, found) in [("proxy_url", url.is_some()), ("no_proxy", no_proxy.is_some())] {
            if found {
                let message = format!("proxy_from_environment is true and {key} is given. Keep one");
                keys.problems.add(keys.line_of(key), message);
            }
        }
    } else if given_url.is_none() && no_proxy.is_some() {
        keys.problems
            .add(keys.line_of("no_proxy"), "no_proxy is given and no proxy_url. Write proxy_url too");
    }
    if !connect_headers.is_empty() && !environment && url.is_none() {
        let message = "proxy_connect_header is given and no proxy. Write proxy_url or proxy_from_environment";
        keys.problems.add(keys.line_of("proxy_connect_header"), message);
    }
    let source = match url {
        Some(url) => {
            keys.problems.secret(url);
            let message = |why: &str| format!("proxy_url {why}. Write one such as http://proxy:3128");
            let used = match as_go_reads_it(url.text.trim()) {
                Ok((used, None)) => used,
                Ok((used, Some(doubt))) => {
                    keys.problems.doubt(url.line, message(&doubt));
                    used
                }
                Err(why) => {
                    keys.problems.add(url.line, message(&why));
                    String::new()
                }
            };
            let no_proxy = no_proxy.unwrap_or_default().to_owned();
            ProxySource::Url { url: Secret::Inline(used.into()), no_proxy }
        }
        None if environment => ProxySource::Environment,
        None => ProxySource::None,
    };
    ProxyConfig { source, connect_headers }
}

/// The URL of a proxy as Go's `url.Parse` reads it, with its scheme, and why a person may doubt it.
/// Alertmanager takes nearly any text. A host without a scheme is an HTTP proxy to Go's `httpproxy`, so it is
/// one here. No reason shows the URL, which may hold a password.
fn as_go_reads_it(text: &str) -> Result<(String, Option<String>), String> {
    if text.chars().any(char::is_control) {
        return Err("holds a character that cannot be seen".into());
    }
    let (scheme, rest) = split_scheme(text)?;
    let Some(rest) = rest.strip_prefix("//") else {
        if scheme.is_none() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
            return Err("has no scheme".into());
        }
        let taken = format!("http://{text}");
        return Ok(match check_url(&taken) {
            Ok(None) => (taken, Some("has no scheme, so Squelch takes it for an HTTP proxy".into())),
            Ok(Some(_)) | Err(_) => (text.to_owned(), Some(NOWHERE.into())),
        });
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !userinfo.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b)) {
        return Err("has a user or a password that is not encoded".into());
    }
    if host.is_empty() {
        return Ok((text.to_owned(), Some(NOWHERE.into())));
    }
    let scheme = scheme.map_or_else(|| "http".to_owned(), str::to_ascii_lowercase);
    let nowhere = check_url(&format!("http://{rest}"))?;
    if SCHEMES.contains(&scheme.as_str()) {
        return Ok((format!("{scheme}://{rest}"), nowhere));
    }
    let doubt = || format!("has the scheme {}, so Squelch takes it for an HTTP proxy", shown(&scheme));
    Ok((format!("http://{rest}"), nowhere.or_else(|| Some(doubt()))))
}

/// The error of a URL without a host.
const NOWHERE: &str = "names no host, so nothing can be sent through it";

/// The scheme before the first colon, if there is one, and the rest.
fn split_scheme(text: &str) -> Result<(Option<&str>, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
    match end.map(|end| text.split_at(end)) {
        Some(("", rest)) if rest.starts_with(':') => Err("has no scheme before its colon".into()),
        Some((scheme, rest)) if rest.starts_with(':') && scheme.starts_with(|c: char| c.is_alphabetic()) => {
            Ok((Some(scheme), &rest[1..]))
        }
        _ => Ok((None, text)),
    }
}

/// `Name: [value, …]`
fn connect_headers(keys: &mut Section<'_>) -> Vec<(String, Vec<Secret>)> {
    let Some(section) = keys.section("proxy_connect_header") else { return Vec::new() };
    let mut found = Vec::new();
    for (line, name, node) in section.entries() {
        if !super::keys::is_token(name) {
            let message = format!("{} is not the name of a header. Write letters, digits and -", shown(name));
            section.problems.add(line, message);
            continue;
        }
        let values = match &node.value {
            Value::List(items) => items.iter().filter_map(scalar).collect(),
            Value::Scalar(_) => scalar(node).into_iter().collect(),
            Value::Null | Value::Map(_) => Vec::new(),
        };
        let key = format!("proxy_connect_header {name}");
        let secret =
            |text| super::keys::inline_secret(section.problems, &key, text, super::SecretForm::Header);
        found.push((name.to_owned(), values.into_iter().map(secret).collect()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_as_go_reads_it() {
        let used = |text: &str| as_go_reads_it(text).map(|(used, doubt)| (used, doubt.unwrap_or_default()));
        for (text, taken, says) in [
            ("http://proxy:3128", "http://proxy:3128", ""),
            ("HTTPS://me:p%40ss@proxy/", "https://me:p%40ss@proxy/", ""),
            ("socks5h://proxy:1080", "socks5h://proxy:1080", ""),
            ("//proxy:3128", "http://proxy:3128", ""),
            ("proxy.example:3128", "http://proxy.example:3128", "has no scheme"),
            ("proxy", "http://proxy", "has no scheme"),
            ("ftp://proxy:21", "http://proxy:21", "the scheme \"ftp\""),
            ("/proxy", "/proxy", "names no host"),
            ("http://", "http://", "names no host"),
            ("http://proxy:99999", "http://proxy:99999", "no host that exists"),
        ] {
            let (found, doubt) = used(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(found, taken, "{text}");
            assert!(doubt.contains(says) && doubt.is_empty() == says.is_empty(), "{text}: {doubt}");
        }
        for (text, says) in [
            ("10.0.0.1:3128", "has no scheme"),
            ("my_proxy:3128", "has no scheme"),
            (":3128", "before its colon"),
            ("http://proxy:port", "a port that is none"),
            ("http://{proxy}:3128", "in its host"),
            ("http://me:hunter 2@proxy", "not encoded"),
            ("http://proxy\u{7}", "cannot be seen"),
        ] {
            let why = used(text).expect_err(text);
            assert!(why.contains(says) && !why.contains("hunter"), "{text}: {why}");
        }
    }
}
