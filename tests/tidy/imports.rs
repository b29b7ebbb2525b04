//! Imports from file to file. A name is followed through each `use` to the file that defines it.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// A crate and the modules below it, or a name there.
type ModulePath = Vec<String>;

/// One file, and the names that it defines and imports.
struct Module<'a> {
    file: &'a str,
    defines: BTreeSet<&'a str>,
    /// The path of each name that it imports.
    uses: BTreeMap<String, ModulePath>,
    /// The modules from which it imports all names.
    globs: Vec<ModulePath>,
    /// The paths that it needs. A `pub use` alone needs nothing.
    needs: Vec<ModulePath>,
}

/// A name is followed through so many modules at most.
const STEPS: usize = 30;

/// The files from which each file imports names.
pub fn imports(files: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let own = files.iter().filter(|file| !file.is_test_file());
    let modules: BTreeMap<ModulePath, Module<'_>> =
        own.map(|file| (module_path(&file.path), module(file))).collect();
    let mut all = BTreeMap::new();
    for (at, module) in &modules {
        let homes = module.needs.iter().filter_map(|path| home(&modules, at, path, STEPS));
        all.insert(module.file, homes.filter(|file| *file != module.file).collect());
    }
    all
}

/// `crates/core/src/engine/mod.rs` is `squelch_core::engine`.
fn module_path(file: &str) -> ModulePath {
    let core = file.strip_prefix("crates/core/src/").map(|below| ("squelch_core", below));
    let (name, below) = core.unwrap_or(("squelch", file.trim_start_matches("src/")));
    let parts = below.trim_end_matches(".rs").split('/');
    let parts = parts.filter(|part| !["mod", "lib", "main"].contains(part));
    [name].into_iter().chain(parts).map(str::to_owned).collect()
}

fn module(file: &Source) -> Module<'_> {
    let (uses, globs, needs) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut module = Module { file: &file.path, defines: BTreeSet::new(), uses, globs, needs };
    let mut lines = file.code.lines();
    while let Some(line) = lines.next() {
        let Some(begin) = used(line.trim_start()) else {
            module.defines.extend(defined(line));
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            let paths = words.map(|word| parts(word.trim_end_matches(':'))).filter(|path| path.len() > 1);
            module.needs.extend(paths);
            continue;
        };
        let mut tree = begin.to_owned();
        while !tree.contains(';') {
            tree.push_str(lines.next().unwrap_or(";"));
        }
        for (name, mut path) in leaves(tree.trim_end().trim_end_matches(';'), &[]) {
            if name == "*" {
                path.pop();
                module.globs.push(path);
            } else {
                if line.trim_start().starts_with("use ") {
                    module.needs.push(path.clone());
                }
                module.uses.insert(name, path);
            }
        }
    }
    module
}

/// The rest of a line that begins with `use`, `pub use` or the like.
fn used(line: &str) -> Option<&str> {
    let public = || {
        let (visibility, rest) = line.strip_prefix("pub")?.split_once("use ")?;
        (visibility == " " || visibility.starts_with('(') && visibility.ends_with(") ")).then_some(rest)
    };
    line.strip_prefix("use ").or_else(public)
}

/// The name of the item that a line without indentation begins to define.
fn defined(line: &str) -> Option<&str> {
    let public = line.strip_prefix("pub").map(|rest| rest.strip_prefix('(').map_or(rest, after_bracket));
    let mut words = public.unwrap_or(line).split(' ').filter(|word| !["", "async", "unsafe"].contains(word));
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
    words.next().filter(|kind| kinds.contains(kind) && !line.starts_with(' '))?;
    let name = words.find(|word| *word != "fn")?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn after_bracket(text: &str) -> &str {
    text.split_once(')').map_or(text, |(_, rest)| rest)
}

fn parts(path: &str) -> ModulePath {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The names of the tree of a `use` below the path `above`, each with its own path.
fn leaves(tree: &str, above: &[String]) -> Vec<(String, ModulePath)> {
    let Some((before, list)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name)));
        let mut path: ModulePath = above.iter().cloned().chain(parts(path)).collect();
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = name.map(|name| name.trim().to_owned()).or_else(|| path.last().cloned());
        return name.map(|name| (name, path)).into_iter().collect();
    };
    let above: ModulePath = above.iter().cloned().chain(parts(before)).collect();
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                found.extend(leaves(&list[from..at], &above));
                from = at + 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// The file that defines the name at the end of a path, as seen from the module `at`.
fn home<'a>(
    modules: &BTreeMap<ModulePath, Module<'a>>,
    at: &[String],
    path: &[String],
    steps: usize,
) -> Option<&'a str> {
    let ((first, rest), steps) = (path.split_first()?, steps.checked_sub(1)?);
    let follow = |at: &[String], path: &[String]| home(modules, at, path, steps);
    match first.as_str() {
        "crate" => follow(&at[..1], rest),
        "squelch_core" => follow(std::slice::from_ref(first), rest),
        "super" => follow(&at[..at.len() - 1], rest),
        "self" => follow(at, rest),
        name => {
            let below = [at, std::slice::from_ref(first)].concat();
            if modules.contains_key(&below) {
                return follow(&below, rest);
            }
            let module = modules.get(at)?;
            if module.defines.contains(name) {
                return Some(module.file);
            }
            let used = module.uses.get(name).and_then(|path| follow(at, &[path, rest].concat()));
            used.or_else(|| module.globs.iter().find_map(|glob| follow(at, &[&glob[..], path].concat())))
        }
    }
}
