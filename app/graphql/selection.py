"""Converts the fields of a GraphQL operation into the selections that `app.resources` can read.

It reads no rows itself, except those that a filter names, such as a student.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

import orjson
from graphql import (
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_subfields
from graphql.execution.values import VariableValues, get_argument_values

from app.access.work import Work
from app.catalog import CATALOG
from app.core.errors import Malformed, Misuse, NotFound, Violation
from app.core.page import page_size
from app.core.text import camel
from app.core.violations import ReadViolations
from app.graphql.types import cached
from app.resources.compile.roots import permissions_of_list
from app.resources.declare import GRAPHQL, declaration
from app.resources.listing import Filter, Flag, Listing, check_offset
from app.resources.members import ManyMember, Member, OneMember, ValueMember
from app.resources.run import forbidden
from app.resources.select import (
    Constant,
    Cursor,
    Edges,
    Fact,
    Info,
    ListRoot,
    Node,
    Page,
    PagePart,
    Pick,
    Picks,
    ResourceType,
    Total,
)
from app.resources.values import Figures

NO_ROW: Final = UUID(int=0)
"""An id that no row has. A filter that refers to an unknown row uses this id, so that the list is empty."""
FACTS: Final = {camel(name): name for name in ("has_next_page", "has_previous_page", "start_cursor", "end_cursor")}
Details = Sequence[FieldDetails]


@dataclass
class Selector:
    """Converts the fields of one operation into selections.

    `work` is used to look up the rows to which filters refer.
    """

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDetails]
    variables: VariableValues
    work: Work

    def type_of(self, resource: ResourceType) -> GraphQLObjectType:
        """Returns the GraphQL object type that is generated from a resource."""
        return cast(GraphQLObjectType, self.schema.type_map[declaration(resource).name])

    def arguments(self, definition: GraphQLField, details: Details) -> dict[str, Any]:
        """Returns the arguments of a field by name, converted to their declared types."""
        return get_argument_values(definition, details[0].node, self.variables)

    async def list_root(self, key: str, listing: Listing, definition: GraphQLField, details: Details) -> ListRoot:
        """Returns what to read for a list at the top of a query: filters, order, page, and the fields of the rows.

        It checks the permissions before it looks up a row to which a filter refers, such as a student.
        """
        arguments = self.arguments(definition, details)
        for can in permissions_of_list(listing, arguments, arguments.get("sort")):
            if not self.work.principal.may(can):
                raise forbidden(can)
        type_, violations = _object(definition), ReadViolations()
        page: Page | None = None
        picks: Picks = ()
        filters: dict[str, Any] = {}
        with violations:
            filters = await self._filters(listing.by_face(GRAPHQL), arguments)
        with violations:
            _check_sort(listing, arguments.get("sort"))
        with violations:
            check_offset("/updatedSince", arguments.get("updatedSince"))
        with violations:
            if listing.paged:
                page = await self._page(listing.resource, type_, details, arguments)
            else:
                picks = await self.picks(listing.resource, type_, details)
        if violations and page is not None:
            with violations:
                page_size(page.first, f"/{page.limit_name}")
        violations.refuse()
        order = (arguments.get("sort"), arguments.get("updatedSince"), arguments.get("q"))
        return ListRoot(key, listing.name, page, picks, filters, *order)

    async def picks(self, resource: ResourceType, type_: GraphQLObjectType, details: Details) -> Picks:
        """Returns the fields, links and values of a resource that the operation selects at one place."""
        members = members_of(resource)
        picks: list[Pick | Constant] = []
        for key, inner in self._fields(type_, details):
            name = inner[0].node.name.value
            if name == "__typename":
                picks.append(_typename(key, type_))
            else:
                picks.append(await self._pick(key, members[name], type_.fields[name], inner))
        return tuple(picks)

    async def _pick(self, key: str, member: Member, definition: GraphQLField, details: Details) -> Pick:
        if isinstance(member, ManyMember):
            field_arguments = self.arguments(definition, details)
            arguments = tuple((await self._filters(_by_name(member.filters), field_arguments)).items())
            type_ = _object(definition)
            if member.paged:
                page = await self._page(member.target, type_, details, field_arguments)
                return Pick(key, member.name, page=page, arguments=arguments)
            return Pick(key, member.name, await self.picks(member.target, type_, details), arguments=arguments)
        if isinstance(member, OneMember):
            picks = await self.picks(member.target, _object(definition), details)
            # Without selected members, a link would show an id. If @skip leaves none, the answer is an empty object.
            return Pick(key, member.name, picks or (Constant("", "null"),))
        if isinstance(member, ValueMember):
            field_arguments = self.arguments(definition, details)
            arguments = tuple((await self._filters(_by_name(member.arguments), field_arguments)).items())
            return Pick(key, member.name, self._items(member.shape, definition, details), arguments=arguments)
        return Pick(key, member.name)

    def _items(self, shape: Any, definition: GraphQLField, details: Details) -> Picks:
        """Returns the selected fields of a value that has several fields, such as the data of a chart.

        `shape` is the class that declares these fields. The result is empty for a value without fields.
        """
        type_ = get_named_type(definition.type)
        if not isinstance(type_, GraphQLObjectType):
            return ()
        items = {} if shape is Figures else _items_of(shape)
        picks: list[Pick | Constant] = []
        for key, inner in self._fields(type_, details):
            name = inner[0].node.name.value
            if name == "__typename":
                picks.append(_typename(key, type_))
            elif shape is Figures:
                picks.append(Pick(key, name))
            else:
                picks.append(Pick(key, items[name].name, self._items(items[name].type, type_.fields[name], inner)))
        return tuple(picks)

    async def _page(
        self, resource: ResourceType, type_: GraphQLObjectType, details: Details, given: Mapping[str, Any]
    ) -> Page:
        parts: list[PagePart] = []
        for key, inner in self._fields(type_, details):
            name = inner[0].node.name.value
            if name == "__typename":
                parts.append(_typename(key, type_))
            elif name == "edges":
                parts.append(Edges(key, await self._edge(resource, _object(type_.fields[name]), inner)))
            elif name == "pageInfo":
                parts.append(Info(key, self._facts(_object(type_.fields[name]), inner)))
            else:
                parts.append(Total(key))
        return _positioned(tuple(parts), given)

    async def _edge(
        self, resource: ResourceType, type_: GraphQLObjectType, details: Details
    ) -> tuple[Node | Cursor | Constant, ...]:
        parts: list[Node | Cursor | Constant] = []
        for key, inner in self._fields(type_, details):
            name = inner[0].node.name.value
            if name == "__typename":
                parts.append(_typename(key, type_))
            elif name == "node":
                parts.append(Node(key, await self.picks(resource, _object(type_.fields[name]), inner)))
            else:
                parts.append(Cursor(key))
        return tuple(parts)

    def _facts(self, type_: GraphQLObjectType, details: Details) -> tuple[Fact | Constant, ...]:
        return tuple(
            _typename(key, type_) if (name := inner[0].node.name.value) == "__typename" else Fact(key, FACTS[name])
            for key, inner in self._fields(type_, details)
        )

    def _fields(self, type_: GraphQLObjectType, details: Details) -> Sequence[tuple[str, Details]]:
        collected = collect_subfields(self.schema, self.fragments, self.variables, self.operation, type_, list(details))
        return list(collected.grouped_field_set.items())

    async def _filters(self, criteria: Mapping[str, Filter[Any] | Flag], given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values of the filters that the caller has set, keyed by the filters' declared names."""
        values: dict[str, Any] = {}
        for shown_name, criterion in criteria.items():
            value = given.get(camel(shown_name))
            if value is None:
                continue
            if isinstance(criterion, Filter) and criterion.resolve is not None:
                try:
                    value = await criterion.resolve(self.work, value, None)
                except NotFound:
                    value = NO_ROW
            values[criterion.name] = value
        return values


