//! URLs with a user name and a password in them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;

use crate::settings::url::encoded;

/// Takes `user:password@` out of a URL. `None` if the text is no URL with a host.
pub(super) fn split_userinfo(url: &str) -> Option<(Uri, Option<String>)> {
    let uri: Uri = encoded(url).parse().ok()?;
    if uri.host().is_none_or(str::is_empty) || uri.scheme().is_none() {
        return None;
    }
    let split = uri.authority().and_then(|a| a.as_str().rsplit_once('@'));
    let Some((userinfo, host)) = split.map(|(u, h)| (u.to_owned(), h.to_owned())) else {
        return Some((uri, None));
    };
    let mut parts = uri.into_parts();
    parts.authority = Some(host.parse().ok()?);
    Some((Uri::from_parts(parts).ok()?, Some(userinfo)))
}

/// The value of an `Authorization` header for `user:password` as a URL has it.
pub(super) fn basic(userinfo: &str) -> String {
    let mut decoded = percent_decode(userinfo);
    if !userinfo.contains(':') {
        decoded.push(b':');
    }
    format!("Basic {}", STANDARD.encode(decoded))
}

/// The host of a URL without the brackets of an IPv6 address.
pub(super) fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// The port of a URL, or the usual one of its scheme.
pub(super) fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(match uri.scheme_str() {
        Some("https") => 443,
        Some("socks5" | "socks5h") => 1080,
        _ => 80,
    })
}

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match hex.filter(|_| bytes[i] == b'%').and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_becomes_basic_authentication() {
        let (uri, userinfo) = split_userinfo("https://bob:p%40ss@host:8443/hook?a=1").unwrap();
        assert_eq!(uri.to_string(), "https://host:8443/hook?a=1");
        let userinfo = userinfo.unwrap();
        assert_eq!(percent_decode(&userinfo), b"bob:p@ss");
        assert_eq!(basic(&userinfo), "Basic Ym9iOnBAc3M=");
        assert!(split_userinfo("/only/a/path").is_none());
    }

    #[test]
    fn a_port_is_the_usual_one_of_the_scheme() {
        let ports =
            [("http://h/", 80), ("https://h/", 443), ("socks5://h", 1080), ("https://[::1]:8443/", 8443)];
        for (url, expected) in ports {
            assert_eq!(port(&url.parse().unwrap()), expected, "{url}");
        }
        assert_eq!(host(&"https://[::1]:8443/".parse().unwrap()), "::1");
    }
}
