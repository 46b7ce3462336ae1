"""Reads the rows that a mutation's payload shows.

A command returns rows, but only their ids are used here. The fields that the caller selected are read from the database
after the command. If a payload has a list of rows, one statement reads all of them.
"""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails
from strawberry.dataloader import DataLoader
from strawberry.utils.str_converters import to_snake_case

from app.catalog import CATALOG
from app.core.errors import AimlineError
from app.graphql.door import OperationContext
from app.graphql.selection import Selector, resource_named
from app.graphql.types import type_of
from app.resources.run import read
from app.resources.select import GRAPHQL_STYLE, ResourceType, WrittenRoot

READERS: dict[str, Callable[[str], Any]] = {"Date": date.fromisoformat, "DateTime": datetime.fromisoformat}
"""The functions that parse JSON values, keyed by scalar. The library then serializes the parsed Python values."""


def row_of(resource: ResourceType, description: str | None = None) -> Any:
    """Returns a field, for the type of a payload, that shows one row of this resource.

    The payload object has a row of the resource's model in the field, or None.
    """
    return strawberry.field(graphql_type=type_of(resource) | None, description=description)


def install(schema: GraphQLSchema, derived: frozenset[str]) -> None:
    """Replaces the resolvers of the fields that show rows of resources.

    * The types in `derived` are generated from resources. The new resolver of their fields returns the value that an
      SQL statement has already read.
    * Any other type, such as a payload, can have a field that shows a row. The new resolver of this field takes the
      row's id, and reads from the database what the caller has selected.
    """
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.startswith("__"):
            continue
        if type_.name in derived:
            type_.is_type_of = None
            for field in type_.fields.values():
                field.resolve = _by_key(field)
        elif type_ not in (schema.query_type, schema.mutation_type, schema.subscription_type):
            for name, field in type_.fields.items():
                resource = resource_named(get_named_type(field.type).name)
                if resource is not None:
                    field.resolve = _read_row(resource, to_snake_case(name))


def _by_key(field: GraphQLField) -> Callable[..., Any]:
    parse = _reader(get_named_type(field.type))

    def resolve(source: Any, info: GraphQLResolveInfo[Any], **_: Any) -> Any:
        if not isinstance(source, dict):  # an object from a field that is written by hand
            return getattr(source, to_snake_case(info.field_name))
        value = source[str(info.path.key)]
        if parse is None or value is None or isinstance(value, Exception):
            return value
        return [parse(item) for item in value] if isinstance(value, list) else parse(value)

    return resolve


def _reader(type_: GraphQLNamedType) -> Callable[[str], Any] | None:
    if isinstance(type_, GraphQLEnumType):
        return lambda name: type_.values[name].value
    return READERS.get(type_.name)


def _read_row(resource: ResourceType, name: str) -> Callable[..., Any]:
    async def resolve(source: Any, info: GraphQLResolveInfo[Any], **_: Any) -> Any:
        row = getattr(source, name)
        if row is None:
            return None
        context: OperationContext = info.context
        loader = context.loaders.get(info.field_nodes[0])
        if loader is None:
            loader = context.loaders[info.field_nodes[0]] = DataLoader(load_fn=_batch(resource, info))
        return await loader.load(row.id)

    return resolve


def _batch(resource: ResourceType, info: GraphQLResolveInfo[Any]) -> Callable[[list[UUID]], Any]:
    async def load(row_ids: list[UUID]) -> list[Any]:
        context: OperationContext = info.context
        fragments = {name: FragmentDetails(fragment) for name, fragment in info.fragments.items()}
        selector = Selector(info.schema, info.operation, fragments, info.variable_values, context.work)
        details = [FieldDetails(node, None) for node in info.field_nodes]
        async with context.session():
            picks = await selector.picks(resource, selector.type_of(resource), details)
        root = WrittenRoot("", resource, tuple(row_ids), picks)
        (answer,) = await context.read_roots(lambda work: read(work, CATALOG, (root,), GRAPHQL_STYLE))
        rows = orjson.loads(answer.text)
        for error in answer.errors:
            if not error.path:
                return [error.error for _ in row_ids]
            _place(rows, error.path, error.error)
        by_id = {UUID(row["id"]): row["row"] for row in rows}
        return [by_id.get(row_id) for row_id in row_ids]

    return load


def _place(rows: Any, path: tuple[str | int, ...], error: AimlineError) -> None:
    """Replaces the null at a path of `rows` by an error.

    The field's resolver then returns this error, and the GraphQL library reports it with the field's path.
    """
    *steps, last = path
    for step in steps:
        rows = rows[step]
    rows[last] = GraphQLError(error.detail, original_error=error)
