"""Implements the idempotency keys of mutations, so that a caller can safely send an operation again.

Each mutation field can have its own idempotency key. If a field was executed before under its key, it is not run
again, and the caller gets the stored response. The response of each field is stored in the transaction of the
operation. A field that failed with problems changed nothing, so nothing is stored for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
)
from graphql.execution.collect_fields import FragmentDetails, collect_fields
from graphql.execution.values import get_argument_values, get_variable_values
from strawberry.types import ExecutionResult

from app.access.principal import Principal
from app.access.work import Work
from app.graphql.commands import KEY
from app.graphql.prepare import Prepared
from app.graphql.problems import KeptError, render_error
from app.graphql.request import Operation
from app.requests.idempotency import Answer, KeyedRequest, find_answer, keyed_request, parse_key, save_answer


@dataclass
class Repetition:
    """The fields of one mutation operation, with the responses that were stored earlier under their idempotency keys.

    * `fields` has all fields of the operation.
    * `requests` has a request for each field that has an idempotency key.
    * `answers` has the stored responses.

    The keys of these dictionaries are the fields' names in the response.
    """

    fields: Mapping[str, FieldNode]
    requests: Mapping[str, KeyedRequest]
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    attempts: int = 0

    @property
    def is_whole(self) -> bool:
        """Returns whether every field has an idempotency key, so that the whole operation can safely run twice."""
        return bool(self.requests) and all(
            name in self.requests or node.name.value == "__typename" for name, node in self.fields.items()
        )

    async def load_answers(self, work: Work) -> None:
        """Looks up the responses that were stored for these fields, and keeps them in `answers`.

        If the lookup of one field raises an error, the whole operation fails.
        """
        self.answers.clear()
        self.attempts += 1
        for name, request in self.requests.items():
            answer = await find_answer(work, request, is_second_attempt=self.attempts > 1)
            if answer is not None:
                work.disclose_again(answer.students, answer.kinds)
                self.answers[name] = orjson.loads(answer.body)

    def remaining(self, prepared: Prepared) -> Prepared:
        """Returns the operation without the fields whose response was stored before."""
        if not self.answers:
            return prepared
        nodes = tuple(node for name, node in self.fields.items() if name not in self.answers)
        operation = _with_fields(prepared.operation, nodes)
        definitions = tuple(
            operation if definition is prepared.operation else definition
            for definition in prepared.document.definitions
        )
        return replace(prepared, document=DocumentNode(definitions=definitions), operation=operation)

    @property
    def is_answered(self) -> bool:
        """Returns whether every field has a stored response, so that no field needs to run."""
        return bool(self.answers) and self.fields.keys() <= self.answers.keys()

    async def complete(self, work: Work, result: ExecutionResult, done: set[str]) -> ExecutionResult:
        """Stores the responses of the fields that succeeded, and returns the complete result.

        The complete result also has the responses that were stored earlier. `done` has the response keys of the fields
        whose command has succeeded.
        """
        data, errors = result.data, list(result.errors or ())
        if data is None:
            return result
        for name, request in self.requests.items():
            if name in done and name not in self.answers:
                of_field = [render_error(error, "") for error in errors if error.path and error.path[0] == name]
                body = orjson.dumps({"data": data.get(name), "errors": of_field})
                await save_answer(work, request, Answer(200, (), body, *work.shown()))
        data_by_key = {name: answer["data"] for name, answer in self.answers.items()} | data
        errors += [KeptError(stored_error) for answer in self.answers.values() for stored_error in answer["errors"]]
        extensions = {"idempotencyReplayed": list(self.answers)} if self.answers else None
        return ExecutionResult(
            data={name: data_by_key[name] for name in self.fields if name in data_by_key},
            errors=errors or None,
            extensions=extensions,
        )


def repetition_of(
    schema: GraphQLSchema, prepared: Prepared, operation: Operation, principal: Principal
) -> Repetition | None:
    """Returns the fields of a mutation that have an idempotency key, or None if no field has one.

    Raises `Malformed` for an invalid key.
    """
    if not prepared.writes or schema.mutation_type is None or KEY not in operation.query:
        return None  # No field can have a key, because the document does not contain the argument's name.
    definitions = prepared.operation.variable_definitions or ()
    # The check stops at one error, without suggestions, because more would take longer than a small request itself.
    variables = get_variable_values(schema, definitions, operation.variables or {}, max_errors=1, hide_suggestions=True)
    if isinstance(variables, list):
        return None  # The operation will fail because of its variables.
    fragments = {
        definition.name.value: FragmentDetails(definition)
        for definition in prepared.document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    collected = collect_fields(schema, fragments, variables, schema.mutation_type, prepared.operation)
    fields: dict[str, FieldNode] = {}
    requests: dict[str, KeyedRequest] = {}
    payload = (operation.query, operation.name, orjson.dumps(operation.variables, option=orjson.OPT_SORT_KEYS))
    for name, details in collected.grouped_field_set.items():
        node = details[0].node
        fields[name] = node if len(details) == 1 else _merged([detail.node for detail in details])
        definition = schema.mutation_type.fields.get(node.name.value)
        key = None if definition is None else get_argument_values(definition, node, variables).get(KEY)
        if key is not None:
            operation_name = f"graphql {node.name.value}"
            requests[name] = keyed_request(principal, operation_name, parse_key([key], f"/{KEY}"), *payload, name)
    return Repetition(fields, requests) if requests else None


def _merged(nodes: list[FieldNode]) -> FieldNode:
    """Merges fields with the same response key into one field, with the selections of all of them."""
    selections = tuple(selection for node in nodes if node.selection_set for selection in node.selection_set.selections)
    first = nodes[0]
    return FieldNode(
        alias=first.alias,
        name=first.name,
        arguments=first.arguments,
        directives=first.directives,
        selection_set=SelectionSetNode(selections=selections) if selections else None,
        loc=first.loc,
    )


def _with_fields(operation: OperationDefinitionNode, nodes: tuple[FieldNode, ...]) -> OperationDefinitionNode:
    return OperationDefinitionNode(
        operation=operation.operation,
        name=operation.name,
        variable_definitions=operation.variable_definitions,
        directives=operation.directives,
        selection_set=SelectionSetNode(selections=nodes),
        loc=operation.loc,
    )
