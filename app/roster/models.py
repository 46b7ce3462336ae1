"""Defines the roster's tables.

Rows come from sources, which identify them by external ids. Removed rows stay in the tables and are marked as removed.

This file exceeds 250 lines so that all tables of the roster are in one place.
"""

from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Computed, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PgUUID
from sqlalchemy.orm import Mapped, mapped_column

from app.access.listing import ListedBySchool
from app.core.db import Base, HasChangeTime, Tenant, TenantRow

Texts = ARRAY(Text)
Ids = ARRAY(PgUUID)
NEVER_ON: Final = date(1900, 1, 1)
NEVER_AT: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""Stands for "no date" in a column by which lists are sorted. Null would not work, because no page can begin after
a null.
"""


def _generated(expression: str) -> Any:
    return mapped_column(Computed(expression, persisted=True), deferred=True)


class FromSource(TenantRow):
    """Mixin for a row that a source delivers. It records when the row was removed, and which run created the row."""

    removed_at: Mapped[datetime | None]
    arrived_in: Mapped[UUID | None]


class AboutStudent(Tenant):
    """Mixin for a row about one student. Syncs keep its `school_ids` equal to the student's schools."""

    student_id: Mapped[UUID]
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    secured_area: Mapped[str | None]


class MayBeAboutStudent(TenantRow):
    """Mixin for a row about one student or about no student.

    `school_ids` are the student's schools; the list is empty if the row is about no student.
    """

    student_id: Mapped[UUID | None]
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    secured_area: Mapped[str | None]


class Source(TenantRow, Base):
    """A source of roster rows, such as the district's SIS, with its name."""

    __tablename__ = "source"

    name: Mapped[str]
    kind: Mapped[str]
    created_at: Mapped[datetime]


class ExternalId(Tenant, Base):
    """The id of a row in a source, unique per district, source and kind."""

    __tablename__ = "external_id"

    source_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    sourced_id: Mapped[str] = mapped_column(primary_key=True)
    row_id: Mapped[UUID]


class Org(HasChangeTime, FromSource, Base):
    """An OneRoster org: a district, school or department."""

    __tablename__ = "org"

    parent_id: Mapped[UUID | None]
    name: Mapped[str]
    type: Mapped[str]
    identifier: Mapped[str | None]


class AcademicSession(HasChangeTime, FromSource, Base):
    """A school year, semester, term or grading period. `ends_on` is the day after its last day.

    `school_year` is the calendar year in which the school year ends.
    """

    __tablename__ = "academic_session"

    parent_id: Mapped[UUID | None]
    title: Mapped[str]
    type: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    school_year: Mapped[int | None]


class Course(FromSource, Base):
    """A course of study. Classes are sections of courses."""

    __tablename__ = "course"

    org_id: Mapped[UUID | None]
    academic_session_id: Mapped[UUID | None]
    title: Mapped[str]
    code: Mapped[str | None]
    grades: Mapped[list[str]] = mapped_column(Texts)
    subjects: Mapped[list[str]] = mapped_column(Texts)
    subject_codes: Mapped[list[str]] = mapped_column(Texts)


class SchoolClass(HasChangeTime, FromSource, Base):
    """A class: a homeroom or a scheduled section of a course."""

    __tablename__ = "class"

    course_id: Mapped[UUID | None]
    school_id: Mapped[UUID]
    title: Mapped[str]
    code: Mapped[str | None]
    type: Mapped[str]
    location: Mapped[str | None]
    grades: Mapped[list[str]] = mapped_column(Texts)
    subjects: Mapped[list[str]] = mapped_column(Texts)
    subject_codes: Mapped[list[str]] = mapped_column(Texts)
    periods: Mapped[list[str]] = mapped_column(Texts)
    academic_session_ids: Mapped[list[UUID]] = mapped_column(Ids)


class Person(ListedBySchool, HasChangeTime, FromSource, Base):
    """A student or a member of staff.

    * `pinned` has the names of the fields that a sync does not overwrite.
    * `last_score_on` and `last_verdict_at` order the list of students. Scores and verdicts in areas that only some
      callers may see (secured areas) do not count. `last_score_on` is `NEVER_ON` for a student without scores, and
      `last_verdict_at` is `NEVER_AT` for a student without verdicts.
    * PostgreSQL generates the columns for the search by name and the filter by grade.
    """

    __tablename__ = "person"

    role: Mapped[str]
    is_student: Mapped[bool]
    given_name: Mapped[str]
    family_name: Mapped[str]
    middle_name: Mapped[str | None]
    username: Mapped[str | None]
    email: Mapped[str | None]
    sms: Mapped[str | None]
    phone: Mapped[str | None]
    identifier: Mapped[str | None]
    enabled: Mapped[bool]
    grades: Mapped[list[str]] = mapped_column(Texts)
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    user_ids: Mapped[list[str]] = mapped_column(Texts)
    agent_sourced_ids: Mapped[list[str]] = mapped_column(Texts)
    pinned: Mapped[list[str]] = mapped_column(Texts)
    merged_into: Mapped[UUID | None]
    search_family: Mapped[str | None] = _generated("lower(family_name || ' ' || given_name)")
    search_given: Mapped[str | None] = _generated("lower(given_name || ' ' || family_name)")
    search_email: Mapped[str | None] = _generated("CASE WHEN NOT is_student THEN lower(email) END")
    grade: Mapped[str | None] = _generated("grades[1]")
    has_more_grades: Mapped[bool | None] = _generated("CASE WHEN cardinality(grades) > 1 THEN true END")
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), deferred=True)
    """The time of the last change by a sync. Only syncs change people. An update of `last_score_on` or
    `last_verdict_at` must not set this column.
    """
    last_score_on: Mapped[date] = mapped_column(server_default=text("DATE '1900-01-01'"), deferred=True)
    last_verdict_at: Mapped[datetime] = mapped_column(server_default=text("TIMESTAMPTZ '1900-01-01Z'"), deferred=True)
    row_lock: Mapped[bool | None] = mapped_column(deferred=True)
    """A column that is always null. The API's database role needs the right to update a column in order to lock a
    row.
    """


