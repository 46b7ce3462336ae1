"""Reads how a command's inputs are declared: their types, bounds, descriptions and examples.

Bounds and descriptions are written once, at the service's own dataclass or parameter: `because: Annotated[str | None,
Text(max=4000), About("The reason.", "Screening confirms it.")] = None`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from app.core.text import Text

REQUIRED: Any = MISSING
"""The marker in place of a default value for an input that must be given."""


@dataclass(frozen=True, slots=True)
class About:
    """The description of an input, with an example, for the API contracts."""

    description: str
    example: Any = None


@dataclass(frozen=True, slots=True)
class AtMost:
    """The largest number of items of a list or of an object."""

    items: int


@dataclass(frozen=True, slots=True)
class ChangesOf:
    """Annotates a parameter that takes changes to a dataclass, as the changed fields by name.

    The fields in `fixed` cannot be changed.
    """

    type: type[Any]
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class FromProcess:
    """Annotates a parameter that is not sent by a caller; its value is the process's setting of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class InputField:
    """One input of a command: its type (without `None` and without the list around it), its bounds and its
    description.

    `most` is the largest number of items, if the input is a list or an object. `hint` is the whole annotation.
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

    @property
    def required(self) -> bool:
        """Returns whether the input must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class CommandInputs:
    """The inputs of a command's function.

    * `row` is the parameter for the id of the affected row, or None.
    * `whole` is the parameter that takes the input's dataclass, or None if each field has its own parameter.
    * `items` is the parameter that takes a list of the input's dataclass, or None.
    * `changes` is the parameter that takes the changed fields of the input's dataclass, or None.
    * `process` has the names of process settings, keyed by the parameters that take them.
    """

    row: str | None
    whole: str | None
    items: str | None
    type: Any
    fields: Mapping[str, InputField]
    changes: str | None = None
    process: Mapping[str, str] = field(default_factory=dict)


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


@cache
def command_inputs(function: Callable[..., Any]) -> CommandInputs:
    """Returns the inputs of a command, read from the parameters of its function that follow the unit of work."""
    function = inspect.unwrap(function)
    hints = get_type_hints(function, include_extras=True)
    row = whole = items = changes = None
    input_type: Any = None
    declared: dict[str, InputField] = {}
    process: dict[str, str] = {}
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        input_ = _field(name, hints[name], default)
        extras = _parts(hints[name])[3]
        setting = next((extra.name for extra in extras if isinstance(extra, FromProcess)), None)
        changed = next((extra for extra in extras if isinstance(extra, ChangesOf)), None)
        if setting is not None:
            process[name] = setting
        elif changed is not None:
            changes, input_type = name, changed.type
            declared |= {
                each.name: replace(each, default=None)
                for each in input_fields(input_type).values()
                if each.name not in changed.fixed
            }
        elif input_.type is UUID and row is None and input_.required:
            row = name
        elif is_dataclass(input_.type):
            whole, items = (None, name) if input_.many else (name, None)
            input_type = input_.type
            declared |= {} if input_.many else input_fields(input_type)
        elif name != "at":  # the place of the items in the request, for the pointers of violations
            declared[name] = input_
    return CommandInputs(row, whole, items, input_type, declared, changes, process)


def _field(name: str, hint: Any, default: Any) -> InputField:
    type_, nullable, many, extras = _parts(hint)
    text = next((extra for extra in extras if isinstance(extra, Text)), None)
    about = next((extra for extra in extras if isinstance(extra, About)), About(""))
    most = next((extra.items for extra in extras if isinstance(extra, AtMost)), None)
    return InputField(name, type_, nullable, many, default, text, about.description, about.example, most, hint)


def _parts(hint: Any) -> tuple[Any, bool, bool, list[Any]]:
    """Returns the parts of an annotation: the type, whether it may be None, whether it is a list, and the metadata."""
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
        return get_args(hint)[0], False, True, []
    return hint, False, False, []
