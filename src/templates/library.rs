//! The templates of one configuration by their names: the default ones, and on top of them those of its
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::TemplateError;
use gotmpl::parse::{ListNode, Node, Parser};

use super::lint::{self, Found, Type};
use super::place::{Places, WrongTemplate};
use super::{rewrite, scan};

/// The default templates, in files of this program.
const DEFAULTS: [(&str, &str); 2] = [
    ("default.tmpl", include_str!("default/default.tmpl")),
    ("email.tmpl", include_str!("default/email.tmpl")),
];
/// Default templates that are empty in Alertmanager, and not here.
const EMPTY: [&str; 2] = ["slack.default.text", "slack.default.footer"];
/// The templates that call each other, at most.
const REACHED: usize = 1_000;

static BUILT_IN: LazyLock<Arc<Library>> = LazyLock::new(|| {
    let mut library = Library { templates: BTreeMap::new() };
    for (file, text) in DEFAULTS {
        // A test reads them.
        let _ = library.add(&TemplateFile { file: file.into(), text: text.into() }, true);
    }
    Arc::new(library)
});

/// A file of templates.
#[derive(Clone, Debug)]
pub struct TemplateFile {
    /// Its path, as errors name it.
    pub file: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
}

/// Templates by their names.
#[derive(Clone)]
pub struct Library {
    templates: BTreeMap<String, Arc<Template>>,
}

impl fmt::Debug for Library {
    /// Each integration has the library, and it would only fill the output there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} templates", self.templates.len())
    }
}

/// A parsed template.
#[derive(Debug)]
pub(super) struct Template {
    source: TemplateFile,
    of_default: bool,
    pub(super) tree: ListNode,
}

impl Template {
    fn places(&self) -> Places<'_> {
        Places::new(&self.source.file, &self.source.text)
    }

    /// The tree for the renderer.
    pub(super) fn rewritten(&self) -> ListNode {
        rewrite::tree(&self.tree, &self.places(), self.of_default)
    }

    /// Adds the findings of a walk in it.
    pub(super) fn lint(&self, dot: Type, found: &mut Found) {
        lint::walk(&self.tree, dot, &self.places(), found);
    }
}

/// A text of the configuration: its own tree, and the templates that it defines.
pub(super) struct Parsed {
    pub(super) template: Template,
    pub(super) defines: BTreeMap<String, Arc<Template>>,
}

impl Library {
    /// The default templates.
    pub fn built_in() -> Arc<Library> {
        Arc::clone(&BUILT_IN)
    }

    /// The default templates and those of these files. A later definition of a name replaces an earlier one.
    ///
    /// # Errors
    /// The errors of the files.
    pub fn with_files(files: &[TemplateFile]) -> Result<Arc<Library>, Vec<WrongTemplate>> {
        let mut library = Library::clone(&BUILT_IN);
        let mut wrong: Vec<WrongTemplate> =
            files.iter().filter_map(|file| library.add(file, false).err()).collect();
        if wrong.is_empty() {
            // Go refuses a file that names a function or a variable that is not there.
            let mut found = Found::default();
            let of_user = library.templates.values().filter(|template| !template.of_default);
            of_user.for_each(|template| template.lint(Type::Unknown, &mut found));
            wrong = found.wrong;
        }
        wrong.sort();
        wrong.dedup();
        if wrong.is_empty() { Ok(Arc::new(library)) } else { Err(wrong) }
    }

    /// The names of the templates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// Each template with the text of the file that defines it, by name.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.templates.iter().map(|(name, template)| (name.as_str(), &*template.source.text))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Template>> {
        self.templates.get(name)
    }

    fn add(&mut self, source: &TemplateFile, of_default: bool) -> Result<(), WrongTemplate> {
        let Parsed { template, defines } = parse(source, of_default)?;
        for (name, define) in defines {
            self.put(name, define);
        }
        // The text of a file outside of its definitions is a template by the name of the file.
        let name = source.file.rsplit('/').next().unwrap_or_default().to_owned();
        if !template.tree.is_empty_tree() {
            self.put(name, Arc::new(template));
        }
        Ok(())
    }

    /// An empty definition replaces none, as in Go. Alertmanager's own [`EMPTY`] templates are empty, so an
    /// empty definition of these means an empty text.
    fn put(&mut self, name: String, template: Arc<Template>) {
        let before = self.templates.get(&name);
        let kept = before.is_some_and(|before| !(before.of_default && EMPTY.contains(&name.as_str())));
        if template.tree.is_empty_tree() && kept {
            return;
        }
        self.templates.insert(name, template);
    }

    /// The templates that a text calls, and their own calls, with the text's own before the library's.
    pub(super) fn reached(&self, parsed: &Parsed) -> BTreeMap<String, Arc<Template>> {
        let mut reached: BTreeMap<String, Arc<Template>> = BTreeMap::new();
        let mut next = BTreeSet::new();
        called(&parsed.template.tree, &mut next);
        while let Some(name) = next.pop_first() {
            let template = parsed.defines.get(&name).or_else(|| self.get(&name));
            let Some(template) = template.filter(|_| reached.len() < REACHED && !reached.contains_key(&name))
            else {
                continue;
            };
            called(&template.tree, &mut next);
            reached.insert(name, Arc::clone(template));
        }
        reached
    }
}

