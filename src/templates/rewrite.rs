//! Rewrites a parsed template for the renderer, which knows no methods of values.
//!
//! `.A.B x` becomes `__call (__get . "A") "B" x`, and `.A.B` becomes `__get . "A" "B"`. Each action is
//! preceded by `__at` with its place, which locates errors and counts steps. The output of an action goes
//! through `__text`, or through `__safe` in a default template.

use std::sync::Arc;

use gotmpl::parse::{
    ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr, TemplateNode,
};

use super::place::Places;

/// Functions that write their arguments as text.
const WRITERS: [&str; 6] = ["print", "printf", "println", "html", "js", "urlquery"];
/// Functions whose result an HTML template must see last, because it knows them.
const ESCAPERS: [&str; 2] = ["html", "js"];
/// Functions that compare their arguments.
const COMPARISONS: [&str; 6] = ["eq", "ne", "lt", "le", "gt", "ge"];

/// The tree of a template, for the renderer. `of_default`: the template is one of the default ones.
pub(super) fn tree(tree: &ListNode, places: &Places<'_>, of_default: bool) -> ListNode {
    Rewrite { places, of_default }.list(tree)
}

struct Rewrite<'a> {
    places: &'a Places<'a>,
    of_default: bool,
}

impl Rewrite<'_> {
    fn list(&self, list: &ListNode) -> ListNode {
        let mut nodes = Vec::with_capacity(list.nodes.len() * 2);
        for node in &list.nodes {
            if let Some(pos) = acts(node) {
                nodes.push(self.at(pos));
            }
            nodes.push(self.node(node));
        }
        ListNode { pos: list.pos, nodes }
    }

    fn node(&self, node: &Node) -> Node {
        match node {
            Node::Action(action) => Node::Action(self.action(action)),
            Node::If(branch) => Node::If(self.branch(branch)),
            Node::With(branch) => Node::With(self.branch(branch)),
            Node::Range(branch) => {
                let mut branch = self.branch(branch);
                branch.pipe.commands.push(command(branch.pos, "__range", Vec::new()));
                Node::Range(branch)
            }
            Node::Template(template) => {
                // Go gives a template that is called without an argument nothing, and not the dot.
                let nothing = || pipe(template.pos, vec![command(template.pos, "__nil", Vec::new())]);
                let given = template.pipe.as_ref().map_or_else(nothing, |pipe| self.pipe(pipe));
                Node::Template(TemplateNode { pipe: Some(given), ..template.clone() })
            }
            Node::List(list) => Node::List(self.list(list)),
            Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => node.clone(),
        }
    }

    /// Notes that the action at `pos` begins.
    fn at(&self, pos: Pos) -> Node {
        let place = Expr::String(pos, Arc::from(self.places.shown(pos.offset)));
        let mut pipe = pipe(pos, vec![command(pos, "__at", vec![place])]);
        // A pipeline that declares a variable writes nothing.
        pipe.decl.push(SmolStr::new_static("$__at"));
        Node::Action(ActionNode { pos, pipe })
    }

    fn action(&self, action: &ActionNode) -> ActionNode {
        let mut pipe = self.pipe(&action.pipe);
        let last = action.pipe.commands.last().and_then(|command| function(command));
        if pipe.decl.is_empty() && last == Some("urlquery") {
            // An HTML template checks a loop twice, and refuses an escaper that it has put another behind.
            let inner = CommandNode { pos: action.pos, args: vec![Expr::Pipe(action.pos, pipe)] };
            return ActionNode {
                pos: action.pos,
                pipe: self::pipe(action.pos, vec![inner, command(action.pos, "__url", Vec::new())]),
            };
        }
        if pipe.decl.is_empty() && !last.is_some_and(|name| ESCAPERS.contains(&name)) {
            let written = if self.of_default { "__safe" } else { "__text" };
            pipe.commands.push(command(action.pos, written, Vec::new()));
        }
        ActionNode { pos: action.pos, pipe }
    }

    fn branch(&self, branch: &BranchNode) -> BranchNode {
        BranchNode {
            pos: branch.pos,
            pipe: self.pipe(&branch.pipe),
            body: self.list(&branch.body),
            else_body: branch.else_body.as_ref().map(|list| self.list(list)),
        }
    }

    fn pipe(&self, pipe: &PipeNode) -> PipeNode {
        let commands = pipe.commands.iter().enumerate();
        PipeNode {
            commands: commands.flat_map(|(i, one)| self.command(one, i > 0)).collect(),
            ..pipe.clone()
        }
    }

    /// A command, and before it the calls that change the value that is piped into it.
    fn command(&self, one: &CommandNode, piped: bool) -> Vec<CommandNode> {
        let Some((first, rest)) = one.args.split_first() else { return vec![one.clone()] };
        let rest: Vec<Expr> = rest.iter().map(|arg| self.expr(arg)).collect();
        let pos = one.pos;
        match first {
            Expr::Identifier(_, name) => {
                let wrapped = match name.as_str() {
                    name if WRITERS.contains(&name) => Some("__show"),
                    name if COMPARISONS.contains(&name) => Some("__number"),
                    _ => None,
                };
                let Some(wrapper) = wrapped else {
                    return vec![command(pos, name, rest)];
                };
                let before = piped.then(|| {
                    let alone = name == "printf" && rest.is_empty();
                    command(pos, if alone { "__format" } else { wrapper }, Vec::new())
                });
                let wrap = |(i, arg)| {
                    let format = name == "printf" && i == 0;
                    called(pos, if format { "__format" } else { wrapper }, vec![arg])
                };
                let rest = rest.into_iter().enumerate().map(wrap).collect();
                before.into_iter().chain([command(pos, name, rest)]).collect()
            }
            _ => match chain(first) {
                Some((base, fields)) if !rest.is_empty() || piped => {
                    let (last, before) =
                        fields.split_last().map_or(("", fields), |(last, b)| (last.as_str(), b));
                    let base = self.chained(pos, base, before);
                    let args = [base, Expr::String(pos, Arc::from(last))].into_iter().chain(rest);
                    vec![command(pos, "__call", args.collect())]
                }
                Some((base, fields)) => vec![command(pos, "__get", self.get(pos, base, fields))],
                None => vec![CommandNode { pos, args: [self.expr(first)].into_iter().chain(rest).collect() }],
            },
        }
    }

    fn expr(&self, expr: &Expr) -> Expr {
        match (expr, chain(expr)) {
            (_, Some((base, fields))) => self.chained(expr.pos(), base, fields),
            (Expr::Pipe(pos, pipe), None) => Expr::Pipe(*pos, self.pipe(pipe)),
            _ => expr.clone(),
        }
    }

    fn chained(&self, pos: Pos, base: Expr, fields: &[SmolStr]) -> Expr {
        match fields.is_empty() {
            true => self.expr(&base),
            false => called(pos, "__get", self.get(pos, base, fields)),
        }
    }

    fn get(&self, pos: Pos, base: Expr, fields: &[SmolStr]) -> Vec<Expr> {
        let fields = fields.iter().map(|name| Expr::String(pos, Arc::from(name.as_str())));
        [self.expr(&base)].into_iter().chain(fields).collect()
    }
}

