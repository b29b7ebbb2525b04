//! Runbooks to which no notification and no page links, because a browser may not follow their address.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use smol_str::SmolStr;

use crate::model::{Notification, beginning};
use crate::templates::{http_url, scheme};

/// So many rules are remembered. The log says nothing about further ones.
const RULES: usize = 1_000;
/// So many bytes of the name of a rule.
const NAME: usize = 200;

/// The rules of which the log has said it.
#[derive(Default)]
pub(super) struct Unlinked(Mutex<BTreeSet<SmolStr>>);

impl Unlinked {
    /// Writes a line for each rule of a notification that has such a runbook, once for each rule.
    pub fn log(&self, n: &Notification) {
        let runbooks = n
            .alerts
            .iter()
            .map(|alert| (alert.labels.value("alertname"), alert.annotations.value("runbook_url")));
        for (rule, scheme) in self.news(runbooks) {
            tracing::warn!(
                %rule, scheme,
                "the runbook_url of the rule is no http or https URL, so nothing links to it"
            );
        }
    }

    /// The rules that are not in the log yet, and the scheme of each address. It can be empty.
    fn news<'a>(&self, runbooks: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
        let mut news = Vec::new();
        for (rule, url) in runbooks.filter(|(_, url)| !url.is_empty() && http_url(url).is_none()) {
            let rule = beginning(rule, NAME);
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < RULES && known.insert(rule.into()) {
                news.push((rule, scheme(url)));
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_logged_once_with_the_scheme_of_its_runbook() {
        let runbooks = [
            ("Disk", "ftp://runbooks/disk"),
            ("Disk", "file:///disk"),
            ("Down", "https://runbooks/down"),
            ("None", ""),
            ("Slow", "runbooks/slow"),
        ];
        let unlinked = Unlinked::default();
        assert_eq!(unlinked.news(runbooks.into_iter()), [("Disk", "ftp"), ("Slow", "")]);
        assert!(unlinked.news(runbooks.into_iter()).is_empty());
    }
}
