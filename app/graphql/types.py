"""Generates the GraphQL types of the resources: objects, connections, enums, and values that have several fields.

The types have no resolvers, because `execute` reads all that is selected from them with one statement.
"""

import functools
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, TypeVar

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.scalars import JSON
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.access.permission import MEANING, Can
from app.catalog import CATALOG
from app.core.text import camel
from app.graphql.node import Node
from app.resources.catalog import permissions_of
from app.resources.declare import GRAPHQL, Declaration, declaration
from app.resources.listing import Filter, Flag
from app.resources.members import FieldMember, ManyMember, Member, OneMember, ReferenceMember, ValueMember
from app.resources.select import ResourceType
from app.resources.values import Figures, Item, is_json, is_value
from app.response.rules.verdict import NonresponseKind, State
from app.sis.rules import RunState

NEEDS: Final = "needs"
"""The key in a field's metadata under which its required permissions are stored."""
ENUM_NAMES: Final = {State: "VerdictState", NonresponseKind: "VerdictKind", RunState: "SyncRunState"}
"""The SDL names of the enums whose names in the SDL and in the code differ, keyed by enum."""
PAGE_WORDS: Final = (
    "A page of a list: `first` rows (by default 50, at most 200) after a cursor, or the `last` ones before one."
)
TOTAL_WORDS: Final = "The number of all rows of the list; null above 25,000. Counting adds 250 to the cost."
PAGE_ARGUMENTS: Final = {"first": int, "after": str, "last": int, "before": str}

T = TypeVar("T")
_derived: set[str] = set()


@strawberry.type(description="The position of a page in its list.")
class PageInfo:
    """The position of a page in its list, as the Relay specification of connections defines it."""

    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="A named number.")
class Figure:
    """A named number that belongs to a verdict's reason or to a rule."""

    name: str
    value: float


def cached(function: Callable[[Any], T]) -> Callable[[Any], T]:
    """Returns a function that computes the result for each argument only once.

    It wraps the standard library's `functools.cache`. If that were used directly, mypy would report that a class is not
    hashable.
    """
    return functools.cache(function)


def make_field(
    name: str,
    type_: Any,
    description: str | None = None,
    permissions: Iterable[Can] = (),
    arguments: Iterable[StrawberryArgument] = (),
) -> StrawberryField:
    """Returns a field with its Python name, its type, and the permissions that it requires."""
    required = tuple(dict.fromkeys(permissions))
    graphql_field = StrawberryField(
        python_name=name,
        graphql_name=camel(name),
        type_annotation=StrawberryAnnotation(type_),
        description=with_permissions(description, required) if description is not None else None,
        metadata={NEEDS: frozenset(required)} if required else None,
    )
    graphql_field.arguments = list(arguments)
    return graphql_field


def make_argument(name: str, type_: Any, description: str | None = None, default: Any = None) -> StrawberryArgument:
    """Returns an argument of a field; an argument without a default may be left out."""
    return StrawberryArgument(name, camel(name), StrawberryAnnotation(type_), False, description, default)


def with_permissions(description: str, permissions: Iterable[Can]) -> str:
    """Returns a description to which the required permissions are added."""
    needed = " ".join(f"`{can.value}` ({MEANING.get(can, can.value).rstrip('.')})." for can in permissions)
    return f"{description}\n\nNeeds: {needed}" if needed else description


@cached
def enum_of(choices: type[StrEnum]) -> Any:
    """Returns the GraphQL enum for a Python enum. Its values are the names of the enum's members, in upper case."""
    description = (choices.__doc__ or "").strip().partition("\n")[0]
    return strawberry.enum(choices, name=ENUM_NAMES.get(choices, choices.__name__), description=description)


def criterion_arguments(criteria: Iterable[Filter[Any] | Flag]) -> list[StrawberryArgument]:
    """Returns the GraphQL arguments for a list's filters and flags. A flag is a filter that is true or false."""
    arguments: list[StrawberryArgument] = []
    for criterion in criteria:
        name = criterion.shown_as(GRAPHQL)
        if isinstance(criterion, Flag):
            arguments.append(make_argument(name, bool, criterion.description, default=False))
            continue
        type_: Any = criterion.value_type
        if issubclass(type_, StrEnum):
            type_ = enum_of(type_)
        elif name.endswith("_id"):
            type_ = strawberry.ID
        arguments.append(make_argument(name, type_ | None, criterion.description))
    return arguments


def page_arguments() -> list[StrawberryArgument]:
    """Returns the arguments with which a caller requests a page of a list, such as `first` and `after`."""
    return [make_argument(name, type_ | None) for name, type_ in PAGE_ARGUMENTS.items()]


