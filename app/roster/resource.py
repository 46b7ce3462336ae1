"""Declares what both APIs show of the roster: students, staff, their enrollments and their demographics."""

from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, any_, collate, func, literal_column, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.access.permission import Can
from app.resources.declare import Link, OneLink, Resource
from app.resources.fields import field, many_by_ids, one, reference, references
from app.resources.listing import Filter, Flag, Listing, Sort
from app.resources.members import Id, Many, One
from app.resources.terms import DISTRICT
from app.roster.filters import by_class, by_school, resolver
from app.roster.models import (
    Demographics,
    Enrollment,
    Person,
)
from app.roster.queries import find_staff, find_student
from app.roster.schools import ClassResource, SchoolResource, link_external_ids


class EnrollmentResource(
    Resource[Enrollment],
    requires=Can.READ_ROSTER,
    about=Enrollment.person_id,
    discloses="student",
    visible=Enrollment.removed_at.is_(None),
    name="Enrollment",
):
    """A student's enrollment in a class."""

    class_id: Id = reference(Enrollment.class_id, "class", "The class.")
    school_id: Id = reference(Enrollment.school_id, "org", "The school of the class.", rest="school")
    role: str = field(Enrollment.role, "The role in the class, as in OneRoster.", "student")
    begins_on: date | None = field(Enrollment.begins_on, "The first day.")
    ends_on: date | None = field(Enrollment.ends_on, "The last day, exclusive.")
    school_class: One[ClassResource] = one(Enrollment.class_id, ClassResource, "The class.", rest=None, graphql="class")


class StudentResource(
    Resource[Person],
    kind="student",
    requires=Can.READ_ROSTER,
    about=Person.id,
    visible=and_(Person.is_student, Person.merged_into.is_(None)),
    name="Student",
    get="student",
    locate=resolver("student", find_student),
):
    """A student."""

    given_name: str = field(Person.given_name, "The given name.", "Maya")
    family_name: str = field(Person.family_name, "The family name.", "Castillo")
    middle_name: str | None = field(Person.middle_name, "The middle name.", "Ines")
    grades: list[str] = field(Person.grades, "The grades as CEDS codes.", ["03"])
    school_ids: list[Id] = references(Person.school_ids, "org", "The ids of the student's schools.", rest="schools")
    email: str | None = field(Person.email, "The e-mail address in the SIS.", "maya.castillo@students.example")
    identifier: str | None = field(Person.identifier, "The student's number in the SIS.", "20417")
    departed: bool = field(
        Person.removed_at.is_not(None), "Whether the source no longer sends the student; the records are kept."
    )
    schools: Many[SchoolResource] = many_by_ids(
        Person.school_ids, SchoolResource, "The schools that the student belongs to."
    )


class StaffResource(
    Resource[Person],
    kind="person",
    requires=Can.READ_ROSTER,
    name="Staff",
    get="person",
    visible=and_(~Person.is_student, Person.merged_into.is_(None)),
    locate=resolver("person", find_staff),
):
    """A member of staff."""

    role: str = field(Person.role, "The role as in OneRoster.", "teacher")
    given_name: str = field(Person.given_name, "The given name.", "Jordan")
    family_name: str = field(Person.family_name, "The family name.", "Reyes")
    email: str | None = field(Person.email, "The e-mail address in the SIS.", "jordan.reyes@district.example")
    school_ids: list[Id] = references(Person.school_ids, "org", "The ids of their schools.", rest="schools")
    schools: Many[SchoolResource] = many_by_ids(Person.school_ids, SchoolResource, "The schools that they belong to.")


class DemographicsResource(
    Resource[Demographics],
    requires=Can.READ_DEMOGRAPHICS,
    key=Demographics.person_id,
    about=Demographics.person_id,
    discloses="demographics",
    name="Demographics",
    visible=Demographics.removed_at.is_(None),
):
    """A student's demographics, which need the scope demographics:read."""

    student: One[StudentResource] = one(Demographics.person_id, StudentResource, "The student.")
    birth_date: date | None = field(Demographics.birth_date, "The date of birth.")
    sex: str | None = field(Demographics.sex, "The sex as the SIS has it.", "female")
    american_indian_or_alaska_native: bool | None = field(
        Demographics.american_indian_or_alaska_native, "Whether the SIS says so."
    )
    asian: bool | None = field(Demographics.asian, "Whether the SIS says so.")
    black_or_african_american: bool | None = field(Demographics.black_or_african_american, "Whether the SIS says so.")
    native_hawaiian_or_other_pacific_islander: bool | None = field(
        Demographics.native_hawaiian_or_other_pacific_islander, "Whether the SIS says so."
    )
    white: bool | None = field(Demographics.white, "Whether the SIS says so.")
    demographic_race_two_or_more_races: bool | None = field(
        Demographics.demographic_race_two_or_more_races, "Whether the SIS says so."
    )
    hispanic_or_latino_ethnicity: bool | None = field(
        Demographics.hispanic_or_latino_ethnicity, "Whether the SIS says so."
    )
    country_of_birth_code: str | None = field(Demographics.country_of_birth_code, "A code of ISO 3166.", "US")
    state_of_birth_abbreviation: str | None = field(
        Demographics.state_of_birth_abbreviation, "The code of the state of birth.", "IL"
    )
    city_of_birth: str | None = field(Demographics.city_of_birth, "The city of birth.", "Peoria")
    public_school_residence_status: str | None = field(
        Demographics.public_school_residence_status, "The residence status as a CEDS code.", "01652"
    )


