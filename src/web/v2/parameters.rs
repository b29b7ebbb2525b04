//! The parameters of API v2. Alertmanager ignores unknown ones, and of a repeated one the last counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Query;
use axum::http::{StatusCode, Uri};

use super::refusal::Refusal;
use crate::model::{LabelSet, MatchOp, Matcher};
use crate::web::gate::Labelling;
use crate::web::problem::Problem;
use crate::web::v1::{PARAMETERS_COMPILED, matchers};

/// The words that mean yes. All others mean no. Rule: go-openapi `swag.ConvertBool`.
const YES: [&str; 10] = ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"];

/// The parameters of one request.
pub(super) struct Parameters(BTreeMap<String, Vec<String>>);

impl Parameters {
    /// The parameters of `uri`.
    pub(super) fn new(uri: &Uri) -> Result<Parameters, Refusal> {
        let pairs: Query<Vec<(String, String)>> =
            Query::try_from_uri(uri).map_err(|e| Problem::bad(format!("the parameters: {e}")))?;
        let mut all = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs.0 {
            all.entry(name).or_default().push(value);
        }
        Ok(Parameters(all))
    }

    /// The value of a parameter, unless it is empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.last().map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Whether to include alerts of this kind. All are included, unless a parameter says no.
    pub(super) fn includes(&self, name: &str) -> bool {
        self.text(name).is_none_or(|text| YES.contains(&text.to_ascii_lowercase().as_str()))
    }

    /// The matchers of a parameter that may be repeated. `prefix` stands before their errors.
    fn matchers_of(&self, name: &str, prefix: &str) -> Result<Arc<[Matcher]>, Refusal> {
        let Some(texts) = self.0.get(name) else { return Ok(Arc::default()) };
        let wrong = |detail: &str| Refusal::Text(StatusCode::BAD_REQUEST, format!("{prefix}{detail}"));
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(wrong("bad matcher format: it is empty, and severity=\"page\" would be right"));
        }
        matchers(texts).map(Into::into).map_err(|problem| wrong(&problem.detail))
    }

    /// The matchers of `filter`.
    pub(super) fn filter(&self) -> Result<Arc<[Matcher]>, Refusal> {
        self.matchers_of("filter", "")
    }

    /// Which receivers are wanted by their labels.
    pub(super) fn labelled_receivers(&self, labelling: Arc<Labelling>) -> Result<Receivers, Refusal> {
        let by_labels = self.matchers_of("receiver_matchers", "failed to parse receiver_matchers param: ")?;
        Ok(Receivers { named: None, by_labels, labelling })
    }

    /// Which receivers are wanted.
    pub(super) fn receivers(&self, labelling: Arc<Labelling>) -> Result<Receivers, Refusal> {
        let named = self.text("receiver").map(|text| {
            let mut allowance = PARAMETERS_COMPILED;
            Matcher::new_within("receiver", MatchOp::Regex, text, &mut allowance).map_err(|e| {
                Refusal::Text(StatusCode::BAD_REQUEST, format!("failed to parse receiver param: {e}"))
            })
        });
        Ok(Receivers { named: named.transpose()?, ..self.labelled_receivers(labelling)? })
    }
}

/// Which receivers are wanted.
pub(super) struct Receivers {
    named: Option<Matcher>,
    by_labels: Arc<[Matcher]>,
    labelling: Arc<Labelling>,
}

impl Receivers {
    /// Whether the receiver of this name is.
    pub(super) fn has(&self, name: &str) -> bool {
        if self.has_all() {
            return true;
        }
        let alone = LabelSet::from_pairs([("receiver", name)]);
        let named = self.named.as_ref().is_none_or(|matcher| matcher.matches(&alone));
        let labels = self.labelling.of(name);
        named && self.by_labels.iter().all(|matcher| matcher.matches(&labels))
    }

    /// Whether all are.
    pub(super) fn has_all(&self) -> bool {
        self.named.is_none() && self.by_labels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Parameters {
        Parameters::new(&format!("/x?{query}").parse().unwrap()).unwrap()
    }

    #[test]
    fn words_count_as_alertmanager_counts_them() {
        let query = asked("a=True&b=1&c=0&d=x&e=&f=false&f=on");
        for (name, included) in
            [("a", true), ("b", true), ("c", false), ("d", false), ("e", true), ("f", true), ("g", true)]
        {
            assert_eq!(query.includes(name), included, "{name}");
        }
    }

    #[test]
    fn receivers_are_named_by_a_whole_expression() {
        let receivers = |query: &str| asked(query).receivers(Arc::default());
        let wanted = receivers("receiver=web.*").unwrap();
        assert!(wanted.has("webhook") && !wanted.has("my-web") && !wanted.has_all());
        assert!(receivers("receiver=").unwrap().has_all());
        assert!(!receivers("receiver_matchers=owner%3Dme").unwrap().has("webhook"));
        let named = receivers("receiver_matchers=name%3Dwebhook").unwrap();
        assert!(named.has("webhook") && !named.has("web"), "the name is a label");
        let Err(Refusal::Text(status, text)) = receivers("receiver=(").map(|_| ()) else { panic!() };
        assert!(status == 400 && text.starts_with("failed to parse receiver param: "), "{text}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused_with_a_text() {
        for query in ["filter=", "filter=a", "filter=%22"] {
            let refused = asked(query).filter().map(|_| ()).unwrap_err();
            assert!(matches!(refused, Refusal::Text(StatusCode::BAD_REQUEST, _)), "{query}: {refused:?}");
        }
        assert_eq!(asked("filter=a%3D1&filter=b!%3D2").filter().unwrap().len(), 2);
    }
}
