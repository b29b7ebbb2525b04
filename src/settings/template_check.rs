//! Templated keys: the syntax of minijinja and every name in it are checked. A template of Go's is
//! recognised, and the error shows a form that works here.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, Value, ValueKind};
use minijinja::{Environment, ErrorKind};

use super::section::{Problems, Section, Text, nearest, shown};
use super::template::{TemplateData, TemplateFacts, template_environment};
use crate::model::{AlertId, AlertView, Kind, LabelSet, Notification, NotificationId, Status, Timestamp};

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;

/// A templated key of a section; a problem is noted if it cannot be a template.
pub(crate) fn read(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    check(section.problems, key, text)
}

/// The same for a text under a free name.
pub(crate) fn check(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
    match problem(text.text) {
        None => Some(text.text.to_owned()),
        Some(problem) => {
            // A template may have several lines, an error about it has one.
            let problem: String = problem.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            problems.add(text.line, format!("{key} {problem}"));
            None
        }
    }
}

fn problem(text: &str) -> Option<String> {
    if text.len() > MAX_TEMPLATE {
        return Some(format!("has {} bytes; write at most {MAX_TEMPLATE}", text.len()));
    }
    if let Some((found, right)) = text.split("{{").skip(1).find_map(go_action) {
        return Some(format!("is a Go template ({{{{ {found} }}}}); templates are minijinja: write {right}"));
    }
    let env = template_environment();
    match env.template_from_str(text) {
        Ok(template) => unknown_name(&template, &env).or_else(|| trial(&template)),
        Err(error) => {
            let detail = detail(&error);
            Some(format!("is not a template: {detail}; write text such as \"{ANY}\""))
        }
    }
}

fn detail(error: &minijinja::Error) -> String {
    error.detail().map(ToOwned::to_owned).unwrap_or_else(|| error.kind().to_string())
}

/// A name that stands in the template and does not exist, in a branch that no trial takes too.
fn unknown_name(template: &minijinja::Template<'_, '_>, env: &Environment<'_>) -> Option<String> {
    let data = sample(false, false);
    let mut asked: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    asked.sort();
    asked.iter().find_map(|path| {
        let (name, below) = path.split_once('.').map_or((path.as_str(), None), |(name, b)| (name, Some(b)));
        let Some(value) = data.names.get(name) else {
            let global = env.globals().any(|(global, _)| global == name);
            return (!global).then(|| no_such("the notification", name, data.names.keys().copied()));
        };
        // Labels may have any name, and the trial looks into the alerts.
        let plain = !matches!(value.kind(), ValueKind::Map | ValueKind::Seq);
        let message =
            |below| format!("asks {name} for {}, and {name} is one value: write {name}", shown(below));
        below.filter(|_| plain).map(message)
    })
}

/// Renders the template for a notification that fires and for one that resolved, once without labels and
/// once with every label that it asks for. A wrong value of a label may make a template fail, and is no
/// mistake in it. A name, a filter or a function that does not exist is one.
fn trial(template: &minijinja::Template<'_, '_>) -> Option<String> {
    let samples = [(true, false), (true, true), (false, false), (false, true)];
    samples.into_iter().find_map(|(firing, labels)| {
        let data = sample(firing, labels);
        let failed = template.render_captured_to(data.context(), std::io::sink()).err();
        if let Some(unknown) = data.unknown().first() {
            return Some(no_such(unknown.of, &unknown.name, unknown.known.iter().copied()));
        }
        let error = failed?;
        let right = match error.kind() {
            ErrorKind::UnknownFilter => {
                "write one of minijinja's filters, such as upper, lower, trim, join or default"
            }
            ErrorKind::UnknownTest => "write one of minijinja's tests, such as defined, in or startingwith",
            ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "write a filter, such as |upper",
            ErrorKind::OutOfFuel => "write fewer steps",
            _ => return None,
        };
        Some(format!("fails: {}; {right}", detail(&error)))
    })
}

/// Whether the template writes anything about a notification whose alerts have no labels.
pub(crate) fn says_something_without_labels(text: &str) -> bool {
    let rendered = template_environment().render_str(text, sample(true, false).context());
    rendered.is_ok_and(|text| !text.trim().is_empty())
}

/// The label sets of the notification that a template takes a value from by name.
pub(crate) fn names_of(text: &str) -> BTreeSet<String> {
    let env = template_environment();
    let names = env.template_from_str(text).map(|template| template.undeclared_variables(false));
    names.unwrap_or_default().into_iter().collect()
}

fn no_such<'n>(of: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let hint = match nearest(&snake_case(name), known.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    };
    format!("asks for {}, which {of} does not have; {hint}", shown(name))
}

