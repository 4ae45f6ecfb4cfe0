"""The part of a module's source that decides numbers: its syntax tree without what people read."""

import ast
import re
from dataclasses import dataclass, field

LOGGER = "log"  # of wfdm.log: a statement that only calls it is left out
PROGRESS = "progress"  # of wfdm.log: it passes its items on; its words and totals are left out
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
# Evaluating a condition made of these changes nothing.
PLAIN = (ast.Name, ast.Attribute, ast.Constant, ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Subscript)
PLAIN_PARTS = (ast.expr_context, ast.cmpop, ast.boolop, ast.unaryop)


@dataclass(frozen=True, order=True)
class Imported:
    """`from module import name as bound`; without a name, `import module`."""

    module: str
    name: str
    bound: str


def read(source: str, package: str, keep_unused: bool) -> tuple[str, list[Imported]]:
    """Return the part of a module's source that decides numbers, and what that part imports.

    Left out are comments and formatting, docstrings, types of functions and of what they hold, log
    lines, words of the progress bar, error texts, and what is imported for types only. Imports
    count wherever they are.

    Args:
        source: of the module.
        package: that its relative imports start from.
        keep_unused: count names that are imported and not used, for a module that passes them on;
            else a name that only types use does not count.
    """
    tree, strip = ast.parse(source), _Strip(package)
    tree.body = strip.block(tree.body, in_function=False)
    if f"{PROGRESS}(" in source:
        _drop_words_of_progress(tree)
    text = ast.unparse(tree)
    used = {"", "*", *re.findall(r"\w+", text)}
    kept = {each for each in strip.imported if keep_unused or each.bound in used}
    return text, sorted(kept)


@dataclass
class _Strip:
    """Goes through statements only, expressions stay as they are: the whole package takes 0.1 s."""

    package: str
    imported: list[Imported] = field(default_factory=list)

    def block(self, body: list[ast.stmt], in_function: bool) -> list[ast.stmt]:
        kept = [self.statement(node, in_function) for node in body]
        return [node for node in kept if node is not None] or [ast.Pass()]

    def statement(self, node: ast.stmt, in_function: bool) -> ast.stmt | None:
        """Return what is left of a statement; None where that is nothing."""
        match node:
            case ast.Import() | ast.ImportFrom():
                self._note(node)
                return None
            case ast.Expr():
                # A docstring or a lone text; a log line.
                silent = isinstance(node.value, ast.Constant) or _is_log_line(node.value)
                return None if silent else node
            case ast.If() if _is_for_types(node):
                return None
            case ast.AnnAssign() if in_function:  # elsewhere a field, whose type may count
                return _assigned(node)
            case ast.Raise(exc=ast.Call(func=kind)):
                node.exc = kind
            case ast.Assert():
                node.msg = None
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                _drop_types(node)
                node.body = self.block(node.body, in_function=True)
            case ast.ClassDef():
                node.body = self.block(node.body, in_function=False)
            case _:
                self._inner_blocks(node, in_function)
        silent = isinstance(node, ast.If) and not node.orelse and _is_pass(node.body)
        return None if silent and _is_plain(node.test) else node  # type: ignore[attr-defined]

    def _inner_blocks(self, node: ast.AST, in_function: bool) -> None:
        for name in BLOCKS:
            for inner in (block := getattr(node, name, [])):
                if not isinstance(inner, ast.stmt):  # of try and match
                    self._inner_blocks(inner, in_function)
            if block and isinstance(block[0], ast.stmt):
                left = self.block(block, in_function)
                setattr(node, name, [] if name != "body" and _is_pass(left) else left)

    def _note(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):  # counted whether it is used or not: bound to no name
            self.imported += [Imported(each.name, "", each.asname or "") for each in node.names]
            return
        parts = self.package.split(".")[: -(node.level - 1) or None] if node.level else []
        base = ".".join([*parts, *filter(None, [node.module])])
        self.imported += [
            Imported(base, each.name, each.asname or each.name) for each in node.names
        ]


def _drop_types(node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    node.returns = None
    given = node.args
    for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if each is not None:
            each.annotation = None


def _drop_words_of_progress(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == PROGRESS:
            node.args, node.keywords = node.args[:1], []


def _assigned(node: ast.AnnAssign) -> ast.stmt | None:
    if node.value is None:
        return None
    return ast.copy_location(ast.Assign([node.target], node.value), node)


def _is_for_types(node: ast.If) -> bool:
    return ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING" and not node.orelse


def _is_log_line(value: ast.expr) -> bool:
    match value:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))):
            return name == LOGGER
    return False


def _is_pass(body: list[ast.stmt]) -> bool:
    return len(body) == 1 and isinstance(body[0], ast.Pass)


def _is_plain(test: ast.expr) -> bool:
    return all(isinstance(node, (*PLAIN, *PLAIN_PARTS)) for node in ast.walk(test))
