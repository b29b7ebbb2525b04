//! The Grafana dashboard and the alerting rules use only series that `/metrics` has.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, ParenExpr, SubqueryExpr, UnaryExpr, VectorSelector,
    parse as parse_promql,
};
use serde_json::Value;
use squelch::node::REPLICA_METRICS;

use crate::exposition::{fresh, parse};
use crate::repository::read;
use crate::tools;

const DASHBOARD: &str = "config/grafana/dashboards/squelch.json";
const RULES: &str = "config/prometheus/squelch-alerts.yml";
const TESTS_OF_RULES: &str = "config/prometheus/squelch-alerts_test.yml";
const RUNBOOKS: &str = "docs/runbooks.md";

/// The series that exist: family → type and labels.
type Known = BTreeMap<String, (String, BTreeSet<String>)>;

fn known() -> Known {
    let mut known: Known = parse(fresh())
        .into_iter()
        .map(|(name, f)| (name, (f.kind[0].clone(), f.labels().into_iter().map(str::to_owned).collect())))
        .collect();
    known.insert("up".into(), ("gauge".into(), BTreeSet::new()));
    // A storage of one process has no replicas.
    let replicas = ("gauge".into(), BTreeSet::from(["replica".to_owned()]));
    known.extend(REPLICA_METRICS.map(|(name, _)| (name.to_owned(), replicas.clone())));
    for (_, labels) in known.values_mut() {
        labels.extend(["job".to_owned(), "instance".to_owned()]);
    }
    known
}

/// Each owner goes on from the counts of the owner before it. A replica that owns again would add the pages
/// of the others to its own.
#[test]
fn totals_of_the_chosen_time_count_replicas_once() {
    let dashboard = read(DASHBOARD);
    let totals = dashboard.lines().filter(|line| line.contains("\"expr\"") && line.contains("[$__range"));
    for total in totals.clone() {
        assert!(!total.contains("}[$__range]"), "{total}");
        assert!(total.contains("max without (instance, pod)"), "{total}");
    }
    assert_eq!(totals.count(), 6);
}

/// An expression with values in place of Grafana's variables.
fn without_variables(expr: &str) -> String {
    let expr = expr.replace("$__rate_interval", "5m").replace("$__range", "1d");
    ["$job", "$instance", "$receiver"].iter().fold(expr, |e, var| e.replace(var, ".+"))
}

/// The errors of an expression. Empty if there are none.
fn findings(expr: &str, known: &Known) -> Vec<String> {
    let expr = without_variables(expr);
    if expr.contains('$') {
        return vec![format!("unknown variable in {expr}")];
    }
    match parse_promql(&expr) {
        Err(error) => vec![format!("{error}: {expr}")],
        Ok(parsed) => {
            let mut check = Check { known, found: Vec::new() };
            check.walk(&parsed, false);
            check.found
        }
    }
}

struct Check<'a> {
    known: &'a Known,
    found: Vec<String>,
}

impl Check<'_> {
    /// Looks at `expr` and all below it, and returns the labels that its series may have. `rated`: a
    /// function that turns a counter into something readable stands directly above.
    fn walk(&mut self, expr: &Expr, rated: bool) -> BTreeSet<String> {
        match expr {
            Expr::VectorSelector(selector) => self.selector(selector, rated),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs, rated),
            Expr::Paren(ParenExpr { expr }) | Expr::Unary(UnaryExpr { expr }) => self.walk(expr, rated),
            Expr::Subquery(SubqueryExpr { expr, .. }) => self.walk(expr, rated),
            Expr::Call(Call { func, args }) => {
                let rated = ["rate", "increase", "changes"].contains(&func.name);
                args.args.iter().flat_map(|arg| self.walk(arg, rated)).collect()
            }
            Expr::Aggregate(AggregateExpr { expr, modifier, .. }) => {
                let labels = self.walk(expr, rated);
                match modifier {
                    Some(LabelModifier::Include(by)) => {
                        let by: BTreeSet<String> = by.labels.iter().map(ToString::to_string).collect();
                        for label in by.difference(&labels) {
                            self.found.push(format!("no label {label} to aggregate by: {expr}"));
                        }
                        by
                    }
                    Some(LabelModifier::Exclude(_)) => labels,
                    None => BTreeSet::new(),
                }
            }
            Expr::Binary(BinaryExpr { lhs, rhs, .. }) => {
                // The law adds up raw counters of one scrape, for which they are exact.
                let law = expr.to_string().contains("squelch_alerts_pending");
                let labels = self.walk(lhs, rated || law);
                &labels | &self.walk(rhs, rated || law)
            }
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => BTreeSet::new(),
            Expr::Extension(_) => panic!("{expr} is not PromQL"),
        }
    }

    fn selector(&mut self, selector: &VectorSelector, rated: bool) -> BTreeSet<String> {
        let name = selector.name.clone().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| {
            let family = name.strip_suffix(s)?;
            self.known.get(family).filter(|(kind, _)| kind == "histogram")
        });
        let Some((kind, labels)) = family.or_else(|| self.known.get(&name)) else {
            self.found.push(format!("no metric {name}"));
            return BTreeSet::new();
        };
        if kind != "gauge" && !rated {
            self.found.push(format!("{name} is a {kind}: only its rate or increase says something"));
        }
        for matcher in &selector.matchers.matchers {
            if !labels.contains(&matcher.name) {
                self.found.push(format!("{name} has no label {}", matcher.name));
            }
        }
        if !selector.matchers.matchers.iter().any(|m| m.name == "job") {
            self.found.push(format!("{name} is asked for of every job"));
        }
        labels.clone()
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