/// A notification to try a template with: one alert, which fires or resolved, without labels or with every
/// label that it is asked for.
fn sample(firing: bool, labels: bool) -> TemplateData {
    let status = if firing { Status::Firing } else { Status::Resolved };
    let alert = AlertView {
        id: AlertId::of(&LabelSet::default(), |_| false),
        status,
        labels: LabelSet::default(),
        annotations: LabelSet::default(),
        starts_at: Timestamp::ZERO,
        ends_at: (!firing).then_some(Timestamp::ZERO),
        generator_url: "https://prometheus.example/graph".into(),
        problem: None,
        flaps: labels.then_some(3),
    };
    let notification = Notification {
        id: NotificationId(1),
        at: Timestamp::ZERO,
        receiver: "receiver".into(),
        integration: "integration[0]".into(),
        kind: if firing { Kind::Page } else { Kind::Resolve },
        dedup_key: "key".into(),
        group_key: "{}:{}".into(),
        generation: 0,
        group_labels: LabelSet::default(),
        title: None,
        severity: "critical".into(),
        level: (0, 3),
        alerts: vec![alert],
        beside: Vec::new(),
        truncated: u64::from(labels),
        opened_at: Timestamp::ZERO,
        cause: crate::model::Cause::FirstPage,
    };
    let facts = TemplateFacts {
        status: status.as_str(),
        external_url: "https://squelch.example",
        possible_repeat: labels,
    };
    let of = |set: &LabelSet| match labels {
        true => Value::from_object(EveryLabel),
        false => Value::from_pairs(set.iter()),
    };
    TemplateData::with_labels(&notification, facts, &of)
}

/// Labels of every name.
#[derive(Debug)]
struct EveryLabel;

impl Object for EveryLabel {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        key.as_str().map(|_| Value::from("value"))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from("label")])
    }
}

/// A template that says something about every alert.
const ANY: &str = "{{ common_labels.alertname }}";

/// What stands between `{{` and `}}` if it is an action of Go's templates, and its form in minijinja.
fn go_action(after_braces: &str) -> Option<(String, String)> {
    let inside = after_braces.split("}}").next().unwrap_or_default();
    let inside = inside.trim_matches(|c: char| c == '-' || c.is_whitespace());
    let word = inside.split_whitespace().next().unwrap_or_default();
    let right = match word {
        "template" | "define" | "block" => ANY.to_owned(),
        "range" => range(inside),
        "if" | "else" | "with" | "end" => {
            "{% if status == \"firing\" %}it fires{% else %}it is over{% endif %}".to_owned()
        }
        _ if inside.starts_with('.') => match jinja_path(inside) {
            Some(path) => format!("{{{{ {path} }}}}"),
            None => ANY.to_owned(),
        },
        _ if inside.starts_with('$') || inside.contains(" .") => ANY.to_owned(),
        _ => return None,
    };
    // Advice that this check would refuse is none.
    let right = if problem(&right).is_some() { ANY.to_owned() } else { right };
    Some((inside.chars().take(64).collect(), right))
}

/// The loop in minijinja that does what `range` over the same does.
fn range(inside: &str) -> String {
    let pairs = ["GroupLabels", "CommonLabels", "CommonAnnotations"];
    if let Some(set) = pairs.into_iter().find(|set| inside.contains(set)) {
        let set = snake_case(set);
        return format!(
            "{{% for name, value in {set}|items %}}{{{{ name }}}}={{{{ value }}}} {{% endfor %}}"
        );
    }
    let alerts = match inside {
        _ if inside.contains(".Firing") => "alerts.firing",
        _ if inside.contains(".Resolved") => "alerts.resolved",
        _ => "alerts",
    };
    format!(
        "{{% for alert in {alerts} %}}{{{{ alert.labels.alertname }}}}: {{{{ alert.annotations.summary }}}} {{% endfor %}}"
    )
}

