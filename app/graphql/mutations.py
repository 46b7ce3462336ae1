"""Generates mutations, with their inputs and payloads, from the commands that the resources declare.

A command for which a mutation is written by hand is left out. The inputs come from the parameters of the command's
function, with their bounds and descriptions.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

from app.catalog import CATALOG
from app.core.errors import NotFound
from app.core.text import camel
from app.graphql.bulk import bulk_field
from app.graphql.door import Info, guarded_field
from app.graphql.inputs import convert, field_types, input_from, title
from app.graphql.node import parse_id
from app.graphql.problems import Problem, find_problems, run_command, to_problems
from app.graphql.types import item_type
from app.graphql.written import row_of
from app.resources.command import Command
from app.resources.complete import render_value
from app.resources.declare import declaration
from app.resources.select import GRAPHQL_STYLE

PARAMETER: Final = re.compile(r"\{(\w+)\}")


def command_fields(written: Collection[str]) -> list[StrawberryField]:
    """Returns a mutation for each command that a resource declares, except those whose names are in `written`.

    The mutations in `written` are written by hand. A command that can take several items gets a second mutation, which
    takes a list. A command that takes only lists gets only the mutation that takes a list.
    """
    fields = []
    for command in CATALOG.commands.values():
        if command.inputs.items is None and command.name not in written:
            fields.append(_field(command))
        if command.bulk is not None and command.bulk_name not in written:
            fields.append(bulk_field(command))
    return fields


def _field(command: Command) -> StrawberryField:
    subject = next(iter(PARAMETER.findall(command.rest)), None)
    shown = None if command.result is None else _snake(declaration(command.result).name)
    input_type, payload = _input_type(command, subject), _payload_type(command, shown)
    inputs = command.inputs

    def answer(result: Any, problems: list[Problem]) -> Any:
        row = result if command.row is None or result is None else command.row(result)
        return payload(
            problems=problems, **_additional_values(command, result), **({} if shown is None else {shown: row})
        )

    async def resolve(info: Any, input: Any) -> Any:
        converted = convert(inputs.fields, input, changes=inputs.changes is not None)
        given, arguments = converted.values, []
        if inputs.row is not None and subject is not None:
            row_id = parse_id(subject, getattr(input, f"{subject}_id"))
            if row_id is None and converted.violations:
                return answer(None, to_problems(converted.violations))
            if row_id is None:
                missing = NotFound(subject)
                return answer(None, [Problem(code=missing.code, pointer=f"/{subject}_id", detail=missing.detail)])
            arguments.append(row_id)
        if inputs.changes is not None:
            given = {inputs.changes: given}
        elif inputs.whole is not None:
            own = {name: each for name, each in inputs.fields.items() if name in inputs.type.__dataclass_fields__}
            given[inputs.whole] = input_from(
                inputs.type, {name: given.pop(name) for name in [*given] if name in own}, own
            )
        given |= {name: getattr(info.context.installation, setting) for name, setting in inputs.process.items()}
        if converted.violations:
            return answer(
                None, await find_problems(info.context, converted.violations, command.function, *arguments, **given)
            )
        return answer(*await run_command(info.context, command.function, *arguments, **given))

    resolve.__annotations__ = {"info": Info, "input": input_type, "return": payload | None}
    field = guarded_field(command.description, command.function, name=camel(command.name))(resolve)
    field.python_name = command.name
    return field


def _additional_values(command: Command, result: Any) -> dict[str, Any]:
    """Returns the values that a payload shows in addition to the changed row, keyed by name.

    They are taken from the command's `result`. Each value is None if the command has failed.
    """
    if command.value is None:
        return {}
    items = command.value.__items__
    return dict.fromkeys(items) if result is None else render_value(result, command.value, (), GRAPHQL_STYLE)


def _input_type(command: Command, subject: str | None) -> Any:
    members = field_types(title(command.name), command.inputs.fields, changes=command.inputs.changes is not None)
    members["__doc__"] = f"The input of `{command.name}`."
    if subject is not None:
        members["__annotations__"] = {f"{subject}_id": strawberry.ID, **members["__annotations__"]}
    # The library allows fields with and without a default in any order.
    return strawberry.input(type(f"{title(command.name)}Input", (), members), description=command.description)


def _payload_type(command: Command, shown: str | None) -> Any:
    annotations: dict[str, Any] = {} if shown is None else {shown: Any}
    members: dict[str, Any] = {"__annotations__": annotations, "__doc__": f"The payload of `{command.name}`."}
    for name, item in _items(command).items():
        annotations[name] = item_type(item) | None
        members[name] = strawberry.field(description=item.description)
    annotations["problems"] = list[Problem]
    if shown is not None:
        members[shown] = row_of(command.result)
    description = "The problems; none if the command has succeeded."
    if shown is not None:
        description = "The row after the command, or the problems."
    return strawberry.type(type(f"{title(command.name)}Payload", (), members), description=description)


def _items(command: Command) -> Mapping[str, Any]:
    return {} if command.value is None else command.value.__items__


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
