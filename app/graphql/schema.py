"""Builds the schema from the parts in this package, prints it as SDL, and executes operations against it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from inspect import isawaitable
from typing import Any

import strawberry
from graphql import FieldNode, GraphQLError, GraphQLSchema
from graphql import execute as execute_by_core
from strawberry.extensions import SchemaExtension
from strawberry.schema.types.base_scalars import DateTimeDefinition
from strawberry.types import ExecutionContext, ExecutionResult, get_object_definition
from strawberry.types.graphql import OperationType

from app.catalog import CATALOG
from app.core.clock import show_instant
from app.core.errors import AimlineError
from app.graphql.agenda import AgendaQueries
from app.graphql.attention import AttentionQueries
from app.graphql.breaks import BreakMutations
from app.graphql.commands import add_arguments
from app.graphql.concern import ConcernMutations
from app.graphql.consumers import ConsumerMutations, ConsumerQueries
from app.graphql.decision import DecisionMutations
from app.graphql.door import OperationContext
from app.graphql.events import EventQueries
from app.graphql.evidence import EvidenceMutations
from app.graphql.execute import execute_query
from app.graphql.growth import GrowthQueries
from app.graphql.library import LibraryQueries
from app.graphql.limits import Limits
from app.graphql.me import MeQueries
from app.graphql.measure import MeasureMutations
from app.graphql.mutations import command_fields
from app.graphql.playbook import PlaybookMutations, PlaybookQueries
from app.graphql.prepare import Preparation, Prepared
from app.graphql.provision import ProvisionQueries
from app.graphql.recap import RecapQueries
from app.graphql.request import Operation
from app.graphql.roots import query_fields
from app.graphql.screening import ScreeningQueries
from app.graphql.subscription import Subscription
from app.graphql.types import derived_names, type_of
from app.graphql.written import install


@strawberry.type(description="Reads. A row that the caller may not see is null, the same as one that does not exist.")
class Query(
    MeQueries,
    AttentionQueries,
    ProvisionQueries,
    GrowthQueries,
    AgendaQueries,
    RecapQueries,
    PlaybookQueries,
    LibraryQueries,
    ScreeningQueries,
    EventQueries,
    ConsumerQueries,
):
    """The fields at the top of a query that are written by hand.

    `query_fields` adds the fields that read rows of resources.
    """


@strawberry.type(
    description=(
        "Commands. Each field succeeds or fails alone, with its `problems`. An internal fault undoes the "
        "whole operation."
    )
)
class Mutation(
    ConcernMutations,
    EvidenceMutations,
    DecisionMutations,
    PlaybookMutations,
    BreakMutations,
    MeasureMutations,
    ConsumerMutations,
):
    """The mutations that are written by hand.

    `command_fields` adds the mutations that are generated from the commands of resources.
    """


_query, _mutation = get_object_definition(Query, strict=True), get_object_definition(Mutation, strict=True)
_query.fields += query_fields()
_mutation.fields += command_fields({field.python_name for field in _mutation.fields})
add_arguments(Mutation)


class QuietSchema(strawberry.Schema):
    """A schema that does not log errors, because an exception's text may contain submitted values."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Logs nothing, unlike the method of the library.

        The router logs faults, but only their classes and places in the code.
        """

    def _extend_introspection(self) -> None:
        """Makes graphql-core resolve `isOneOf`, because Strawberry's own resolver fails for list and non-null types."""


class PreparedDocument(SchemaExtension):
    """Supplies the prepared document, so that the library does not parse and validate the document a second time."""

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        context.graphql_document = context.context.prepared.document
        context.validation_rules = ()
        yield


INSTANT = replace(DateTimeDefinition, serialize=show_instant)
"""The scalar of instants. The library itself would write `+00:00` in place of `Z`."""
schema = QuietSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[type_of(resource) for resource in CATALOG.resources],
    extensions=[PreparedDocument],
    scalar_overrides={datetime: INSTANT},
)
install(schema._schema, derived_names())  # the library offers no public name for it


def preparation(limits: Limits) -> Preparation:
    """Returns an object that prepares operations for this schema."""
    return Preparation(schema._schema, limits)  # the library offers no public name for it


async def execute(context: OperationContext, operation: Operation) -> ExecutionResult:
    """Executes a prepared operation and returns its result.

    The disclosure log gets the names of the operation's root fields, never a value. A fault becomes an error in the
    result and is not raised, so that all failures are answered in one place.
    """
    kind, selections = context.prepared.operation.operation, context.prepared.operation.selection_set.selections
    roots = dict.fromkeys(node.name.value for node in selections if isinstance(node, FieldNode))
    context.work.operation = f"graphql {kind.value} {' '.join(roots)}".strip()
    if context.prepared.writes:
        return await _execute_by_library(context, operation)

    async def library(prepared: Prepared) -> ExecutionResult:
        context.prepared = prepared
        return await _execute_by_library(context, operation)

    try:
        return await execute_query(context, schema._schema, operation, library)
    except AimlineError:
        raise
    except Exception as error:
        return ExecutionResult(data=None, errors=[GraphQLError(str(type(error)), original_error=error)])


async def _execute_by_library(context: OperationContext, operation: Operation) -> ExecutionResult:
    return await schema.execute(
        None,
        variable_values=operation.variables,
        operation_name=operation.name,
        context_value=context,
        allowed_operation_types=(OperationType.QUERY, OperationType.MUTATION),
    )


async def execute_event(context: OperationContext, operation: Operation, event: Any) -> ExecutionResult:
    """Executes a prepared subscription for one event; `event` is the value of the subscription's field."""
    executed = execute_by_core(
        schema._schema,
        context.prepared.document,
        event,
        context,
        operation.variables,
        operation.name,
    )
    result = await executed if isawaitable(executed) else executed
    return ExecutionResult(data=result.data, errors=result.errors)


def schema_of() -> GraphQLSchema:
    """Returns the schema as graphql-core's own object, which Strawberry's schema contains."""
    return schema._schema


def sdl() -> str:
    """Returns the schema in GraphQL's schema definition language."""
    return schema.as_str() + "\n"
