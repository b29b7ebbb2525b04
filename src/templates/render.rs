//! The texts of one integration, compiled, and their rendering.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use gotmpl::parse::ListNode;
use gotmpl::{MissingKey, TemplateError, Value, html};

use super::library::{self, Library, Parsed};
use super::scope::{self, Routes, Scope};
use super::text::Escape;
use super::{Data, as_it_is, functions};
use crate::model::Timestamp;

/// Bytes that one text may have.
const TEXT_BYTES: usize = 64 * 1024;
/// Bytes that one HTML text may have.
const HTML_BYTES: usize = 512 * 1024;
/// Turns that the loops of one rendering may take together.
const TURNS: u64 = 500_000;

/// A text to compile.
pub struct TemplateText {
    /// By which it is asked for.
    pub key: String,
    /// The template.
    pub source: String,
    /// How a default template makes the values in it safe.
    pub escape: Escape,
    /// It is HTML: values are escaped by where they stand.
    pub html: bool,
}

/// The texts of one integration, compiled.
pub struct Compiled {
    keys: BTreeMap<String, Key>,
    /// Makes the values safe that a template of the user writes.
    mentions: Escape,
}

enum Key {
    Text(Arc<gotmpl::Template>, Escape),
    Html(Arc<html::Template>),
    Broken(String),
    /// The configuration leaves it empty.
    Empty,
}

static TEXT: LazyLock<gotmpl::Template> = LazyLock::new(|| {
    let template = gotmpl::Template::new("").funcs(functions::all());
    template.missing_key(MissingKey::ZeroValue).max_range_iters(TURNS)
});

impl Compiled {
    /// Compiles texts that may call the templates of `library`. One that is no template fails whenever it is
    /// rendered.
    pub fn new(library: &Library, texts: Vec<TemplateText>, mentions: Escape) -> Self {
        let mut keys = BTreeMap::new();
        let (mut plain, mut rich) = (Group::default(), Group::default());
        for text in texts {
            let parsed = match library::parse_text(&text.source) {
                _ if text.source.trim().is_empty() => {
                    keys.insert(text.key, Key::Empty);
                    continue;
                }
                Ok(parsed) => parsed,
                Err(wrong) => {
                    keys.insert(text.key, Key::Broken(wrong.to_string()));
                    continue;
                }
            };
            let group = if text.html { &mut rich } else { &mut plain };
            if parsed.defines.is_empty() {
                group.add(library, &text, &parsed);
            } else {
                // Its own templates are those of no other text.
                let mut alone = Group::default();
                alone.add(library, &text, &parsed);
                alone.compile(&mut keys, text.html);
            }
        }
        plain.compile(&mut keys, false);
        rich.compile(&mut keys, true);
        Compiled { keys, mentions }
    }

    /// Whether the configuration gives this text, and leaves it empty.
    pub fn is_empty(&self, key: &str) -> bool {
        matches!(self.keys.get(key), Some(Key::Empty))
    }

    /// A text. `None` if no text has this key.
    ///
    /// # Errors
    /// Why it cannot be rendered, and where.
    pub fn render(&self, key: &str, data: &Data, now: Timestamp) -> Option<Result<String, String>> {
        self.render_with(key, data, now, &mut Routes::of(&data.value))
    }

    /// The same where these are the labels of the route.
    pub(super) fn render_with(
        &self,
        key: &str,
        data: &Data,
        now: Timestamp,
        routes: &mut Routes,
    ) -> Option<Result<String, String>> {
        let name = name_of(key);
        Some(match self.keys.get(key)? {
            Key::Empty => Ok(String::new()),
            Key::Broken(reason) => Err(reason.clone()),
            Key::Text(template, escape) => {
                let scope = |routes| Scope::new(now, *escape, self.mentions, routes);
                run(scope, routes, TEXT_BYTES, |out| template.execute_template_fmt(out, &name, &data.value))
            }
            Key::Html(template) => {
                let scope = |routes| Scope::new(now, as_it_is, as_it_is, routes);
                run(scope, routes, HTML_BYTES, |out| {
                    match template.execute_template_fmt(out, &name, &data.value) {
                        Err(TemplateError::UndefinedTemplate(missing)) if missing == name => {
                            Err(unescaped(template, key, &data.value))
                        }
                        rendered => rendered,
                    }
                })
            }
        })
    }
}

