//! Which proxy a request takes.

use std::net::IpAddr;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, PROXY_AUTHORIZATION};

use super::DeliverError;
use super::uri::{basic, host, percent_decode, port, split_userinfo};
use crate::config::{Network, ProxyConfig, ProxySource, Secret};

/// The proxies of a client.
pub(super) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// The hosts that are reached without one. `None` if there is no such list.
    no_proxy: Option<String>,
    /// The headers of a request for a tunnel.
    connect: HeaderMap,
}

/// A proxy.
#[derive(Clone)]
pub(super) struct Proxy {
    /// Its URL without a password. `None` if it is not a valid proxy.
    uri: Option<Uri>,
    /// `user:password` as its URL has it.
    userinfo: Option<String>,
}

impl Proxies {
    /// The proxies that `config` names. Reads the environment now.
    pub(super) fn new(config: &ProxyConfig) -> Result<Self, DeliverError> {
        let mut proxies = Proxies { http: None, https: None, no_proxy: None, connect: HeaderMap::new() };
        match &config.source {
            ProxySource::None => {}
            ProxySource::Environment => {
                proxies.http = Proxy::of_environment("HTTP_PROXY")?;
                proxies.https = Proxy::of_environment("HTTPS_PROXY")?;
                proxies.no_proxy = Some(variable("NO_PROXY").unwrap_or_default());
            }
            ProxySource::Url { url, no_proxy } => {
                let Secret::Inline(url) = url else { return Err(DeliverError::Proxy("proxy_url".into())) };
                let proxy = Proxy::new(url).unwrap_or(Proxy { uri: None, userinfo: None });
                proxies.http = Some(proxy.clone());
                proxies.https = Some(proxy);
                proxies.no_proxy = Some(no_proxy.clone()).filter(|hosts| !hosts.is_empty());
            }
        }
        for (name, values) in &config.connect_headers {
            let wrong = || DeliverError::Proxy(format!("proxy_connect_header {name}"));
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            for value in values {
                let Secret::Inline(value) = value else { return Err(wrong()) };
                let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
                value.set_sensitive(true);
                proxies.connect.append(header.clone(), value);
            }
        }
        Ok(proxies)
    }

    /// The proxy on the way to `uri`.
    pub(super) fn on_the_way_to(&self, uri: &Uri) -> Option<&Proxy> {
        let proxy = if uri.scheme_str() == Some("https") { &self.https } else { &self.http };
        let direct = self.no_proxy.as_deref().is_some_and(|hosts| bypasses(hosts, host(uri), port(uri)));
        proxy.as_ref().filter(|_| !direct)
    }

    /// The headers of a request to this proxy for a tunnel.
    pub(super) fn tunnel_headers(&self, proxy: &Proxy) -> HeaderMap {
        let mut headers = self.connect.clone();
        if let Some(value) = proxy.authorization() {
            headers.entry(PROXY_AUTHORIZATION).or_insert(value);
        }
        headers
    }
}

impl Proxy {
    fn new(url: &str) -> Option<Self> {
        let (uri, userinfo) = split_userinfo(url)?;
        let authority = format!("{}:{}", uri.host()?, port(&uri));
        let uri = Uri::builder().scheme(uri.scheme_str()?).authority(authority).path_and_query("/").build();
        Some(Proxy { uri: Some(uri.ok()?), userinfo })
    }

    fn of_environment(name: &str) -> Result<Option<Self>, DeliverError> {
        let Some(url) = variable(name).filter(|url| !url.is_empty()) else { return Ok(None) };
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        Proxy::new(&url).map(Some).ok_or_else(|| DeliverError::Proxy(name.into()))
    }

    /// Its URL without a password.
    ///
    /// # Errors
    /// The configuration names no host for it. Alertmanager takes such a URL, and can send nothing.
    pub(super) fn uri(&self) -> Result<&Uri, &'static str> {
        self.uri.as_ref().ok_or("proxy_url names no host. Write one such as http://proxy:3128")
    }

    /// Whether it speaks SOCKS.
    pub(super) fn is_socks(&self) -> bool {
        self.uri.as_ref().and_then(Uri::scheme_str).is_some_and(|scheme| scheme.starts_with("socks"))
    }

    /// `Proxy-Authorization`, if its URL has a user.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&basic(self.userinfo.as_deref()?)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The user and the password for SOCKS.
    pub(super) fn user_and_password(&self) -> Option<(String, String)> {
        let (user, password) = self.userinfo.as_deref()?.split_once(':')?;
        let text = |part| String::from_utf8_lossy(&percent_decode(part)).into_owned();
        Some((text(user), text(password)))
    }
}

/// A variable of the environment under its name in capitals, or else in small letters.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase())).ok()
}

/// Whether the list `hosts` names this host, by the rules of Go's `httpproxy`. It may list names with all
/// names below them, names below one (`.example`), addresses, networks, each with a port if wanted, and
/// `*`. The local machine always counts as listed.
fn bypasses(hosts: &str, host: &str, port: u16) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    hosts.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Ok(network) = entry.parse::<Network>() {
            return address.is_some_and(|address| network.contains(address));
        }
        let (name, at) = match entry.rsplit_once(':') {
            Some((name, at)) if at.parse::<u16>().is_ok() => (name, at.parse().ok()),
            _ => (&entry[..], None),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']').trim_start_matches('*');
        let named = match (name.strip_prefix('.'), address) {
            (_, Some(address)) => name.parse() == Ok(address),
            (Some(_), _) => host.ends_with(name),
            (None, _) => host == name || host.ends_with(&format!(".{name}")),
        };
        !name.is_empty() && named && at.is_none_or(|at: u16| at == port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_a_proxy_are_named_as_in_go() {
        let list =
            "example.com, .below.test,*.star.test,10.0.0.0/8,192.0.2.7,ported.test:8443,[2001:db8::1]:80";
        for (host, port, direct) in [
            ("example.com", 80, true),
            ("EXAMPLE.com.", 80, true),
            ("www.example.com", 80, true),
            ("notexample.com", 80, false),
            ("below.test", 80, false),
            ("a.below.test", 80, true),
            ("a.star.test", 80, true),
            ("10.1.2.3", 80, true),
            ("11.1.2.3", 80, false),
            ("192.0.2.7", 80, true),
            ("ported.test", 8443, true),
            ("ported.test", 443, false),
            ("2001:db8::1", 80, true),
            ("2001:db8::1", 81, false),
            ("localhost", 80, true),
            ("127.0.0.9", 80, true),
        ] {
            assert_eq!(bypasses(list, host, port), direct, "{host}:{port}");
        }
        assert!(bypasses("*", "any.test", 1) && !bypasses("", "any.test", 1));
    }

    #[test]
    fn a_proxy_keeps_its_password_out_of_its_url() {
        let proxy = Proxy::new("http://me:p%3Aw@proxy").unwrap();
        assert_eq!(proxy.uri().unwrap().to_string(), "http://proxy:80/");
        assert_eq!(proxy.authorization().unwrap(), "Basic bWU6cDp3");
        assert_eq!(Proxy::new("socks5://a:b@h").unwrap().user_and_password(), Some(("a".into(), "b".into())));
        assert_eq!(Proxy::new("socks5://a:b@h").unwrap().uri().unwrap().to_string(), "socks5://h:1080/");
    }
}
