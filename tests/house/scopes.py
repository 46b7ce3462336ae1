"""Computes the permissions that a command requires from the functions that it calls, by their source."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from app.access.permission import Can
from app.access.work import required_permissions


@cache
def permissions_through(function: Callable[..., Any]) -> frozenset[Can]:
    """Returns the permissions that a call of a function can require: its own, and those of all that it calls.

    What runs as the district's own principal (`Work.as_district`) requires nothing of the caller.
    """
    return frozenset(_collect(function, set()))


def _collect(function: Callable[..., Any], visited: set[Any]) -> Iterator[Can]:
    yield from required_permissions(function)
    plain = inspect.unwrap(function)
    if plain in visited:
        return
    visited.add(plain)
    tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
    for call in _calls(tree):
        called = _resolved(call.func, plain.__globals__)
        if inspect.isfunction(called) and called.__module__.startswith("app."):
            yield from _collect(called, visited)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Yields the calls in a function that run as the caller."""
    if isinstance(node, ast.AsyncWith) and any("as_district" in ast.unparse(item) for item in node.items):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _resolved(name: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(name, ast.Name):
        return names.get(name.id)
    if isinstance(name, ast.Attribute):
        owner = _resolved(name.value, names)
        return getattr(owner, name.attr, None) if isinstance(owner, ModuleType) else None
    return None
