//! The route tree, with Alertmanager's inheritance and Alertmanager's route keys.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use crate::config::{GroupBy, GroupTimes, Route, Windows};
use crate::model::{LabelSet, MatchOp, Matcher, MatcherError, parse_matchers};
use crate::settings::section::{Problems, Section, Text, nearest, shown};
use crate::settings::template_check;
use crate::templates::is_template;

/// The names that routes may use.
pub(super) struct Names<'n> {
    pub(super) receivers: BTreeSet<&'n str>,
    pub(super) profiles: BTreeSet<&'n str>,
    pub(super) intervals: BTreeSet<&'n str>,
}

/// The tree below `root`, depth first, and the times of each route in Alertmanager. Route 0 is the root.
pub(super) fn read(root: Section<'_>, names: &Names<'_>) -> (Vec<Route>, Vec<GroupTimes>) {
    let defaults = (Route::root(SmolStr::default(), root.line), GroupTimes::default());
    let mut tree = Tree { names, routes: Vec::new(), times: Vec::new() };
    read_node(root, None, defaults, &mut tree);
    (tree.routes, tree.times)
}

/// The routes read so far.
struct Tree<'n> {
    names: &'n Names<'n>,
    routes: Vec<Route>,
    times: Vec<GroupTimes>,
}

/// Reads one node and the nodes below it. `route` comes with the inherited values: receiver, `group_by`,
/// the three times and the noise profile.
fn read_node(
    mut keys: Section<'_>,
    parent: Option<&str>,
    (mut route, mut times): (Route, GroupTimes),
    tree: &mut Tree<'_>,
) {
    let names = tree.names;
    route.line = keys.line;
    route.children.clear();
    match keys.text("receiver").filter(|name| !name.text.is_empty()) {
        Some(name) => route.receiver = defined(&keys, "receiver", name, &names.receivers),
        None if parent.is_none() => {
            let message = "the root route has no receiver. Name one, for alerts that no other route takes";
            keys.problems.add(keys.line, message);
        }
        None => {}
    }
    if let Some(name) = keys.text("noise") {
        route.noise = defined(&keys, "noise profile", name, &names.profiles);
    }
    if let Some(labels) = keys.texts("group_by") {
        route.group_by = group_by(&keys, &labels);
    }
    if let Some(wait) = keys.duration("group_wait") {
        (route.group_wait, times.wait) = (wait, wait);
    }
    if let Some(interval) = keys.positive("group_interval") {
        (route.group_interval, times.interval) = (interval, interval);
    }
    if let Some(interval) = keys.positive("repeat_interval") {
        (route.repeat_interval, times.repeat) = (interval, interval);
    }
    route.continue_ = keys.boolean("continue").unwrap_or(false);
    route.labels = labels(&mut keys, &route.labels);
    route.windows = windows(&mut keys, parent.is_none(), names);
    route.matchers = matchers(&mut keys, ["match", "match_re", "matchers"]);
    route.key = match parent {
        Some(parent) => format!("{parent}/{}", key_part(&route.matchers)).into(),
        None => "{}".into(),
    };
    if parent.is_none() && !route.matchers.is_empty() {
        keys.problems.add(keys.line, "the root route has matchers, and must take every alert. Remove them");
    }
    if parent.is_none() && route.continue_ {
        let line = keys.line_of("continue");
        keys.problems.add(line, "the root route says continue, and nothing stands beside it. Remove it");
    }
    let children = keys.list("routes").unwrap_or_default();
    let problems = keys.problems;
    keys.finish();

    let at = tree.routes.len();
    tree.routes.push(route.clone());
    tree.times.push(times);
    for child in children {
        if let Some(keys) = Section::new(child, "route", problems) {
            let index = tree.routes.len();
            tree.routes[at].children.push(index);
            read_node(keys, Some(&route.key), (route.clone(), times), tree);
        }
    }
}

/// A name, noted if it is defined nowhere.
fn defined(keys: &Section<'_>, what: &str, name: Text<'_>, all: &BTreeSet<&str>) -> SmolStr {
    // Without any receivers, an earlier error says so already.
    if !all.is_empty() && !all.contains(name.text) {
        let hint = match nearest(name.text, all.iter().copied()) {
            Some(near) => format!("Did you mean {}?", shown(near)),
            None => format!("Define it, or name one of {}", listed(all)),
        };
        keys.problems.add(name.line, format!("{what} {} is not defined. {hint}", shown(name.text)));
    }
    name.text.into()
}

fn listed(all: &BTreeSet<&str>) -> String {
    let mut names: Vec<String> = all.iter().take(8).map(|name| shown(name)).collect();
    if all.len() > names.len() {
        names.push("…".into());
    }
    names.join(", ")
}

