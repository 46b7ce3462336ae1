"""Collects the violations of several checks, so that a caller gets all of them at once.

An API may have to refuse some inputs before the command runs, because their form is wrong, such as a text in place of a
number. It still runs the command with the other inputs, so that the caller also learns what the command would refuse.
The refused inputs then have no value: reading one of them raises `Unread`, which ends only the check that reads it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from functools import cache
from types import TracebackType
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, Self, TypeVar, cast

from app.core.errors import Invalid, Malformed, Violation
from app.core.text import texts_of

P = ParamSpec("P")
T = TypeVar("T")

EARLIEST_DAY: Final = date(2000, 1, 1)
"""The earliest day that a record about a student can have. An earlier day is a mistake, such as a two-digit year."""
EARLIEST_DATE: Final = date(1900, 1, 1)
"""The earliest date that a sync accepts about a person, such as a birth date."""


class Unread(Exception):
    """Raised when a check reads an input that was refused before the command ran, because its form is wrong."""


class Violations:
    """Collects the violations of checks that do not depend on each other. Each check runs in its own `with` block.

    After the last check, `refuse` raises `Invalid` with all violations.
    """

    def __init__(self, violations: Iterable[Violation] = ()) -> None:
        self._all: list[Violation] = []
        self._is_partial = False
        self._refusal: Invalid | None = None
        self.add(violations)

    def add(self, violations: Iterable[Violation]) -> None:
        """Adds violations."""
        self._all += violations
        self._is_partial |= isinstance(violations, Violations) and violations._is_partial

    def __iter__(self) -> Iterator[Violation]:
        return iter(list(self._all))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Adds the violations if the check raised `Invalid`.

        Suppresses `Invalid` and `Unread`, so that the next check runs.
        """
        if isinstance(error, Invalid):
            self._all += error.violations
            # The traceback refers to the function that has this object in a variable. This cycle would keep the
            # request's values.
            self._refusal = error.with_traceback(None)
        elif isinstance(error, Unread):
            self._is_partial = True
        return isinstance(error, Invalid | Unread)

    def refuse(self) -> None:
        """Raises `Invalid` if there are violations.

        If there are none, but a check has read an input that was refused before the command ran, raises `Unread`.
        """
        if self._refusal is not None and tuple(self._all) == self._refusal.violations:
            # If only one check failed, its own error is raised, which may have a specific code and sentence.
            refusal, self._refusal = self._refusal, None
            try:
                raise refusal
            finally:
                del refusal
        if self._all:
            raise Invalid(list(dict.fromkeys(self._all)))
        if self._is_partial:
            raise Unread


class ReadViolations(Violations):
    """Collects the violations of a read, in the same way as `Violations` does for a command.

    `refuse` raises `Malformed` if any check raised it: a request with a malformed parameter is a bad request, even if
    it also names a row that does not exist.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_malformed = False

    def __bool__(self) -> bool:
        """Returns whether a check has failed."""
        return bool(self._all)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        """Adds the violations if the check raised `Invalid`, and suppresses it."""
        self._is_malformed |= isinstance(error, Malformed)
        return super().__exit__(kind, error, at)

    def refuse(self) -> None:
        """Raises `Malformed` or `Invalid` if there are violations."""
        several = self._refusal is not None and tuple(self._all) != self._refusal.violations
        if several and self._is_malformed:
            raise Malformed(list(dict.fromkeys(self._all)))
        super().refuse()


class UnreadValue:
    """Takes the place of a value that was refused before the command ran. Every use of this object raises `Unread`."""

    __slots__ = ()

    def _raise(self, *_: object) -> NoReturn:
        raise Unread

    __bool__ = __len__ = __iter__ = __str__ = __hash__ = __float__ = __int__ = _raise
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getattr__ = _raise


UNREAD: Final[Any] = UnreadValue()


def partial_input(input_type: type[T], values: Mapping[str, Any]) -> T:
    """Returns an instance of an input's dataclass with only these values; reading any other field raises `Unread`."""
    names = [field.name for field in fields(cast(Any, input_type)) if field.name in values]
    kept = {name: values[name] for name in names}
    if len(names) == len(fields(cast(Any, input_type))):
        return input_type(**kept)
    made: T = object.__new__(_partial_type(cast(Any, input_type)))
    for name, value in kept.items():
        object.__setattr__(made, name, value)
    return made


class KnownValues(dict[str, Any]):
    """A mapping of inputs by name. It lacks the inputs that an API refused before the command ran.

    Reading a missing input raises `Unread`.
    """

    def __missing__(self, name: str) -> NoReturn:
        raise Unread


def without_unread(values: Mapping[str, Any]) -> KnownValues:
    """Returns the inputs that are valid.

    An input that an API refused before the command ran has the value `UNREAD`; it is left out.
    """
    return KnownValues({name: value for name, value in values.items() if value is not UNREAD})


def with_values(value: T, **changes: Any) -> T:
    """Returns a copy of a dataclass with these values changed. Fields that were refused still raise `Unread`."""
    return partial_input(type(value), known_values(value) | changes)


def readable(values: Iterable[Any], name: str) -> list[Any]:
    """Returns the field `name` of each of these dataclasses.

    A dataclass in which this field was refused (reading it raises `Unread`) is left out.
    """
    readable_values = []
    for value in values:
        with suppress(Unread):
            readable_values.append(getattr(value, name))
    return readable_values


@cache
def _partial_type(input_type: Any) -> Any:
    def raise_unread(_: object, name: str) -> NoReturn:
        raise AttributeError(name) if name.startswith("__") else Unread

    return type(input_type.__name__, (input_type,), {"__slots__": (), "__getattr__": raise_unread})


def known_values(value: Any) -> dict[str, Any]:
    """Returns the fields of a dataclass by name. Refused fields are missing, and reading one raises `Unread`."""
    values = {}
    for field in fields(value):
        with suppress(Unread):
            values[field.name] = getattr(value, field.name)
    return values


def broken_rules(
    rules: Iterable[Callable[Concatenate[T, P], Iterable[Violation]]], value: T, *args: P.args, **kwargs: P.kwargs
) -> Violations:
    """Applies all rules to a value, and returns the violations of all rules together.

    A rule ends early if it reads an input that was refused (`Unread`).
    """
    violations = Violations()
    for rule in rules:
        with violations:
            violations.add(rule(value, *args, **kwargs))
    return violations


def input_violations(new: Any, at: str = "") -> list[Violation]:
    """Returns a violation for each text of a wrong length and for each day that is too early.

    Checks the fields of an input's dataclass and of the dataclasses nested in it. `at` is the JSON Pointer of the
    input. Fields that raise `Unread` are not checked.
    """
    violations: list[Violation] = []
    texts = texts_of(cast(Any, type(new)))
    for name, value in known_values(new).items():
        pointer = f"{at}/{name}"
        if isinstance(value, date):
            violations += day_violations(value, pointer)
        elif is_dataclass(value) and not isinstance(value, type):
            violations += input_violations(value, pointer)
        elif name in texts and (isinstance(value, str) or value is None):
            violations += texts[name].violations(value, pointer)
    return violations


def day_violations(day: date | None, pointer: str) -> list[Violation]:
    """Returns a violation if a day is too early for a record about a student."""
    if day is None or isinstance(day, datetime) or day >= EARLIEST_DAY:
        return []
    detail = f"This day lies before {EARLIEST_DAY.year}. Look at its year."
    return [Violation(pointer, "date.too_early", detail)]
