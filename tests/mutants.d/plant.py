"""Rewrites the sources so that one build holds every mutant of `cargo mutants`, each behind a switch."""
import collections
import re

from tree_sitter import Language, Parser
import tree_sitter_rust

SWITCH = """//! `MUTANT` switches one mutant on. `MUTANT_SEEN` is a file that lists the reached ones.
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};

static ON: LazyLock<usize> =
    LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(usize::MAX));
static SEEN: LazyLock<Option<Mutex<std::fs::File>>> = LazyLock::new(|| {
    let file = std::env::var("MUTANT_SEEN").ok()?;
    std::fs::File::create(file).ok().map(Mutex::new)
});
static HIT: [AtomicBool; 4096] = [const { AtomicBool::new(false) }; 4096];

/// Whether the mutant is on.
pub fn on(id: usize) -> bool {
    if let Some(file) = &*SEEN
        && !HIT[id].swap(true, Ordering::Relaxed)
        && let Ok(mut file) = file.lock()
    {
        let _ = writeln!(file, "{id}");
    }
    *ON == id
}
"""
COMPARE = {"==", "!=", "<", ">", "<=", ">="}
ON = "crate::mutant::on"


def walk(node):
    yield node
    for child in node.children:
        yield from walk(child)


def const(node):
    """Whether the node stands where only constant expressions may."""
    while node:
        if node.type in ("const_item", "static_item"):
            return True
        if node.type == "function_item":
            return any(c.type == "function_modifiers" and b"const" in c.text for c in node.children)
        node = node.parent
    return False


