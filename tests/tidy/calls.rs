//! The calls that a type makes on itself, which no import shows: from file to file, and in circles.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// A block `impl Type { … }`, one for each such block of a file.
pub struct Block<'a> {
    file: &'a str,
    of: &'a str,
    lines: Vec<&'a str>,
}

/// The inherent `impl` blocks of these files.
pub fn blocks(files: &[Source]) -> Vec<Block<'_>> {
    let mut found = Vec::new();
    for file in files {
        let mut lines = file.code.lines();
        while let Some(line) = lines.next() {
            let Some(of) = implemented(line) else { continue };
            let body = lines.by_ref().take_while(|line| *line != "}").collect();
            found.push(Block { file: &file.path, of, lines: body });
        }
    }
    found
}

/// The type of a line that begins an inherent `impl` block.
fn implemented(line: &str) -> Option<&str> {
    let head = line.strip_prefix("impl")?.strip_suffix(" {").filter(|head| !head.contains(" for "))?;
    let head = head.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(head, |(_, rest)| rest);
    head.trim_start().split('<').next()
}

impl<'a> Block<'a> {
    fn methods(&self) -> impl Iterator<Item = &'a str> {
        let named = |line: &&'a str| line.starts_with("    ") && !line.starts_with("     ");
        let after_fn = |line: &'a str| line.split_once("fn ").map(|(_, rest)| rest);
        self.lines
            .iter()
            .copied()
            .filter(named)
            .filter_map(after_fn)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
    }

    fn calls(&self) -> impl Iterator<Item = String> {
        let text: String = self.lines.concat();
        let parts: Vec<String> = text.split("self").skip(1).map(str::to_owned).collect();
        parts.into_iter().filter_map(|after| {
            let name = after.trim_start().strip_prefix('.')?.trim_start();
            let (name, rest) = name.split_at(name.find(|c: char| !c.is_alphanumeric() && c != '_')?);
            rest.starts_with('(').then(|| name.to_owned())
        })
    }
}

/// How many lines, and of how many files, the blocks of a type have.
pub fn size(blocks: &[Block<'_>], of: &str) -> (usize, usize) {
    let own = || blocks.iter().filter(|block| block.of == of);
    let files: BTreeSet<&str> = own().map(|block| block.file).collect();
    (own().map(|block| block.lines.len() + 2).sum(), files.len())
}

/// The largest set of files that all lead to each other by such calls.
pub fn largest_circle(blocks: &[Block<'_>]) -> BTreeSet<String> {
    let mut home: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for block in blocks {
        home.extend(block.methods().map(|method| ((block.of, method), block.file)));
    }
    let mut leads: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for block in blocks {
        let called = block.calls().filter_map(|name| home.get(&(block.of, name.as_str())).copied());
        leads.entry(block.file).or_default().extend(called.filter(|file| *file != block.file));
    }
    let of = |circle: BTreeSet<&str>| circle.into_iter().map(str::to_owned).collect();
    circles(&leads).into_iter().max_by_key(BTreeSet::len).map(of).unwrap_or_default()
}

/// The sets of files that all lead to each other.
pub fn circles<'a>(leads: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<BTreeSet<&'a str>> {
    let reach = |from: &&'a str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = leads.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(leads.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = leads.keys().map(|file| (*file, reach(file))).collect();
    let back = |(file, all): (&&'a str, &BTreeSet<&'a str>)| -> BTreeSet<&'a str> {
        let returns = |other: &&&str| reached.get(**other).is_some_and(|all| all.contains(file));
        all.iter().filter(returns).copied().collect()
    };
    reached.iter().map(back).filter(|circle| !circle.is_empty()).collect()
}