fn group_by(keys: &Section<'_>, labels: &[Text<'_>]) -> GroupBy {
    let mut names: BTreeSet<SmolStr> = BTreeSet::new();
    for label in labels {
        if label.text.is_empty() {
            keys.problems.add(label.line, "group_by holds an empty name. Write the name of a label");
        } else if !names.insert(label.text.into()) {
            keys.problems.add(label.line, format!("group_by holds {} twice. Keep one", shown(label.text)));
        }
    }
    if !names.remove("...") {
        return GroupBy::Labels(names.into_iter().collect());
    }
    if !names.is_empty() {
        let line = keys.line_of("group_by");
        keys.problems.add(line, "group_by holds ... (all labels) and others. Write ['...'] alone");
    }
    GroupBy::All
}

/// The labels that a route inherits and those of its own, which are templates.
fn labels(keys: &mut Section<'_>, inherited: &LabelSet) -> LabelSet {
    let own = keys.text_map("labels");
    let mut labels: BTreeMap<&str, &str> = inherited.iter().collect();
    let mut right = true;
    for (name, value) in &own {
        if name.is_empty() {
            keys.problems.add(value.line, "labels holds an empty name. Write the name of a label");
        }
        right &= template_check::check_label(keys.problems, &format!("labels.{name}"), *value);
        labels.insert(name, value.text);
    }
    let labels = LabelSet::from_pairs(labels);
    if right && own.iter().any(|(_, value)| is_template(value.text)) {
        template_check::check_labels(keys.problems, &labels, &own);
    }
    labels
}

/// The times at which a route notifies no receiver. The root has none: alerts that no other route takes
/// must not get lost.
fn windows(keys: &mut Section<'_>, root: bool, names: &Names<'_>) -> Windows {
    let mut named = |key: &'static str| -> Vec<SmolStr> {
        let Some(texts) = keys.texts(key) else { return Vec::new() };
        if root && !texts.is_empty() {
            let message = format!("the root route has {key}. Name them on a route below it");
            keys.problems.add(keys.line_of(key), message);
        }
        texts.iter().map(|name| interval(keys, *name, &names.intervals)).collect()
    };
    Windows { mute: named("mute_time_intervals"), active: named("active_time_intervals") }
}

fn interval(keys: &Section<'_>, name: Text<'_>, all: &BTreeSet<&str>) -> SmolStr {
    if all.is_empty() {
        let message =
            format!("time interval {} is not defined. Define it in time_intervals", shown(name.text));
        keys.problems.add(name.line, message);
    }
    defined(keys, "time interval", name, all)
}

/// The matchers under the third of `names`, and the deprecated maps under the other two (`match` and
/// `match_re`), sorted as Alertmanager sorts them.
pub(super) fn matchers(keys: &mut Section<'_>, names: [&'static str; 3]) -> Vec<Matcher> {
    let [equal, regex, list] = names;
    let mut read: Vec<(u32, Result<Vec<Matcher>, MatcherError>)> = Vec::new();
    for (name, value) in keys.text_map(equal) {
        classic_name(name, value.line, keys.problems);
        read.push((value.line, Matcher::new(name, MatchOp::Equal, value.text).map(|m| vec![m])));
    }
    for (name, value) in keys.text_map(regex) {
        classic_name(name, value.line, keys.problems);
        if keys.is_null_in(regex, name) {
            let message = format!("{regex} has no expression for {}. Write one", shown(name));
            keys.problems.add(value.line, message);
        }
        // Alertmanager keeps such a pattern in its anchored form, and writes it so into the route's key.
        let pattern = format!("^(?:{})$", value.text);
        read.push((value.line, Matcher::new(name, MatchOp::Regex, pattern).map(|m| vec![m])));
    }
    for text in keys.texts_or_empty(list).unwrap_or_default() {
        if text.text.is_empty() {
            let message = format!("{list} has an empty entry, which matches every alert. Remove it");
            keys.problems.doubt(text.line, message);
        }
        read.push((text.line, parse_matchers(text.text)));
    }
    let mut all = Vec::new();
    for (line, found) in read {
        match found {
            Ok(found) => all.extend(found),
            Err(e) => keys.problems.add(line, format!("{e}. Write matchers such as severity=\"page\"")),
        }
    }
    all.sort();
    all
}

/// Notes a name that the deprecated maps do not take, since they are older than UTF-8 names.
fn classic_name(name: &str, line: u32, problems: &Problems) {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let classic = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(rest);
    if !classic {
        let message = format!("{} is not the name of a label here. Write it in matchers", shown(name));
        problems.add(line, message);
    }
}

/// `{a="1",b=~"x"}`: the part that one route adds to its parent's key.
fn key_part(matchers: &[Matcher]) -> String {
    let parts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    format!("{{{}}}", parts.join(","))
}
