"""Measures the size, depth and cost of a GraphQL document in one pass. Each fragment is measured only once.

The measurements of a fragment are added at each place that uses it. A list multiplies the cost of its selection.
Fragments are never expanded, so even a document whose fragments would double its size a hundred times is measured fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    Node,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
)

from app.graphql.limits import CEILING, Limits, too_much
from app.graphql.rows import Rows, is_introspection, items_of

WRAPPERS = 3
"""The largest number of list and non-null wrappers of a type (`[T!]!`); each is one level of `ofType`."""


@dataclass(slots=True)
class Weight:
    """Measurements of a selection set, such as its cost and its depth, if it is executed for one object.

    The fragments that the selection set uses are included.
    """

    cost: float = 0
    counting: float = 0
    """The cost of a list's total, which is counted once for a page, not once for each of its rows."""
    size: int = 0
    aliases: int = 0
    depth: int = 0
    introspection_depth: int = 0
    introspection: float = 0
    nesting: int = 0

    def add(self, other: "Weight") -> None:
        """Adds the measurements of another part of the same selection set, such as one of its fields."""
        self.cost = min(self.cost + other.cost, CEILING)
        self.counting = min(self.counting + other.counting, CEILING)
        self.size = min(self.size + other.size, CEILING)
        self.aliases = min(self.aliases + other.aliases, CEILING)
        self.introspection = min(self.introspection + other.introspection, CEILING)
        self.depth = max(self.depth, other.depth)
        self.introspection_depth = max(self.introspection_depth, other.introspection_depth)
        self.nesting = max(self.nesting, other.nesting)


@dataclass(frozen=True, slots=True)
class _Place:
    """The position of a selection set: the type from which it selects, and its place in an introspection query.

    In an introspection query, `listed` is true if the set is executed for all types of the schema. `wrapper` is the
    number of nested `ofType` fields that directly enclose the set.
    """

    type: GraphQLNamedType | None
    listed: bool = False
    wrapper: int = 0
    items: int | None = None
    """The number of items of the command, if the type is the command's payload."""

    @property
    def introspects(self) -> bool:
        """Returns whether the type belongs to introspection, that is to the description of the schema itself."""
        return self.type is not None and self.type.name.startswith("__")


