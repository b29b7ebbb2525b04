//! A search as a person writes it: words or matchers.

use crate::model::Matcher;
use crate::web::v1::matchers;

/// What a person wrote into the search.
#[derive(Default)]
pub(super) struct Searched {
    pub words: Vec<String>,
    pub matchers: Vec<Matcher>,
    /// Why the matchers cannot be read.
    pub wrong: Option<String>,
}

/// Reads a search. Text with an operator of a matcher is matchers, and other text is words.
pub(super) fn searched(text: &str) -> Searched {
    if !text.contains(['=', '~', '{']) {
        let words = text.split_whitespace().map(str::to_owned).collect();
        return Searched { words, ..Searched::default() };
    }
    match matchers(&[text.to_owned()]) {
        Ok(matchers) => Searched { matchers, ..Searched::default() },
        Err(problem) => Searched { wrong: Some(problem.detail), ..Searched::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::searched;

    #[test]
    fn an_operator_makes_it_matchers() {
        let words = searched(" disk  full");
        assert_eq!((words.words.len(), words.matchers.len(), words.wrong), (2, 0, None));
        let matchers = searched("alertname=~\"Disk.*\", team=db");
        assert_eq!((matchers.words.len(), matchers.matchers.len()), (0, 2));
        assert!(searched("team=~(").wrong.is_some());
    }
}
