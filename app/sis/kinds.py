"""Owns the kinds of record that come from a source: their columns, types and references.

The statements of the other modules are made from these, so that a column is named once. Never runs a statement,
never reads a file.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the target table, the source's column that it comes from, and how it is read.

    `type` names a way of reading in `conform`. A `required` value that is missing, and any value that cannot be
    read, puts the row into quarantine; otherwise `default` (SQL) stands for a missing value.
    """

    column: str
    header: str
    type: str = "text"
    required: bool = False
    default: str = "NULL"


@dataclass(frozen=True, slots=True)
class Ref:
    """A column that names a row of `kind` by its sourcedId, or a list of them.

    A row whose `required` reference is not known is an orphan and goes into quarantine; an optional one is taken
    without it, with a warning. A list is an orphan when none of those that it names is known.
    """

    column: str
    header: str
    kind: str
    many: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record: the table, and `own_alias` where the row keeps its sourcedId itself."""

    name: str
    plural: str
    table: str
    fields: tuple[Field, ...]
    refs: tuple[Ref, ...] = ()
    derived: tuple[tuple[str, str], ...] = ()
    own_alias: bool = False
    pinnable: bool = False

    @property
    def key(self) -> str:
        """The column that, with the district, is the table's key."""
        return "person_id" if self.name == "demographics" else "id"


SQL_TYPES: Final = {
    "text": "text",
    "word": "text",
    "date": "date",
    "boolean": "boolean",
    "year": "integer",
    "list": "text[]",
    "grades": "text[]",
}
"""The type of a staged column by the way in which it is read."""


def _race(column: str, header: str) -> Field:
    return Field(column, header, "boolean")


KINDS: Final = (
    Kind(
        "org",
        "orgs",
        "org",
        (
            Field("name", "name", required=True),
            Field("type", "type", "word", required=True),
            Field("identifier", "identifier"),
        ),
        (Ref("parent_id", "parentSourcedId", "org"),),
    ),
    Kind(
        "academic_session",
        "academic sessions",
        "academic_session",
        (
            Field("title", "title", default="''"),
            Field("type", "type", "word", required=True),
            Field("starts_on", "startDate", "date", required=True),
            Field("ends_on", "endDate", "date", required=True),
            Field("school_year", "schoolYear", "year"),
        ),
        (Ref("parent_id", "parentSourcedId", "academic_session"),),
    ),
    Kind(
        "course",
        "courses",
        "course",
        (
            Field("title", "title", default="''"),
            Field("code", "courseCode"),
            Field("grades", "grades", "grades", default="'{}'"),
            Field("subjects", "subjects", "list", default="'{}'"),
            Field("subject_codes", "subjectCodes", "list", default="'{}'"),
        ),
        (
            Ref("org_id", "orgSourcedId", "org"),
            Ref("academic_session_id", "schoolYearSourcedId", "academic_session"),
        ),
    ),
    Kind(
        "class",
        "classes",
        "class",
        (
            Field("title", "title", default="''"),
            Field("code", "classCode"),
            Field("type", "classType", "word", default="'scheduled'"),
            Field("location", "location"),
            Field("grades", "grades", "grades", default="'{}'"),
            Field("subjects", "subjects", "list", default="'{}'"),
            Field("subject_codes", "subjectCodes", "list", default="'{}'"),
            Field("periods", "periods", "list", default="'{}'"),
        ),
        (
            Ref("course_id", "courseSourcedId", "course"),
            Ref("school_id", "schoolSourcedId", "org", required=True),
            Ref("academic_session_ids", "termSourcedIds", "academic_session", many=True),
        ),
    ),
    Kind(
        "person",
        "people",
        "person",
        (
            Field("role", "role", "word", required=True),
            Field("given_name", "givenName", default="''"),
            Field("family_name", "familyName", default="''"),
            Field("middle_name", "middleName"),
            Field("username", "username"),
            Field("email", "email"),
            Field("sms", "sms"),
            Field("phone", "phone"),
            Field("identifier", "identifier"),
            Field("enabled", "enabledUser", "boolean", default="true"),
            Field("grades", "grades", "grades", default="'{}'"),
            Field("user_ids", "userIds", "list", default="'{}'"),
            Field("agent_sourced_ids", "agentSourcedIds", "list", default="'{}'"),
        ),
        (Ref("school_ids", "orgSourcedIds", "org", many=True, required=True),),
        derived=(("is_student", "(s.role = 'student')"),),
        pinnable=True,
    ),
    Kind(
        "enrollment",
        "enrollments",
        "enrollment",
        (
            Field("role", "role", "word", required=True),
            Field("is_primary", "primary", "boolean", default="false"),
            Field("begins_on", "beginDate", "date"),
            Field("ends_on", "endDate", "date"),
        ),
        (
            Ref("class_id", "classSourcedId", "class", required=True),
            Ref("person_id", "userSourcedId", "person", required=True),
            Ref("school_id", "schoolSourcedId", "org", required=True),
        ),
        derived=(("is_student", "(s.role = 'student')"),),
        own_alias=True,
    ),
    Kind(
        "demographics",
        "demographics",
        "demographics",
        (
            Field("birth_date", "birthDate", "date"),
            Field("sex", "sex", "word"),
            _race("american_indian_or_alaska_native", "americanIndianOrAlaskaNative"),
            _race("asian", "asian"),
            _race("black_or_african_american", "blackOrAfricanAmerican"),
            _race("native_hawaiian_or_other_pacific_islander", "nativeHawaiianOrOtherPacificIslander"),
            _race("white", "white"),
            _race("demographic_race_two_or_more_races", "demographicRaceTwoOrMoreRaces"),
            _race("hispanic_or_latino_ethnicity", "hispanicOrLatinoEthnicity"),
            Field("country_of_birth_code", "countryOfBirthCode"),
            Field("state_of_birth_abbreviation", "stateOfBirthAbbreviation"),
            Field("city_of_birth", "cityOfBirth"),
            Field("public_school_residence_status", "publicSchoolResidenceStatus"),
        ),
        (Ref("person_id", "sourcedId", "person", required=True),),
    ),
)
"""In the order of their dependence: a kind refers only to itself and to those before it."""

BY_NAME: Final = {kind.name: kind for kind in KINDS}

WORDS: Final = (
    *("department", "district", "local", "national", "school", "state"),
    *("gradingPeriod", "semester", "schoolYear", "term", "homeroom", "scheduled"),
    *("administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher", "counselor"),
    *("principal", "districtAdministrator", "siteAdministrator", "systemAdministrator"),
    *("male", "female", "unspecified", "other"),
)
"""OneRoster's own words: taken in their spelling however a source cases them. Others are taken as they are."""
