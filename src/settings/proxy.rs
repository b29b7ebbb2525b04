//! The keys of a client that say which proxy it takes.

use super::section::{Section, scalar, shown};
use super::tls::given;
use super::yaml::Value;
use super::{ProxyConfig, ProxySource, Secret};

/// The schemes of proxies.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// `proxy_url`, `no_proxy`, `proxy_from_environment` and `proxy_connect_header`.
pub(super) fn proxy(keys: &mut Section<'_>) -> ProxyConfig {
    let url = keys.text("proxy_url").filter(|url| !url.text.trim().is_empty());
    let no_proxy = given(keys, "no_proxy");
    let environment = keys.boolean("proxy_from_environment") == Some(true);
    let connect_headers = connect_headers(keys);
    if environment {
        for (key, found) in [("proxy_url", url.is_some()), ("no_proxy", no_proxy.is_some())] {
            if found {
                let message = format!("proxy_from_environment is true and {key} is given; keep one");
                keys.problems.add(keys.line_of(key), message);
            }
        }
    } else if url.is_none() && no_proxy.is_some() {
        keys.problems
            .add(keys.line_of("no_proxy"), "no_proxy is given and no proxy_url; write proxy_url too");
    }
    if !connect_headers.is_empty() && !environment && url.is_none() {
        let message = "proxy_connect_header is given and no proxy; write proxy_url or proxy_from_environment";
        keys.problems.add(keys.line_of("proxy_connect_header"), message);
    }
    let source = match url {
        Some(url) => {
            keys.problems.secret(url);
            if let Err(why) = check(url.text.trim()) {
                keys.problems.add(url.line, format!("proxy_url {why}; write one such as http://proxy:3128"));
            }
            let no_proxy = no_proxy.unwrap_or_default().to_owned();
            ProxySource::Url { url: Secret::Inline(url.text.trim().into()), no_proxy }
        }
        None if environment => ProxySource::Environment,
        None => ProxySource::None,
    };
    ProxyConfig { source, connect_headers }
}

/// Whether the client can use a proxy. The reason never shows the URL, which may hold a password.
fn check(url: &str) -> Result<(), String> {
    let uri: hyper::Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
    match uri.scheme_str() {
        None => return Err("has no scheme".into()),
        Some(scheme) if !SCHEMES.contains(&scheme) => {
            let all = SCHEMES.join(", ");
            return Err(format!("has the scheme {}, which is none of {all}", shown(scheme)));
        }
        Some(_) => {}
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = host.rsplit_once(':').map_or("", |(_, port)| port);
    if uri.host().is_none_or(str::is_empty) {
        return Err("names no host".into());
    }
    if !port.contains(']') && !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has a port that is none".into());
    }
    Ok(())
}

/// `Name: [value, …]`
fn connect_headers(keys: &mut Section<'_>) -> Vec<(String, Vec<Secret>)> {
    let Some(section) = keys.section("proxy_connect_header") else { return Vec::new() };
    let mut found = Vec::new();
    for (line, name, node) in section.entries() {
        if !super::http::is_token(name) {
            let message = format!("{} is not the name of a header; write letters, digits and -", shown(name));
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
            |text| super::http::inline_secret(section.problems, &key, text, super::SecretForm::Header);
        found.push((name.to_owned(), values.into_iter().map(secret).collect()));
    }
    found
}