/// `.GroupLabels.alertname` → `group_labels.alertname`; names that Go exports are in snake case here.
fn jinja_path(path: &str) -> Option<String> {
    let is_path = path.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.') && path.len() > 1;
    is_path.then(|| {
        let parts = path.trim_start_matches('.').split('.');
        parts.map(snake_case).collect::<Vec<_>>().join(".")
    })
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut lower_before = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower_before {
            snake.push('_');
        }
        lower_before = c.is_ascii_lowercase();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_templates_are_answered_with_a_form_that_works_when_pasted() {
        let table = [
            ("{{ .GroupLabels.alertname }}", "{{ group_labels.alertname }}"),
            ("{{ .CommonLabels.team }}", "{{ common_labels.team }}"),
            ("x {{- .CommonAnnotations.summary -}}", "{{ common_annotations.summary }}"),
            ("{{ .ExternalURL }}", "{{ external_url }}"),
            ("{{ .Labels.job }}", ANY),
            ("{{ .GroupKey }}", ANY),
            ("{{ template \"slack.default.title\" . }}", ANY),
            ("{{ range .Alerts }}{{ .Labels.job }}{{ end }}", "{% for alert in alerts %}"),
            ("{{ range $i, $a := .Alerts.Firing }}x{{ end }}", "{% for alert in alerts.firing %}"),
            (
                "{{- range .CommonLabels.SortedPairs }}x{{ end }}",
                "{% for name, value in common_labels|items %}",
            ),
            ("{{ if eq .Status \"firing\" }}x{{ end }}", "{% if status == \"firing\" %}"),
            ("{{ with .CommonLabels.team }}x{{ end }}", "{% if status == \"firing\" %}"),
            ("{{ end }}", "{% if status == \"firing\" %}"),
            ("{{ $x := 1 }}", ANY),
            ("{{ toUpper .Status }}", ANY),
        ];
        for (text, right) in table {
            let found = problem(text).unwrap();
            assert!(
                found.contains("Go template") && found.contains(&format!("write {right}")),
                "{text}: {found}"
            );
            let (_, advice) = found.split_once("minijinja: write ").unwrap();
            assert_eq!(problem(advice), None, "{advice}");
            let said = template_environment().render_str(advice, sample(true, true).context()).unwrap();
            assert!(!said.trim().is_empty(), "{advice}");
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_refused_with_the_nearest_one() {
        let table = [
            ("{{ group_lables.alertname }}", "asks for \"group_lables\"", "did you mean group_labels?"),
            ("{{ commonLabels.alertname }}", "asks for \"commonLabels\"", "did you mean common_labels?"),
            ("{{ CommonLabels.alertname }}", "asks for \"CommonLabels\"", "did you mean common_labels?"),
            ("{{ labels.alertname }}", "asks for \"labels\"", "there are alerts, common_annotations"),
            ("{% if false %}{{ group_lables }}{% endif %}", "asks for \"group_lables\"", "group_labels?"),
            ("{% for a in alert %}x{% endfor %}", "asks for \"alert\"", "did you mean alerts?"),
            ("{{ alerts.fireing|length }}", "asks for \"fireing\"", "did you mean firing?"),
            (
                "{% for a in alerts %}{{ a.annotation.x }}{% endfor %}",
                "an alert does not have",
                "annotations?",
            ),
            (
                "{% for a in alerts.firing %}{{ a.startsAt }}{% endfor %}",
                "an alert does",
                "did you mean starts_at?",
            ),
            (
                "{% for a in alerts.resolved %}{{ a.lables.x }}{% endfor %}",
                "an alert does",
                "did you mean labels?",
            ),
            ("{{ alerts[0].label.x|default('y') }}", "an alert does", "did you mean labels?"),
            (
                "{% if common_labels.a %}{% for a in alerts %}{{ a.x }}{% endfor %}{% endif %}",
                "an alert",
                "there are",
            ),
            ("{{ status.word }}", "asks status for \"word\"", "write status"),
            ("{{ status|toUpper }}", "fails: filter toUpper is unknown", "upper"),
            ("{{ toUpper(status) }}", "asks for \"toUpper\"", "there are"),
            ("{{ status.upper() }}", "", ""),
            (
                "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
                "fails:",
                "fewer",
            ),
        ];
        for (text, wrong, right) in table {
            let found = problem(text).unwrap_or_else(|| panic!("{text} passes"));
            assert!(found.contains(wrong) && found.contains(right), "{text}: {found}");
        }
    }

    #[test]
    fn what_labels_and_values_are_like_is_no_mistake_in_a_template() {
        for good in [
            "",
            "plain",
            "{{ group_labels.alertname }}",
            "{{ common_labels.team or 'nobody' }}{{ common_labels['a b'] }}",
            "{% for a in alerts %}{{ a.labels.x|upper }}{{ loop.index }}{{ a.ends_at }}{{ a.flaps }}{% endfor %}",
            "{% for a in alerts.firing %}{{ a.annotations.summary }}{% else %}none{% endfor %}",
            "{% set name = group_labels.alertname %}{{ name|default('x') }}",
            "{{ common_labels.percent|int * 2 }}{{ (common_annotations.value|float)|round(2) }}",
            "{{ alerts|length }} {{ alerts[0].labels.job }} {{ num_firing }} {{ range(3)|join(',') }}",
            "{% set ns = namespace(n=0) %}{% for a in alerts %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "{% for name, value in group_labels|items %}{{ name }}={{ value }}{% endfor %}",
            "{{ {'critical': ':fire:'}[severity] }}{% if truncated %}{{ truncated }}{% endif %}",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["{{ x", "{% for a in %}", "{% if x %}", "{{ x | }}"] {
            assert!(problem(bad).unwrap().contains("is not a template"), "{bad}");
        }
        assert!(problem(&"x".repeat(MAX_TEMPLATE + 1)).is_some());
    }
}
