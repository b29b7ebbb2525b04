//! Templated keys: minijinja's syntax is checked, Go's is recognised and answered with the right form.

use minijinja::Environment;

use super::section::{Problems, Section, Text};

/// The longest template, in bytes.
const MAX_TEMPLATE: usize = 64 * 1024;

/// A templated key of a section; a problem is noted if it cannot be a template.
pub(super) fn read(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    check(section.problems, key, text)
}

/// The same for a text under a free name.
pub(super) fn check(problems: &Problems, key: &str, text: Text<'_>) -> Option<String> {
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
    let error = Environment::empty().template_from_str(text).err()?;
    let detail = error.detail().map(ToOwned::to_owned).unwrap_or_else(|| error.kind().to_string());
    Some(format!("is not a template: {detail}; write text such as \"{{{{ group_labels.alertname }}}}\""))
}

/// What stands between `{{` and `}}` if it is an action of Go's templates, and its form in minijinja.
fn go_action(after_braces: &str) -> Option<(String, String)> {
    const ANY: &str = "{{ group_labels.alertname }}";
    let inside = after_braces.split("}}").next().unwrap_or_default();
    let inside = inside.trim_matches(|c: char| c == '-' || c.is_whitespace());
    let word = inside.split_whitespace().next().unwrap_or_default();
    let right = match word {
        "template" | "define" | "block" => ANY.to_owned(),
        "range" => "{% for alert in alerts %}…{% endfor %}".to_owned(),
        "if" | "else" | "with" => "{% if … %}…{% endif %}".to_owned(),
        "end" => "{% endif %} or {% endfor %}".to_owned(),
        _ if inside.starts_with('.') => match jinja_path(inside) {
            Some(path) => format!("{{{{ {path} }}}}"),
            None => ANY.to_owned(),
        },
        _ if inside.starts_with('$') || inside.contains(" .") => ANY.to_owned(),
        _ => return None,
    };
    Some((inside.chars().take(64).collect(), right))
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
    fn go_templates_are_answered_with_the_right_form() {
        let table = [
            ("{{ .GroupLabels.alertname }}", "{{ group_labels.alertname }}"),
            ("x {{- .CommonAnnotations.summary -}}", "{{ common_annotations.summary }}"),
            ("{{ .ExternalURL }}", "{{ external_url }}"),
            ("{{ template \"slack.default.title\" . }}", "{{ group_labels.alertname }}"),
            ("{{ range .Alerts }}{{ .Labels.job }}{{ end }}", "{% for alert in alerts %}"),
            ("{{ if eq .Status \"firing\" }}x{{ end }}", "{% if … %}"),
            ("{{ $x := 1 }}", "{{ group_labels.alertname }}"),
            ("{{ toUpper .Status }}", "{{ group_labels.alertname }}"),
        ];
        for (text, right) in table {
            let found = problem(text).unwrap();
            assert!(found.contains("Go template") && found.contains(right), "{text}: {found}");
        }
    }

    #[test]
    fn minijinja_is_checked() {
        for good in
            ["", "plain", "{{ group_labels.alertname }}", "{% for a in alerts %}{{ a.x|upper }}{% endfor %}"]
        {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["{{ x", "{% for a in %}", "{% if x %}", "{{ x | }}"] {
            assert!(problem(bad).unwrap().contains("is not a template"), "{bad}");
        }
        assert!(problem(&"x".repeat(MAX_TEMPLATE + 1)).is_some());
    }
}
