//! The texts of alerts. The text of each rule is kept once.
//!
//! A rule's annotations and its address are the same for each of its alerts but for a few words: numbers,
//! addresses, names of machines. The text with these words cut out is its *form*. Thousands of alerts share
//! a form. An alert keeps the number of the form and its own words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::model::{LabelSet, pop_length, push_length};

/// In a form, where a word was cut out.
const CUT: char = '\u{1}';
/// In a form, the end of a name or of a value.
const END: char = '\u{2}';

/// Annotations and address of an alert, in a [`Forms`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wording {
    form: u32,
    /// The words that were cut out, each with its length before it.
    own: Box<str>,
}

/// The forms in use, each with how many wordings use it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Arc<str>, u64)>", into = "Vec<(Arc<str>, u64)>")]
pub(crate) struct Forms {
    all: Vec<(Arc<str>, u64)>,
    /// By their text.
    numbers: BTreeMap<Arc<str>, u32>,
    /// Numbers of no form.
    free: BTreeSet<u32>,
}

impl Forms {
    /// Keeps an alert's text. The caller gives it back to [`Self::release`].
    pub(crate) fn keep(&mut self, annotations: &LabelSet, url: &str) -> Wording {
        let (text, own) = cut(annotations, url);
        if let Some(form) = self.numbers.get(text.as_str()) {
            self.all[*form as usize].1 += 1;
            return Wording { form: *form, own: own.into() };
        }
        let text: Arc<str> = text.into();
        let slot = (text.clone(), 1);
        let form = match self.free.pop_first() {
            Some(form) => {
                self.all[form as usize] = slot;
                form
            }
            None => {
                self.all.push(slot);
                (self.all.len() - 1) as u32
            }
        };
        self.numbers.insert(text, form);
        Wording { form, own: own.into() }
    }

    /// No alert has this text any more.
    pub(crate) fn release(&mut self, wording: &Wording) {
        let Some((text, users)) = self.all.get_mut(wording.form as usize) else { return };
        *users = users.saturating_sub(1);
        if *users == 0 {
            self.numbers.remove(text);
            *text = Arc::default();
            self.free.insert(wording.form);
        }
    }

    /// The annotations, and the address of the rule.
    pub(crate) fn read(&self, wording: &Wording) -> (LabelSet, SmolStr) {
        let (mut texts, url) = self.whole(wording);
        let mut pairs = Vec::with_capacity(texts.len() / 2);
        while texts.len() >= 2 {
            let value = texts.pop().unwrap_or_default();
            pairs.push((texts.pop().unwrap_or_default(), value));
        }
        pairs.reverse();
        (LabelSet::from_pairs(pairs), url.into())
    }

    /// Names and values in turn, and the address.
    fn whole(&self, wording: &Wording) -> (Vec<String>, String) {
        let form = self.all.get(wording.form as usize).map(|(text, _)| &**text).unwrap_or_default();
        let (mut texts, mut text, mut own) = (Vec::new(), String::new(), &*wording.own);
        for c in form.chars() {
            match c {
                CUT => {
                    let length = pop_length(&mut own);
                    let (word, rest) = own.split_at_checked(length).unwrap_or_default();
                    text.push_str(word);
                    own = rest;
                }
                END => texts.push(std::mem::take(&mut text)),
                c => text.push(c),
            }
        }
        (texts, text)
    }
}

impl From<Vec<(Arc<str>, u64)>> for Forms {
    fn from(all: Vec<(Arc<str>, u64)>) -> Self {
        let used = || all.iter().enumerate().filter(|(_, (_, users))| *users > 0);
        let numbers = used().map(|(number, (text, _))| (text.clone(), number as u32)).collect();
        let unused = all.iter().enumerate().filter(|(_, (_, users))| *users == 0);
        let free = unused.map(|(number, _)| number as u32).collect();
        Forms { all, numbers, free }
    }
}

impl From<Forms> for Vec<(Arc<str>, u64)> {
    fn from(forms: Forms) -> Self {
        forms.all
    }
}

/// The form of an alert's text, and its own words.
fn cut(annotations: &LabelSet, url: &str) -> (String, String) {
    let length = annotations.bytes() + url.len();
    let (mut form, mut own) = (String::with_capacity(length), String::with_capacity(length / 4));
    for text in annotations.iter().flat_map(|(name, value)| [name, value]) {
        cut_text(text, &mut form, &mut own);
        form.push(END);
    }
    cut_text(url, &mut form, &mut own);
    (form, own)
}

/// Cuts out the words that contain a digit. Of a name that ends in a number, it cuts only the number. It
/// also cuts out text that would look like a mark.
fn cut_text(text: &str, form: &mut String, own: &mut String) {
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let is_word = first.is_ascii_alphanumeric();
        let end = rest.bytes().position(|b| b.is_ascii_alphanumeric() != is_word || is_mark(b));
        let end = if is_mark(first) { 1 } else { end.unwrap_or(rest.len()) };
        let (piece, after) = rest.split_at(end);
        rest = after;
        let number = piece.bytes().position(|b| b.is_ascii_digit()).filter(|_| is_word);
        let Some(digit) = number.or(is_mark(first).then_some(0)) else {
            form.push_str(piece);
            continue;
        };
        let ends_in_number = piece.bytes().skip(digit).all(|b| b.is_ascii_digit());
        let (name, word) = piece.split_at(if ends_in_number { digit } else { 0 });
        form.push_str(name);
        form.push(CUT);
        push_length(own, word.len());
        own.push_str(word);
    }
}

fn is_mark(byte: u8) -> bool {
    byte == CUT as u8 || byte == END as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn alerts_of_one_rule_share_a_form() {
        let mut forms = Forms::default();
        let said = |n: u32| {
            let summary = format!("10.0.{n}.7:9100 at node{n}, pod api-7d9f{n}c-x2: {n}% of 5m");
            LabelSet::from_pairs([("runbook", "https://a/b"), ("summary", &summary)])
        };
        let all: Vec<_> = (0..100).map(|n| forms.keep(&said(n), &format!("http://p:9090/{n}"))).collect();
        assert_eq!(forms.all.len(), 1);
        for (n, wording) in (0..).zip(&all) {
            assert_eq!(forms.read(wording), (said(n), format!("http://p:9090/{n}").into()));
        }
        all.iter().for_each(|wording| forms.release(wording));
        assert_eq!((forms.numbers.len(), forms.free.len()), (0, 1));
    }

    const VALUE: &str = "([a-c0-9 \u{1}\u{2}ä🙂-]|.){0,12}";

    proptest! {
        #[test]
        fn nothing_is_lost(said in prop::collection::vec(("[a-z]{1,3}", VALUE, "([0-9/\u{1}]|.){0,5}"), 1..20)) {
            let mut forms = Forms::default();
            let mut kept = Vec::new();
            for (name, value, url) in &said {
                let set = LabelSet::from_pairs([(name.as_str(), value.as_str()), ("b", url)]);
                let wording = forms.keep(&set, url);
                kept.push((wording, set, url));
            }
            let read = serde_json::from_str(&serde_json::to_string(&forms).unwrap()).unwrap();
            prop_assert_eq!(&forms, &read);
            for (wording, set, url) in &kept {
                prop_assert_eq!(&read.read(wording), &(set.clone(), SmolStr::from(url.as_str())));
            }
            for (n, (wording, ..)) in kept.iter().enumerate() {
                forms.release(wording);
                for (other, set, _) in &kept[n + 1..] {
                    prop_assert_eq!(&forms.read(other).0, set);
                }
            }
            prop_assert!(forms.numbers.is_empty());
        }
    }
}
