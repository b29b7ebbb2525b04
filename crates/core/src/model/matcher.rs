//! Matchers as Alertmanager has them: `=`, `!=`, `=~`, `!~`. Patterns are Go's, anchored at both ends.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use super::expression::Expression;
use super::labels::Quoted;
use super::{LabelSet, MatchOp, go_regex, matcher_syntax};

/// The bytes that the compiled expressions of one text may take, unless the caller sets a lower bound.
const MOST_COMPILED: usize = 16 << 20;

/// One comparison of one label. A missing label counts as the empty string.
#[derive(Clone)]
pub struct Matcher {
    name: SmolStr,
    op: MatchOp,
    value: SmolStr,
    /// The expression of `=~` and `!~`. It is `None` until it is compiled.
    expression: Option<Expression>,
}

/// A matcher that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MatcherError(pub String);

impl Matcher {
    /// Creates a matcher. It compiles the pattern of `=~` and `!~` with Go's meaning.
    pub fn new(
        name: impl Into<SmolStr>,
        op: MatchOp,
        value: impl Into<SmolStr>,
    ) -> Result<Self, MatcherError> {
        let mut allowance = MOST_COMPILED;
        Self::new_within(name, op, value, &mut allowance)
    }

    /// The same. It takes the memory of the compiled pattern off `allowance`, in bytes.
    ///
    /// # Errors
    /// The pattern is no pattern, or takes more than there is.
    pub fn new_within(
        name: impl Into<SmolStr>,
        op: MatchOp,
        value: impl Into<SmolStr>,
        allowance: &mut usize,
    ) -> Result<Self, MatcherError> {
        let mut matcher = Self::plain(name.into(), op, value.into())?;
        matcher.compile(allowance)?;
        Ok(matcher)
    }

    /// A matcher that is not compiled: with `=~` and `!~` it matches nothing.
    fn plain(name: SmolStr, op: MatchOp, value: SmolStr) -> Result<Self, MatcherError> {
        if name.is_empty() {
            return Err(MatcherError("a matcher needs the name of a label".into()));
        }
        Ok(Matcher { name, op, value, expression: None })
    }

    /// Compiles the pattern, if there is one and it is not compiled. It takes the memory off `allowance`.
    ///
    /// # Errors
    /// The pattern is invalid, or takes more memory than there is. The matcher stays unchanged.
    pub fn compile(&mut self, allowance: &mut usize) -> Result<(), MatcherError> {
        if self.is_compiled() {
            let cost = self.cost();
            *allowance = allowance.checked_sub(cost).ok_or_else(|| {
                MatcherError(format!("{self} takes {cost} bytes when compiled, and {allowance} are left"))
            })?;
        } else {
            let compiled = go_regex::compile_anchored(&self.value, allowance);
            self.expression = Some(compiled.map_err(MatcherError)?);
        }
        Ok(())
    }

    /// Gives up the compiled pattern: from now on it matches nothing.
    pub fn release(&mut self) {
        self.expression = None;
    }

    /// Whether it can match.
    pub fn is_compiled(&self) -> bool {
        matches!(self.op, MatchOp::Equal | MatchOp::NotEqual) || self.expression.is_some()
    }

    /// The memory that the compiled pattern takes, in bytes.
    pub fn cost(&self) -> usize {
        self.expression.as_ref().map_or(0, Expression::cost)
    }

    /// All values that match, if they are few enough to be listed in it.
    pub fn values(&self) -> Option<&[SmolStr]> {
        match self.op {
            MatchOp::Equal => Some(std::slice::from_ref(&self.value)),
            MatchOp::Regex => self.expression.as_ref()?.texts(),
            MatchOp::NotEqual | MatchOp::NotRegex => None,
        }
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The right side of the comparison: a value, or a pattern of Go.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether `labels` satisfy this matcher.
    pub fn matches(&self, labels: &LabelSet) -> bool {
        let actual = labels.value(&self.name);
        let matched = || self.expression.as_ref().map(|expression| expression.is_match(actual));
        match self.op {
            MatchOp::Equal => actual == self.value,
            MatchOp::NotEqual => actual != self.value,
            MatchOp::Regex => matched() == Some(true),
            MatchOp::NotRegex => matched() == Some(false),
        }
    }

    /// Parses one matcher, `name="value"`.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let (mut matcher, mut allowance) = (Self::parse_plain(text)?, MOST_COMPILED);
        matcher.compile(&mut allowance)?;
        Ok(matcher)
    }

    /// Parses one matcher and does not compile it.
    pub(super) fn parse_plain(text: &str) -> Result<Self, MatcherError> {
        let mut all = parse_plain(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(MatcherError(format!("{text:?} is not one matcher such as severity=\"page\""))),
        }
    }
}

/// Parses `{a="1", b=~"x|y"}` or the same without braces. An empty list is no error.
///
/// Alertmanager has two grammars, the classic one and one for UTF-8 names, and reads with both. The classic
/// reading holds where they differ, or where only the classic one can read the text. Rule:
/// `matcher/compat/parse.go`, fallback mode.
pub fn parse_matchers(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    let mut allowance = MOST_COMPILED;
    parse_matchers_within(text, &mut allowance)
}

/// The same. It takes the memory of the compiled patterns off `allowance`, in bytes.
pub fn parse_matchers_within(text: &str, allowance: &mut usize) -> Result<Vec<Matcher>, MatcherError> {
    let mut all = parse_plain(text)?;
    all.iter_mut().try_for_each(|matcher| matcher.compile(allowance))?;
    Ok(all)
}

