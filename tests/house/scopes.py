"""Computes which scopes and conflicts a command can have, from the source of the functions that it calls."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

from app.access.permission import Can
from app.access.work import required_permissions
from app.core.errors import Conflict


@cache
def permissions_through(function: Callable[..., Any]) -> frozenset[Can]:
    """Returns the permissions that a function and all functions that it calls require.

    Functions that are called with the district's own rights (`Work.as_district`) require no permission of the caller.
    """
    return frozenset(can for each in _reached(function, set()) for can in required_permissions(each))


@cache
def conflicts_through(function: Callable[..., Any]) -> frozenset[str]:
    """Returns the codes of the conflicts (409) that a function, or any function that it calls, can raise."""
    return frozenset(
        code
        for each in _reached(function, set(), every=True)
        for node in ast.walk(_tree_of(each))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for code in _conflicts_of(node.exc, inspect.unwrap(each).__globals__)
    )


def _conflicts_of(made: ast.Call, names: dict[str, Any]) -> Iterator[str]:
    """Yields the codes of the conflicts that a call can raise.

    The call creates a `Conflict` itself, or it calls a function that returns one.
    """
    maker = _resolved(made.func, names)
    if inspect.isclass(maker) and issubclass(maker, Conflict):
        yield next((ast.literal_eval(word.value) for word in made.keywords if word.arg == "code"), maker.code)
    elif inspect.isfunction(maker):
        for node in ast.walk(_tree_of(maker)):
            if isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
                yield from _conflicts_of(node.value, maker.__globals__)


def _reached(function: Callable[..., Any], visited: set[Any], *, every: bool = False) -> Iterator[Callable[..., Any]]:
    """Yields a function and the functions of the product that it calls.

    Functions that are called with the whole district's rights are left out unless `every` is true.
    """
    plain = inspect.unwrap(function)
    if plain in visited:
        return
    visited.add(plain)
    yield function
    for call in _calls(_tree_of(function), every=every):
        called = _resolved(call.func, plain.__globals__)
        if inspect.isfunction(called) and called.__module__.startswith("app."):
            yield from _reached(called, visited, every=every)


@cache
def _tree_of(function: Callable[..., Any]) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))


def _calls(node: ast.AST, *, every: bool) -> Iterator[ast.Call]:
    """Yields the calls in a function that run with the caller's permissions, or, with `every`, all calls."""
    if not every and isinstance(node, ast.AsyncWith) and any("as_district" in ast.unparse(item) for item in node.items):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, every=every)


def _resolved(name: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(name, ast.Name):
        return names.get(name.id)
    if isinstance(name, ast.Attribute):
        owner = _resolved(name.value, names)
        return getattr(owner, name.attr, None) if isinstance(owner, ModuleType) else None
    return None