#[test]
fn the_checks_find_what_they_are_for() {
    let known = known();
    for (expr, finding) in [
        ("squelch_made_up{job=\"a\"}", "no metric squelch_made_up"),
        ("squelch_incidents{job=\"a\", alertname=\"b\"}", "squelch_incidents has no label alertname"),
        ("squelch_incidents", "squelch_incidents is asked for of every job"),
        ("sum by (reason) (squelch_incidents{job=\"a\"})", "no label reason to aggregate by"),
        ("sum(squelch_alerts_routed_total{job=\"a\"})", "is a counter: only its rate"),
        ("sum(squelch_incidents{job=\"a\"}", "unclosed left parenthesis"),
        ("squelch_incidents{job=~\"$team\"}", "unknown variable"),
    ] {
        let found = findings(expr, &known);
        assert!(found.len() == 1 && found[0].contains(finding), "{expr}: {found:?}");
    }
}

#[test]
fn every_expression_of_the_dashboard_can_be_answered() {
    let (dashboard, known) = (dashboard(), known());
    let mut asked = 0;
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    for expr in panels(&dashboard)
        .iter()
        .flat_map(|p| p["targets"].as_array().into_iter().flatten())
        .chain(annotations)
        .map(|t| t["expr"].as_str().unwrap())
    {
        assert_eq!(findings(expr, &known), Vec::<String>::new());
        asked += 1;
    }
    assert!(asked > 30, "{asked} expressions");
}

#[test]
fn legends_name_labels_that_the_query_leaves() {
    for panel in panels(&dashboard()) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let (expr, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
                let kept = expr.contains("by (") && expr.contains(label);
                assert!(kept || (!expr.contains("sum") && label == "instance"), "{legend}: {expr}");
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(serde::Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

#[derive(serde::Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn every_alerting_rule_can_fire() {
    let known = known();
    let rules = rules();
    assert!(rules.len() >= 8, "{} rules", rules.len());
    for rule in &rules {
        assert!(rule.alert.starts_with("Squelch"), "{}", rule.alert);
        assert_eq!(findings(&rule.expr, &known), Vec::<String>::new(), "{}", rule.alert);
        assert!(["critical", "warning"].contains(&rule.labels["severity"].as_str()), "{}", rule.alert);
        let summary = &rule.annotations["summary"];
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{}: one group, one summary", rule.alert);

        let mut check = Check { known: &known, found: Vec::new() };
        let left = check.walk(&parse_promql(&rule.expr).unwrap(), false);
        for used in rule.annotations["description"].split("$labels.").skip(1) {
            let label = used.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            assert!(left.contains(label), "{}: {label} is not left", rule.alert);
        }
    }
    for path in [RULES, "config/prometheus/demo-rules.yml"] {
        tools::must_pass("promtool", &["check", "rules", path], "");
    }
}

/// The rules of the file.
fn rules() -> Vec<Rule> {
    let file: RuleFile = serde_saphyr::from_str(&read(RULES)).unwrap();
    file.groups.into_iter().flat_map(|group| group.rules).collect()
}

#[test]
fn every_alerting_rule_has_a_runbook() {
    let book = read(RUNBOOKS);
    let sections: Vec<&str> = book.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts: Vec<String> = rules().iter().map(|rule| rule.alert.clone()).collect();
    assert_eq!(sections, alerts, "one section for each alert, in the order of the file");
    for rule in rules() {
        let url = format!("https://squelch.example/{RUNBOOKS}#{}", rule.alert.to_lowercase());
        assert_eq!(rule.annotations["runbook_url"], url, "{}", rule.alert);
    }
    for (section, text) in book.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')) {
        for part in ["**What it means.**", "**Check.**", "**Do.**"] {
            assert!(text.contains(part), "{section}: {part}");
        }
    }
}

/// One instance of several fails in these tests, and the alert names it alone.
#[test]
fn the_alerting_rules_pass_their_tests() {
    let tests = read(TESTS_OF_RULES);
    for rule in rules() {
        let fires = tests.contains(&format!("      - alertname: {}\n", rule.alert));
        assert!(fires, "{}: no test in which it fires", rule.alert);
    }
    tools::must_pass("promtool", &["test", "rules", TESTS_OF_RULES], "");
}
