//! Which names a template uses that are not there, in branches too that no sample takes.
//!
//! The walk follows the type of the dot: the notification, an alert, a label set. Where it cannot know the
//! type, it reports nothing.

use std::collections::BTreeSet;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, PipeNode};

use super::names;
use super::place::{Places, WrongTemplate};
use super::{functions, nearest, old};

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Type {
    /// The notification.
    Data,
    /// A list of alerts.
    Alerts,
    /// An alert.
    Alert,
    /// Labels or annotations.
    Set,
    /// Names and values.
    Pairs,
    /// A name and its value.
    Pair,
    /// A list of texts.
    Texts,
    /// A text.
    Text,
    /// A number or a boolean.
    Plain,
    /// A time.
    Time,
    /// A duration.
    Duration,
    /// Any of them.
    Unknown,
}

/// The findings of a walk.
#[derive(Default)]
pub(super) struct Found {
    /// Names that are not there.
    pub(super) wrong: Vec<WrongTemplate>,
    /// Templates that are called, with their argument and their place.
    pub(super) calls: Vec<(String, Type, String)>,
    /// Fields of the notification that are used.
    pub(super) fields: BTreeSet<String>,
    /// Names of labels that are used, and texts that may be one.
    pub(super) labels: BTreeSet<String>,
}

/// Walks a tree whose dot is `dot`.
pub(super) fn walk(tree: &ListNode, dot: Type, places: &Places<'_>, found: &mut Found) {
    let variables = vec![("$".to_owned(), dot)];
    Walk { places, found, variables }.list(tree, dot);
}

struct Walk<'a> {
    places: &'a Places<'a>,
    found: &'a mut Found,
    variables: Vec<(String, Type)>,
}

impl Walk<'_> {
    fn list(&mut self, list: &ListNode, dot: Type) {
        for node in &list.nodes {
            match node {
                Node::Action(action) => {
                    self.pipe(&action.pipe, dot);
                }
                Node::If(branch) => self.branch(branch, dot, |given| (dot, given)),
                Node::With(branch) => self.branch(branch, dot, |given| (given, given)),
                Node::Range(branch) => self.branch(branch, dot, |given| (item(given), item(given))),
                Node::Template(template) => {
                    let given = template.pipe.as_ref().map_or(Type::Unknown, |pipe| self.pipe(pipe, dot));
                    let at = self.places.shown(template.pos.offset);
                    self.found.calls.push((template.name.to_string(), given, at));
                }
                Node::List(list) => self.list(list, dot),
                Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
    }

    /// A block. `inside` returns the types of the dot and of the last variable in it.
    fn branch(&mut self, branch: &BranchNode, dot: Type, inside: impl Fn(Type) -> (Type, Type)) {
        let outside = self.variables.len();
        let given = self.pipe(&branch.pipe, dot);
        let (inside, variable) = inside(given);
        if let [.., last] = branch.pipe.decl.as_slice()
            && let Some(known) = self.variables.iter_mut().rev().find(|(name, _)| name == last.as_str())
        {
            known.1 = variable;
        }
        self.list(&branch.body, inside);
        self.variables.truncate(outside);
        if let Some(list) = &branch.else_body {
            self.list(list, dot);
            self.variables.truncate(outside);
        }
    }

    fn pipe(&mut self, pipe: &PipeNode, dot: Type) -> Type {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value));
        }
        let value = value.unwrap_or(Type::Unknown);
        for name in &pipe.decl {
            match self.variables.iter_mut().rev().find(|(known, _)| known == name.as_str()) {
                // A variable that is assigned in one branch may be either behind it.
                Some(variable) if pipe.is_assign => {
                    variable.1 = if variable.1 == value { value } else { Type::Unknown };
                }
                None if pipe.is_assign => self.wrong(pipe.pos.offset, undeclared(name)),
                _ => {
                    let known = if pipe.decl.len() > 1 { Type::Unknown } else { value };
                    self.variables.push((name.to_string(), known));
                }
            }
        }
        value
    }

    fn command(&mut self, command: &CommandNode, dot: Type, piped: Option<Type>) -> Type {
        let Some((first, rest)) = command.args.split_first() else { return Type::Unknown };
        let mut given: Vec<Type> = rest.iter().map(|arg| self.expr(arg, dot)).collect();
        given.extend(piped);
        match first {
            Expr::Identifier(_, name) => {
                self.function(name, first);
                result(name, &given)
            }
            other => self.expr(other, dot),
        }
    }

    fn function(&mut self, name: &str, at: &Expr) {
        if functions::names().any(|known| known == name) {
            return;
        }
        let hint = if let Some(form) = old::go_form(name) {
            format!("Templates are Go templates: write {form}")
        } else if let Some(form) = old::foreign_form(name) {
            format!("Alertmanager has no such function. Write {form}")
        } else if let Some(near) = nearest(name, functions::names()) {
            format!("Did you mean {near}?")
        } else {
            format!("Write a field, such as .CommonLabels.{name}, or one of Alertmanager's functions")
        };
        self.wrong(at.pos().offset, format!("there is no function {name:?}. {hint}"));
    }

    fn expr(&mut self, expr: &Expr, dot: Type) -> Type {
        match expr {
            Expr::Dot(_) => dot,
            Expr::Field(pos, fields) => self.chain(dot, fields, pos.offset),
            Expr::Variable(pos, name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name.as_str());
                match known.map(|(_, of)| *of) {
                    Some(of) => self.chain(of, fields, pos.offset),
                    None => {
                        self.wrong(pos.offset, undeclared(name));
                        Type::Unknown
                    }
                }
            }
            Expr::Identifier(_, name) => {
                self.function(name, expr);
                result(name, &[])
            }
            Expr::String(_, text) => {
                self.found.labels.insert(text.to_string());
                Type::Text
            }
            Expr::Number(..) | Expr::Bool(..) => Type::Plain,
            Expr::Nil(_) => Type::Unknown,
            Expr::Pipe(_, pipe) => self.pipe(pipe, dot),
            Expr::Chain(pos, base, fields) => {
                let base = self.expr(base, dot);
                self.chain(base, fields, pos.offset)
            }
        }
    }

    fn chain(&mut self, of: Type, fields: &[gotmpl::parse::SmolStr], offset: usize) -> Type {
        let mut of = of;
        for name in fields {
            if of == Type::Data {
                self.found.fields.insert(name.to_string());
            }
            if matches!(of, Type::Set | Type::Unknown) {
                self.found.labels.insert(name.to_string());
            }
            of = match member(of, name) {
                Ok(of) => of,
                Err(what) => {
                    self.wrong(offset, what);
                    return Type::Unknown;
                }
            };
        }
        of
    }

    fn wrong(&mut self, offset: usize, what: impl Into<String>) {
        self.found.wrong.push(self.places.wrong(offset, what));
    }
}

