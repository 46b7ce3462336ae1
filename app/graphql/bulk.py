"""Generates the mutations that take a list of items, from the declarations of commands.

The payload of such a mutation has a result for each item, in order.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

from app.core.errors import NotFound
from app.core.inputs import InputField, input_fields
from app.core.plural import noun_of
from app.core.text import camel
from app.graphql.door import Info, guarded_field
from app.graphql.inputs import convert, field_types, input_from, input_of, title
from app.graphql.node import parse_id
from app.graphql.problems import Problem, problem_of, run_command, to_problems
from app.graphql.types import cached, list_of
from app.graphql.written import row_of
from app.requests.bulk import ItemOutcome, Malformed
from app.resources.command import Command, run_items
from app.resources.declare import declaration
from app.resources.select import ResourceType
from app.roster.student_lock import lock_named_subjects

OPTIONS: Final[Mapping[str, str]] = {
    "atomic": "Whether nothing is written if one item is refused.",
    "dry_run": "Whether nothing is written: the results are those that the mutation would have, without rows.",
}


def bulk_field(command: Command) -> StrawberryField:
    """Returns the mutation that runs a command for several items."""
    inputs, subject = command.inputs, next(iter(command.path), None)
    items, name = str(command.items), command.bulk_name
    row_name = _row_name(command.result)
    result_type = _result_type(command.result)
    input_type, payload = _input_type(command, subject), _payload_type(name, result_type)
    other_inputs: Mapping[str, InputField] = inputs.fields if inputs.items is not None else {}

    async def resolve(info: Any, input: Any) -> Any:
        converted = convert(other_inputs, input)
        if converted.violations:
            return payload(results=[], problems=to_problems(converted.violations))
        arguments: list[Any] = []
        if subject is not None:
            row_id = parse_id(subject, getattr(input, subject))
            if row_id is None:
                missing = NotFound(subject)
                problem = Problem(code=missing.code, pointer=f"/{subject}", detail=missing.detail)
                return payload(results=[], problems=[problem])
            arguments.append(row_id)
        options = {option: bool(getattr(input, option)) for option in OPTIONS}
        given = [_item(inputs.type, item) for item in getattr(input, items)]
        results, problems = await run_command(
            info.context, run_items, command, arguments, given, converted.values, lock=lock_named_subjects, **options
        )
        return payload(
            results=[
                result_type(
                    outcome=result.outcome,
                    problems=[problem_of(violation) for violation in result.violations],
                    **{row_name: result.row},
                )
                for result in results or ()
            ],
            problems=problems,
        )

    resolve.__annotations__ = {"info": Info, "input": input_type, "return": payload | None}
    field = guarded_field(command.bulk_words, command.function, name=camel(name))(resolve)
    field.python_name = name
    return field


def _item(input_type: Any, sent: Any) -> Any:
    """Converts one sent item to the input that the command takes; returns `Malformed` if the item has violations."""
    fields = input_fields(input_type)
    converted = convert(fields, sent)
    item = input_from(input_type, converted.values, fields)
    return Malformed(tuple(converted.violations), item) if converted.violations else item


def _input_type(command: Command, subject: str | None) -> Any:
    inputs, owner = command.inputs, title(command.bulk_name)
    members = field_types(owner, inputs.fields if inputs.items is not None else {})
    annotations: dict[str, Any] = {} if subject is None else {subject: strawberry.ID}
    annotations[str(command.items)] = list_of(input_of(inputs.type))
    annotations |= members["__annotations__"]
    for option, words in OPTIONS.items():
        annotations[option] = bool | None
        members[option] = strawberry.field(default=None, description=words)
    members |= {"__annotations__": annotations, "__doc__": f"The input of `{command.bulk_name}`."}
    return strawberry.input(
        type(f"{owner}Input", (), members), description=f"1 to {command.bulk} {noun_of(str(command.items))}."
    )


def _payload_type(name: str, result_type: Any) -> Any:
    members = {
        "__annotations__": {"results": list_of(result_type), "problems": list[Problem]},
        "__doc__": f"The payload of `{name}`.",
    }
    words = "A result for each item, in order; `problems` concern the input as a whole."
    return strawberry.type(type(f"{title(name)}Payload", (), members), description=words)


@cached
def _result_type(resource: ResourceType) -> Any:
    """Returns the type of the result for one item, such as `ScoreResult`."""
    name, row_name = declaration(resource).name, _row_name(resource)
    noun = row_name.replace("_", " ")
    outcome = strawberry.enum(
        ItemOutcome, name=f"{name}Outcome", description=f"The outcome of one item of the kind {noun}."
    )
    members = {
        "__annotations__": {"outcome": outcome, row_name: Any, "problems": list[Problem]},
        "__doc__": "The result for one item.",
        row_name: row_of(resource),
    }
    words = f"The result for one {noun}; a refused one has its problems."
    return strawberry.type(type(f"{name}Result", (), members), description=words)


def _row_name(resource: ResourceType) -> str:
    """Returns the name of the result's field that holds the row, such as `team_member` for `TeamMember`."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", declaration(resource).name).lower()
