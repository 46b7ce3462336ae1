"""Finds, in the schema, the paths from the query root to each field, and the scopes that their descriptions state."""

import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    is_required_argument,
)

from tests.house.full_district import FullDistrict
from tests.house.walk_graphql import CORE, NAMED_OTHERWISE

DEPTH = 4
"""The largest number of fields of a way, not counting `edges` and `node`."""
TRANSPARENT = {"edges", "node"}
"""The fields of a page through which a way leads to a row."""
WITHOUT_WAY = {
    "node": "each row of it is reached by the field of its own kind; it needs the scopes of that kind only",
    "nodes": "as `node`",
}
SCOPE = re.compile(r"`([a-z-]+:[a-z]+)` \(")


def stated_scopes(field: GraphQLField) -> frozenset[str]:
    """Returns the scopes that the description of a field states."""
    _, _, words = (field.description or "").partition("\n\nNeeds: ")
    return frozenset(SCOPE.findall(words))


@dataclass(frozen=True)
class Way:
    """A path of GraphQL fields from the query root to a type, with the scopes that these fields require."""

    type_name: str
    steps: tuple[str, ...]
    scopes: frozenset[str]

    def document(self, selection: str) -> str:
        """Returns a query that selects these fields of the type."""
        return "{ " + " { ".join([*self.steps, selection]) + " }" * (len(self.steps) + 1)


def ways(district: FullDistrict) -> Mapping[str, list[Way]]:
    """Returns the shortest paths to each GraphQL type. A type has one path for each set of scopes by which it can be
    reached.
    """
    arguments = _arguments(district)
    by_type: dict[str, list[Way]] = defaultdict(list)
    queue = deque([Way("Query", (), frozenset())])
    while queue:
        way = queue.popleft()
        if any(each.scopes == way.scopes for each in by_type[way.type_name]):
            continue
        by_type[way.type_name].append(way)
        if sum(step not in TRANSPARENT for step in way.steps) == DEPTH:
            continue
        for name, field in object_type(way.type_name).fields.items():
            target = get_named_type(field.type)
            row = district.shown.get(NAMED_OTHERWISE.get(name, name), "")
            if isinstance(target, GraphQLObjectType) and name not in WITHOUT_WAY:
                written = _written(name, field, {"id": row, **arguments})
                queue.append(Way(target.name, (*way.steps, written), way.scopes | stated_scopes(field)))
    return by_type


def object_type(name: str) -> GraphQLObjectType:
    """Returns an object type of the schema."""
    type_ = CORE.type_map[name]
    assert isinstance(type_, GraphQLObjectType)
    return type_


def leaf_of(name: str, field: GraphQLField, district: FullDistrict) -> str:
    """Returns the selection of a field that requests only the name of its type."""
    row = district.shown.get(NAMED_OTHERWISE.get(name, name), "")
    below = "" if isinstance(get_named_type(field.type), GraphQLScalarType | GraphQLEnumType) else " { __typename }"
    return _written(name, field, {"id": row, **_arguments(district)}) + below


def _arguments(district: FullDistrict) -> Mapping[str, str]:
    """Returns values for the required arguments of GraphQL fields, such as `teamId`, except the field's own id."""
    return {
        "name": district.shown["consumer"],
        "windowId": district.shown["window"],
        "teamId": district.shown["team"],
        "meetingId": district.shown["closed meeting"],
        "supportId": district.shown["support"],
    }


def _written(name: str, field: GraphQLField, values: Mapping[str, str]) -> str:
    needed = [name for name, spec in field.args.items() if is_required_argument(spec)]
    arguments = [f'{argument}: "{values[argument]}"' for argument in needed]
    arguments += ["first: 2"] if "first" in field.args else []
    return f"{name}({', '.join(arguments)})" if arguments else name