@cached
def members_of(resource: ResourceType) -> Mapping[str, Member]:
    """Returns a resource's fields, links and values, keyed by their names in GraphQL."""
    members = CATALOG.members(resource).values()
    return {camel(name): member for member in members if (name := member.shown_as(GRAPHQL)) is not None}


def resource_named(type_name: str) -> ResourceType | None:
    """Returns the resource whose GraphQL type has this name, or None."""
    return _resources().get(type_name)


@cache
def _resources() -> Mapping[str, ResourceType]:
    return {declaration(resource).name: resource for resource in CATALOG.resources}


@cached
def _items_of(shape: Any) -> Mapping[str, Any]:
    items = shape.__items__.values()
    return {camel(name): item for item in items if (name := item.shown_as(GRAPHQL)) is not None}


def _by_name(filters: Sequence[Filter[Any]]) -> Mapping[str, Filter[Any] | Flag]:
    return {filter_.shown_as(GRAPHQL): filter_ for filter_ in filters}


def _object(definition: GraphQLField) -> GraphQLObjectType:
    type_ = get_named_type(definition.type)
    if not isinstance(type_, GraphQLObjectType):
        raise Misuse(f"{type_} is not an object type.")
    return type_


def _typename(key: str, type_: GraphQLObjectType) -> Constant:
    return Constant(key, orjson.dumps(type_.name).decode())


def _check_sort(listing: Listing, sort: str | None) -> None:
    if sort is not None and listing.sort_named(sort) is None:
        orders = ", ".join(f"{one.name}, -{one.name}" for one in listing.sorts)
        raise Malformed([Violation("/sort", "sort.unknown", f"Give one of {orders}.")])


def _positioned(parts: tuple[PagePart, ...], given: Mapping[str, Any]) -> Page:
    first, after, last, before = (given.get(name) for name in ("first", "after", "last", "before"))
    if last is None and before is None:
        return Page(parts, first, after, limit_name="first")
    if first is not None or after is not None:
        detail = "A page goes forward with `first` and `after`, or backward with `last` and `before`."
        raise Malformed([Violation("/last" if last is not None else "/before", "page.direction", detail)])
    return Page(parts, last, before, backward=True, limit_name="last", after_name="before")
