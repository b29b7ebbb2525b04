//! Files that contain the configuration of an Alertmanager, and are none themselves.

use super::Problem;
use crate::settings::section::{scalar, shown};
use crate::settings::yaml::{Node, Value};

/// The kind of the file, and the part of it to take out. `None` if it may be a configuration.
pub(super) fn of(root: &Node) -> Option<Problem> {
    if at(root, &["route"]).is_some() {
        return None;
    }
    if let Some((line, kind)) = at(root, &["kind"]).and_then(|(line, node)| Some((line, scalar(node)?.text)))
    {
        let remedy = match kind {
            "Secret" | "ConfigMap" => {
                "Write the value of its key alertmanager.yaml into a file. Values below data of a Secret are base64"
            }
            "AlertmanagerConfig" => {
                "The Prometheus operator makes an alertmanager.yaml of it. Take that one out of the running Alertmanager"
            }
            _ => "Give the alertmanager.yml itself",
        };
        let message = format!("this is a {} of Kubernetes and no configuration. {remedy}", shown(kind));
        return Some(Problem::new(line, message));
    }
    let places: [&[&str]; 4] = [
        &["alertmanager", "config"],
        &["kube-prometheus-stack", "alertmanager", "config"],
        &["alertmanagerFiles", "alertmanager.yml"],
        &["config"],
    ];
    let inner = places.into_iter().find_map(|place| {
        let (line, node) = at(root, place)?;
        at(node, &["route"]).map(|_| (line, place.join(": ")))
    });
    inner.map(|(line, place)| {
        let message = format!(
            "these are values of a Helm chart and no configuration. Write the mapping below {place} into a file of \
             its own"
        );
        Problem::new(line, message)
    })
}

/// The node below these keys, and the line of the last key.
fn at<'n>(node: &'n Node, keys: &[&str]) -> Option<(u32, &'n Node)> {
    let (first, rest) = keys.split_first()?;
    let Value::Map(entries) = &node.value else { return None };
    let (key, node) = entries.iter().find(|(key, _)| key.name == *first)?;
    if rest.is_empty() { Some((key.line, node)) } else { at(node, rest) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_file_that_holds_a_configuration_is_told_in_one_line() {
        let secret =
            "apiVersion: v1\nkind: Secret\ndata: {alertmanager.yaml: cm91dGU6}\nmetadata: {name: a}\n";
        let helm = "grafana: {enabled: true}\nalertmanager:\n  config:\n    route: {receiver: a}\n";
        for (text, line, words) in [
            (
                secret,
                2,
                "this is a \"Secret\" of Kubernetes and no configuration. Write the value of its key",
            ),
            ("kind: AlertmanagerConfig\nspec: {route: {receiver: a}}\n", 1, "The Prometheus operator makes"),
            (
                helm,
                3,
                "values of a Helm chart and no configuration. Write the mapping below alertmanager: config",
            ),
            ("config:\n  route: {receiver: a}\n", 1, "Write the mapping below config into a file"),
        ] {
            let said = crate::config::parse(text, "f", std::path::Path::new("")).unwrap_err();
            assert_eq!((said.problems.len(), said.problems[0].line), (1, line), "{said}");
            assert!(said.to_string().contains(words), "{said}");
        }
        let said = crate::config::parse("config: {rout: 1}\n", "f", std::path::Path::new("")).unwrap_err();
        assert!(said.to_string().contains("unknown key"), "{said}");
    }
}