/// Why the renderer finds no safe HTML for a text. It says so only of the first template of a set.
fn unescaped(template: &html::Template, key: &str, data: &Value) -> TemplateError {
    let call = format!("{{{{ template \"\\x00{key}\" . }}}}");
    let tried = template.clone().parse(&call).and_then(|template| template.execute_to_string(data));
    tried.err().unwrap_or_else(|| TemplateError::UndefinedTemplate(key.to_owned()))
}

/// The name of a text among the templates. No template of a file has one like it.
fn name_of(key: &str) -> String {
    format!("\u{0}{key}")
}

fn run(
    scope: impl FnOnce(Routes) -> Scope,
    routes: &mut Routes,
    most: usize,
    render: impl FnOnce(&mut Capped) -> Result<(), TemplateError>,
) -> Result<String, String> {
    let mut out = Capped { text: String::new(), most };
    let (rendered, at, after) = scope::within(scope(std::mem::take(routes)), || render(&mut out));
    *routes = after;
    rendered.map(|()| std::mem::take(&mut out.text)).map_err(|error| {
        let said = match error {
            TemplateError::Write => format!("the text is longer than {} KiB. Write less", most / 1024),
            TemplateError::UndefinedTemplate(name) => undefined(&name),
            error => functions::said(&error),
        };
        at.map_or_else(|| said.clone(), |at| format!("{at}: {said}"))
    })
}

/// Says that there is no such template.
pub(super) fn undefined(name: &str) -> String {
    format!("there is no template {name:?}. Define it in a file that templates: names")
}

/// Texts that are compiled together, and the templates that they call.
#[derive(Default)]
struct Group {
    trees: BTreeMap<String, ListNode>,
    keys: Vec<(String, Escape)>,
}

impl Group {
    fn add(&mut self, library: &Library, text: &TemplateText, parsed: &Parsed) {
        for (name, template) in library.reached(parsed) {
            self.trees.entry(name).or_insert_with(|| template.rewritten());
        }
        self.trees.insert(name_of(&text.key), parsed.template.rewritten());
        self.keys.push((text.key.clone(), text.escape));
    }

    fn compile(self, keys: &mut BTreeMap<String, Key>, html: bool) {
        let Group { trees, keys: names } = self;
        if names.is_empty() {
            return;
        }
        if html {
            let compiled = of_html(trees).map(Arc::new);
            keys.extend(names.into_iter().map(|(name, _)| match &compiled {
                Ok(template) => (name, Key::Html(Arc::clone(template))),
                Err(error) => (name, Key::Broken(error.to_string())),
            }));
        } else {
            let fold =
                |template: gotmpl::Template, (name, tree): (String, _)| template.add_parse_tree(&name, tree);
            let template = Arc::new(trees.into_iter().fold(TEXT.clone(), fold));
            keys.extend(
                names.into_iter().map(|(name, escape)| (name, Key::Text(Arc::clone(&template), escape))),
            );
        }
    }
}

fn of_html(trees: BTreeMap<String, ListNode>) -> Result<html::Template, TemplateError> {
    let template = html::Template::new("").funcs(functions::all());
    let template = template.missing_key(MissingKey::ZeroValue).max_range_iters(TURNS).parse("")?;
    trees.into_iter().try_fold(template, |template, (name, tree)| template.add_parse_tree(&name, tree))
}

/// Refuses text beyond the cap: half a text would mislead, and the default one does not.
struct Capped {
    text: String,
    most: usize,
}

impl fmt::Write for Capped {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.len() + part.len() > self.most {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}