@cached
def type_of(resource: ResourceType) -> Any:
    """Returns the object type of a resource; its fields are added later, because types refer to each other."""
    facts = declaration(resource)
    return _empty_type(facts.name, facts.description, is_node=_is_node(facts))


@cached
def connection_of(resource: ResourceType) -> Any:
    """Returns the connection type of a resource."""
    facts = declaration(resource)
    edge = _empty_type(f"{facts.name}Edge", "A row of a list with its cursor.")
    edge.__strawberry_definition__.fields += [make_field("node", type_of(resource)), make_field("cursor", str)]
    connection = _empty_type(f"{facts.name}Connection", PAGE_WORDS)
    connection.__strawberry_definition__.fields += [
        make_field("edges", _wrapped(edge, nullable=False, many=True)),
        make_field("page_info", PageInfo),
        make_field("total_count", int | None, TOTAL_WORDS),
    ]
    return connection


@cached
def value_type(shape: Any) -> Any:
    """Returns the GraphQL object type for a subclass of `Value`, which declares a value with several fields."""
    name = shape.__name__.removesuffix("Value")
    made = _empty_type(name, " ".join((shape.__doc__ or "").split()))
    for item in shape.__items__.values():
        if (shown := item.shown_as(GRAPHQL)) is not None:
            made.__strawberry_definition__.fields.append(make_field(shown, item_type(item), item.description))
    return made


def _complete_types() -> None:
    """Adds the fields to the types of all resources."""
    for resource in CATALOG.resources:
        fields = type_of(resource).__strawberry_definition__.fields
        for member in CATALOG.members(resource).values():
            shown_name = member.shown_as(GRAPHQL)
            if shown_name is not None and not (shown_name == "id" and _is_node(declaration(resource))):
                fields.append(_member_field(shown_name, member))


def _member_field(name: str, member: Member) -> StrawberryField:
    arguments: list[StrawberryArgument] = []
    if isinstance(member, ManyMember):
        arguments = [*(page_arguments() if member.paged else ()), *criterion_arguments(member.filters)]
    elif isinstance(member, ValueMember):
        arguments = criterion_arguments(member.arguments)
    return make_field(name, _member_type(member), member.description, permissions_of(member), arguments)


def _member_type(member: Member) -> Any:
    if isinstance(member, OneMember):
        return type_of(member.target) | None
    if isinstance(member, ManyMember):
        target = connection_of(member.target) if member.paged else type_of(member.target)
        return _wrapped(target, nullable=True, many=not member.paged)
    type_: Any = None
    nullable, many = False, False
    if isinstance(member, FieldMember):
        type_ = member.value_type if member.choices is None else enum_of(member.choices)
        nullable, many = member.nullable, member.many
    elif isinstance(member, ReferenceMember):
        type_, nullable, many = strawberry.ID, member.nullable or bool(member.kinds), member.many
    elif isinstance(member, ValueMember):
        type_, many = _shape_type(member.shape), member.many or member.shape is Figures
        nullable = member.nullable or member.compute is not None
    return _wrapped(type_, nullable=nullable, many=many)


def item_type(item: Item) -> Any:
    """Returns the GraphQL type for one field of a `Value`, which is a value with several fields."""
    type_ = strawberry.ID if item.kind is not None else _shape_type(item.type)
    return _wrapped(type_, nullable=item.nullable, many=item.many or item.type is Figures)


def _shape_type(shape: Any) -> Any:
    if shape is Figures:
        return Figure
    if is_json(shape):
        return JSON
    if is_value(shape):
        return value_type(shape)
    return enum_of(shape) if isinstance(shape, type) and issubclass(shape, StrEnum) else shape


def _wrapped(type_: Any, *, nullable: bool, many: bool) -> Any:
    whole = list[type_] if many else type_
    return whole | None if nullable else whole


def _is_node(facts: Declaration) -> bool:
    return facts.kind is not None and facts.node


def list_of(type_: Any) -> Any:
    """Returns the list type for items whose type is made at run time."""
    return list[type_]


def derived_names() -> frozenset[str]:
    """Returns the names of all object types that this module generates."""
    return frozenset({*_derived, "PageInfo", "Figure"})


def _empty_type(name: str, description: str, *, is_node: bool = False) -> Any:
    bases = (Node,) if is_node else ()
    _derived.add(name)
    return strawberry.type(type(name, bases, {"__doc__": description}), name=name, description=description)


_complete_types()
