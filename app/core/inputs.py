"""Reads how a command's inputs are declared: their types, bounds, descriptions and examples.

Bounds and descriptions are written once, at the service's own dataclass or parameter: `because: Annotated[str | None,
Text(max=4000), About("The reason.", "Screening confirms it.")] = None`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from app.core.errors import Violation
from app.core.text import Text

T = TypeVar("T")

REQUIRED: Any = MISSING
"""The marker in place of a default value for an input that must be given."""


@dataclass(frozen=True, slots=True)
class About:
    """The description of an input, with an example, for the API contracts."""

    description: str
    example: Any = None


@dataclass(frozen=True, slots=True)
class Choices:
    """The values that a text may have.

    With `as_text`, GraphQL declares the input as a string and not as an enum. This is for an input that once allowed
    any text: its type in GraphQL must not change.
    """

    of: type[StrEnum]
    as_text: bool = False

    @property
    def values(self) -> tuple[str, ...]:
        """Returns the values, in the order of their definition."""
        return tuple(choice.value for choice in self.of)


@dataclass(frozen=True, slots=True)
class AtMost:
    """The bounds for the number of items in a list or an object: at most `items`, and at least `least`."""

    items: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class Between:
    """The smallest and the largest allowed value of a whole number."""

    min: int
    max: int

    def violations(self, number: int, pointer: str) -> list[Violation]:
        """Returns a violation if this number is out of bounds."""
        if number < self.min:
            return [Violation(pointer, "shape.greater_than_equal", f"At least {self.min}.")]
        if number > self.max:
            return [Violation(pointer, "shape.less_than_equal", f"At most {self.max}.")]
        return []


@dataclass(frozen=True, slots=True)
class ChangesOf:
    """Annotates a parameter that takes the changes of a record: a mapping that has only the changed fields.

    `type` is the dataclass that declares the record's fields. The fields in `fixed` cannot be changed.
    """

    type: type[Any]
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """Annotates a parameter whose value is an object. The command gets the object as a mapping.

    `type` is the dataclass that declares the fields of the object.
    """

    type: type[Any]


@dataclass(frozen=True, slots=True)
class FromProcess:
    """Annotates a parameter that no caller sends; its value is the process's setting with the name `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class InputField:
    """An input of a command, with its type, bounds, description and example.

    * `type` is the type without `None`; if the input is a list, it is the type of an item.
    * `text` and `choices` are bounds for the input, or for each item if the input is a list.
    * `most` and `least` are bounds for the number of items, if the input is a list or an object.
    * `hint` is the whole annotation.
    * `object` is the dataclass that has the fields of the object, if the command takes the input as a mapping.
    """

    name: str
    type: Any
    nullable: bool
    many: bool
    default: Any
    text: Text | None = None
    description: str = ""
    example: Any = None
    most: int | None = None
    hint: Any = None
    least: int = 0
    choices: Choices | None = None
    between: Between | None = None
    object: type[Any] | None = None

    @property
    def required(self) -> bool:
        """Returns whether the input must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class CommandInputs:
    """The inputs of a command, as the parameters of its function declare them.

    * `path` is the first parameter if it identifies the row to change, by an id or a code; otherwise None.
    * `row` is the name of this parameter if it takes only an id; otherwise None.
    * `whole` is the name of the parameter that takes the whole input as a dataclass; None if each field is its own
      parameter.
    * `items` is the name of the parameter that takes a list of such dataclasses.
    * `changes` is the name of the parameter that takes the changed fields of such a dataclass.
    * `process` maps each parameter that is filled from a setting of the process to the name of the setting.
    """

    row: str | None
    whole: str | None
    items: str | None
    type: Any
    fields: Mapping[str, InputField]
    changes: str | None = None
    process: Mapping[str, str] = field(default_factory=dict)
    path: InputField | None = None


@cache
def input_fields(input_type: type) -> Mapping[str, InputField]:
    """Returns the fields of an input's dataclass by name, in the order of their declaration."""
    hints = get_type_hints(input_type, include_extras=True)
    declared: dict[str, InputField] = {}
    for item in fields(input_type):
        factory = item.default_factory
        default = item.default if factory is MISSING else factory()
        declared[item.name] = _field(item.name, hints[item.name], default)
    return declared


PLACE = ("at", "pointer", "positions")
"""The names of parameters that give the place of the inputs in the request; pointers of violations begin with it."""


@cache
def command_inputs(function: Callable[..., Any], *, names_row: bool = True) -> CommandInputs:
    """Returns the inputs of a command: the parameters of its function after the first, which is the unit of work.

    If `names_row` is true, the first input may identify the row to change, by an id or a code.
    """
    function = inspect.unwrap(function)
    hints = get_type_hints(function, include_extras=True)
    whole = items = changes = None
    input_type: Any = None
    path: InputField | None = None
    declared: dict[str, InputField] = {}
    process: dict[str, str] = {}
    for place, (name, parameter) in enumerate(list(inspect.signature(function).parameters.items())[1:]):
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        one = _field(name, hints[name], default)
        extras = _parts(hints[name])[3]
        setting = _first(FromProcess, extras)
        changed = _first(ChangesOf, extras)
        if names_row and place == 0 and one.type in (UUID, str) and one.required and not one.many:
            path = one
        elif setting is not None:
            process[name] = setting.name
        elif changed is not None:
            changes, input_type = name, changed.type
            declared |= {
                each.name: replace(each, default=None)
                for each in input_fields(input_type).values()
                if each.name not in changed.fixed
            }
        elif is_dataclass(one.type) and one.required:
            whole, items = (None, name) if one.many else (name, None)
            input_type = one.type
            declared |= {} if one.many else input_fields(input_type)
        elif name not in PLACE:
            declared[name] = one
    row = path.name if path is not None and path.type is UUID else None
    return CommandInputs(row, whole, items, input_type, declared, changes, process, path)


def _field(name: str, hint: Any, default: Any) -> InputField:
    type_, nullable, many, extras = _parts(hint)
    about = _first(About, extras) or About("")
    bound, shape = _first(AtMost, extras), _first(ObjectOf, extras)
    return InputField(
        name,
        type_,
        nullable,
        many,
        default,
        text=_first(Text, extras),
        description=about.description,
        example=about.example,
        most=None if bound is None else bound.items,
        hint=hint,
        least=0 if bound is None else bound.least,
        choices=_first(Choices, extras),
        between=_first(Between, extras),
        object=None if shape is None else shape.type,
    )


def _first(kind: type[T], extras: Sequence[Any]) -> T | None:
    return next((extra for extra in extras if isinstance(extra, kind)), None)


def _parts(hint: Any) -> tuple[Any, bool, bool, list[Any]]:
    """Returns four parts of an annotation: the type, whether it may be None, whether it is a list, and the metadata."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *extras = get_args(hint)
        type_, nullable, many, more = _parts(inner)
        return type_, nullable, many, [*extras, *more]
    if origin in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not NoneType]
        type_, nullable, many, extras = _parts(parts[0])
        return type_, nullable or len(parts) < len(get_args(hint)), many, extras
    if origin in (tuple, list, Sequence):
        item, extras = get_args(hint)[0], []
        if get_origin(item) is Annotated:
            item, *extras = get_args(item)
        return item, False, True, extras
    return hint, False, False, []