class SchoolMembership(TenantRow, Base):
    """A person's membership of a school from a day on.

    `ends_on` is the day after the last day of the membership, or null while the membership lasts.
    """

    __tablename__ = "school_membership"

    person_id: Mapped[UUID]
    school_id: Mapped[UUID]
    is_student: Mapped[bool]
    begins_on: Mapped[date]
    ends_on: Mapped[date | None]


class Enrollment(FromSource, Base):
    """The enrollment of a person in a class, with the person's role. `ends_on` is the day after its last day.

    `sourced_id` is the enrollment's id in the source.
    """

    __tablename__ = "enrollment"

    class_id: Mapped[UUID]
    person_id: Mapped[UUID]
    school_id: Mapped[UUID]
    role: Mapped[str]
    is_student: Mapped[bool]
    is_primary: Mapped[bool]
    begins_on: Mapped[date | None]
    ends_on: Mapped[date | None]
    source_id: Mapped[UUID]
    sourced_id: Mapped[str]


class PersonRole(FromSource, Base):
    """A role of a person in an org, as in OneRoster 1.2. `ends_on` is the day after its last day.

    A sync derives `person.role` and `person.school_ids` from these rows.
    """

    __tablename__ = "person_role"

    person_id: Mapped[UUID]
    org_id: Mapped[UUID | None]
    role: Mapped[str]
    role_type: Mapped[str | None]
    is_student: Mapped[bool]
    begins_on: Mapped[date | None]
    ends_on: Mapped[date | None]
    source_id: Mapped[UUID]
    sourced_id: Mapped[str]


class Demographics(Tenant, Base):
    """A student's demographics. Reading them requires a separate scope."""

    __tablename__ = "demographics"

    person_id: Mapped[UUID] = mapped_column(primary_key=True)
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)
    birth_date: Mapped[date | None]
    sex: Mapped[str | None]
    american_indian_or_alaska_native: Mapped[bool | None]
    asian: Mapped[bool | None]
    black_or_african_american: Mapped[bool | None]
    native_hawaiian_or_other_pacific_islander: Mapped[bool | None]
    white: Mapped[bool | None]
    demographic_race_two_or_more_races: Mapped[bool | None]
    hispanic_or_latino_ethnicity: Mapped[bool | None]
    country_of_birth_code: Mapped[str | None]
    state_of_birth_abbreviation: Mapped[str | None]
    city_of_birth: Mapped[str | None]
    public_school_residence_status: Mapped[str | None]
    source_id: Mapped[UUID]
    removed_at: Mapped[datetime | None]
    arrived_in: Mapped[UUID | None]


class Caseload(Tenant, Base):
    """An entry of a staff member's caseload: a student with a support that this person leads or delivers.

    Students whom the person teaches have no entry, because they can be found through their enrollments.
    """

    __tablename__ = "caseload"

    staff_id: Mapped[UUID] = mapped_column(primary_key=True)
    student_id: Mapped[UUID] = mapped_column(primary_key=True)
    via: Mapped[str] = mapped_column(primary_key=True)
    support_id: Mapped[UUID] = mapped_column(primary_key=True)
    school_ids: Mapped[list[UUID]] = mapped_column(Ids)


class SchoolWeek(Tenant, Base):
    """A week of a school, identified by its Monday. It is instructional unless breaks cover it.

    `n` is the week's number in the school year.
    """

    __tablename__ = "school_week"

    school_id: Mapped[UUID] = mapped_column(primary_key=True)
    monday: Mapped[date] = mapped_column(primary_key=True)
    instructional: Mapped[bool]
    n: Mapped[int | None]


class SchoolBreak(HasChangeTime, TenantRow, Base):
    """A period without instruction, from `begins_on` to `ends_on`, both included.

    If `school_id` is null, the period applies to the whole district.
    """

    __tablename__ = "school_break"

    school_id: Mapped[UUID | None]
    begins_on: Mapped[date]
    ends_on: Mapped[date]
    name: Mapped[str | None]
    declared_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
