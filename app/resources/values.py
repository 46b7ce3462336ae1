"""Declares values that are objects without an id, such as one week of a dosage. They are parts of a resource.

A value comes from a JSON column or is computed in Python. It is declared by a subclass of `Value`, whose annotations
state the types in the contract and whose attributes are `item(…)`. A dict, or an object of any class, can be rendered
as this value if its keys or attributes have the same names.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from app.core import ids
from app.core.clock import show_instant
from app.core.errors import Misuse


class Figures:
    """Type annotation for named numbers. REST shows them as an object, GraphQL as a list of names and values."""


class JsonObject:
    """Type annotation for a JSON object whose keys are not declared. GraphQL shows it as the scalar `JSON`."""


class Numbers(JsonObject):
    """Type annotation for a JSON object whose keys are not declared and whose values are numbers."""


class WholeNumbers(JsonObject):
    """Type annotation for a JSON object whose keys are not declared and whose values are whole numbers."""


class JsonList(JsonObject):
    """Type annotation for a JSON list whose items are not declared."""


class DayRanges(JsonObject):
    """Type annotation for a list of date ranges. Each range is a pair: its first day and its last day."""


@dataclass(frozen=True)
class Item:
    """One attribute of a `Value`: its name, type, description and example.

    `kind` is the kind of the public id, if the attribute is a public id.
    """

    name: str
    type: Any
    description: str
    example: Any = None
    kind: str | None = None
    nullable: bool = False
    many: bool = False
    rest: str | None = "="
    graphql: str | None = "="
    get: Callable[[Any], Any] | None = None

    def shown_as(self, face: str) -> str | None:
        """Returns the item's name in an API, or None if it is not shown."""
        name = self.rest if face == "rest" else self.graphql
        return self.name if name == "=" else name


def item(
    description: str,
    example: Any = None,
    *,
    kind: str | None = None,
    rest: str | None = "=",
    graphql: str | None = "=",
    get: Callable[[Any], Any] | None = None,
) -> Any:
    """Declares one attribute of a `Value`.

    If the objects to render have no such attribute, `get` is a function that computes it from the whole object.
    """
    return Item("", None, description, example, kind, rest=rest, graphql=graphql, get=get)


class Value:
    """The base class of values that are objects with declared attributes but no id, such as one week of a dosage.

    `__items__` has the declared attributes by name, in the order of their declaration.
    """

    __items__: ClassVar[Mapping[str, Item]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        hints = get_type_hints(cls)
        inherited: dict[str, Item] = dict(getattr(cls, "__items__", {}))
        for name, value in list(vars(cls).items()):
            if isinstance(value, Item):
                type_, nullable, many = parse_annotation(hints[name])
                inherited[name] = replace(value, name=name, type=type_, nullable=nullable, many=many)
        cls.__items__ = inherited


def parse_annotation(hint: Any) -> tuple[Any, bool, bool]:
    """Returns the type in an annotation, whether the value may be None, and whether it is a list."""
    nullable = False
    if get_origin(hint) in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        if len(parts) != 1:
            raise Misuse(f"A member has one type, or one type and None; this has {hint}.")
        nullable, hint = len(parts) < len(get_args(hint)), parts[0]
    if get_origin(hint) is list:
        return get_args(hint)[0], nullable, True
    return hint, nullable, False


def render_leaf(value: Any, item_: Item, *, upper: bool) -> Any:
    """Returns the value of one item as JSON-compatible data. With `upper`, an enum is shown by its upper-case name."""
    if value is None:
        return None
    if item_.many:
        return [_leaf(element, item_, upper=upper) for element in value]
    return _leaf(value, item_, upper=upper)


def _leaf(value: Any, item_: Item, *, upper: bool) -> Any:
    if item_.kind is not None:
        return ids.format_id(item_.kind, value if isinstance(value, UUID) else UUID(str(value)))
    if isinstance(value, datetime):
        return show_instant(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(item_.type, type) and issubclass(item_.type, StrEnum):
        return item_.type(value).name if upper else item_.type(value).value
    return value


@functools.cache
def is_json(type_: Any) -> bool:
    """Returns whether a type stands for a JSON object or list whose contents are not declared."""
    return isinstance(type_, type) and issubclass(type_, JsonObject)


@functools.cache
def is_value(type_: Any) -> bool:
    """Returns whether a type is a subclass of `Value`, that is a value with declared attributes."""
    return isinstance(type_, type) and issubclass(type_, Value)
