"""Adds the argument `idempotencyKey` to every mutation, and `version` to those that change a row with a version.

The key is only declared here; `repetition` reads it before the operation runs.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from strawberry.annotation import StrawberryAnnotation
from strawberry.extensions.field_extension import FieldExtension
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.field import StrawberryField

from app.core import ids
from app.core.errors import Invalid
from app.core.text import camel
from app.graphql.door import CommandTerms, OperationContext
from app.requests.preconditions import ANY_VERSION, ExpectedVersion

KEY: Final = "idempotencyKey"
VERSIONED: Final = frozenset(
    {
        *("note", "hypothesis", "intervention", "meeting", "meeting_series", "agenda_item"),
        *("action_item", "team", "team_member", "team_scope", "group", "concern", "support", "session", "score"),
        *("endpoint", "source", "measure", "screening_window", "area", "level", "signal"),
        *("core_stall", "attendance_record", "incident", "calendar_link"),
    }
)
"""The kinds of rows that have a version. An input identifies such a row in a field like `score` or `score_id`."""
OTHER_SUBJECTS: Final = {
    "add_evidence": "hypothesis",
    "test_with_support": "hypothesis",
    "add_team_member": "team",
    "agree_at_agenda_item": "agenda_item",
    "note_at_agenda_item": "agenda_item",
    "add_team_scope": "team",
    "change_team_role": "team_member",
    "end_team_membership": "team_member",
    "decide": "support",
    "hand_over_group": "group",
    "hand_over_support": "support",
    "record_sessions": "support",
    "remove_attendance": "attendance_record",
    "rotate_secret": "endpoint",
    "look_at_source": "source",
}
"""The kind of row whose version a mutation checks, keyed by mutation.

For a mutation that is not listed, the kind is the part of the name after the first `_`.
"""
OVERWRITES: Final = frozenset({"amend_measure", "change_endpoint", "change_source"})
"""The mutations that overwrite a row without keeping its history.

A caller of such a mutation must send the version, as with PATCH in REST.
"""
KEY_WORDS = (
    "A key of your own, such as a new UUID. For 24 hours the same field of the same document with the same variables "
    "is carried out once under it, and answered again as the first time."
)
VERSION_WORDS = "The version that you have read, or 0 for any; `version.mismatch` if the row has changed since."


class Command(FieldExtension):
    """Adds the arguments `idempotencyKey` and `version` to one mutation, and passes the version on to its command."""

    def __init__(self) -> None:
        self._subject: str | None = None
        self._is_required = False
        self._input: Any = None

    def apply(self, field: StrawberryField) -> None:
        """Adds the argument `idempotencyKey` to this mutation.

        If the mutation changes a row that has a version, also adds the argument `version`.
        """
        name = field.python_name
        self._subject, self._is_required = _subject_of(field), name in OVERWRITES
        self._input = next((argument for argument in field.arguments if argument.python_name == "input"), None)
        added = [StrawberryArgument("idempotency_key", KEY, StrawberryAnnotation(str | None), False, KEY_WORDS, None)]
        if self._subject is not None:
            words = VERSION_WORDS + (" Required." if self._is_required else "")
            added.append(StrawberryArgument("version", None, StrawberryAnnotation(int | None), False, words, None))
        field.arguments = [*field.arguments, *added]

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: Any, **kwargs: Any) -> Any:
        """Runs the mutation and returns its payload.

        The command compares the mutation's argument `version` with the version of the row.
        """
        kwargs.pop("idempotency_key", None)
        version = kwargs.pop("version", None)
        context: OperationContext = info.context
        expected = None
        if version is not None and self._subject is not None:
            versions = frozenset({version}) if version else ANY_VERSION
            expected = ExpectedVersion(_row_of(kwargs["input"], self._subject), versions, "/version")
        is_missing = self._is_required and version is None
        context.terms = CommandTerms(str(info.path.key), expected, is_missing)
        payload = await next_(source, info, **kwargs)
        if payload is not None and self._input is not None:
            name_as_sent(payload, self._input)
        return payload


def add_arguments(mutation: type) -> None:
    """Adds `idempotencyKey` to every mutation of the schema, and `version` to those that change a versioned row."""
    for field in _definition(mutation).fields:
        if not any(isinstance(extension, Command) for extension in field.extensions):
            field.extensions = [*field.extensions, Command()]


def name_as_sent(payload: Any, argument: StrawberryArgument) -> None:
    """Rewrites the JSON pointers in a payload's problems, so that they use the GraphQL names of the input's fields."""
    parts = (payload, *getattr(payload, "results", ()))
    for problem in (problem for part in parts for problem in part.problems):
        problem.pointer = pointer_of(problem.pointer, argument.type)


def pointer_of(pointer: str, type_: Any) -> str:
    """Returns a JSON pointer into an input of this type, with the names that its fields have in GraphQL.

    The keys of a JSON object whose fields GraphQL does not declare stay unchanged.
    """
    steps = pointer.split("/")
    for place, step in enumerate(steps[1:], 1):
        while hasattr(type_, "of_type"):
            type_ = type_.of_type
        fields = {field.python_name: field for field in _fields_of(type_)}
        if step in fields:
            steps[place] = fields[step].graphql_name or camel(step)
            type_ = fields[step].type
        elif not step.isdigit():
            break
    return "/".join(steps)


def _fields_of(type_: Any) -> list[Any]:
    definition = getattr(type_, "__strawberry_definition__", None)
    return definition.fields if definition is not None else []


def _subject_of(field: StrawberryField) -> str | None:
    """Returns the name of the input field that identifies the row whose version is checked.

    Returns None for a mutation that checks no version.
    """
    noun = OTHER_SUBJECTS.get(field.python_name, field.python_name.partition("_")[2])
    if noun not in VERSIONED:
        return None
    inputs = [argument.type for argument in field.arguments if argument.python_name == "input"]
    names = {field.python_name for kind in inputs for field in _definition(kind).fields}
    return next((name for name in (noun, f"{noun}_id") if name in names), None)


def _definition(kind: Any) -> Any:
    return getattr(kind, "of_type", kind).__strawberry_definition__


def _row_of(given: Any, subject: str) -> UUID | str:
    name = str(getattr(given, subject))
    with suppress(Invalid):
        return ids.parse_any_id(name)[1]
    return name