/// The beginning of a chain of fields, and the fields.
fn chain(expr: &Expr) -> Option<(Expr, &[SmolStr])> {
    match expr {
        Expr::Field(pos, fields) => Some((Expr::Dot(*pos), fields)),
        Expr::Variable(pos, name, fields) if !fields.is_empty() => {
            Some((Expr::Variable(*pos, name.clone(), Vec::new()), fields))
        }
        Expr::Chain(_, base, fields) => Some(((**base).clone(), fields)),
        _ => None,
    }
}

/// The function that a command calls.
pub(super) fn function(command: &CommandNode) -> Option<&str> {
    match command.args.first()? {
        Expr::Identifier(_, name) => Some(name),
        _ => None,
    }
}

/// The place of a node that acts.
pub(super) fn acts(node: &Node) -> Option<Pos> {
    match node {
        Node::Action(action) => Some(action.pos),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => Some(branch.pos),
        Node::Template(template) => Some(template.pos),
        Node::List(_) | Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_) => None,
    }
}

fn command(pos: Pos, name: &str, args: Vec<Expr>) -> CommandNode {
    let name = Expr::Identifier(pos, SmolStr::new(name));
    CommandNode { pos, args: [name].into_iter().chain(args).collect() }
}

fn pipe(pos: Pos, commands: Vec<CommandNode>) -> PipeNode {
    PipeNode { pos, decl: Vec::new(), commands, is_assign: false }
}

