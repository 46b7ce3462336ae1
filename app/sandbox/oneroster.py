"""Defines the records of a synthetic district, one class for each kind of record in OneRoster 1.1.

Field names are OneRoster's own in snake_case (`sourcedId` is `sourced_id`, `metadata.gender` is `metadata_gender`).
`status` and `dateLastModified` are left out, because a bulk delivery leaves them blank. None stands for a value that is
not given.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True, slots=True)
class Org:
    sourced_id: str
    name: str
    type: Literal["district", "school"]
    identifier: str
    metadata_classification: str | None = None
    metadata_gender: str | None = None
    metadata_boarding: bool | None = None
    parent_sourced_id: str | None = None


@dataclass(frozen=True, slots=True)
class AcademicSession:
    """A term or a school year.

    `end_date` is the first day after it. `school_year` is the calendar year in which the school year ends.
    """

    sourced_id: str
    title: str
    type: Literal["schoolYear", "semester", "gradingPeriod"]
    start_date: date
    end_date: date
    parent_sourced_id: str | None
    school_year: str


@dataclass(frozen=True, slots=True)
class Course:
    sourced_id: str
    school_year_sourced_id: str
    title: str
    course_code: str
    grades: tuple[str, ...]
    org_sourced_id: str
    subjects: tuple[str, ...]
    subject_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Class:
    sourced_id: str
    title: str
    grades: tuple[str, ...]
    course_sourced_id: str
    class_code: str
    class_type: Literal["homeroom", "scheduled"]
    location: str
    school_sourced_id: str
    term_sourced_ids: tuple[str, ...]
    subjects: tuple[str, ...]
    subject_codes: tuple[str, ...]
    periods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A person; the first of `org_sourced_ids` is the person's main org. A password is never generated."""

    sourced_id: str
    enabled_user: bool
    org_sourced_ids: tuple[str, ...]
    role: Literal["administrator", "aide", "student", "teacher"]
    username: str
    user_ids: tuple[str, ...]
    given_name: str
    family_name: str
    middle_name: str | None
    identifier: str
    email: str | None
    grades: tuple[str, ...] = ()
    sms: str | None = None
    phone: str | None = None
    agent_sourced_ids: tuple[str, ...] = ()
    password: None = None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """The enrollment of a person in a class; `end_date` is exclusive, and `primary` applies to teachers only."""

    sourced_id: str
    class_sourced_id: str
    school_sourced_id: str
    user_sourced_id: str
    role: Literal["aide", "student", "teacher"]
    primary: bool | None
    begin_date: date
    end_date: date


@dataclass(frozen=True, slots=True)
class Demographics:
    """The demographics of a student; `sourced_id` is the student's own id."""

    sourced_id: str
    birth_date: date
    sex: Literal["male", "female"] | None
    american_indian_or_alaska_native: bool
    asian: bool
    black_or_african_american: bool
    native_hawaiian_or_other_pacific_islander: bool
    white: bool
    demographic_race_two_or_more_races: bool
    hispanic_or_latino_ethnicity: bool
    country_of_birth_code: str | None
    state_of_birth_abbreviation: str | None
    city_of_birth: str | None
    public_school_residence_status: None = None