/// Parses a text of the configuration.
///
/// # Errors
/// It is no template.
pub(super) fn parse_text(text: &str) -> Result<Parsed, WrongTemplate> {
    parse(&TemplateFile { file: "".into(), text: text.into() }, false)
}

fn parse(source: &TemplateFile, of_default: bool) -> Result<Parsed, WrongTemplate> {
    let places = Places::new(&source.file, &source.text);
    scan::check(&places, &source.text)?;
    let parser = Parser::new(&source.text, "{{", "}}");
    let (tree, defined) = parser.and_then(Parser::parse).map_err(|error| wrong(&error, &places))?;
    let make = |tree| Template { source: source.clone(), of_default, tree };
    let mut defines: BTreeMap<String, Arc<Template>> = BTreeMap::new();
    for define in defined {
        let name = define.name.to_string();
        let before = defines.get(&name).is_some_and(|before| !before.tree.is_empty_tree());
        match (before, define.body.is_empty_tree()) {
            (true, true) => {}
            (true, false) => {
                let message =
                    format!("the template {name:?} stands twice in this file. Give each its own name");
                return Err(places.wrong(define.pos.offset, message));
            }
            (false, _) => {
                defines.insert(name, Arc::new(make(define.body)));
            }
        }
    }
    Ok(Parsed { template: make(tree), defines })
}

fn wrong(error: &TemplateError, places: &Places<'_>) -> WrongTemplate {
    match error {
        TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. } => {
            let message = message.chars().take(200).collect();
            WrongTemplate { at: places.line(*line, *col), what: message }
        }
        other => WrongTemplate { at: String::new(), what: other.to_string() },
    }
}

/// The names of the templates that a tree calls.
fn called(tree: &ListNode, names: &mut BTreeSet<String>) {
    for node in &tree.nodes {
        match node {
            Node::Template(template) => {
                names.insert(template.name.to_string());
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
                called(&branch.body, names);
                branch.else_body.iter().for_each(|list| called(list, names));
            }
            Node::List(list) => called(list, names),
            Node::Text(_) | Node::Action(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Result<Arc<Library>, Vec<WrongTemplate>> {
        let source =
            |(file, text): &(&str, &str)| TemplateFile { file: (*file).into(), text: (*text).into() };
        Library::with_files(&files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn every_default_template_is_one() {
        for (file, text) in DEFAULTS {
            parse(&TemplateFile { file: file.into(), text: text.into() }, true).unwrap();
        }
        let mut found = Found::default();
        let library = Library::built_in();
        library.templates.values().for_each(|template| template.lint(Type::Unknown, &mut found));
        assert_eq!(found.wrong, []);
        let undefined = found.calls.iter().filter(|(name, ..)| library.get(name).is_none()).count();
        assert_eq!(undefined, 0);
    }

    #[test]
    fn what_is_wrong_in_a_file_has_its_place() {
        for (text, at, what) in [
            ("{{ define \"a\" }}\n  {{ if }}x{{ end }}\n{{ end }}", "f.tmpl:2:11", "empty command"),
            ("{{ define \"a\" }}x", "f.tmpl:1:1", "define has no end"),
            ("{{ define \"a\" }}\n{{ toUper .Status }}{{ end }}", "f.tmpl:2:4", "Did you mean toUpper?"),
            ("{{ define \"a\" }}{{ $x }}{{ end }}", "f.tmpl:1:20", "$x is not declared"),
            ("{{ define \"a\" }}x{{ end }}{{ define \"a\" }}y{{ end }}", "f.tmpl:1:30", "stands twice"),
        ] {
            let wrong = files(&[("f.tmpl", text)]).unwrap_err().remove(0);
            assert!(wrong.at == at && wrong.what.contains(what), "{text}: {wrong}");
        }
    }

    #[test]
    fn a_later_definition_replaces_an_earlier_one_unless_it_is_empty() {
        let library = files(&[
            ("d/a.tmpl", "{{ define \"__subject\" }}mine{{ end }}{{ define \"x\" }}1{{ end }}"),
            ("d/b.tmpl", "{{ define \"__subject\" }}  {{ end }}{{ define \"x\" }}2{{ end }}text"),
        ]);
        let library = library.unwrap();
        let text = |name: &str| match library.get(name).unwrap().tree.nodes.as_slice() {
            [Node::Text(text)] => text.text.to_string(),
            _ => panic!("{name} is no text"),
        };
        assert_eq!([text("__subject"), text("x"), text("b.tmpl")], ["mine", "2", "text"]);
    }
}
