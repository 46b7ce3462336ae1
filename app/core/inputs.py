"""Reads how a command's inputs are declared: types, bounds, descriptions, examples. Pure.

Bounds and descriptions are written once, at the service's own dataclass or parameter:
`because: Annotated[str | None, Text(max=4000), About("Why.", "Screening confirms it.")] = None`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from app.core.errors import Violation
from app.core.text import Text

T = TypeVar("T")

REQUIRED: Any = MISSING
"""The default of an input that must be given."""


@dataclass(frozen=True, slots=True)
class About:
    """The description of an input for the contracts, and an example."""

    description: str
    example: Any = None


@dataclass(frozen=True, slots=True)
class Choices:
    """The values that a text may have."""

    of: type[StrEnum]

    @property
    def values(self) -> tuple[str, ...]:
        """Returns the values, in the order of their definition."""
        return tuple(choice.value for choice in self.of)


@dataclass(frozen=True, slots=True)
class Items:
    """The largest and the smallest number of items of a list, or of members of an object."""

    max: int
    min: int = 0


@dataclass(frozen=True, slots=True)
class Between:
    """The smallest and the largest value of a whole number."""

    min: int
    max: int


@dataclass(frozen=True, slots=True)
class SomeOf:
    """Marks a parameter that takes only the named fields of an input's dataclass, keyed by name. The others stay."""

    of: type


@dataclass(frozen=True, slots=True)
class InputField:
    """An input of a command: its type without `None` and without the list, its bounds and words.

    The bounds `text` and `choices` of a list are those of each item.
    """

    name: str
    type: Any
    nullable: bool
    many: bool
    default: Any
    text: Text | None = None
    description: str = ""
    example: Any = None
    choices: Choices | None = None
    items: Items | None = None
    between: Between | None = None

    @property
    def required(self) -> bool:
        """Whether the input must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class CommandInputs:
    """The inputs of a command's function: the row that it is about, and its fields.

    `row` is the parameter of the row's id, or None; `path` has all parameters that REST's path names. `whole` is the
    parameter that takes the input's dataclass, or None where each field is a parameter; with `partial` it takes only
    the fields that are named. `items` is the parameter that takes a list of the input's dataclass. `supplied` has the
    parameters whose values the process has, such as the allowed addresses; they are no inputs.
    """

    row: str | None
    whole: str | None
    items: str | None
    type: Any
    fields: Mapping[str, InputField]
    path: tuple[InputField, ...] = ()
    partial: bool = False
    supplied: tuple[str, ...] = ()


@cache
def input_fields(input_type: type) -> Mapping[str, InputField]:
    """Returns the fields of an input's dataclass by name, in order."""
    hints = get_type_hints(input_type, include_extras=True)
    declared: dict[str, InputField] = {}
    for item in fields(input_type):
        factory = item.default_factory
        default = item.default if factory is MISSING else factory()
        declared[item.name] = _field(item.name, hints[item.name], default)
    return declared


SUPPLIED = ("allowed", "local")
"""The names of parameters whose values come from the process, not from the caller."""
PLACE = ("at", "pointer")
"""The names of parameters that say where the inputs are in the request, for the pointers of violations."""


@cache
def command_inputs(function: Callable[..., Any], rows: int = 1) -> CommandInputs:
    """Returns the inputs of a command from the parameters of its function, those after the unit of work.

    `rows` is the number of parameters that REST's path names. They come first.
    """
    function = inspect.unwrap(function)
    hints = get_type_hints(function, include_extras=True)
    row = whole = items = None
    input_type: Any = None
    path: list[InputField] = []
    declared: dict[str, InputField] = {}
    partial, supplied = False, list[str]()
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        default = REQUIRED if parameter.default is inspect.Parameter.empty else parameter.default
        one = _field(name, hints[name], default)
        some = next((extra for extra in _parts(hints[name])[3] if isinstance(extra, SomeOf)), None)
        if len(path) < rows and one.type in (UUID, str) and one.required and not one.many:
            path.append(one)
            row = row or (name if one.type is UUID else None)
        elif name in SUPPLIED:
            supplied.append(name)
        elif some is not None:
            whole, input_type, partial = name, some.of, True
            declared |= {each: _as_change(item) for each, item in input_fields(input_type).items()}
        elif is_dataclass(one.type) and one.required:
            whole, items = (None, name) if one.many else (name, None)
            input_type = one.type
            declared |= {} if one.many else input_fields(input_type)
        elif name not in PLACE:
            declared[name] = one
    return CommandInputs(row, whole, items, input_type, declared, tuple(path), partial, tuple(supplied))


def bound_violations(declared: Mapping[str, InputField], given: Mapping[str, Any], at: str = "") -> list[Violation]:
    """Returns the violations of the bounds that inputs declare. `at` is the pointer of the object with the inputs."""
    violations: list[Violation] = []
    for name, item in declared.items():
        value, pointer = given.get(name), f"{at}/{name}"
        if value is None:
            continue
        if item.items is not None and not item.items.min <= len(value) <= item.items.max:
            detail = f"{item.items.min} to {item.items.max} items."
            violations.append(Violation(pointer, "shape.items", detail))
        if item.between is not None and not item.between.min <= value <= item.between.max:
            violations.append(Violation(pointer, "shape.range", f"{item.between.min} to {item.between.max}."))
        texts = [(f"{pointer}/{place}", each) for place, each in enumerate(value)] if item.many else [(pointer, value)]
        for place, each in texts:
            if item.text is not None and isinstance(each, str):
                violations += item.text.violations(each, place)
            if item.choices is not None and each not in item.choices.values:
                violations.append(Violation(place, "shape.choice", f"One of {', '.join(item.choices.values)}."))
    return violations


def _as_change(item: InputField) -> InputField:
    """Returns a field of a change: it may be left out, and then keeps its value."""
    return replace(item, default=None)


def _field(name: str, hint: Any, default: Any) -> InputField:
    type_, nullable, many, extras = _parts(hint)

    def first(kind: type[T]) -> T | None:
        return next((extra for extra in extras if isinstance(extra, kind)), None)

    about = first(About) or About("")
    bounds = (first(Choices), first(Items), first(Between))
    return InputField(name, type_, nullable, many, default, first(Text), about.description, about.example, *bounds)


def _parts(hint: Any) -> tuple[Any, bool, bool, list[Any]]:
    """Returns the type in an annotation, whether it may be None, whether it is a list, and what is annotated."""
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
        item, _, _, extras = _parts(get_args(hint)[0])
        return item, False, True, extras
    return hint, False, False, []
