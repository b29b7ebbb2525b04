//! Matchers as Alertmanager has them: `=`, `!=`, `=~`, `!~`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::LabelSet;
use super::labels::Quoted;

/// How a matcher compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends.
    Regex,
    /// `!~`, anchored at both ends.
    NotRegex,
}

/// One comparison of one label; a missing label is the empty string.
#[derive(Clone)]
pub struct Matcher {
    name: SmolStr,
    op: MatchOp,
    value: SmolStr,
    regex: Option<regex::Regex>,
}

/// A matcher that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub String);

impl Matcher {
    /// A matcher; compiles the pattern of `=~` and `!~`.
    pub fn new(
        name: impl Into<SmolStr>,
        op: MatchOp,
        value: impl Into<SmolStr>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => {
                Some(regex::Regex::new(&format!("^(?:{value})$")).map_err(|e| MatcherError(e.to_string()))?)
            }
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    /// Whether `labels` satisfy this matcher.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        let actual = labels.value(&self.name);
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => actual == self.value,
            (MatchOp::NotEqual, _) => actual != self.value,
            (MatchOp::Regex, regex) => regex.as_ref().is_some_and(|r| r.is_match(actual)),
            (MatchOp::NotRegex, regex) => !regex.as_ref().is_some_and(|r| r.is_match(actual)),
        }
    }

    /// Parses one matcher, `name="value"`.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let mut all = parse_matchers(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(MatcherError(format!("{text:?} is not one matcher"))),
        }
    }
}

/// Parses `{a="1", b=~"x|y"}` or the same without braces.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let _ = text;
    Err(MatcherError("not written yet".into()))
}

/// `name="value"`, quoted as in a route's key.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        write!(f, "{}{op}{}", self.name, Quoted(&self.value))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Matcher::parse(&text).map_err(serde::de::Error::custom)
    }
}
