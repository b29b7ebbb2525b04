//! The expression of a rule, from the URL that its alerts carry.

use url::Url;

/// A longer expression is not asked about.
const LONGEST: usize = 4 << 10;

/// The expression in a URL such as `http://prometheus/graph?g0.expr=up+%3D%3D+0`, without a comparison with
/// a number at its end. The compared value also exists for the time before the alert fired.
pub(super) fn of(generator_url: &str) -> Option<String> {
    let url = Url::parse(generator_url).ok()?;
    let (_, expression) = url.query_pairs().find(|(key, _)| key == "g0.expr")?;
    let expression = expression.trim();
    let fits = !expression.is_empty() && expression.len() <= LONGEST;
    fits.then(|| compared(expression).unwrap_or(expression).to_owned())
}

/// The part of an expression that it compares with a number at its end. `None` if the comparison does not
/// bind least.
fn compared(expression: &str) -> Option<&str> {
    let (mut depth, mut quote, mut last) = (0_u32, None, None);
    let mut chars = expression.char_indices().peekable();
    let mut word = 0;
    while let Some((at, c)) = chars.next() {
        if let Some(open) = quote {
            match c {
                '\\' if open != '`' => drop(chars.next()),
                c if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        let outside = depth == 0;
        match c {
            '"' | '\'' | '`' => quote = Some(c),
            // A comment may hide any text.
            '#' => return None,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            '>' | '<' | '=' | '!' if outside => {
                let end = match chars.peek() {
                    Some((next, '=')) => next + 1,
                    _ => at + 1,
                };
                if end > at + 1 {
                    chars.next();
                }
                last = Some((at, end));
            }
            c if c.is_ascii_alphabetic() && outside => {
                let rest = &expression[at..];
                let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
                let length = length.unwrap_or(rest.len());
                let text = &rest[..length];
                let starts = at >= word;
                word = at + length;
                if starts && ["and", "or", "unless"].iter().any(|set| text.eq_ignore_ascii_case(set)) {
                    return None;
                }
            }
            _ => {}
        }
    }
    let (start, end) = last?;
    expression[end..].trim().parse::<f64>().ok()?;
    Some(expression[..start].trim()).filter(|left| !left.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expression_stands_in_the_url() {
        let of = |query: &str| of(&format!("http://prometheus:9090/graph?{query}"));
        assert_eq!(of("g0.expr=up+%3D%3D+0&g0.tab=1").as_deref(), Some("up"));
        assert_eq!(of("g0.tab=1&g0.expr=absent%28up%29").as_deref(), Some("absent(up)"));
        assert_eq!(of("g0.expr="), None);
        assert_eq!(of("x=y"), None);
        assert_eq!(of(&format!("g0.expr={}", "a".repeat(LONGEST + 1))), None);
        assert_eq!(super::of(""), None);
    }

    #[test]
    fn a_comparison_with_a_number_is_left_out_where_it_binds_least() {
        for (expression, left) in [
            ("rate(errors[5m]) / rate(all[5m]) > 0.05", Some("rate(errors[5m]) / rate(all[5m])")),
            ("up == 0", Some("up")),
            ("node_load1 >= 1e3", Some("node_load1")),
            ("a != -1", Some("a")),
            ("standard_or_and > 5", Some("standard_or_and")),
            ("a{b=\"> 1\"} < 2", Some("a{b=\"> 1\"}")),
            ("sum by (x) (a > 1)", None),
            ("a > b", None),
            ("a > bool 1", None),
            ("a > 1 and b > 1", None),
            ("a and b > 1", None),
            ("a unless (b) > 1", None),
            ("a > 1 # b > 2", None),
            ("a{b=\"x > 1", None),
            (") > 1", None),
            ("> 1", None),
            ("a", None),
        ] {
            assert_eq!(compared(expression), left, "{expression}");
        }
    }
}
