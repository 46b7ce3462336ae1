"""Defines which kinds of record a list of planned changes can have: the kinds of a roster, and scores."""

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from app.sis.kinds import BY_NAME, SCORE, Field, Ref

LISTED: Final = BY_NAME | {
    SCORE.name: replace(
        SCORE,
        fields=(
            Field("measure", "measure"),
            Field("taken_on", "date", "date"),
            Field("attempt", "attempt"),
            Field("value", "value", "number"),
            Field("form", "form"),
            Field("purpose", "purpose"),
        ),
        refs=(Ref("student_id", "studentSourcedId", "person"),),
    )
}
"""The kinds that a list of planned changes can have, by name, with the columns that are shown."""
RECORD_KIND: Any = StrEnum("SyncRowKind", {name.upper(): name for name in LISTED})  # type: ignore[misc]  # not literal
"""The names of all kinds, as an enum for filters and commands."""
