"""Owns how many rows a field could return, read from the schema and the field's own arguments. Never reads a row.

A page returns `first` rows. A list without pages has no such number, so one is assumed here for each; what is really
read is counted while the operation runs, against the same limit.
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

from app.core.page import DEFAULT_LIMIT, MAX_LIMIT

ASSUMED = 5
"""Rows of a list without pages: the concerns of a student, the phases of a support."""
LISTS = {
    "Query.areas": 50,
    "Query.measures": 50,
    "Query.levels": 10,
    "Student.scores": 50,
    "Support.scores": 50,
    "Dosage.weeks": 50,
    "Playbook.rules": 50,
    "PreviewPlaybookPayload.flagged": 1000,
    "PreviewPlaybookPayload.cleared": 1000,
}
"""Rows of the lists that are known to be longer, by type and field."""
BATCHES = {"RecordScoresPayload.results": 500, "RecordSessionsPayload.results": 500}
"""Lists with an entry for each of a command's items, and the most items that it takes."""


@dataclass(frozen=True, slots=True)
class Yield:
    """What one field returns: `times` its selection, and `own` rows each time."""

    times: float
    own: int


ONCE = Yield(1, 0)


class Rows:
    """How many rows the fields of one schema return."""

    def __init__(self, schema: GraphQLSchema) -> None:
        objects = [one for one in schema.type_map.values() if isinstance(one, GraphQLObjectType)]
        self._connections = {one.name for one in objects if {"edges", "pageInfo"} <= one.fields.keys()}
        self._edges = {
            get_named_type(one.fields["edges"].type).name for one in objects if one.name in self._connections
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
        """What a field of a domain type returns; `items` is how many its command was given, where it is a payload's."""
        named = get_named_type(field.type)
        if named.name in self._connections:
            return Yield(_page(node, variables), 1)
        if is_leaf_type(named) or named.name in self._edges or parent.name in self._edges or named.name == "PageInfo":
            return ONCE
        if _is_list(field):
            name = f"{parent.name}.{node.name.value}"
            if name in BATCHES:
                return Yield(BATCHES[name] if items is None else min(items, BATCHES[name]), 1)
            return Yield(LISTS.get(name, ASSUMED), 1)
        return Yield(1, 1)

    def of_introspection(self, parent: GraphQLCompositeType, name: str, field: GraphQLField, *, listed: bool) -> float:
        """How many elements a field of an introspection type has: the mean where all types are listed, else the most.

        Over all the types the mean is exact; of one type somebody may choose the longest.
        """
        if not _is_list(field):
            return 1
        counts = self._mean if listed else self._most
        return counts.get(f"{parent.name}.{name}", 10)


def items_of(node: FieldNode, variables: Mapping[str, Any]) -> int | None:
    """How many items a command is given: the longest list in its `input`."""
    value: Any = next((one.value for one in node.arguments or () if one.name.value == "input"), None)
    if isinstance(value, VariableNode):
        value = variables.get(value.name.value)
        lists = [one for one in value.values() if isinstance(one, list)] if isinstance(value, dict) else []
        return max(map(len, lists), default=None)
    if not isinstance(value, ObjectValueNode):
        return None
    fields = [one.value for one in value.fields]
    literal = [len(one.values) for one in fields if isinstance(one, ListValueNode)]
    given = [variables.get(one.name.value) for one in fields if isinstance(one, VariableNode)]
    return max([*literal, *(len(one) for one in given if isinstance(one, list))], default=None)


def is_introspection(field: GraphQLField) -> bool:
    """Whether a field leads into introspection."""
    return is_introspection_type(get_named_type(field.type))


def _is_list(field: GraphQLField) -> bool:
    type_ = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
    return isinstance(type_, GraphQLList)


def _page(node: FieldNode, variables: Mapping[str, Any]) -> int:
    given: Any = None
    for argument in node.arguments or ():
        if argument.name.value == "first":
            if isinstance(argument.value, IntValueNode):
                # A number that is too long to be one asks for more than a page has.
                given = int(argument.value.value) if len(argument.value.value) < 10 else MAX_LIMIT
            elif isinstance(argument.value, VariableNode):
                given = variables.get(argument.value.name.value)
    if type(given) is not int:
        return DEFAULT_LIMIT
    return max(0, min(given, MAX_LIMIT))


def _introspection(schema: GraphQLSchema) -> tuple[dict[str, float], dict[str, float]]:
    """The most and the mean number of elements of each list in introspection."""
    types = list(schema.type_map.values())
    composite = [one for one in types if isinstance(one, GraphQLObjectType | GraphQLInterfaceType)]
    arguments = [len(field.args) for one in composite for field in one.fields.values()]
    lengths = {
        "fields": [len(one.fields) for one in composite],
        "interfaces": [len(one.interfaces) for one in composite],
        "possibleTypes": [
            len(schema.get_possible_types(one)) for one in types if isinstance(one, GraphQLInterfaceType)
        ],
        "inputFields": [len(one.fields) for one in types if isinstance(one, GraphQLInputObjectType)],
        "enumValues": [len(one.values) for one in types if isinstance(one, GraphQLEnumType)],
    }
    most: dict[str, float] = {f"__Type.{name}": max(found, default=0) for name, found in lengths.items()}
    mean: dict[str, float] = {f"__Type.{name}": sum(found) / len(types) for name, found in lengths.items()}
    most["__Field.args"] = max(arguments, default=0)
    mean["__Field.args"] = sum(arguments) / max(1, len(arguments))
    for counts in (most, mean):
        counts["__Schema.types"] = len(types)
        counts["__Schema.directives"] = len(schema.directives)
        counts["__Directive.args"] = max((len(one.args) for one in schema.directives), default=0)
        counts["__Directive.locations"] = 1  # a list of words, which selects nothing
    return most, mean
