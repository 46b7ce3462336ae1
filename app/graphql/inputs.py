"""Generates the GraphQL input types of commands, and converts GraphQL input objects into the commands' inputs.

The bounds and descriptions come from the commands' functions (see `app.core.inputs`).
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, cast, get_args, get_origin
from uuid import UUID

import strawberry
from pydantic import TypeAdapter, ValidationError
from strawberry.scalars import JSON

from app.core import ids
from app.core.errors import Invalid, Violation
from app.core.inputs import Choices, InputField, input_fields
from app.core.text import camel
from app.core.violations import UNREAD, partial_input, without_unread
from app.graphql.types import cached, enum_of, list_of

NAME_OF_CHOICE: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Converted:
    """A converted input: the values that the command takes, by name, and the violations that were found."""

    values: dict[str, Any]
    violations: list[Violation]


def title(name: str) -> str:
    """Returns the name of a command or field, spelled as the name of a type: `raise_concern` gives `RaiseConcern`."""
    return camel(f"_{name}")


def field_types(owner: str, fields: Mapping[str, InputField], *, changes: bool = False) -> dict[str, Any]:
    """Returns the attributes of a GraphQL input type that has these fields.

    If an enum is made for a field, the enum's name begins with `owner`. With `changes`, the input distinguishes a field
    that is left out from a field that is null.
    """
    annotations: dict[str, Any] = {}
    members: dict[str, Any] = {"__annotations__": annotations}
    for name, declared in fields.items():
        type_ = _type_of(owner, declared)
        default: dict[str, Any] = {}
        if changes:
            maybe: Any = strawberry.Maybe
            annotations[name] = maybe[type_ | None] if declared.nullable else maybe[type_]
        elif declared.required:
            annotations[name] = type_
        else:
            annotations[name], default = type_ | None, {"default": None}
        members[name] = strawberry.field(description=declared.description or None, **default)
    return members


def convert(fields: Mapping[str, InputField], given: Any, *, changes: bool = False, at: str = "") -> Converted:
    """Converts a GraphQL input object. Returns the values that the command takes, and the violations.

    `at` is the JSON Pointer of the object in the request. A field that the caller left out has no value. A field with a
    violation has the value `UNREAD`. A nested object is an exception: it keeps its valid values.
    """
    values: dict[str, Any] = {}
    violations: list[Violation] = []
    for name, declared in fields.items():
        sent = getattr(given, name)
        if sent is None:
            continue
        value, earlier = sent.value if changes else sent, len(violations)
        converted = _value(declared, value, f"{at}/{name}", violations)
        if len(violations) == earlier or (is_dataclass(declared.type) and not declared.many):
            values[name] = converted
        else:
            values[name] = UNREAD
    return Converted(values, violations)


def input_from(input_type: Any, values: Mapping[str, Any], fields: Mapping[str, InputField]) -> Any:
    """Returns an instance of an input's dataclass with these values. Values that are `UNREAD` are left out."""
    defaults = {name: declared.default for name, declared in fields.items() if not declared.required}
    return partial_input(input_type, without_unread(defaults | dict(values)))


def _type_of(owner: str, declared: InputField) -> Any:
    type_: Any = declared.type
    if declared.choices is not None:
        type_ = str if declared.choices.as_text else enum_of(declared.choices.of)
    elif _choices(declared):
        type_ = _enum(f"{owner}{title(declared.name)}", declared)
    elif get_origin(type_) is Literal:
        type_ = str
    elif isinstance(type_, type) and issubclass(type_, StrEnum):
        type_ = enum_of(type_)
    elif type_ is UUID or (type_ is str and _is_id(declared.example)):
        type_ = strawberry.ID
    elif is_dataclass(type_):
        type_ = input_of(type_)
    elif get_origin(type_) is tuple:
        type_ = list_of(get_args(type_)[0])
    elif _is_object(declared):
        type_ = JSON
    return list_of(type_) if declared.many else type_


