"""Derives a mutation, with its input and payload, from each declared command that has no mutation of its own.

The inputs are those of the service's function, with their bounds and descriptions.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

import strawberry
from strawberry.types.field import StrawberryField

from app.catalog import CATALOG
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.core.inputs import InputField
from app.graphql.door import Info, guarded_field
from app.graphql.node import parse_id
from app.graphql.problems import Problem, check_lengths, run_command
from app.graphql.types import camel, enum_of, list_of
from app.graphql.written import row_of
from app.resources.declare import Command, declaration

PARAMETER: Final = re.compile(r"\{(\w+)\}")


def command_fields(written: Collection[str]) -> list[StrawberryField]:
    """Returns a mutation for each declared command, except those in `written`, which are written by hand."""
    return [_field(command) for name, command in CATALOG.commands.items() if name not in written]


def _field(command: Command) -> StrawberryField:
    subject = next(iter(PARAMETER.findall(command.rest)), None)
    result_name = None if command.result is None else _snake(declaration(command.result).name)
    input_type, payload = _input_type(command, subject), _payload_type(command, result_name)

    def answer(row: Any, problems: list[Problem]) -> Any:
        return payload(problems=problems, **({} if result_name is None else {result_name: row}))

    async def resolve(info: Any, input: Any) -> Any:
        values = {name: value for name in command.inputs.fields if (value := getattr(input, name)) is not None}
        if problems := check_lengths(_texts(command, values)):
            return answer(None, problems)
        arguments: list[Any] = []
        if command.inputs.row is not None and subject is not None:
            row_id = parse_id(subject, getattr(input, f"{subject}_id"))
            if row_id is None:
                missing = NotFound(subject)
                return answer(None, [Problem(code=missing.code, pointer=f"/{subject}_id", detail=missing.detail)])
            arguments.append(row_id)
        if command.inputs.whole is not None:
            arguments.append(command.inputs.type(**values))
            values = {}
        return answer(*await run_command(info.context, command.function, *arguments, **values))

    resolve.__annotations__ = {"info": Info, "input": input_type, "return": payload | None}
    field = guarded_field(command.description, command.function, name=camel(command.name))(resolve)
    field.python_name = command.name
    return field


def _input_type(command: Command, subject: str | None) -> Any:
    annotations: dict[str, Any] = {}
    members: dict[str, Any] = {"__annotations__": annotations, "__doc__": f"The input of `{command.name}`."}
    if subject is not None:
        annotations[f"{subject}_id"] = strawberry.ID
    for name, declared in command.inputs.fields.items():
        type_ = _type_of(declared)
        annotations[name] = type_ if declared.required else type_ | None
        default: dict[str, Any] = {} if declared.required else {"default": None}
        members[name] = strawberry.field(description=declared.description or None, **default)
    # Strawberry's fields may be in any order, whether they have a default or not.
    return strawberry.input(type(f"{_title(command)}Input", (), members), description=command.description)


def _payload_type(command: Command, shown: str | None) -> Any:
    annotations: dict[str, Any] = {} if shown is None else {shown: Any}
    annotations["problems"] = list[Problem]
    members: dict[str, Any] = {"__annotations__": annotations, "__doc__": f"The payload of `{command.name}`."}
    if shown is not None:
        members[shown] = row_of(command.result)
    description = "The problems; none if the command has succeeded."
    if shown is not None:
        description = "The row after the command, or the problems."
    return strawberry.type(type(f"{_title(command)}Payload", (), members), description=description)


def _type_of(declared: InputField) -> Any:
    type_: Any = declared.type
    if isinstance(type_, type) and issubclass(type_, StrEnum):
        type_ = enum_of(type_)
    elif type_ is str and isinstance(declared.example, str):
        with suppress(Invalid):
            ids.parse_any_id(declared.example)
            type_ = strawberry.ID
    return list_of(type_) if declared.many else type_


def _texts(command: Command, given: Mapping[str, Any]) -> list[tuple[str, str | None, int, int]]:
    return [
        (f"/{name}", given[name], declared.text.min, declared.text.max)
        for name, declared in command.inputs.fields.items()
        if declared.text is not None and isinstance(given.get(name), str)
    ]


def _title(command: Command) -> str:
    name = camel(command.name)
    return name[0].upper() + name[1:]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
