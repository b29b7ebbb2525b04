//! Patterns, and the texts that they match in Go.

use super::*;

fn compile_anchored(pattern: &str) -> Result<Expression, String> {
    let mut allowance = usize::MAX;
    super::compile_anchored(pattern, &mut allowance)
}

#[test]
fn means_what_it_means_in_go() {
    // (pattern, matches, does not match)
    let table: &[(&str, &[&str], &[&str])] = &[
        ("a|b", &["a", "b"], &["ab", "xa"]),
        (".*", &["", "x y"], &["a\nb"]),
        ("(?s).*", &["a\nb"], &[]),
        (r"\d+", &["123"], &["٣", ""]),
        (r"\D", &["٣", "x"], &["3"]),
        (r"\w+", &["aZ_9"], &["é"]),
        (r"[\w-]+", &["a-b"], &["é"]),
        (r"[^\W]+", &["ab"], &["é", "-"]),
        (r"\s", &[" ", "\t"], &["\u{b}", "\u{a0}"]),
        (r".*\bfoo\b.*", &["a foo b", "éfoo"], &["afoob"]),
        (r"a\Bb", &["ab"], &["a b"]),
        (r"\Qa.b*\E+", &["a.b*", "a.b***"], &["axb"]),
        (r"\Qa.b", &["a.b"], &["axb"]),
        (r"\101\x42\x{43}", &["ABC"], &["101"]),
        (r"\0", &["\0"], &["0"]),
        (r"\pL+", &["aé"], &["1"]),
        (r"\p{Greek}\P{Greek}\p{^Greek}", &["αbc"], &["abc"]),
        (r"[[:alpha:]]+", &["ab"], &["é", "1"]),
        (r"[[:^alpha:]]", &["1", "é"], &["a"]),
        ("[a&&b]", &["a", "&", "b"], &["c"]),
        ("[+--a]", &["+", ",", "-", "a"], &["b"]),
        ("[a~~b]", &["~"], &["c"]),
        ("[]a]", &["]", "a"], &["b"]),
        ("[^]a]", &["b", "\n"], &["]", "a"]),
        ("[[]", &["["], &["x"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("a{2}", &["aa"], &["a"]),
        ("a{,2}", &["a{,2}"], &["aa", ""]),
        ("a{2, 3}", &["a{2, 3}"], &["aa"]),
        ("x{a}]}", &["x{a}]}"], &[]),
        (r"\<a\>", &["<a>"], &["a"]),
        (r"\b{start}", &[], &["x"]),
        ("(?P<n>a)(?<m>b)(c)(?:d)", &["abcd"], &[]),
        ("(?i)foo|BAR", &["FOO", "bar"], &[]),
        ("(?i:a)b", &["Ab"], &["AB"]),
        ("a(?)b", &["ab"], &[]),
        ("(?m)a$.*", &["a"], &["a\nb"]),
        (r"a\zb?", &["a"], &["ab"]),
        ("", &[""], &["a"]),
        ("a||b", &["", "a"], &["c"]),
        ("#a b", &["#a b"], &["ab"]),
        (r"\-\ \_", &["- _"], &[]),
    ];
    for (pattern, yes, no) in table {
        let regex = compile_anchored(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        for text in *yes {
            assert!(regex.is_match(text), "{pattern} should match {text:?} ({regex:?})");
        }
        for text in *no {
            assert!(!regex.is_match(text), "{pattern} should not match {text:?} ({regex:?})");
        }
    }
}

#[test]
fn refuses_what_go_refuses() {
    let long = "a".repeat(MAX_PATTERN + 1);
    for bad in [
        "(",
        ")",
        "a)",
        "[",
        "[a",
        r"[\d-",
        "*a",
        "a**",
        "a{2}{3}",
        "a*??",
        "(?x)a",
        "(?u)a",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        r"\8",
        r"\1",
        r"\E",
        r"\Z",
        r"\C",
        r"\u0041",
        r"\é",
        r"\",
        "[b-a]",
        "[a--b]",
        r"[a-\d]",
        "[[:nope:]]",
        r"\p{Alphabetic}",
        r"\p{sc=Greek}",
        r"\pé",
        "a{1001}",
        "a{3,2}",
        "(?P<n>a)(?P<n>b)",
        "(?P<>a)",
        "(?-)",
        r"\x4",
        r"\x{110000}",
        "(((a{1000}){1000}){1000})",
        &long,
    ] {
        let error = compile_anchored(bad).err();
        assert!(error.is_some(), "{} should be refused", &bad[..bad.len().min(40)]);
        assert!(!error.unwrap_or_default().contains('\n'));
    }
}

proptest::proptest! {
    #[test]
    fn never_panics_and_quoting_is_literal(text in "[ -~é\n]{0,24}") {
        let _ = compile_anchored(&text);
        if !text.contains(r"\E") && !text.ends_with('\\') {
            let quoted = compile_anchored(&format!(r"\Q{text}\E")).unwrap();
            proptest::prop_assert!(quoted.is_match(&text));
        }
    }

    #[test]
    fn a_pattern_without_an_automaton_means_the_same(
        pattern in "[ab|.*+()\\\\-]{0,12}|((a|b|aa|-)?\\.[*+](a|b|ab|\\|)){1,3}",
        text in "[ab\n-]{0,8}",
    ) {
        if let Some(plain) = Plain::read(&pattern) {
            let automaton = automaton(&pattern, usize::MAX).unwrap();
            let plain = Expression::Plain(Arc::new(plain));
            proptest::prop_assert_eq!(plain.is_match(&text), automaton.is_match(&text), "{} {:?}", pattern, text);
        }
    }
}

#[test]
fn what_is_compiled_is_taken_from_the_allowance() {
    let cost = |pattern: &str| {
        let mut allowance = usize::MAX;
        super::compile_anchored(pattern, &mut allowance).unwrap();
        usize::MAX - allowance
    };
    assert!((5..500).contains(&cost("web-1|web-2|web-3")), "{}", cost("web-1|web-2|web-3"));
    assert!(cost("web-.*") < 500);
    let list = (0..10_000).map(|n| format!("h{n}")).collect::<Vec<_>>().join("|");
    assert!(cost(&list) < 1 << 20, "{}", cost(&list));
    for (pattern, most) in [("web-[0-9]+", 16), ("(?i)web.*", 32), (r".{0,1000}", 8 << 10)] {
        assert!(cost(pattern) >> 10 < most, "{pattern} costs {} bytes", cost(pattern));
    }
    let mut allowance = 1 << 20;
    let error = super::compile_anchored(r"\pL{40}", &mut allowance).unwrap_err();
    assert!(error.contains("1024 KiB") && error.contains("a|b|c"), "{error}");
    assert_eq!(allowance, 1 << 20, "it was not compiled");
}
