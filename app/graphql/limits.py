"""Defines the limits of one GraphQL request, and checks its raw text and variables.

The text is checked before a parser reads it, and the variables before they are coerced. Both checks take linear time
and stop at the first violation.
"""

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, Node

from app.core.errors import AimlineError
from app.graphql.json_text import JsonText

CEILING = 2**53 - 1
"""The largest value of a count, which is the largest integer that every JSON reader accepts exactly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one operation. Operators set `cost` and `seconds`; the other limits are fixed."""

    cost: int = 10_000
    """The largest number of rows that an operation may be able to return."""
    seconds: float = 10.0
    """The largest number of seconds for which an operation may run."""
    characters: int = 32_768
    tokens: int = 1_500
    comments: int = 200
    lines: int = 2_000
    depth: int = 12
    """The largest depth of nested selection sets below a root field."""
    introspection_depth: int = 20
    """The largest depth of nested selection sets within introspection.

    The usual introspection query follows nine levels of `ofType`.
    """
    nesting: int = 60
    """The largest depth of nested selection sets, inline fragments and fragment spreads together."""
    aliases: int = 30
    directives: int = 50
    node_directives: int = 5
    """The largest number of directives on one part of the document."""
    size: int = 5_000
    """The largest number of fields, arguments, values and directives in an operation.

    Every fragment is counted each time it is spread.
    """
    comparisons: int = 2_000
    """The largest number of pairs of fields that validation may have to compare because they have the same response
    key.
    """
    introspection: int = 80_000
    """The largest number of response keys that introspection may be able to return."""
    value_depth: int = 10
    """The largest depth of nested lists and objects in a literal or a variable."""
    variable_values: int = 6_000
    """The largest number of lists, objects and values in all variables together."""
    answer: int = 8_000_000
    """The largest number of characters of a response.

    A small document can produce a long response, because a text that is read once can be selected under many names.
    """
    errors: int = 100
    """The largest number of errors that a response lists."""
    validation_errors: int = 30
    """The number of errors after which the validation of a document stops."""
    printed: int = 1_500
    """The largest number of parts of literals that may be printed in error messages.

    The library prints the whole literal for each error in it.
    """


class TooMuch(AimlineError):
    """Raised when an operation asks for more than the limits allow."""

    code = "operation.too_much"


def too_much(code: str, detail: str, *nodes: Node) -> GraphQLError:
    """Returns the error for a document that asks for too much; `nodes` are the parts of the document that cause it."""
    return GraphQLError(detail, list(nodes) or None, original_error=TooMuch(detail, code=code))


def check_text(text: str, limits: Limits) -> None:
    """Raises a `GraphQLError` if the text of a document is too long to be parsed."""
    if len(text) > limits.characters:
        raise too_much("document.too_long", f"A document has at most {limits.characters} characters.")
    if text.count("\n") + text.count("\r") > limits.lines:
        raise too_much("document.too_long", f"A document has at most {limits.lines} lines.")


def check_variables(variables: dict[str, Any] | None, limits: Limits) -> None:
    """Raises a `GraphQLError` if the variables have too many values or too deeply nested values."""
    level: list[Any] = [variables or {}]
    values = depth = 0
    while level:
        inner: list[Any] = []
        for value in level:
            children = value.values() if isinstance(value, dict) else value
            values += len(children)
            if values > limits.variable_values:
                detail = f"The variables hold at most {limits.variable_values} values."
                raise too_much("variables.too_large", detail)
            inner += [child for child in children if isinstance(child, dict | list)]
        level, depth = inner, depth + 1
        if level and depth > limits.value_depth:
            detail = f"Lists and objects lie in one another at most {limits.value_depth} deep."
            raise too_much("variables.too_deep", detail)


def check_answer(data: dict[str, Any] | None, limits: Limits) -> None:
    """Raises `TooMuch` if the response would be too long; it is called before the response is serialized."""
    level: list[Any] = [data]
    length = 0
    while level:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                length += sum(map(len, value)) + 4 * len(value)
                inner += value.values()
            elif isinstance(value, list):
                length += len(value)
                inner += value
            elif isinstance(value, JsonText):
                length += len(value.contents)
            else:
                length += len(value) if isinstance(value, str) else 4
        if length > limits.answer:
            detail = f"An answer has at most {limits.answer} characters; ask for less at a time."
            raise TooMuch(detail, code="answer.too_large")
        level = inner
