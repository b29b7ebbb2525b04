//! URLs that the client can send to.

/// An http or https URL from the configuration, checked when it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(pub String);

/// Characters of a path or a query that Go's client encodes and takes.
const ENCODED: &str = " \"<>\\^`{|}";

/// Checks a URL by the rules of Go's `url.Parse`, with which Alertmanager reads them. It returns a reason
/// if Alertmanager takes the URL but nothing can be sent there: many files hold a placeholder.
///
/// # Errors
/// Why Alertmanager refuses it.
pub(crate) fn check_url(text: &str) -> Result<Option<String>, String> {
    let (scheme, rest) = text.split_once("://").ok_or("is not a URL")?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("is not an http or https URL".into());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        return Err("names no host".into());
    }
    if let Some(wrong) = host.chars().find(|c| c.is_whitespace() || c.is_control() || "{}\\^`|".contains(*c))
    {
        return Err(format!("has {wrong:?} in its host"));
    }
    let port = host.rsplit_once(':').map_or("", |(_, port)| if port.contains(']') { "" } else { port });
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has a port that is none".into());
    }
    if path.chars().any(char::is_control) {
        return Err("holds a character that cannot be seen".into());
    }
    let before_query = path.split_once('?').map_or(path, |(path, _)| path);
    let escaped = |at: &str| at.len() >= 2 && at.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !before_query.split('%').skip(1).all(escaped) {
        return Err("has a % that begins no escape".into());
    }
    if path.contains("{{") {
        return Ok(Some("holds a template, and this key is sent as it stands".into()));
    }
    let uri = encoded(text).parse::<hyper::Uri>().ok().filter(|uri| {
        let number = port.is_empty() || uri.port_u16().is_some();
        uri.host().is_some_and(|host| !host.is_empty()) && number
    });
    Ok(uri.is_none().then(|| "names no host that exists".into()))
}

/// The URL with its path and query encoded as Go's client does.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_ascii() && !ENCODED.contains(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            out.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_alertmanager_takes_them() {
        for good in [
            "http://127.0.0.1:9096/x",
            "https://events.pagerduty.com/v2/enqueue",
            "http://[::1]:80/a?b=c",
            "HTTPS://h/",
            "https://u:p@h/",
            "http://h/a b/é?x=%zz",
            "http://h:/",
        ] {
            assert_eq!(check_url(good), Ok(None), "{good}");
        }
        for doubtful in
            ["https://<your-host>/x", "http://h:99999/", "http://h/{{ .CommonLabels.team }}", "http://:80/"]
        {
            assert!(matches!(check_url(doubtful), Ok(Some(_))), "{doubtful}: {:?}", check_url(doubtful));
        }
        for bad in [
            "",
            "x",
            "/path",
            "ftp://a/b",
            "http://",
            "http:///x",
            "http://a b/",
            "http://h:port/",
            "http://{{ .host }}/",
            "http://h/%zz",
            "http://h/\u{7}",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
