"""Prepares a document for execution: checks its text, then parses, measures and validates it.

The order matters, because each step limits the work of the next one. No unit of work is open yet, and no row is read.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    get_operation_ast,
    parse,
)

from app.graphql.limits import Limits, check_text, check_variables, too_much
from app.graphql.overlap import comparisons
from app.graphql.request import BadRequest, Operation, check_nul
from app.graphql.rows import Rows
from app.graphql.validation import IndexedSource, violations
from app.graphql.weight import Scale, Weight, too_deep

MAX_KEPT, MAX_KEPT_LENGTH = 200, 4_000
"""The largest number of valid documents that a process keeps, and the largest length of each in characters."""
MAX_KEPT_VARIABLES = 20
"""The largest number of variables of a request whose prepared operation is kept."""
STREAM = "STREAM"
"""The value of `method` for an operation that is answered by a stream, over a WebSocket or as server-sent events."""
MAX_ERRORS_WITH_SUGGESTIONS = 5
"""The largest number of errors for which validation is repeated with the library's suggestions ("Did you mean …").

The suggestions are slow.
"""
PARSING_ABORTED = "Parsing aborted."
"""The end of the parser's message when the parser has reached a limit."""
SHORT_LITERAL = 100
"""Validation is repeated with suggestions only if no literal has more values than this, nested values included."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation that has passed all checks and may be executed."""

    document: DocumentNode
    operation: OperationDefinitionNode
    cost: int

    @property
    def writes(self) -> bool:
        """Returns whether the operation is a mutation."""
        return self.operation.operation is OperationType.MUTATION


class Refused(Exception):
    """Raised for a document that cannot be executed, with the errors and, if it is known, the document's cost."""

    def __init__(self, errors: list[GraphQLError], cost: int | None = None) -> None:
        super().__init__()
        self.errors, self.cost = errors, cost