class Scale:
    """Measures the operations of one document. The constructor raises a `GraphQLError` if a fragment uses itself."""

    def __init__(
        self, schema: GraphQLSchema, rows: Rows, document: DocumentNode, variables: Mapping[str, Any], limits: Limits
    ) -> None:
        self._schema, self._rows, self._variables, self._limits = schema, rows, variables, limits
        self._fragments: dict[tuple[str, bool], Weight] = {}
        self.directives = self.longest_literal = 0
        for fragment in _in_order(document, limits):
            place = _Place(schema.type_map.get(fragment.type_condition.name.value))
            name = fragment.name.value
            self._directives(fragment)
            self._fragments[name, False] = self._weigh(fragment.selection_set, place)
            if place.introspects:
                self._fragments[name, True] = self._weigh(fragment.selection_set, replace(place, listed=True))

    def weigh(self, operation: OperationDefinitionNode) -> Weight:
        """Returns the measurements of an operation, such as its cost and its depth."""
        self._directives(operation)
        weight = self._weigh(operation.selection_set, _Place(self._schema.get_root_type(operation.operation)))
        for variable in operation.variable_definitions or ():
            self._directives(variable)
            weight.size += 1 + (self._value(variable.default_value) if variable.default_value else 0)
        return weight

    def size_of_fragments(self) -> int:
        """Returns the number of fields, arguments and other parts of all fragments together. Each fragment counts
        once.
        """
        return sum(weight.size for (_, listed), weight in self._fragments.items() if not listed)

    def _weigh(self, selections: SelectionSetNode, place: _Place) -> Weight:
        total = Weight(nesting=1)
        for node in selections.selections:
            if isinstance(node, FieldNode):
                if node.selection_set or node.arguments:
                    total.add(self._field(node, place))
                else:
                    total.counting += self._rows.of_leaf(place.type, node.name.value)
                    total.aliases += node.alias is not None
                    total.introspection += place.introspects
            elif isinstance(node, InlineFragmentNode):
                inner = place
                if node.type_condition is not None:
                    inner = replace(place, type=self._schema.type_map.get(node.type_condition.name.value))
                total.add(_within(self._weigh(node.selection_set, inner)))
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                weight = self._fragments.get((name, place.listed)) or self._fragments.get((name, False))
                total.add(_within(weight or Weight()))
            total.size += 1 + self._directives(node)
        return total

    def _field(self, node: FieldNode, place: _Place) -> Weight:
        parent, opens = place.type, int(node.selection_set is not None)
        field = self._schema.get_field(parent, node.name.value) if is_composite_type(parent) else None
        if field is None or not is_composite_type(parent):
            # The type has no such field, which validation will report. The selection is measured nevertheless.
            inner = self._inner(node, _Place(None))
            weight = replace(inner, depth=inner.depth + opens)
        elif is_introspection(field) or place.introspects:
            inner, weight = self._introspection(node, place, parent, field)
        else:
            items = items_of(node, self._variables) if parent is self._schema.mutation_type else None
            inner = self._inner(node, _Place(get_named_type(field.type), items=items))
            rows = self._rows.of(parent, node, field, self._variables, place.items)
            cost = min(rows.times * (rows.own + inner.cost) + inner.counting, CEILING)
            weight = replace(inner, cost=cost, counting=0, depth=inner.depth + opens)
        weight.size += sum(1 + self._value(argument.value) for argument in node.arguments or ())
        weight.aliases += node.alias is not None
        weight.nesting += 1
        return weight

    def _introspection(
        self, node: FieldNode, place: _Place, parent: GraphQLCompositeType, field: GraphQLField
    ) -> tuple[Weight, Weight]:
        name = node.name.value
        wrapper = place.wrapper + 1 if name == "ofType" else 0
        # Only below `types` are all types listed; other fields lead to types that the caller may choose.
        listed = name in ("__schema", "types") or (place.listed and name in ("fields", "args", "inputFields"))
        inner = self._inner(node, _Place(get_named_type(field.type), listed, wrapper))
        times = self._rows.of_introspection(parent, name, field, listed=place.listed)
        below = 0 if wrapper > WRAPPERS else times * inner.introspection
        opens = int(node.selection_set is not None)
        return inner, replace(
            inner,
            introspection=min(1 + below, CEILING),
            introspection_depth=inner.introspection_depth + opens,
        )

    def _inner(self, node: FieldNode, place: _Place) -> Weight:
        return Weight() if node.selection_set is None else self._weigh(node.selection_set, place)

    def _directives(self, node: Any) -> int:
        """Returns the number of arguments and values of a node's directives.

        Raises a `GraphQLError` if the node has too many directives.
        """
        directives: tuple[DirectiveNode, ...] = node.directives
        if not directives:
            return 0
        if len(directives) > self._limits.node_directives:
            detail = f"One part of a document has at most {self._limits.node_directives} directives."
            raise too_much("document.too_many_directives", detail, node)
        self.directives += len(directives)
        return sum(
            1 + self._value(argument.value) for directive in directives for argument in directive.arguments or ()
        )

    def _value(self, value: Node) -> int:
        """Returns the number of values in a literal, such as a list.

        Raises a `GraphQLError` if it is nested too deeply.
        """
        if not isinstance(value, ListValueNode | ObjectValueNode):
            return 1
        level: list[Node] = [value]
        size = depth = 0
        while level:
            size += len(level)
            if depth > self._limits.value_depth:
                detail = f"Lists and objects lie in one another at most {self._limits.value_depth} deep."
                raise too_much("document.value_too_deep", detail, value)
            inner: list[Node] = []
            for literal in level:
                if isinstance(literal, ListValueNode):
                    inner += literal.values
                elif isinstance(literal, ObjectValueNode):
                    inner += [field.value for field in literal.fields]
            level, depth = inner, depth + 1
        self.longest_literal = max(self.longest_literal, size)
        return size


def _within(weight: Weight) -> Weight:
    """Returns the measurements of a fragment as they count at a place that uses it, with a nesting one level deeper."""
    return replace(weight, nesting=weight.nesting + 1)


def _in_order(document: DocumentNode, limits: Limits) -> list[FragmentDefinitionNode]:
    """Returns the fragments of a document in such an order that each comes after the fragments that it uses.

    Raises a `GraphQLError` if a fragment uses itself, directly or through other fragments.
    """
    fragments: dict[str, FragmentDefinitionNode] = {}
    graph: dict[str, set[str]] = {}
    for definition in document.definitions:
        if isinstance(definition, FragmentDefinitionNode):
            fragments[definition.name.value] = definition
            graph[definition.name.value] = _spreads(definition.selection_set, limits)
        elif isinstance(definition, OperationDefinitionNode):
            _spreads(definition.selection_set, limits)
    spread_graph = {name: spreads & fragments.keys() for name, spreads in graph.items()}
    try:
        return [fragments[name] for name in TopologicalSorter(spread_graph).static_order()]
    except CycleError as error:
        node = fragments[error.args[1][0]]
        raise too_much("document.fragment_cycle", "A fragment spreads itself, perhaps through others.", node) from None


def _spreads(selections: SelectionSetNode, limits: Limits) -> set[str]:
    """Returns the names of the fragments that a selection set uses (`...name`).

    Raises a `GraphQLError` if the selection set is nested too deeply.
    """
    names: set[str] = set()
    level, depth = [selections], 0
    while level:
        depth += 1
        if depth > limits.nesting:
            raise too_deep(limits, level[0])
        inner: list[SelectionSetNode] = []
        for node in (selection for part in level for selection in part.selections):
            if isinstance(node, FragmentSpreadNode):
                names.add(node.name.value)
            elif isinstance(node, FieldNode | InlineFragmentNode) and node.selection_set is not None:
                inner.append(node.selection_set)
        level = inner
    return names


def too_deep(limits: Limits, node: Node) -> GraphQLError:
    """Returns the error for selections that are nested too deeply."""
    detail = f"Selections lie in one another at most {limits.nesting} deep, fragments included."
    return too_much("document.too_deep", detail, node)
