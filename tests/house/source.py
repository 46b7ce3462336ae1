"""Parses the source of `app` for the tests in `tests/house`. Modules are imported only on demand."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).parents[2]
APP = REPOSITORY / "app"


@cache
def modules() -> dict[str, ast.Module]:
    """Returns the parsed modules of `app` by dotted name."""
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            path.read_text()
        )
        for path in sorted(APP.rglob("*.py"))
    }


def imported(name: str) -> ModuleType:
    """Returns the module with this name."""
    return importlib.import_module(name)


def import_models() -> None:
    """Imports every module with mapped tables, so that the metadata includes all tables."""
    for name in modules():
        if name.endswith(".models"):
            imported(name)


def functions(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef | ast.FunctionDef]:
    """Yields the functions of a module and the methods of its classes, but not functions within functions."""
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (one for one in node.body if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef))


def takes_work(function: ast.AsyncFunctionDef | ast.FunctionDef) -> bool:
    """Returns whether an argument of a function is annotated as a `Work`."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(
        isinstance(node, ast.Name) and node.id == "Work"
        for argument in arguments
        if argument.annotation is not None
        for node in ast.walk(_read(argument.annotation))
    )


def touches_the_session(function: ast.AST) -> bool:
    """Returns whether the code of a function reads `.db` of anything, or `.run` of a unit of work."""
    attributes = [node for node in ast.walk(function) if isinstance(node, ast.Attribute)]
    return any(
        node.attr == "db" or (node.attr == "run" and isinstance(node.value, ast.Name) and node.value.id == "work")
        for node in attributes
    )


def marked(function: ast.AsyncFunctionDef | ast.FunctionDef) -> bool:
    """Returns whether a function has the decorator `needs(…)`."""
    return any(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "needs"
        for one in function.decorator_list
    )


def _read(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation
