"""Computes how many rows a field could return, from the schema and the field's arguments.

A list with pages counts as the `first` rows that are requested; for any other list, a number is assumed. While the
operation runs, the rows that are really read are counted too, and the same limit applies to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    FieldNode,
    GraphQLCompositeType,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    ObjectValueNode,
    VariableNode,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
)

from app.catalog import CATALOG
from app.core.page import DEFAULT_LIMIT, MAX_LIMIT
from app.core.text import camel
from app.graphql.roots import MAX_NODES, NODES
from app.graphql.selection import members_of
from app.resources.compile.cost import COUNTING
from app.resources.declare import declaration
from app.resources.members import ManyMember

TOTAL = "totalCount"
ASSUMED = 5
"""The assumed number of rows of a list without pages, such as the concerns of a student or the phases of a support."""


def _assumed() -> dict[str, int]:
    """Returns the numbers of rows that are assumed for lists and links without pages, keyed by type and field.

    Only numbers other than the usual `ASSUMED` are included.
    """
    roots = {f"Query.{camel(name)}": listing.assumed for name, listing in CATALOG.listings.items() if not listing.paged}
    links = {
        f"{declaration(resource).name}.{name}": member.assumed
        for resource in CATALOG.resources
        for name, member in members_of(resource).items()
        if isinstance(member, ManyMember) and not member.paged
    }
    return {name: rows for name, rows in (roots | links).items() if rows != ASSUMED}


LISTS = {
    **_assumed(),
    "Dosage.weeks": 50,
    "WindowReport.results": 1,  # the report's argument `first` already counts them
    "Playbook.rules": 50,
    "PreviewPlaybookPayload.flagged": 1000,
    "PreviewPlaybookPayload.cleared": 1000,
}
"""The assumed numbers of rows of lists without pages, keyed by type and field."""
BATCHES = {"RecordScoresPayload.results": 500, "RecordSessionsPayload.results": 500}
"""The largest lengths of the lists that have one entry for each item of a command, keyed by type and field.

The largest length is the number of items that the command accepts.
"""


@dataclass(frozen=True, slots=True)
class Yield:
    """How many rows a field can return: `times` objects, each of which counts as `own` rows (0 or 1).

    The rows of the fields that are selected in each object are not included.
    """

    times: float
    own: int


ONCE = Yield(1, 0)


class Rows:
    """Computes the numbers of rows that the fields of one schema could return."""

    def __init__(self, schema: GraphQLSchema) -> None:
        objects = [type_ for type_ in schema.type_map.values() if isinstance(type_, GraphQLObjectType)]
        self._connections = {type_.name for type_ in objects if {"edges", "pageInfo"} <= type_.fields.keys()}
        self._edges = {
            get_named_type(type_.fields["edges"].type).name for type_ in objects if type_.name in self._connections
        }
        self._most, self._mean = _introspection(schema)

    def of(
        self,
        parent: GraphQLCompositeType,
        node: FieldNode,
        field: GraphQLField,
        variables: Mapping[str, Any],
        items: int | None = None,
    ) -> Yield:
        """Returns how many rows a field can return. The field must not be an introspection field.

        If the field belongs to the payload of a command, `items` is the number of items that the command was given.
        """
        type_ = get_named_type(field.type)
        if type_.name in self._connections or "first" in field.args:
            return Yield(_page(node, variables), 1)
        if is_leaf_type(type_) or type_.name in self._edges or parent.name in self._edges or type_.name == "PageInfo":
            return ONCE
        if _is_list(field):
            name = f"{parent.name}.{node.name.value}"
            if name == f"Query.{NODES}":
                return Yield(_ids(node, variables), 1)
            if name in BATCHES:
                return Yield(BATCHES[name] if items is None else min(items, BATCHES[name]), 1)
            return Yield(LISTS.get(name, ASSUMED), 1)
        return Yield(1, 1)

    def of_leaf(self, parent: GraphQLNamedType | None, name: str) -> int:
        """Returns the cost, in rows, of a field without subfields.

        It is `COUNTING` for the total of a list, otherwise 0.
        """
        return COUNTING if name == TOTAL and parent is not None and parent.name in self._connections else 0

    def of_introspection(self, parent: GraphQLCompositeType, name: str, field: GraphQLField, *, listed: bool) -> float:
        """Returns the number of elements that an introspection field is assumed to have.

        `listed` is true if the field is read for every type in the schema. The result is then the mean number over all
        types, so that the total is exact. Otherwise the caller has chosen one type, which may have the most elements,
        so the result is the largest number.
        """
        if not _is_list(field):
            return 1
        counts = self._mean if listed else self._most
        return counts.get(f"{parent.name}.{name}", 10)


def items_of(node: FieldNode, variables: Mapping[str, Any]) -> int | None:
    """Returns the number of items that a mutation passes to its command: the length of the longest list in `input`.

    Returns None if the argument `input` contains no list.
    """
    value: Any = next((argument.value for argument in node.arguments or () if argument.name.value == "input"), None)
    if isinstance(value, VariableNode):
        value = variables.get(value.name.value)
        lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else []
        return max(map(len, lists), default=None)
    if not isinstance(value, ObjectValueNode):
        return None
    fields = [field.value for field in value.fields]
    literal_lengths = [len(node.values) for node in fields if isinstance(node, ListValueNode)]
    variable_values = [variables.get(node.name.value) for node in fields if isinstance(node, VariableNode)]
    return max([*literal_lengths, *(len(items) for items in variable_values if isinstance(items, list))], default=None)


def is_introspection(field: GraphQLField) -> bool:
    """Returns whether a field leads into introspection, such as `__schema`."""
    return is_introspection_type(get_named_type(field.type))


def _is_list(field: GraphQLField) -> bool:
    type_ = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(type_, GraphQLList)


def _ids(node: FieldNode, variables: Mapping[str, Any]) -> int:
    """Returns the number of ids that a caller gives to the field `nodes`."""
    for argument in node.arguments or ():
        if isinstance(argument.value, ListValueNode):
            return min(len(argument.value.values), MAX_NODES)
        if isinstance(argument.value, VariableNode):
            ids = variables.get(argument.value.name.value)
            return min(len(ids), MAX_NODES) if isinstance(ids, list) else 1
    return 1


def _page(node: FieldNode, variables: Mapping[str, Any]) -> int:
    first: Any = None
    for argument in node.arguments or ():
        if argument.name.value in ("first", "last") and first is None:
            if isinstance(argument.value, IntValueNode):
                # An integer with ten digits or more exceeds every page.
                first = int(argument.value.value) if len(argument.value.value) < 10 else MAX_LIMIT
            elif isinstance(argument.value, VariableNode):
                first = variables.get(argument.value.name.value)
    if type(first) is not int:
        return DEFAULT_LIMIT
    return max(0, min(first, MAX_LIMIT))


def _introspection(schema: GraphQLSchema) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the largest and the mean number of elements of the lists in introspection.

    Both results are keyed by list, such as `__Type.fields`.
    """
    types = list(schema.type_map.values())
    composite = [type_ for type_ in types if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType)]
    arguments = [len(field.args) for type_ in composite for field in type_.fields.values()]
    lengths = {
        "fields": [len(type_.fields) for type_ in composite],
        "interfaces": [len(type_.interfaces) for type_ in composite],
        "possibleTypes": [
            len(schema.get_possible_types(type_)) for type_ in types if isinstance(type_, GraphQLInterfaceType)
        ],
        "inputFields": [len(type_.fields) for type_ in types if isinstance(type_, GraphQLInputObjectType)],
        "enumValues": [len(type_.values) for type_ in types if isinstance(type_, GraphQLEnumType)],
    }
    longest: dict[str, float] = {f"__Type.{name}": max(numbers, default=0) for name, numbers in lengths.items()}
    mean: dict[str, float] = {f"__Type.{name}": sum(numbers) / len(types) for name, numbers in lengths.items()}
    longest["__Field.args"] = max(arguments, default=0)
    mean["__Field.args"] = sum(arguments) / max(1, len(arguments))
    for counts in (longest, mean):
        counts["__Schema.types"] = len(types)
        counts["__Schema.directives"] = len(schema.directives)
        counts["__Directive.args"] = max((len(directive.args) for directive in schema.directives), default=0)
        counts["__Directive.locations"] = 1  # a list of enum values, which have no fields
    return longest, mean
