"""The texts of the files that `aimline scaffold` writes.

`@noun`, `@Noun`, `@NOUN`, `@nouns` and `@words` stand for forms of the new resource's name, such as `home_visit`,
`HomeVisit` and `home visits`. `@room` stands for the package of the resource.
"""

MODELS = '''"""Defines the table of @words."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime
from app.roster.models import AboutStudent


class @Noun(ListedBySchool, HasChangeTime, AboutStudent, Base):
    """A row about one student."""

    __tablename__ = "@noun"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    description: Mapped[str]
    recorded_on: Mapped[date]
    recorded_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    version: Mapped[int]
'''
MIGRATION = '''"""Creates the table of @words."""

from alembic import op

from migrations.tenant import student_table

revision = "@revision"
down_revision = "@before"


def upgrade() -> None:
    student_table(
        "@noun",
        """
        description text NOT NULL,
        recorded_on date NOT NULL,
        recorded_by uuid,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        version integer NOT NULL
        """,
        refs={"recorded_by": "person"},
        by_school=("id",),
    )
    op.execute("CREATE INDEX @noun_updated_idx ON @noun (district_id, updated_at, id)")
'''
RULES = '''"""Decides which @words are valid. Pure."""

from datetime import date

from app.core.errors import Violation


def violations_of(recorded_on: date, today: date) -> list[Violation]:
    """Returns what is wrong with the day of a row."""
    if recorded_on <= today:
        return []
    return [Violation("/recorded_on", "@noun.in_the_future", "The day is today or before.")]
'''
SERVICE = '''"""Records @words."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.core.ids import new_id
from app.core.inputs import About
from app.core.text import Text
from app.core.violations import Violations, input_violations
from app.events.catalogue import @NOUN_RECORDED
from app.events.outbox import record, student_event
from app.roster.lookup import today_of
from app.roster.student_lock import lock_student
from app.@room.@noun.models import @Noun
from app.@room.@noun.rules import violations_of


@dataclass(frozen=True, slots=True)
class New@Noun:
    """The input of `record_@noun`; the student is an id or an external id."""

    student: Annotated[
        str,
        About("The student: an id, or an external id `sis:<source>:<sourcedId>`.", "stu_01jq4n6d9zf3vbs0x5k2m7e8ta"),
    ]
    description: Annotated[str, Text(min=1, max=4000), About("What is recorded.", "The first of its kind.")]
    recorded_on: Annotated[date | None, About("The day; by default, today.", date(2026, 9, 14))] = None


@needs(Can.RECORD_@NOUNS)
async def record_@noun(work: Work, new: New@Noun) -> @Noun:
    """Records a row about one student."""
    violations = Violations(input_violations(new))
    with violations:
        student = await lock_student(work, new.student, "/student")
    today = await today_of(work)
    with violations:
        day = new.recorded_on or today
        violations.add(violations_of(day, today))
    violations.refuse()
    row = @Noun(
        district_id=work.district_id,
        id=new_id(),
        student_id=student.id,
        school_ids=student.school_ids,
        secured_area=None,
        description=new.description,
        recorded_on=day,
        recorded_by=work.principal.person_id,
        created_at=now(),
        version=1,
    )
    work.db.add(row)
    await work.db.flush()
    record(work, student_event(@NOUN_RECORDED, row))
    return row
'''
RESOURCE = '''"""Declares the public shape of @words: the resource, its list and its command."""

from datetime import date

from app.access.permission import Can
from app.events.catalogue import @NOUN_RECORDED
from app.resources.command import Command
from app.resources.declare import Link, Resource
from app.resources.fields import field, one
from app.resources.listing import Listing
from app.resources.members import One
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.@room.@noun import service
from app.@room.@noun.models import @Noun


class @NounResource(
    Resource[@Noun], kind="@noun", requires=Can.READ_@NOUNS, about=@Noun.student_id, name="@Noun", get="@noun"
):
    """A row about one student."""

    student: One[StudentResource] = one(@Noun.student_id, StudentResource, "The student that it is about.")
    description: str = field(@Noun.description, "What was recorded.", "The first of its kind.")
    recorded_on: date = field(@Noun.recorded_on, "The day on which it was recorded.")
    recorded_by: One[StaffResource] | None = one(@Noun.recorded_by, StaffResource, "The person who recorded it.")
    version: int = field(@Noun.version, "The number of changes; used as the ETag.", 1)


LINKS = (
    Link(
        StudentResource,
        "@nouns",
        @NounResource,
        @Noun.student_id == Person.id,
        "The @words of the student, oldest first.",
        order=(@Noun.id,),
    ),
)

LISTINGS = (
    Listing(
        "@nouns",
        @NounResource,
        "The @words, in the order in which they were recorded.",
        filters=(by_student(@Noun.student_id), by_school(@Noun)),
        schools=@Noun,
        changed_at=@Noun.updated_at,
    ),
)

COMMANDS = (
    Command(
        "record_@noun",
        service.record_@noun,
        @NounResource,
        "Records a row about one student.",
        "POST /@paths",
        emits=(@NOUN_RECORDED,),
        status=201,
    ),
)
'''
TEST = '''"""Tests that @words are recorded, and listed by both APIs."""

import pytest
from fastapi import FastAPI

from app.core import ids
from app.core.errors import Invalid
from app.@room.@noun.service import New@Noun, record_@noun
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import caller
from tests.town import Town


async def test_a_recorded_row_is_in_both_lists(app: FastAPI, north: Town) -> None:
    """The declaration alone gives the list, the row and the link."""
    student = ids.format_id("student", north.students["amy"])
    async with north.unit() as work:
        row = await record_@noun(work, New@Noun(student, "Seen."))
    shown = ids.format_id("@noun", row.id)
    listed = await caller(app, north).items("/v1/@paths", student=student)
    assert [one["id"] for one in listed] == [shown]
    answer = await query_data(north, "{ @fields(first: 5) { edges { node { id student { id } } } } }")
    assert answer["@fields"]["edges"] == [{"node": {"id": shown, "student": {"id": student}}}]


async def test_an_empty_description_is_refused(north: Town) -> None:
    """The bounds of the input check every caller."""
    async with north.unit() as work:
        with pytest.raises(Invalid):
            await record_@noun(work, New@Noun(ids.format_id("student", north.students["amy"]), ""))
'''