class Preparation:
    """Parses and validates the operations for one schema, and refuses those that exceed the limits on size and cost."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self.schema, self.limits = schema, limits
        self._rows = Rows(schema)
        self._valid: OrderedDict[str, DocumentNode] = OrderedDict()
        self._measured: OrderedDict[Hashable, Prepared] = OrderedDict()

    def prepare(self, request: Operation, method: str) -> Prepared:
        """Returns the operation of a request, ready for execution; raises `Refused` or `BadRequest`."""
        key = _measured_by(request, method)
        if key is not None and (measured := self._measured.get(key)) is not None:
            self._measured.move_to_end(key)
            return measured
        prepared = self._prepare(request, method)
        if key is not None:
            self._measured[key] = prepared
            if len(self._measured) > MAX_KEPT:
                self._measured.popitem(last=False)
        return prepared

    def _prepare(self, request: Operation, method: str) -> Prepared:
        cost: int | None = None
        try:
            check_text(request.query, self.limits)
            check_nul(request.query)
            check_variables(request.variables, self.limits)
            document = self._valid.get(request.query) or self._parse(request)
            operation = _operation(document, request.name, method)
            variables = _defaults(operation) | (request.variables or {})
            scale = Scale(self.schema, self._rows, document, variables, self.limits)
            weight = scale.weigh(operation)
            cost = int(weight.cost)
            self._check(document, operation, scale, weight)
        except GraphQLError as error:
            raise Refused([error], cost) from None
        if request.query in self._valid:
            self._valid.move_to_end(request.query)
        elif errors := self._validate(document, scale.longest_literal):
            raise Refused(errors, cost)
        else:
            self._keep(request.query, document)
        return Prepared(document, operation, cost)

    def _keep(self, query: str, document: DocumentNode) -> None:
        """Keeps a valid document, so that its text is parsed and validated once. Long texts are not kept."""
        if len(query) <= MAX_KEPT_LENGTH:
            self._valid[query] = document
            if len(self._valid) > MAX_KEPT:
                self._valid.popitem(last=False)

    def _parse(self, request: Operation) -> DocumentNode:
        limits = self.limits
        try:
            return parse(IndexedSource(request.query), max_lexical_tokens=limits.tokens, max_comments=limits.comments)
        except GraphQLSyntaxError as error:
            if error.message.endswith(PARSING_ABORTED):
                detail = f"A document has at most {limits.tokens} tokens and {limits.comments} comments, not too deep."
                raise too_much("document.too_long", detail) from None
            raise

    def _check(self, document: DocumentNode, operation: OperationDefinitionNode, scale: Scale, weight: Weight) -> None:
        """Raises a `GraphQLError` for the first limit that the document exceeds."""
        limits = self.limits
        operations = (
            definition for definition in document.definitions if isinstance(definition, OperationDefinitionNode)
        )
        size_of_others = sum(scale.weigh(other).size for other in operations if other is not operation)
        size = weight.size + size_of_others + scale.size_of_fragments()
        for code, amount, limit, counted in (
            ("document.too_large", size, limits.size, "Parts of the document, with its fragments spread"),
            ("document.too_deep", weight.depth, limits.depth, "Nested selections"),
            (
                "document.too_deep",
                weight.introspection_depth,
                limits.introspection_depth,
                "Nested selections in introspection",
            ),
            ("document.too_many_aliases", weight.aliases, limits.aliases, "Aliases of an operation"),
            ("document.too_many_directives", scale.directives, limits.directives, "Directives of the document"),
            ("introspection.too_large", weight.introspection, limits.introspection, "Keys returned by introspection"),
            ("cost.exceeded", weight.cost, limits.cost, "Rows that an operation may return"),
        ):
            if amount > limit:
                raise too_much(code, f"{counted}: at most {limit}.")
        if weight.nesting > limits.nesting:
            raise too_deep(limits, operation)
        if comparisons(document, limits.comparisons) > limits.comparisons:
            detail = f"At most {limits.comparisons} pairs of fields may have one response key; name each field once."
            raise too_much("document.too_repetitive", detail)

    def _validate(self, document: DocumentNode, longest_literal: int) -> list[GraphQLError]:
        """Returns the errors that validation finds. If a response cannot list all errors, the last error says so.

        `longest_literal` is the number of values in the largest list or object that is written in the document. Errors
        quote such lists and objects, so fewer errors are listed if this number is high.
        """
        most_errors = max(1, min(self.limits.validation_errors, self.limits.printed // (longest_literal + 1)))
        errors = violations(self.schema, document, most_errors, hide_suggestions=True)
        if len(errors) > most_errors:
            errors[-1] = GraphQLError(f"There are more errors than these {most_errors}.")
        elif errors and len(errors) <= MAX_ERRORS_WITH_SUGGESTIONS and longest_literal <= SHORT_LITERAL:
            return violations(self.schema, document, most_errors)
        return errors


def _measured_by(request: Operation, method: str) -> Hashable | None:
    """Returns the key under which a request's prepared operation is cached, or None if it is not cached.

    The key includes the values of integer variables, such as the length of a page, because the cost depends on them. It
    omits the values of other variables, such as ids, which do not change the cost. A request has no key if its text is
    too long, if it has too many variables, or if the value of a variable is a list or an object.
    """
    variables = request.variables or {}
    if len(request.query) > MAX_KEPT_LENGTH or len(variables) > MAX_KEPT_VARIABLES:
        return None
    measured: list[tuple[str, int | None]] = []
    for name, value in variables.items():
        if isinstance(value, list | dict):
            return None
        measured.append((name, value if type(value) is int else None))
    return request.query, request.name, method, tuple(measured)


def _operation(document: DocumentNode, name: str | None, method: str) -> OperationDefinitionNode:
    operation = get_operation_ast(document, name)
    if operation is None:
        raise BadRequest("operation.unknown", "Name one of the document's operations in `operationName`.")
    if operation.operation is OperationType.SUBSCRIPTION:
        if method != STREAM:
            detail = "A subscription runs over a WebSocket (graphql-transport-ws) or with Accept: text/event-stream."
            raise BadRequest("operation.unknown", detail)
    elif method == STREAM:
        raise BadRequest("operation.unknown", "Only subscriptions are streamed: send this as a request of its own.")
    if operation.operation is OperationType.MUTATION and method == "GET":
        raise BadRequest("method", "A GET runs queries only: send this by POST.", 405, {"Allow": "POST"})
    return operation


def _defaults(operation: OperationDefinitionNode) -> dict[str, Any]:
    """Returns the integer defaults of the operation's variables, keyed by the variable's name.

    Other variables are left out.
    """
    return {
        variable.variable.name.value: int(variable.default_value.value)
        for variable in operation.variable_definitions or ()
        if isinstance(variable.default_value, IntValueNode) and len(variable.default_value.value) < 10
    }
