"""Generates random reads of the GraphQL schema.

Each read has two equivalent forms: the text of a GraphQL document, and the selection for the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from random import Random
from typing import Any

from graphql import GraphQLList, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type

from app.catalog import CATALOG
from app.graphql.schema import schema
from app.resources.declare import Resource, declaration
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import ManyMember, Member, OneMember, ValueMember
from app.resources.select import (
    Constant,
    Cursor,
    Edges,
    Fact,
    Info,
    Node,
    Page,
    Pick,
    Picks,
)
from app.resources.values import Figures, is_value

SDL: GraphQLSchema = schema._schema
FACTS = ("has_next_page", "has_previous_page", "start_cursor", "end_cursor")
WIDENED = {("Student", "scores"), ("Support", "scores"), ("Support", "decisions")}
"""Fields that the resolvers filter after they have read, so that their log names kinds that are not in the answer."""


def camel(name: str) -> str:
    """Returns a name as GraphQL writes it."""
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def shown(members: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the members or items that GraphQL shows, keyed by their GraphQL names."""
    return {camel(name): one for one in members.values() if (name := one.shown_as("graphql")) is not None}


@dataclass
class Read:
    """A read of one root field in two forms: the text of a GraphQL document, and the selection for the engine."""

    text: str
    key: str
    picks: Picks = ()
    page: Page | None = None
    listing: Listing | None = None
    resource: type[Resource[Any]] | None = None
    given: dict[str, Any] = field(default_factory=dict)
    row_id: str = ""