def _members(class_id: UUID, *, is_student: bool) -> Select[UUID]:
    return select(Enrollment.person_id).where(
        Enrollment.district_id == DISTRICT,
        Enrollment.class_id == class_id,
        Enrollment.is_student if is_student else ~Enrollment.is_student,
        Enrollment.removed_at.is_(None),
    )


LINKS = (
    OneLink(
        StudentResource,
        "demographics",
        DemographicsResource,
        Demographics.person_id == Person.id,
        "The student's demographics, which need a scope of their own.",
        rest=None,
    ),
    link_external_ids(StudentResource, Person.id, "The student's ids in the sources."),
    Link(
        StudentResource,
        "enrollments",
        EnrollmentResource,
        Enrollment.person_id == Person.id,
        "The classes that the student is in.",
        order=(Enrollment.id,),
    ),
    link_external_ids(StaffResource, Person.id, "Their ids in the sources."),
)


def begins_with(*columns: InstrumentedAttribute[Any]) -> Callable[[Any], ColumnElement[bool]]:
    """Returns a function that turns the text of the filter `q` into an SQL condition: a column begins with this text.

    The condition is true if at least one of `columns` begins with the text. The columns hold lower-case text, and the
    filter's text is converted to lower case. The condition compares with `>=` and `<`: under row-level security,
    PostgreSQL can use an index for comparisons, but not for `LIKE` or a function.
    """

    def condition(text: Any) -> ColumnElement[bool]:
        words = func.replace(func.lower(collate(func.normalize(func.btrim(text)), "pg_c_utf8")), ", ", " ")
        first = collate(words, "C")
        return or_(*(and_(column >= first, column < first.op("||")(LAST_CHARACTER)) for column in columns))

    return condition


LAST_CHARACTER = func.chr(literal_column("1114111"))
BY_NAME = (Person.family_name, Person.given_name, Person.id)

LISTINGS = (
    Listing(
        "students",
        StudentResource,
        "Students by family name, given name and id.",
        filters=(
            by_school(Person),
            by_class(lambda class_id: Person.id.in_(_members(class_id, is_student=True))),
            Filter(
                "grade",
                str,
                lambda grade: or_(
                    Person.grade == grade, and_(Person.has_more_grades.is_(True), grade == any_(Person.grades))
                ),
                "Only students of this grade: a CEDS code.",
                "03",
            ),
            Filter(
                "family_name",
                str,
                lambda name: Person.family_name == name,
                "Only students of this family name.",
                "Castillo",
            ),
        ),
        flags=(
            Flag("include_departed", "Also students that the source no longer sends.", off=Person.removed_at.is_(None)),
        ),
        order=BY_NAME,
        sorts=(
            Sort("name", BY_NAME, "By family name, given name and id."),
            Sort(
                "last_verdict",
                (Person.last_verdict_at, Person.id),
                "By the instant of the last verdict in an area that is not secured; a student without one comes first.",
                requires=(Can.READ_VERDICTS,),
            ),
            Sort(
                "last_score",
                (Person.last_score_on, Person.id),
                "By the day of the last score in an area that is not secured; a student without one comes first.",
                requires=(Can.READ_SCORES,),
            ),
        ),
        schools=Person,
        changed_at=Person.updated_at,
        search=begins_with(Person.search_family, Person.search_given),
    ),
    Listing(
        "staff",
        StaffResource,
        "Staff by name, of one class or of all.",
        filters=(by_class(lambda class_id: Person.id.in_(_members(class_id, is_student=False))),),
        order=BY_NAME,
        sorts=(Sort("name", BY_NAME, "By family name, given name and id."),),
        condition=Person.removed_at.is_(None),
        changed_at=Person.updated_at,
        search=begins_with(Person.search_family, Person.search_given, Person.search_email),
    ),
)
