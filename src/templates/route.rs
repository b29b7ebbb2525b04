//! The labels of a route, which may be templates and name each other by `routeLabels "name"`.
//!
//! Source: Alertmanager `dispatch/dispatch.go` (`renderRouteLabels`), `template/template.go`
//! (`routeLabelResolver`). A rendering that asks for a label without a value yet ends, and begins anew when
//! that label has one. So no rendering runs inside of another one.

use std::sync::Arc;

use gotmpl::Value;

use super::data::{of_notification, of_set};
use super::library::Library;
use super::render::{Compiled, TemplateText};
use super::scope::Routes;
use super::value::text;
use super::{Data, Facts, as_it_is, is_template, reason};
use crate::model::{LabelSet, Notification, Timestamp};

/// Labels that may ask for each other in a row.
const DEPTH: usize = 16;

impl Data {
    /// The data of a notification. The labels of its route may call the templates of the library.
    pub fn new(n: &Notification, facts: Facts<'_>, library: &Library, now: Timestamp) -> Self {
        let raw = of_set(&n.route_labels);
        if n.route_labels.iter().all(|(_, value)| !is_template(value)) {
            return Data { value: of_notification(n, facts, raw, reason(n)), wrong: Vec::new() };
        }
        // The labels of a route see no reason, as in Alertmanager, because they belong to the group.
        let first = Data { value: of_notification(n, facts, raw, "unknown"), wrong: Vec::new() };
        let (labels, wrong) = rendered(library, &n.route_labels, &first, now);
        Data { value: of_notification(n, facts, labels, reason(n)), wrong }
    }
}

/// Renders the labels of a route with the data of a notification. It also returns the errors, by the label.
fn rendered(
    library: &Library,
    labels: &LabelSet,
    data: &Data,
    now: Timestamp,
) -> (Value, Vec<(String, String)>) {
    let source = |(name, source): (&str, &str)| TemplateText {
        key: name.to_owned(),
        source: source.to_owned(),
        escape: as_it_is,
        html: false,
    };
    let of_template = |(_, value): &(&str, &str)| is_template(value);
    let compiled = Compiled::new(library, labels.iter().filter(of_template).map(source).collect(), as_it_is);
    let plain = labels.iter().filter(|label| !of_template(label));
    let mut routes = Routes {
        values: plain.map(|(name, value)| (Arc::from(name), text(value))).collect(),
        waiting: labels.iter().filter(of_template).map(|(name, _)| name.to_owned()).collect(),
        ..Routes::default()
    };
    let mut wrong = Vec::new();
    while let Some(first) = routes.waiting.first().cloned() {
        let mut under_way = vec![first];
        while let Some(name) = under_way.last().cloned() {
            let rendered = compiled.render_with(&name, data, now, &mut routes);
            let rendered = match (routes.asked.take(), rendered) {
                (Some(asked), _) if under_way.contains(&asked) => Err(circle(&under_way, &asked)),
                (Some(_), _) if under_way.len() >= DEPTH => {
                    Err(format!("more than {DEPTH} labels of the route ask for each other in a row"))
                }
                (Some(asked), _) => {
                    under_way.push(asked);
                    continue;
                }
                (None, rendered) => rendered.unwrap_or_else(|| Ok(String::new())),
            };
            under_way.pop();
            routes.waiting.remove(&name);
            match rendered {
                Ok(value) => {
                    routes.values.insert(Arc::from(name.as_str()), text(value));
                }
                Err(why) => {
                    routes.failed.insert(name.clone());
                    wrong.push((name, why));
                }
            }
        }
    }
    (Value::Map(Arc::new(routes.values)), wrong)
}

/// Says which labels ask for each other in a circle.
fn circle(under_way: &[String], asked: &str) -> String {
    let from = under_way.iter().position(|name| name == asked).unwrap_or(0);
    let names = under_way[from..].iter().map(String::as_str).chain([asked]);
    let names: Vec<&str> = names.collect();
    format!("the labels of the route ask for each other in a circle: {}", names.join(" → "))
}