@dataclass
class Draw:
    """Draws random reads from a seed. `values` are the possible values of arguments, keyed by the argument's name."""

    random: Random
    values: Mapping[str, list[Any]]
    widened: bool = False
    number: int = 0

    def read(self) -> Read:
        """Returns one read: a list, or one row by its id."""
        if self.random.random() < 0.3:
            return self._row()
        return self._list()

    def _list(self) -> Read:
        names = [name for name in CATALOG.listings if name in SDL.query_type.fields]  # type: ignore[union-attr]  # there is a query type
        listing = CATALOG.listings[self.random.choice(names)]
        key = self._key(listing.name)
        given = self._arguments(listing.by_face("graphql"), SDL.query_type.fields[listing.name].args)  # type: ignore[union-attr]  # there is a query type
        sdl_type = self._type(declaration(listing.resource).name)
        if not listing.paged:
            text, picks = self._object(sdl_type, listing.resource, 2)
            return Read(f"{key}: {listing.name} {{ {text} }}", key, picks, None, listing, None, given)
        first = self.random.choice((1, 2, 5, 50))
        text, page = self._page(sdl_type, listing.resource, 3, first)
        arguments = {"first": first, **given}
        return Read(f"{key}: {listing.name}{written(arguments, listing)} {text}", key, (), page, listing, None, given)

    def _row(self) -> Read:
        name = self.random.choice([one for one in CATALOG.gets if f"{one}_id" in self.values])
        resource = CATALOG.gets[name]
        key = self._key(name)
        text, picks = self._object(self._type(declaration(resource).name), resource, 3)
        row_id = self.random.choice(self.values[f"{name}_id"])
        return Read(f'{key}: {name}(id: "{row_id}") {{ {text} }}', key, picks, None, None, resource, {}, row_id)

    def _object(self, type_: GraphQLObjectType, resource: type[Resource[Any]], depth: int) -> tuple[str, Picks]:
        members = shown(CATALOG.members(resource))
        texts: list[str] = []
        picks: list[Pick | Constant] = []
        names = [
            name for name in type_.fields if depth > 0 or is_leaf_type(get_named_type(type_.fields[name].type))
        ] or ["__typename"]
        for name in self.random.sample(names, self.random.randint(1, min(len(names), 6))):
            if name == "__typename":
                continue
            text, pick = self._field(type_, name, members[name], depth)
            texts.append(text)
            picks.append(pick)
        if not texts or self.random.random() < 0.2:
            texts.append("__typename")
            picks.append(Constant("__typename", f'"{type_.name}"'))
        return " ".join(texts), tuple(picks)

    def _field(self, parent: GraphQLObjectType, name: str, member: Member, depth: int) -> tuple[str, Pick]:
        key = self._key(name) if self.random.random() < 0.2 else name
        start = name if key == name else f"{key}: {name}"
        type_ = get_named_type(parent.fields[name].type)
        self.widened = self.widened or (parent.name, name) in WIDENED
        if isinstance(member, ManyMember) and member.paged:
            plain = {one.shown_as("graphql"): one for one in member.filters if one.resolve is None}
            given = self._arguments(plain, parent.fields[name].args)
            first = self.random.choice((1, 3, 50))
            node = type_.fields["edges"].type
            inner = get_named_type(get_named_type(node).fields["node"].type)
            text, page = self._page(inner, member.target, depth - 1, first)
            return f"{start}{written({'first': first, **given})} {text}", Pick(
                key, member.name, page=page, arguments=tuple(given.items())
            )
        if isinstance(member, OneMember | ManyMember) and isinstance(type_, GraphQLObjectType):
            text, picks = self._object(type_, member.target, depth - 1)
            return f"{start} {{ {text} }}", Pick(key, member.name, picks)
        if isinstance(member, ValueMember) and isinstance(type_, GraphQLObjectType):
            given = self._arguments({one.name: one for one in member.arguments}, parent.fields[name].args)
            text, picks = self._value(type_, member.shape)
            return f"{start}{written(given)} {{ {text} }}", Pick(
                key, member.name, picks, arguments=tuple(given.items())
            )
        return start, Pick(key, member.name)

    def _value(self, type_: GraphQLObjectType, shape: Any) -> tuple[str, Picks]:
        texts: list[str] = []
        picks: list[Pick] = []
        items = {} if shape is Figures else shown(shape.__items__)
        for name in self.random.sample(list(type_.fields), self.random.randint(1, len(type_.fields))):
            inner = get_named_type(type_.fields[name].type)
            if isinstance(inner, GraphQLObjectType):
                text, below = self._value(inner, items[name].type)
                texts.append(f"{name} {{ {text} }}")
                picks.append(Pick(name, items[name].name, below))
            else:
                texts.append(name)
                picks.append(Pick(name, name if shape is Figures else items[name].name))
        assert is_value(shape) or shape is Figures
        return " ".join(texts), tuple(picks)

    def _page(
        self, type_: GraphQLObjectType, resource: type[Resource[Any]], depth: int, first: int
    ) -> tuple[str, Page]:
        text, picks = self._object(type_, resource, depth)
        edges = Edges("edges", (Node("node", picks), Cursor("cursor")))
        info = Info("pageInfo", tuple(Fact(camel(name), name) for name in FACTS))
        names = " ".join(camel(name) for name in FACTS)
        return (
            f"{{ edges {{ node {{ {text} }} cursor }} pageInfo {{ {names} }} }}",
            Page((edges, info), first, limit_name="first"),
        )

    def _arguments(self, criteria: Mapping[str, Filter[Any] | Flag], declared: Mapping[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, criterion in criteria.items():
            assert camel(name) in declared, f"{name} is no argument of the SDL"
            if self.random.random() < 0.25:
                given[name] = self._given(name, criterion)
        return given

    def _given(self, name: str, criterion: Filter[Any] | Flag) -> Any:
        if isinstance(criterion, Flag):
            return self.random.random() < 0.7
        if issubclass(criterion.value_type, StrEnum):
            return self.random.choice(list(criterion.value_type))
        return self.random.choice(self.values[name])

    def _type(self, name: str) -> GraphQLObjectType:
        type_ = SDL.type_map[name]
        assert isinstance(type_, GraphQLObjectType)
        return type_

    def _key(self, name: str) -> str:
        self.number += 1
        return f"{name}{self.number}"


def written(arguments: Mapping[str, Any], listing: Listing | None = None) -> str:
    """Returns arguments as the text that a GraphQL document contains."""
    parts = [f"{camel(name)}: {_literal(value)}" for name, value in arguments.items()]
    return f"({', '.join(parts)})" if parts else ""


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, StrEnum):
        return value.name
    return str(value) if isinstance(value, int) else f'"{value.isoformat() if isinstance(value, date) else value}"'


def is_list(type_: Any) -> bool:
    """Returns whether a field's type is a list."""
    return isinstance(type_.of_type if isinstance(type_, GraphQLNonNull) else type_, GraphQLList)