fn undeclared(name: &str) -> String {
    format!("the variable {name} is not declared. Write {{{{ {name} := … }}}} before it")
}

/// The type of the items in a loop over a value.
fn item(of: Type) -> Type {
    match of {
        Type::Alerts => Type::Alert,
        Type::Pairs => Type::Pair,
        Type::Set | Type::Texts => Type::Text,
        Type::Plain => Type::Plain,
        _ => Type::Unknown,
    }
}

/// The type of `.name` of a value, or why there is none.
fn member(of: Type, name: &str) -> Result<Type, String> {
    let among = |what: &str, known: &[&str], result: Type| match known.contains(&name) {
        true => Ok(result),
        false => Err(names::missing(what, name, known)),
    };
    match of {
        Type::Data => among(
            "the notification",
            names::DATA,
            match name {
                "Alerts" => Type::Alerts,
                "GroupLabels" | "CommonLabels" | "CommonAnnotations" | "RouteLabels" => Type::Set,
                "TruncatedAlerts" | "TruncatedFiring" | "TruncatedResolved" | "PossibleRepeat" => Type::Plain,
                _ => Type::Text,
            },
        ),
        Type::Alert => among(
            "an alert",
            names::ALERT,
            match name {
                "Labels" | "Annotations" => Type::Set,
                "StartsAt" | "EndsAt" => Type::Time,
                "Flaps" => Type::Plain,
                _ => Type::Text,
            },
        ),
        Type::Alerts => among("a list of alerts", &["Firing", "Resolved"], Type::Alerts),
        Type::Pairs => among(
            "a list of pairs",
            &["Names", "Values", "String"],
            if name == "String" { Type::Text } else { Type::Texts },
        ),
        Type::Pair => among("a pair", names::PAIR, Type::Text),
        Type::Texts => among("a list of texts", &["Join"], Type::Text),
        Type::Set => Ok(match name {
            "SortedPairs" => Type::Pairs,
            "Names" | "Values" => Type::Texts,
            "Remove" => Type::Set,
            _ => Type::Text,
        }),
        Type::Time => among(
            "a time",
            names::TIME,
            match name {
                "Add" | "AddDate" | "In" | "UTC" | "Local" | "Round" | "Truncate" => Type::Time,
                "Sub" => Type::Duration,
                "Format" | "String" | "Month" | "Weekday" => Type::Text,
                _ => Type::Plain,
            },
        ),
        Type::Duration => among(
            "a duration",
            names::DURATION,
            match name {
                "Round" | "Truncate" | "Abs" => Type::Duration,
                "String" => Type::Text,
                _ => Type::Plain,
            },
        ),
        Type::Text => Err(format!("a text has no .{name}. Remove .{name}")),
        Type::Plain => Err(format!("a number or a boolean has no .{name}. Remove .{name}")),
        Type::Unknown => Ok(Type::Unknown),
    }
}

/// The type that a function returns.
fn result(name: &str, given: &[Type]) -> Type {
    match name {
        "toUpper" | "toLower" | "title" | "trimSpace" | "join" | "safeHtml" | "safeUrl" | "urlUnescape"
        | "reReplaceAll" | "date" | "humanizeDuration" | "toJson" | "base64encode" | "base64decode"
        | "print" | "printf" | "println" | "html" | "js" | "urlquery" | "httpUrl" | "routeLabels" => {
            Type::Text
        }
        "stringSlice" => Type::Texts,
        "tz" | "now" | "toDate" | "mustToDate" => Type::Time,
        "since" => Type::Duration,
        "len" | "more" | "match" | "not" | "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Type::Plain,
        "slice" => given.first().copied().unwrap_or(Type::Unknown),
        "first" => given.last().copied().unwrap_or(Type::Unknown),
        "index" => match given {
            [Type::Alerts, _] => Type::Alert,
            [Type::Set | Type::Texts, _] => Type::Text,
            [Type::Pairs, _] => Type::Pair,
            _ => Type::Unknown,
        },
        "and" | "or" => match given {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => *first,
            _ => Type::Unknown,
        },
        _ => Type::Unknown,
    }
}
