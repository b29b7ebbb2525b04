//! The parameters of the address line. The same type reads and describes them, so the description matches
//! the parser. A parameter that is not described is refused.

use axum::extract::Query;
use axum::http::Uri;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::decision_log::MAX_LIMIT;
use crate::model::{Matcher, Timestamp, parse_matchers_within};
use crate::web::problem::Problem;

/// The parameters that may be given more than once.
const LISTS: [&str; 1] = ["filter"];
/// The most characters of a wrong value that the answer repeats.
const SHOWN: usize = 64;

/// The bytes that the compiled expressions of one question may take.
pub(in crate::web) const PARAMETERS_COMPILED: usize = 2 << 20;
/// The most matchers of one question: each is held against each alert.
const MOST_MATCHERS: usize = 100;

/// How many entries a page has at most.
#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(try_from = "String")]
pub(in crate::web) struct PageLimit(pub(in crate::web) usize);

impl Default for PageLimit {
    fn default() -> Self {
        PageLimit(100)
    }
}

impl TryFrom<String> for PageLimit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)).map(PageLimit);
        limit.ok_or_else(|| wrong("limit", &text, "a number from 1 to 1000"))
    }
}

/// The parameters of `uri`.
pub(in crate::web) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let pairs: Query<Vec<(String, String)>> =
        Query::try_from_uri(uri).map_err(|e| Problem::bad(format!("the parameters: {e}")))?;
    let mut all = Map::new();
    for (name, value) in pairs.0 {
        let value = Value::String(value);
        if LISTS.contains(&name.as_str()) {
            if let Value::Array(list) = all.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                list.push(value);
            }
        } else if all.contains_key(&name) {
            let name: String = name.chars().take(SHOWN).collect();
            return Err(Problem::bad(format!("{name} is given twice. Once would be right")));
        } else {
            all.insert(name, value);
        }
    }
    T::deserialize(Value::Object(all)).map_err(|e| Problem::bad(format!("the parameters: {e}")))
}

/// The matchers of a list of filters.
pub(in crate::web) fn matchers(filters: &[String]) -> Result<Vec<Matcher>, Problem> {
    let (mut all, mut allowance) = (Vec::new(), PARAMETERS_COMPILED);
    for filter in filters {
        let read = parse_matchers_within(filter, &mut allowance);
        all.extend(read.map_err(|e| Problem::bad(format!("filter: {e}")))?);
    }
    match all.len() {
        0..=MOST_MATCHERS => Ok(all),
        many => Err(Problem::bad(format!("filter: {many} matchers. Write at most {MOST_MATCHERS}"))),
    }
}

/// The meaning of a parameter, or the right values.
pub(in crate::web) fn read<T>(
    name: &str,
    text: Option<&String>,
    right: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| Problem::bad(wrong(name, text, right)))
}

/// Where a page begins.
pub(in crate::web) fn cursor<T>(
    text: Option<&String>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    read("cursor", text, "`next` of the page before", parse)
}

/// A time.
pub(in crate::web) fn time(name: &str, text: Option<&String>) -> Result<Option<Timestamp>, Problem> {
    read(name, text, "2026-01-31T09:30:00Z", |text| Timestamp::parse(text).ok())
}

/// One of a few words.
pub(in crate::web) fn word<T: Copy>(
    name: &str,
    text: Option<&String>,
    all: &[T],
    of: impl Fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let words: Vec<&str> = all.iter().map(|one| of(*one)).collect();
    let right = format!("one of {}", words.join(", "));
    read(name, text, &right, |text| all.iter().copied().find(|one| of(*one) == text))
}

/// 16 or 32 hex digits.
pub(in crate::web) fn hex(text: &str, digits: usize) -> Option<u128> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == digits)
}

fn wrong(name: &str, text: &str, right: &str) -> String {
    let shown: String = text.chars().take(SHOWN).collect();
    format!("{name} is {shown:?}. Write {right}")
}

/// No parameter is taken.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Refuses every parameter.
pub(super) fn no_parameters(uri: &Uri) -> Result<(), Problem> {
    parameters::<Nothing>(uri).map(|Nothing {}| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Debug, Default)]
    #[serde(deny_unknown_fields, default)]
    struct SomeParams {
        filter: Vec<String>,
        receiver: Option<String>,
        limit: PageLimit,
    }

    fn ask(query: &str) -> Result<SomeParams, String> {
        parameters(&format!("/x?{query}").parse().unwrap()).map_err(|problem| problem.detail)
    }

    #[test]
    fn what_may_be_repeated_is_and_nothing_else() {
        let read = ask("filter=a%3D1&filter=b%3D2&receiver=x+y").unwrap();
        assert_eq!((read.filter.len(), read.receiver.as_deref(), read.limit.0), (2, Some("x y"), 100));
        for (query, says) in [
            ("receiver=a&receiver=b", "receiver is given twice"),
            ("reciever=a", "unknown field `reciever`, expected one of `filter`, `receiver`, `limit`"),
            ("limit=0", "limit is \"0\". Write a number from 1 to 1000"),
            ("limit=1001", "a number from 1 to 1000"),
        ] {
            let error = ask(query).unwrap_err();
            assert!(error.contains(says), "{query}: {error}");
        }
    }

    #[test]
    fn filters_that_cost_too_much_are_refused() {
        let filters = |one: &str, n: usize| vec![one.to_owned(); n];
        assert_eq!(matchers(&filters("a=~\"b.*\"", 100)).unwrap().len(), 100);
        for (filters, says) in [
            (filters("a=1", 101), "Write at most 100"),
            (filters(r#"a=~"[0-9a-f]{100}""#, 100), "Make its repetitions smaller"),
            (filters(r#"a=~"\pL{40}""#, 1), "Make its repetitions smaller"),
        ] {
            let detail = matchers(&filters).unwrap_err().detail;
            assert!(detail.contains(says), "{detail}");
        }
    }

    #[test]
    fn words_are_told_from_others() {
        let text = "b".to_owned();
        let of = |n: usize| ["a", "b"][n];
        assert_eq!(word("state", Some(&text), &[0, 1], of).unwrap(), Some(1));
        let problem = word("state", Some(&"c".to_owned()), &[0, 1], of).unwrap_err();
        assert_eq!(problem.detail, "state is \"c\". Write one of a, b");
    }
}
