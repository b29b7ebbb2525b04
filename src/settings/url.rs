//! URLs that the client can send to.

use super::is_template;

/// An http or https URL from the configuration, checked when it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(pub String);

/// With the parser of the client that will send there: what passes here, it takes.
pub(crate) fn check_url(text: &str) -> Result<(), String> {
    if is_template(text) {
        return Err("holds a template, which this version would send as it stands".into());
    }
    let uri: hyper::Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("is not an http or https URL".into());
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("holds a user name; put it into http_config.basic_auth".into());
    }
    let host = uri.host().unwrap_or_default();
    if host.is_empty() {
        return Err("names no host".into());
    }
    if authority.len() > host.len() && uri.port_u16().is_none() {
        return Err("has a port that is none".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_that_the_client_takes_pass() {
        for good in
            ["http://127.0.0.1:9096/x", "https://events.pagerduty.com/v2/enqueue", "http://[::1]:80/a?b=c"]
        {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "x",
            "/path",
            "ftp://a/b",
            "http://",
            "http:///x",
            "https://u:p@h/",
            "http://a b/",
            "http://h:99999/",
            "http://h/{{ common_labels.team }}",
            "http://h/{% if x %}y{% endif %}",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
