"""Executes queries: reads all rows that an operation asks for with one SQL statement that returns JSON text.

This is possible for the resources that `app.catalog` lists. Other fields (`me`, `playbook`, introspection) are executed
by the GraphQL library.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields
from graphql.execution.values import get_variable_values
from strawberry.types import ExecutionResult

from app.catalog import CATALOG
from app.core import ids
from app.core.errors import AimlineError, Invalid, Malformed, NotFound, Violation
from app.core.turns import Turns
from app.graphql.door import OperationContext
from app.graphql.json_text import JsonText
from app.graphql.prepare import Prepared
from app.graphql.request import Operation
from app.graphql.roots import GETS, LISTINGS, MAX_NODES, NODE, NODES
from app.graphql.selection import Details, Selector
from app.resources.declare import declaration
from app.resources.run import Answer, read
from app.resources.select import GRAPHQL_STYLE, ResourceType, Root, RowRoot

Library = Callable[[Prepared], Awaitable[ExecutionResult]]
NULL = JsonText(b"null")


@dataclass
class _Reading:
    """What one operation reads, and what its response contains so far.

    * `roots` are the lists and single rows to read. Each field at the top of the query is one root, but `nodes` has a
      root for each id. A single SQL statement reads all of them.
    * `places` has the path of each root in the response, in the same order.
    """

    roots: list[Root] = field(default_factory=list)
    places: list[tuple[str | int, ...]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, list[bytes]] = field(default_factory=dict)
    errors: list[GraphQLError] = field(default_factory=list)


async def execute_query(
    context: OperationContext, schema: GraphQLSchema, operation: Operation, library: Library
) -> ExecutionResult:
    """Executes a query and returns its result. The rows of resources are in the result as `JsonText`.

    `library` is a function that executes the other fields at the top of the query, such as `me`.
    """
    prepared = context.prepared
    variables = get_variable_values(schema, prepared.operation.variable_definitions or (), operation.variables or {})
    query = schema.query_type
    if isinstance(variables, list) or query is None:
        return ExecutionResult(data=None, errors=variables if isinstance(variables, list) else None)
    fragments = fragments_of(prepared)
    selector = Selector(schema, prepared.operation, fragments, variables, context.work)
    fields = collect_fields(schema, fragments, variables, query, prepared.operation).grouped_field_set
    reading = _Reading()
    library_fields: list[FieldNode] = []
    turns = Turns()
    for key, details in fields.items():
        await turns.give()
        name = details[0].node.name.value
        if name in LISTINGS or name in GETS or name in (NODE, NODES):
            reading.data[key] = NULL
            try:
                async with context.session():
                    await _add_root(reading, selector, query, key, details)
            except AimlineError as error:
                reading.errors.append(_located(error, details, (key,)))
            except GraphQLError as error:
                reading.errors.append(GraphQLError(error.message, [details[0].node], path=[key]))
        else:
            library_fields += [detail.node for detail in details]
    if reading.roots:
        await _read(context, reading, fields)
    result = await library(_restricted(prepared, library_fields)) if library_fields else None
    return _merged(reading, fields, result)


def fragments_of(prepared: Prepared) -> dict[str, FragmentDetails]:
    """Returns the fragments of a document, keyed by name."""
    definitions = prepared.document.definitions
    return {
        definition.name.value: FragmentDetails(definition)
        for definition in definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


async def _add_root(
    reading: _Reading, selector: Selector, query: GraphQLObjectType, key: str, details: Details
) -> None:
    """Adds to `reading` what one field at the top of the query asks for: a list, or rows by their ids.

    `key` is the field's name in the response. If a requested id cannot belong to any row, for example because it is
    malformed, its value in the response stays null. This is no error.
    """
    name = details[0].node.name.value
    definition = query.fields[name]
    if name in LISTINGS:
        reading.roots.append(await selector.list_root(key, LISTINGS[name], definition, details))
        reading.places.append((key,))
        return
    arguments = selector.arguments(definition, details)
    if name == NODES:
        if len(arguments["ids"]) > MAX_NODES:
            raise Malformed([Violation("/ids", "shape.too_long", f"At most {MAX_NODES} ids.")])
        reading.lists[key] = [b"null"] * len(arguments["ids"])
        for place, text in enumerate(arguments["ids"]):
            await _add_node(reading, selector, (key, place), text, details)
    elif name == NODE:
        await _add_node(reading, selector, (key,), arguments["id"], details)
    else:
        resource = GETS[name]
        await _add_row(reading, selector, (key,), resource, arguments["id"], details)


async def _add_node(
    reading: _Reading, selector: Selector, place: tuple[str | int, ...], text: str, details: Details
) -> None:
    try:
        kind, _ = ids.parse_any_id(text)
    except Invalid:
        return
    if (resource := CATALOG.by_kind.get(kind)) is not None:
        await _add_row(reading, selector, place, resource, text, details)


async def _add_row(
    reading: _Reading,
    selector: Selector,
    place: tuple[str | int, ...],
    resource: ResourceType,
    text: str,
    details: Details,
) -> None:
    facts = declaration(resource)
    try:
        if facts.locate is not None:
            row_id = await facts.locate(selector.work, text, None)
        else:
            row_id = ids.parse_id(str(facts.kind), text)
    except (NotFound, Invalid):
        return
    picks = await selector.picks(resource, selector.type_of(resource), details)
    reading.roots.append(RowRoot(str(place[0]), resource, row_id, picks))
    reading.places.append(place)


async def _read(context: OperationContext, reading: _Reading, fields: Mapping[str, Details]) -> None:
    answers: list[Answer] = await context.read_roots(lambda work: read(work, CATALOG, reading.roots, GRAPHQL_STYLE))
    for place, answer in zip(reading.places, answers, strict=True):
        key = str(place[0])
        if len(place) > 1:
            reading.lists[key][int(place[1])] = answer.text
        else:
            reading.data[key] = JsonText(answer.text)
        for error in answer.errors:
            reading.errors.append(_located(error.error, fields[key], (*place, *error.path)))


def _merged(reading: _Reading, fields: Mapping[str, Details], result: ExecutionResult | None) -> ExecutionResult:
    for key, texts in reading.lists.items():
        reading.data[key] = JsonText(b"[" + b",".join(texts) + b"]")
    errors = reading.errors + list((result.errors if result is not None else None) or [])
    if result is not None and result.data is None:
        return ExecutionResult(data=None, errors=errors or None)
    data = reading.data | (result.data or {} if result is not None else {})
    return ExecutionResult(data={key: data[key] for key in fields if key in data}, errors=errors or None)


def _restricted(prepared: Prepared, nodes: Sequence[FieldNode]) -> Prepared:
    """Returns a copy of the operation that has only the given top-level fields."""
    operation = prepared.operation
    restricted = OperationDefinitionNode(
        operation=operation.operation,
        name=operation.name,
        variable_definitions=operation.variable_definitions,
        directives=operation.directives,
        selection_set=SelectionSetNode(selections=tuple(nodes)),
        loc=operation.loc,
    )
    definitions = tuple(
        restricted if definition is operation else definition for definition in prepared.document.definitions
    )
    return replace(prepared, document=DocumentNode(definitions=definitions), operation=restricted)


def _located(error: AimlineError, details: Details, path: Sequence[str | int]) -> GraphQLError:
    return GraphQLError(error.detail, [details[0].node], path=list(path), original_error=error)
