"""Finds names that a `with violations:` block binds, and that are read before `violations.refuse()`.

Such a block suppresses what its check raises, so a name in the block may never have been bound. Reading it then raises
`UnboundLocalError`, and the caller gets a 500 instead of the violations.
"""

import ast
from collections.abc import Iterable, Iterator

from tests.house.source import modules

COLLECTOR = "violations"
REFUSAL = "refuse"


def find_unbound_reads(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yields the name and the line of each read of a name that may not be bound, in the functions of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            reader = _Reader({one.arg for one in every if one is not None})
            yield from reader.read_block(node.body)


def unbound_reads() -> dict[str, list[str]]:
    """Returns the reads of names that may not be bound, by module."""
    return {
        name: [f"{read} in line {line}" for read, line in reads]
        for name, tree in modules().items()
        if (reads := sorted(set(find_unbound_reads(tree))))
    }


class _Reader:
    """Goes through the statements of one function. `doubtful` are the names that are bound only if a block
    succeeded.
    """

    def __init__(self, bound: set[str]) -> None:
        self.bound = bound
        self.doubtful: set[str] = set()

    def read_block(self, statements: Iterable[ast.stmt]) -> Iterator[tuple[str, int]]:
        for statement in statements:
            yield from self._read(statement)

    def _read(self, node: ast.stmt) -> Iterator[tuple[str, int]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bind({node.name})
        elif isinstance(node, ast.With) and any(_is_collector(item.context_expr) for item in node.items):
            before, doubtful = set(self.bound), set(self.doubtful)
            yield from self.read_block(node.body)
            self.doubtful = doubtful | self.doubtful | (self.bound - before)
            self.bound = before
        elif _is_refusal(node):
            self._bind(set(self.doubtful))
        else:
            yield from self._read_parts(node)

    def _read_parts(self, node: ast.stmt) -> Iterator[tuple[str, int]]:
        own = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt | ast.excepthandler)]
        for child in own:
            yield from self._reads_of(child)
        for child in own:
            self._bind(_bound_by(child))
        bound = set(self.bound)
        for block in _blocks_of(node):
            self.bound = set(bound)
            yield from self.read_block(block)
            # What one branch binds is not in doubt because of violations, whatever the other branch does.
            bound |= self.bound
        self._bind(bound)

    def _reads_of(self, node: ast.AST) -> Iterator[tuple[str, int]]:
        for inner, own in _names_in(node, frozenset()):
            if isinstance(inner.ctx, ast.Load) and inner.id in self.doubtful and inner.id not in own:
                yield inner.id, inner.lineno

    def _bind(self, names: set[str]) -> None:
        self.bound |= names
        self.doubtful -= names


def _is_collector(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == COLLECTOR


def _is_refusal(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == REFUSAL
        and _is_collector(call.func.value)
    )


def _bound_by(node: ast.AST) -> set[str]:
    return {one.id for one, own in _names_in(node, frozenset()) if isinstance(one.ctx, ast.Store) and one.id not in own}


def _names_in(node: ast.AST, own: frozenset[str]) -> Iterator[tuple[ast.Name, frozenset[str]]]:
    """Yields the names in an expression, each with the variables of the comprehensions and lambdas around it."""
    if isinstance(node, ast.Name):
        yield node, own
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        targets = [name for generator in node.generators for name in ast.walk(generator.target)]
        own |= {name.id for name in targets if isinstance(name, ast.Name)}
    elif isinstance(node, ast.Lambda):
        own |= {argument.arg for argument in node.args.args}
    for child in ast.iter_child_nodes(node):
        yield from _names_in(child, own)


def _blocks_of(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(node, name, None):
            yield block
    for handler in getattr(node, "handlers", ()):
        yield handler.body
    for case in getattr(node, "cases", ()):
        yield case.body
