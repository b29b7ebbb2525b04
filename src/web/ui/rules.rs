//! The rules of an incident, the worst first: how many of their alerts fire, and the links that a person on
//! call needs.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::seen::{RULES, Seen};
use super::text;
use crate::engine::KnownAlert;

/// So many of them are visible at once. The others are in a fold.
const OPEN: usize = 2;
/// The links of a rule: their name, their key, and the annotations that have them.
const LINKS: [(&str, &str, [&str; 2]); 2] =
    [("Runbook", "r", ["runbook_url", "runbook"]), ("Dashboard", "d", ["dashboard_url", "dashboard"])];

/// One rule of an incident.
struct Rule<'a> {
    name: &'a str,
    /// Its severity, and how many of its alerts fire, of how many. A closed incident has neither.
    counted: Option<(&'a str, usize, usize)>,
    /// The name, the key and the address of each link.
    links: Vec<(&'static str, &'static str, &'a str)>,
}

/// The links of one rule as buttons, or a line for each of several rules.
pub(super) fn lines(seen: &Seen) -> Markup {
    let rules = rules(seen);
    let all = seen.rules.1.max(rules.len());
    html! {
        @if let [rule] = &rules[..] {
            nav.large aria-label="Links of the incident" { (buttons(&rule.links)) (pager(seen)) }
        } @else if !rules.is_empty() {
            section #rules aria-labelledby="rules-title" {
                h2.unseen #rules-title { "Rules" }
                ul.rules { @for rule in rules.iter().take(OPEN) { (line(seen, rule)) } }
                @if all > OPEN {
                    details #more-rules .technical {
                        summary { (all - OPEN) @if all == OPEN + 1 { " more rule" } @else { " more rules" } }
                        ul.rules { @for rule in rules.iter().skip(OPEN) { (line(seen, rule)) } }
                        @if all > rules.len() { p.dim { "… and " (all - rules.len()) " more." } }
                    }
                }
                nav.large aria-label="Links of the incident" { (pager(seen)) }
            }
        } @else { nav.large aria-label="Links of the incident" { (pager(seen)) } }
    }
}

/// The rules of an open incident as the engine has them, else those of the history.
fn rules(seen: &Seen) -> Vec<Rule<'_>> {
    let counted = seen.rules.0.iter().map(|rule| Rule {
        name: &rule.name,
        counted: Some((&rule.severity, rule.firing, rule.alerts)),
        links: links_of(|name| Some(rule.annotations.value(name)), &rule.generator_url),
    });
    let counted: Vec<Rule<'_>> = counted.collect();
    if !counted.is_empty() {
        return counted;
    }
    let mut known = BTreeSet::new();
    let past = seen.past.iter().flat_map(|past| &past.rules).filter(|rule| known.insert(&rule.name));
    let rule = past.map(|rule| Rule {
        name: &rule.name,
        counted: None,
        links: links_of(|name| rule.annotations.get(name).map(String::as_str), &rule.generator_url),
    });
    rule.take(RULES).collect()
}

fn links_of<'a>(
    annotation: impl Fn(&str) -> Option<&'a str>,
    graph: &'a str,
) -> Vec<(&'static str, &'static str, &'a str)> {
    let of = |(what, key, names): (&'static str, &'static str, [&str; 2])| {
        let url = names.iter().filter_map(|name| annotation(name)).find(|url| !url.is_empty());
        url.map(|url| (what, key, url))
    };
    let [runbook, dashboard] = LINKS.map(of);
    let graph = Some(("Graph", "g", graph)).filter(|(.., url)| !url.is_empty());
    [runbook, graph, dashboard].into_iter().flatten().collect()
}

/// The links of an alert as buttons.
pub(super) fn links(alert: &KnownAlert) -> Markup {
    buttons(&links_of(|name| Some(alert.annotations.value(name)), &alert.generator_url))
}

fn buttons(links: &[(&str, &str, &str)]) -> Markup {
    html! { @for (what, key, url) in links { (text::key_button(url, what, key)) } }
}

fn line(seen: &Seen, rule: &Rule<'_>) -> Markup {
    html! {
        li {
            @if let Some((severity, firing, all)) = rule.counted {
                (seen.badge(severity)) " " b { (firing) } @if all > firing { span.dim { "/" (all) } } " "
            }
            (text::alert_name(if rule.name.is_empty() { "(no name)" } else { rule.name })) " "
            span.links { (buttons(&rule.links)) }
        }
    }
}

/// Where the pager shows the incident, if it has an address for a key. PagerDuty has none.
fn pager(seen: &Seen) -> Markup {
    let accepted = |integration: &str| {
        let name = integration.rsplit('/').next().unwrap_or_default();
        name.split('[').next() == Some("opsgenie")
    };
    let past = seen.past.as_ref();
    let at = past.filter(|past| past.events.iter().any(|e| e.integration.as_deref().is_some_and(accepted)));
    html! {
        @if let Some(past) = at {
            @let key = &past.incident.dedup_key;
            (text::key_button(&format!("https://app.opsgenie.com/alert/list?query=alias%3A{key}"), "Pager", "p"))
        }
    }
}