class File:
    """One source file, and where its mutants stand in it."""

    def __init__(self, path, mutants):
        self.source = path.read_bytes()
        self.lines = self.source.decode().split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line.encode()) + 1)
        tree = Parser(Language(tree_sitter_rust.language())).parse(self.source)
        self.at = collections.defaultdict(list)
        for node in walk(tree.root_node):
            self.at[node.start_byte].append(node)
        self.root = tree.root_node
        self.planted, self.left = collections.defaultdict(list), []
        for id, mutant in mutants:
            node = self.find(mutant)
            returns = (mutant["function"] or {}).get("return_type") or ""
            if node is None or const(node) or (mutant["genre"] == "FnValue" and "impl " in returns):
                self.left.append(id)
            else:
                self.planted[node.id].append((id, mutant))

    def byte(self, place):
        line = self.lines[place["line"] - 1]
        return self.starts[place["line"] - 1] + len(line[:place["column"] - 1].encode())

    def find(self, mutant):
        start, end = self.byte(mutant["span"]["start"]), self.byte(mutant["span"]["end"])
        genre, here = mutant["genre"], self.at[start]
        if genre in ("BinaryOperator", "UnaryOperator"):
            kinds = ("binary_expression", "compound_assignment_expr", "unary_expression")
            leaves = [n for n in here if not n.children and n.end_byte == end]
            found = [n.parent for n in leaves if n.parent.type in kinds]
            found += [n for n in here if genre == "UnaryOperator" and n.type == "unary_expression"]
            return found[0] if found else None
        if genre == "MatchArm":
            return next((n for n in here if n.type == "match_arm"), None)
        if genre == "MatchArmGuard":
            return next((n for n in here if n.parent and n.parent.type == "match_pattern"
                         and n.parent.child_by_field_name("condition") == n), None)
        if genre == "StructField":
            return next((n for n in here if n.type.endswith("field_initializer")), None)
        name = mutant["function"]["span"]
        low, high = self.byte(name["start"]), self.byte(name["end"])
        blocks = [n for nodes in self.at.values() for n in nodes if n.type == "block"]
        blocks = [n for n in blocks if n.parent.type == "function_item"]
        blocks = [n for n in blocks if low <= n.start_byte <= start and end <= n.end_byte <= high]
        return min(blocks, key=lambda n: n.end_byte - n.start_byte, default=None)

    def text(self, node):
        out, at = [], node.start_byte
        for child in node.children:
            out += [self.source[at:child.start_byte].decode(), self.render(child)]
            at = child.end_byte
        return "".join(out) + self.source[at:node.end_byte].decode()

    def render(self, node):
        here = self.planted.get(node.id, [])
        guards = [h for h in here if h[1]["genre"] == "MatchArmGuard"]
        rest = [h for h in here if h not in guards]
        if rest:
            text = getattr(self, node.type)(node, rest)
        else:
            text = self.text(node) if node.children else self.source[node.start_byte:node.end_byte].decode()
        return self.guard(text, guards) if guards else text

    @staticmethod
    def choose(here, otherwise, form):
        """The mutants, each on a line of its own, which an error of the compiler then names."""
        out = "".join(f"\nif {ON}({id}) {{ {form(m)} }} /*m{id}*/ else" for id, m in here)
        return f"{out}\n{{ {otherwise} }}\n"

    def binary_expression(self, node, here):
        left, op, right = node.children[0], node.children[-2].text.decode(), node.children[-1]
        l, r = self.render(left), self.render(right)
        if op in ("&&", "||"):
            (id, _), = here
            ends = "==" if op == "&&" else "!="
            return f"(match ({l}) {{ l => if l {ends} {ON}({id}) /*m{id}*/ {{ l }} else {{ {r} }} }})"
        chosen = self.choose(here, f"l {op} r", lambda m: f"l {m['replacement']} r")
        if op in COMPARE:
            return f"(match (&({l}), &({r})) {{ (l, r) => {chosen} }})"
        return f"(match ({l}, {r}) {{ (l, r) => {chosen} }})"

    def compound_assignment_expr(self, node, here):
        left, op, right = node.children[0], node.children[-2].text.decode(), node.children[-1]
        place = re.sub(r"\s*\n\s*", " ", self.render(left))
        chosen = self.choose(here, f"{place} {op} r", lambda m: f"{place} {m['replacement']} r")
        return f"match {self.render(right)} {{ r => {chosen} }}"

    def unary_expression(self, node, here):
        (id, _), = here
        return f"(({self.render(node.children[-1])}) != !{ON}({id}) /*m{id}*/)"

    def block(self, node, here):
        body = "".join(f"\nif {ON}({id}) {{ return {m['replacement']}; }} /*m{id}*/" for id, m in here)
        return "{" + body + "\n" + self.text(node)[1:]

    def match_arm(self, node, here):
        (id, _), = here
        pattern = node.children[0]
        condition = pattern.child_by_field_name("condition")
        text = self.render(pattern)
        head = f"{text} && !{ON}({id}) /*m{id}*/" if condition else f"{text} if !{ON}({id}) /*m{id}*/"
        rest, at = [], pattern.end_byte
        for child in node.children[1:]:
            rest += [self.source[at:child.start_byte].decode(), self.render(child)]
            at = child.end_byte
        return head + "".join(rest)

    @staticmethod
    def guard(text, here):
        yes = "".join(f"{ON}({id}) || " for id, m in here if m["replacement"] == "true")
        no = "".join(f"!{ON}({id}) && " for id, m in here if m["replacement"] == "false")
        return f"({yes}{no}({text})) " + "".join(f"/*m{id}*/" for id, _ in here)

    def field_initializer(self, node, here):
        (id, _), = here
        base = next(n for n in node.parent.children if n.type == "base_field_initializer")
        kind = node.parent.parent.child_by_field_name("name").text.decode()
        name = node.children[0].text.decode()
        value = self.render(node.children[-1]) if len(node.children) > 1 else name
        other = f"{{ let base: {kind} = {base.children[-1].text.decode()}; base.{name} }}"
        return f"{name}: (if {ON}({id}) {other} /*m{id}*/ else {{ {value} }})"

    shorthand_field_initializer = field_initializer


def plant(pristine, tree, mutants, without):
    """Writes the sources below `tree`. Returns the mutants that cannot have a switch."""
    left, files = [], collections.defaultdict(list)
    for id, mutant in enumerate(mutants):
        if id not in without:
            files[mutant["file"]].append((id, mutant))
    for path in sorted({m["file"] for m in mutants}):
        file = File(pristine / path, files[path])
        left += file.left
        (tree / path).write_text(file.render(file.root))
    lib = "crates/core/src/lib.rs"
    (tree / lib).write_text((pristine / lib).read_text() + "pub mod mutant;\n")
    (tree / "crates/core/src/mutant.rs").write_text(SWITCH)
    return left