@cached
def input_of(shape: Any) -> Any:
    members = field_types(shape.__name__, input_fields(shape)) | {"__doc__": shape.__doc__}
    made: Callable[..., Any] = strawberry.input
    return made(type(f"{shape.__name__}Input", (), members), description=" ".join((shape.__doc__ or "").split()))


def _enum(name: str, declared: InputField) -> Any:
    choices = StrEnum(name, {value.upper(): value for value in get_args(declared.type)})  # type: ignore[misc]  # made at run time
    return strawberry.enum(choices, description=declared.description)


def _choices(declared: InputField) -> bool:
    """Returns whether a field can be a GraphQL enum.

    It can if its values are a fixed list of texts, and if each of these texts can be the name of an enum value.
    """
    values = get_args(declared.type) if get_origin(declared.type) is Literal else ()
    return bool(values) and all(NAME_OF_CHOICE.fullmatch(value) for value in values)


def _is_object(declared: InputField) -> bool:
    return get_origin(declared.type) in (Mapping, dict)


def _is_id(example: Any) -> bool:
    with suppress(Invalid):
        return isinstance(example, str) and bool(ids.parse_any_id(example))
    return False


def _value(declared: InputField, sent: Any, at: str, violations: list[Violation]) -> Any:
    if sent is None:
        return None
    if _is_object(declared) and not isinstance(sent, dict):
        violations.append(Violation(at, "shape.dict_type", "This value has another type."))
        return sent
    if declared.most is not None and len(sent) > declared.most:
        violations.append(Violation(at, "shape.too_long", f"At most {declared.most:,} items."))
        return sent
    if declared.many:
        return tuple(_item(declared, item, f"{at}/{place}", violations) for place, item in enumerate(sent))
    return _item(declared, sent, at, violations)


def _item(declared: InputField, sent: Any, at: str, violations: list[Violation]) -> Any:
    type_ = declared.type
    if isinstance(sent, str) and declared.text is not None:
        violations += declared.text.violations(sent, at)
    if isinstance(sent, int) and declared.between is not None:
        violations += declared.between.violations(sent, at)
    if declared.choices is not None:
        return _choice(declared.choices, sent, at, violations)
    if _choices(declared):
        return cast(StrEnum, sent).value
    if get_origin(type_) is Literal and sent not in get_args(type_):
        words = ", ".join(get_args(type_))
        violations.append(Violation(at, "shape.literal_error", f"One of {words}."))
    elif type_ is UUID:
        return _uuid(sent, at, violations)
    elif type_ is datetime and sent.tzinfo is None:
        violations.append(Violation(at, "shape.timezone_aware", "An instant has its offset, such as Z."))
    elif is_dataclass(type_):
        inner = convert(input_fields(cast(Any, type_)), sent, at=at)
        violations += inner.violations
        return input_from(type_, inner.values, input_fields(cast(Any, type_)))
    elif get_origin(type_) is tuple:
        return tuple(sent)
    elif _is_object(declared):
        return _object(declared, sent, at, violations)
    return sent


def _choice(choices: Choices, sent: Any, at: str, violations: list[Violation]) -> str:
    value = sent.value if isinstance(sent, StrEnum) else str(sent)
    if value not in choices.values:
        violations.append(Violation(at, "shape.literal_error", f"One of {', '.join(choices.values)}."))
    return str(value)


def _uuid(text: str, at: str, violations: list[Violation]) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        violations.append(Violation(at, "shape.uuid_parsing", "This is not an id of this kind."))
        return None


def _object(declared: InputField, sent: Any, at: str, violations: list[Violation]) -> Any:
    """Returns a JSON object, after checking that its values have the types of the field's annotation.

    Adds a violation for each value of another type.
    """
    try:
        return TypeAdapter(declared.type).validate_python(sent, strict=True)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False)[:100]:
            place = "".join(f"/{step}" for step in problem["loc"])
            violations.append(Violation(f"{at}{place}", f"shape.{problem['type']}", "This value has another type."))
        return sent
