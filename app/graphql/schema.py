"""Builds the schema from the rooms' parts, prints the SDL, and executes operations.

It opens no unit of work.
"""

from collections.abc import Iterator

import strawberry
from graphql import FieldNode, GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

from app.graphql.breaks import BreakMutations, BreakQueries
from app.graphql.commands import add_arguments
from app.graphql.concern import ConcernMutations, ConcernQueries
from app.graphql.decision import DecisionMutations, DecisionQueries
from app.graphql.door import OperationContext
from app.graphql.evidence import EvidenceMutations, EvidenceQueries
from app.graphql.limits import Limits
from app.graphql.me import MeQueries
from app.graphql.measure import MeasureMutations
from app.graphql.nodes import NodeQueries
from app.graphql.playbook import PlaybookMutations, PlaybookQueries
from app.graphql.prepare import Preparation
from app.graphql.request import Operation
from app.graphql.response import ResponseQueries
from app.graphql.roster import RosterQueries
from app.graphql.school import SchoolQueries
from app.graphql.session import SessionMutations, SessionQueries
from app.graphql.support import SupportQueries


@strawberry.type(description="Reads. A row that the caller may not see is null, the same as one that does not exist.")
class Query(
    NodeQueries,
    MeQueries,
    RosterQueries,
    SchoolQueries,
    BreakQueries,
    PlaybookQueries,
    ConcernQueries,
    SupportQueries,
    SessionQueries,
    EvidenceQueries,
    ResponseQueries,
    DecisionQueries,
):
    """The query root."""


@strawberry.type(
    description=(
        "Commands. Each field succeeds or fails alone, with its `problems`. An internal fault undoes the "
        "whole operation."
    )
)
class Mutation(
    ConcernMutations,
    SessionMutations,
    EvidenceMutations,
    DecisionMutations,
    PlaybookMutations,
    BreakMutations,
    MeasureMutations,
):
    """The mutation root."""


add_arguments(Mutation)


class QuietSchema(strawberry.Schema):
    """A schema that does not log errors, because an exception's text may contain submitted values."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Does nothing, because the router logs faults by class and place."""

    def _extend_introspection(self) -> None:
        """Leaves `isOneOf` to graphql-core, because Strawberry's own resolver of it fails for a list or a non-null
        type.
        """


class PreparedDocument(SchemaExtension):
    """Supplies the prepared document, so that the library neither parses nor validates it a second time."""

    def on_operation(self) -> Iterator[None]:
        context = self.execution_context
        context.graphql_document = context.context.prepared.document
        context.validation_rules = ()
        yield


schema = QuietSchema(query=Query, mutation=Mutation, extensions=[PreparedDocument])


def preparation(limits: Limits) -> Preparation:
    """Returns the preparation of operations against this schema."""
    return Preparation(schema._schema, limits)  # the library offers no public name for it


async def execute(context: OperationContext, operation: Operation) -> ExecutionResult:
    """Executes a prepared operation. The disclosure log gets the names of its root fields, never a value."""
    kind, selections = context.prepared.operation.operation, context.prepared.operation.selection_set.selections
    roots = dict.fromkeys(node.name.value for node in selections if isinstance(node, FieldNode))
    context.work.operation = f"graphql {kind.value} {' '.join(roots)}".strip()
    return await schema.execute(
        None,
        variable_values=operation.variables,
        operation_name=operation.name,
        context_value=context,
        allowed_operation_types=(OperationType.QUERY, OperationType.MUTATION),
    )


def sdl() -> str:
    """Returns the schema in GraphQL's schema definition language."""
    return schema.as_str() + "\n"