fn parse_plain(text: &str) -> Result<Vec<Matcher>, MatcherError> {
    if text.len() > MAX_TEXT {
        return Err(MatcherError(format!("matchers of {} bytes are longer than {MAX_TEXT}", text.len())));
    }
    let raw = match (matcher_syntax::utf8(text), matcher_syntax::classic(text)) {
        (_, Some(classic)) => classic,
        (Ok(utf8), None) => utf8,
        (Err(why), None) => return Err(MatcherError(format!("{text:?} is not a matcher: {why}"))),
    };
    raw.into_iter().map(|(name, op, value)| Matcher::plain(name.into(), op, value.into())).collect()
}

/// The longest text of matchers that is read, in bytes.
const MAX_TEXT: usize = 128 * 1024;

/// `name="value"` as Alertmanager writes it into a route's key. It parses back to an equal matcher. A name
/// that needs quotes is quoted, and then the value is escaped as Go would. Rule: `Matcher.String` of
/// `pkg/labels/matcher.go`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        if self.name.contains(matcher_syntax::is_reserved) {
            return write!(f, "{}{op}{}", Quoted(&self.name), Quoted(&self.value));
        }
        write!(f, "{}{op}\"", self.name)?;
        for c in self.value.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' => f.write_str("\\\"")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
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

/// By name, value and operator: the order in which Alertmanager sorts the matchers of a route.
impl Ord for Matcher {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.name, &self.value, self.op).cmp(&(&other.name, &other.value, other.op))
    }
}

impl PartialOrd for Matcher {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        match parse_matchers(text) {
            Ok(all) => all.iter().map(Matcher::to_string).collect::<Vec<_>>().join(" & "),
            Err(_) => "error".into(),
        }
    }

    #[test]
    fn reads_as_alertmanager_in_fallback_mode() {
        let table = [
            // Both grammars read these alike.
            (r#"foo="bar""#, r#"foo="bar""#),
            ("foo=bar", r#"foo="bar""#),
            (r#"{foo="bar"}"#, r#"foo="bar""#),
            (r#"{foo!="a", b=~"x|y",c!~z,}"#, r#"foo!="a" & b=~"x|y" & c!~"z""#),
            ("{}", ""),
            ("", ""),
            ("  { a = b }  ", r#"a="b""#),
            (r#"a="x,y", b="{}""#, r#"a="x,y" & b="{}""#),
            (r#"a="q\"\\""#, r#"a="q\"\\""#),
            (r#"a="q\"""#, r#"a="q\"""#),
            (r#"a="\d\n""#, r#"a="\\d\n""#),
            // Only UTF-8: quoted names, names that are no identifiers, Go's escapes in quoted names.
            (r#""foo bar"="x""#, r#""foo bar"="x""#),
            (r#""foo"=x"#, r#"foo="x""#),
            ("foo-bar=baz", r#"foo-bar="baz""#),
            ("é=ü", r#"é="ü""#),
            (r#"{"a b"="\u00e9\x41\101"}"#, r#""a b"="éAA""#),
            // Only classic: empty values, loose braces, values with spaces or operators.
            ("foo=", r#"foo="""#),
            ("{foo=bar", r#"foo="bar""#),
            ("foo=bar}", r#"foo="bar""#),
            ("foo=bar baz", r#"foo="bar baz""#),
            ("foo==bar", r#"foo="=bar""#),
            (r#"foo="\d+""#, r#"foo="\\d+""#),
            ("foo=\"a\nb\"", r#"foo="a\nb""#),
            // Both read it, and differ: classic holds.
            (r#"foo="\t""#, r#"foo="\\t""#),
            (r#"foo="\u00e9""#, r#"foo="\\u00e9""#),
            // Neither grammar reads these.
            ("foo", "error"),
            ("=x", "error"),
            (r#"foo="bar"#, "error"),
            (r#""="x""#, "error"),
            (r#"""="x""#, "error"),
            ("'foo'=x", "error"),
            ("a=1,,b=2", "error"),
            (r#"foo=~"(""#, "error"),
        ];
        let wrong: Vec<_> = table
            .iter()
            .filter(|(text, shown)| show(text) != *shown)
            .map(|(text, _)| (text, show(text)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn matches_as_alertmanager() {
        let labels = LabelSet::from_pairs([("a", "foo"), ("b", "x\ny")]);
        let yes = ["a=foo", "a!=bar", "a=~fo+", "missing=", r#"missing="""#, "missing=~x*", "missing!=x"];
        let no = ["a=bar", "a=~fo", "a!~f..", "b=~x.y", "missing=~x+", "missing!~.*"];
        for text in yes {
            assert!(Matcher::parse(text).unwrap().matches(&labels), "{text}");
        }
        for text in no {
            assert!(!Matcher::parse(text).unwrap().matches(&labels), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn display_parses_back(name in "(\\PC|[{}=!~\"',` ]){1,8}", op in 0usize..2, value in "(?s).{0,12}") {
            let op = [MatchOp::Equal, MatchOp::NotEqual][op];
            let matcher = Matcher::new(name, op, value).unwrap();
            proptest::prop_assert_eq!(Matcher::parse(&matcher.to_string()).unwrap(), matcher);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-c{}=!~,\"\\\\ nx0é]{0,16}") {
            if let Ok(all) = parse_matchers(&text) {
                for matcher in all {
                    proptest::prop_assert_eq!(&Matcher::parse(&matcher.to_string()).unwrap(), &matcher);
                }
            }
        }
    }
}
