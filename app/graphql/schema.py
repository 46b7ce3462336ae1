"""Owns the schema: the roots put together from the rooms, the limits, the SDL. Opens no unit of work."""

from collections.abc import Iterator

import strawberry
from graphql import FieldNode, GraphQLError, OperationDefinitionNode, get_operation_ast
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter, SchemaExtension
from strawberry.types import ExecutionContext

from app.graphql.breaks import BreakMutations, BreakQueries
from app.graphql.concern import ConcernMutations, ConcernQueries
from app.graphql.decision import DecisionMutations, DecisionQueries
from app.graphql.door import Asked
from app.graphql.evidence import EvidenceMutations, EvidenceQueries
from app.graphql.measure import MeasureMutations
from app.graphql.nodes import NodeQueries
from app.graphql.playbook import PlaybookMutations, PlaybookQueries
from app.graphql.response import ResponseQueries
from app.graphql.roster import RosterQueries
from app.graphql.school import SchoolQueries
from app.graphql.session import SessionMutations, SessionQueries
from app.graphql.support import SupportQueries

MOST_DEPTH = 12
MOST_ALIASES = 30
MOST_TOKENS = 2000


@strawberry.type(description="Reads. Whatever is not this caller's to see is null, the same as what is not there.")
class Query(
    NodeQueries,
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
    description="Commands. Each field stands or falls alone: what it cannot take is told in its `problems`. "
    "A fault of ours undoes the whole operation."
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


class NamedOperation(SchemaExtension):
    """Names the unit of work by the operation's root fields, for the disclosure log: the schema's names, no value.

    Of several operations the request must name one; the library would run the first.
    """

    def on_parse(self) -> Iterator[None]:
        yield
        context = self.execution_context
        definitions = context.graphql_document.definitions if context.graphql_document else ()
        several = sum(isinstance(one, OperationDefinitionNode) for one in definitions) > 1
        if several and isinstance(context.context, Asked) and context.context.operation_name is None:
            context.pre_execution_errors = [GraphQLError("Name one of the operations in `operationName`.")]

    def on_execute(self) -> Iterator[None]:
        context = self.execution_context
        asked = context.context
        if isinstance(asked, Asked) and context.graphql_document is not None:
            asked.work.operation = f"graphql {context.operation_type.value} {' '.join(_roots(context))}".strip()
        yield


class QuietSchema(strawberry.Schema):
    """A schema that does not log: an exception's text may hold what somebody submitted."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """The router logs faults, by class and place."""


schema = QuietSchema(
    query=Query,
    mutation=Mutation,
    extensions=[
        lambda: MaxTokensLimiter(max_token_count=MOST_TOKENS),
        lambda: QueryDepthLimiter(max_depth=MOST_DEPTH),
        lambda: MaxAliasesLimiter(max_alias_count=MOST_ALIASES),
        NamedOperation,
    ],
)


def sdl() -> str:
    """The schema in GraphQL's own language."""
    return schema.as_str() + "\n"


def _roots(context: ExecutionContext) -> list[str]:
    operation = context.graphql_document and get_operation_ast(context.graphql_document, context.operation_name)
    selections = operation.selection_set.selections if operation else ()
    return list(dict.fromkeys(one.name.value for one in selections if isinstance(one, FieldNode)))