fn called(pos: Pos, name: &str, args: Vec<Expr>) -> Expr {
    Expr::Pipe(pos, pipe(pos, vec![command(pos, name, args)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gotmpl::parse::Parser;

    /// The actions of a template in the renderer's words, without places and `__text`.
    fn rewritten(source: &str) -> String {
        let (parsed, _) = Parser::new(source, "{{", "}}").unwrap().parse().unwrap();
        let tree = tree(&parsed, &Places::new("", source), false);
        let mut out = Vec::new();
        for node in &tree.nodes {
            match node {
                Node::Action(action)
                    if action.pipe.decl.first().is_none_or(|name| name.as_str() != "$__at") =>
                {
                    out.push(shown_pipe(&action.pipe));
                }
                Node::Range(branch) | Node::If(branch) | Node::With(branch) => {
                    out.push(shown_pipe(&branch.pipe))
                }
                _ => {}
            }
        }
        out.join("; ").replace(" | __text", "")
    }

    fn shown_pipe(pipe: &PipeNode) -> String {
        let command =
            |command: &CommandNode| command.args.iter().map(shown_expr).collect::<Vec<_>>().join(" ");
        pipe.commands.iter().map(command).collect::<Vec<_>>().join(" | ")
    }

    fn shown_expr(expr: &Expr) -> String {
        match expr {
            Expr::Dot(_) => ".".into(),
            Expr::Variable(_, name, _) => name.to_string(),
            Expr::Identifier(_, name) => name.to_string(),
            Expr::String(_, text) => format!("{text:?}"),
            Expr::Pipe(_, pipe) => format!("({})", shown_pipe(pipe)),
            Expr::Number(_, number) => format!("{number:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn chains_of_methods_become_calls() {
        for (source, calls) in [
            ("{{ .Status }}", r#"__get . "Status""#),
            ("{{ .CommonLabels.SortedPairs.Values }}", r#"__get . "CommonLabels" "SortedPairs" "Values""#),
            ("{{ $.Alerts.Firing }}", r#"__get $ "Alerts" "Firing""#),
            (
                "{{ .CommonLabels.Remove .GroupLabels.Names }}",
                r#"__call (__get . "CommonLabels") "Remove" (__get . "GroupLabels" "Names")"#,
            ),
            (
                "{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join \" \" }}",
                r#"__get (__call (__get . "CommonLabels") "Remove" (__get . "GroupLabels" "Names")) "Values" | join " ""#,
            ),
            (r#"{{ "x" | .StartsAt.Format }}"#, r#""x" | __call (__get . "StartsAt") "Format""#),
            (
                r#"{{ (index .Alerts 0).Labels.job }}"#,
                r#"__get (index (__get . "Alerts") Int(0)) "Labels" "job""#,
            ),
            (r#"{{ now.Format "2006" }}"#, r#"__call now "Format" "2006""#),
            ("{{ now.Unix }}", r#"__get now "Unix""#),
            ("{{ range .Alerts }}{{ end }}", r#"__get . "Alerts" | __range"#),
            (r#"{{ .Status | printf "%s" }}"#, r#"__get . "Status" | __show | printf (__format "%s")"#),
            (r#"{{ eq .Status "firing" }}"#, r#"eq (__number (__get . "Status")) (__number "firing")"#),
            ("{{ .Receiver | urlquery }}", r#"(__get . "Receiver" | __show | urlquery) | __url"#),
            ("{{ . }}{{ $ }}", ".; $"),
        ] {
            assert_eq!(rewritten(source), calls, "{source}");
        }
    }
}
