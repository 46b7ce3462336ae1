"""Defines the kinds of record that a source delivers, such as enrollments: their columns, types and references.

Other modules build their SQL from these definitions, so that each column is named once. This file exceeds 250 lines so
that all kinds of OneRoster are in one place.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a record: the `column` in which it is stored, and the source's column `header` from which it is read.

    `type` selects the conversion in `convert`. A row goes into quarantine if a `required` value is missing, or if a
    value cannot be converted. Any other missing value is replaced by `default`, which is SQL.
    """

    column: str
    header: str
    type: str = "text"
    required: bool = False
    default: str = "NULL"


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference of a record: a column that names, by sourcedId, a row of another `kind`, or several rows if `many`.

    A row with a `required` reference that is unknown goes into quarantine. A row with an unknown optional reference is
    imported without that reference, and a warning is reported. A list of references is unknown if none of its items is
    known.
    """

    column: str
    header: str
    kind: str
    many: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record, such as org or enrollment: its table, its columns and its references.

    * `own_alias`: whether the sourcedId is in the table itself, and not in `external_id`.
    * `about`: the column that refers to the student whom a row is about. Such a row also has the student's schools.
    * `optional`: whether a delivery may lack this kind, as a roster without grades does.
    * `listed`: whether the table has a column for the time of the last change.
    * `pinnable`: whether an operator can pin a value of a row, so that syncs do not change it.
    """

    name: str
    plural: str
    table: str
    fields: tuple[Field, ...]
    refs: tuple[Ref, ...] = ()
    derived: tuple[tuple[str, str], ...] = ()
    own_alias: bool = False
    pinnable: bool = False
    about: str | None = None
    optional: bool = False
    listed: bool = False

    @property
    def key(self) -> str:
        """Returns the column that identifies a row of the table within its district."""
        return "person_id" if self.name == "demographics" else "id"

    @property
    def note_change(self) -> str:
        """Returns `, updated_at = now()`, which an UPDATE needs, or an empty text if the table has no such column."""
        return ", updated_at = now()" if self.listed else ""


SQL_TYPES: Final = {
    **dict.fromkeys(("text", "name", "word", "role"), "text"),
    **dict.fromkeys(("date", "end_date"), "date"),
    **dict.fromkeys(("instant", "end_instant"), "timestamptz"),
    **dict.fromkeys(("list", "grades"), "text[]"),
    "boolean": "boolean",
    "year": "integer",
    "number": "double precision",
    "json": "jsonb",
}
"""The SQL types of staged columns, keyed by the type of the field.

If a source sends a time with a date, the time is ignored. `end_date` and `end_instant` are optional ends, for which a
year of `OPEN_YEARS` means that there is no end.
"""

NO_DATES: Final = ("0000-00-00", "0001-01-01")
"""Dates that some databases and programs write if there is no date."""
OPEN_YEARS: Final = ("2099", "2100", "2999", "3000", "9999")
"""Years that sources write into the end of something that has no end, such as 9999-12-31."""

MALFORMED: Final = {
    "date": "date.malformed",
    "end_date": "date.malformed",
    "boolean": "boolean.malformed",
    "number": "number.malformed",
    "instant": "instant.malformed",
    "end_instant": "instant.malformed",
    "json": "json.malformed",
    "role": "role.unknown",
}
"""The error code for a value that cannot be converted, keyed by type.

If the type has no error code, a value that cannot be converted counts as missing.
"""


def _race(column: str, header: str) -> Field:
    return Field(column, header, "boolean")


_LINE_ITEM_FIELDS: Final = (
    Field("title", "title", default="''"),
    Field("description", "description"),
    Field("result_value_min", "resultValueMin", "number"),
    Field("result_value_max", "resultValueMax", "number"),
    Field("learning_objectives", "learningObjectiveSet", "json"),
)
"""The fields of line items and assessment line items. `learningObjectiveSet` is JSON in the gradebook's format."""

_RESULT_FIELDS: Final = (
    Field("score_status", "scoreStatus"),
    Field("score", "score", "number"),
    Field("text_score", "textScore"),
    Field("score_date", "scoreDate", "date"),
    Field("comment", "comment"),
    Field("in_progress", "inProgress", "boolean"),
    Field("incomplete", "incomplete", "boolean"),
    Field("late", "late", "boolean"),
    Field("missing", "missing", "boolean"),
    Field("learning_objectives", "learningObjectiveSet", "json"),
)
"""The fields of results and assessment results. A score is not required, because a student may be exempt."""

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
        listed=True,
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
        listed=True,
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
        listed=True,
    ),
    Kind(
        "person",
        "people",
        "person",
        (
            Field("role", "role", "role", required=True),
            Field("given_name", "givenName", "name", default="''"),
            Field("family_name", "familyName", "name", default="''"),
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
        listed=True,
    ),
    Kind(
        "enrollment",
        "enrollments",
        "enrollment",
        (
            Field("role", "role", "role", required=True),
            Field("is_primary", "primary", "boolean", default="false"),
            Field("begins_on", "beginDate", "date"),
            Field("ends_on", "endDate", "end_date"),
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
        about="person_id",
    ),
    Kind(
        "role",
        "roles",
        "person_role",
        (
            Field("role", "role", "role", required=True),
            Field("role_type", "roleType", "word"),
            Field("begins_on", "beginDate", "date"),
            Field("ends_on", "endDate", "end_date"),
        ),
        (
            Ref("person_id", "userSourcedId", "person", required=True),
            Ref("org_id", "orgSourcedId", "org"),
        ),
        derived=(("is_student", "(s.role = 'student')"),),
        own_alias=True,
        optional=True,
    ),
    Kind(
        "category",
        "categories",
        "category",
        (Field("title", "title", default="''"), Field("weight", "weight", "number")),
        optional=True,
    ),
    Kind(
        "score_scale",
        "score scales",
        "score_scale",
        (
            Field("title", "title", default="''"),
            Field("type", "type"),
            Field("scale_values", "scoreScaleValue", "list", default="'{}'"),
        ),
        (
            Ref("org_id", "orgSourcedId", "org"),
            Ref("course_id", "courseSourcedId", "course"),
            Ref("class_id", "classSourcedId", "class"),
        ),
        optional=True,
    ),
    Kind(
        "line_item",
        "line items",
        "line_item",
        (
            *_LINE_ITEM_FIELDS,
            Field("assigned_at", "assignDate", "instant"),
            Field("due_at", "dueDate", "end_instant"),
        ),
        (
            Ref("class_id", "classSourcedId", "class", required=True),
            Ref("category_id", "categorySourcedId", "category"),
            Ref("grading_period_id", "gradingPeriodSourcedId", "academic_session"),
            Ref("academic_session_id", "academicSessionSourcedId", "academic_session"),
            Ref("school_id", "schoolSourcedId", "org"),
            Ref("score_scale_id", "scoreScaleSourcedId", "score_scale"),
        ),
        optional=True,
    ),
    Kind(
        "result",
        "results",
        "result",
        _RESULT_FIELDS,
        (
            Ref("line_item_id", "lineItemSourcedId", "line_item", required=True),
            Ref("student_id", "studentSourcedId", "person", required=True),
            Ref("class_id", "classSourcedId", "class"),
            Ref("score_scale_id", "scoreScaleSourcedId", "score_scale"),
        ),
        own_alias=True,
        about="student_id",
        optional=True,
    ),
    Kind(
        "assessment_line_item",
        "assessment line items",
        "assessment_line_item",
        _LINE_ITEM_FIELDS,
        (
            Ref("class_id", "classSourcedId", "class"),
            Ref("parent_id", "parentAssessmentLineItemSourcedId", "assessment_line_item"),
            Ref("score_scale_id", "scoreScaleSourcedId", "score_scale"),
        ),
        optional=True,
    ),
    Kind(
        "assessment_result",
        "assessment results",
        "assessment_result",
        (*_RESULT_FIELDS, Field("score_percentile", "scorePercentile", "number")),
        (
            Ref("assessment_line_item_id", "assessmentLineItemSourcedId", "assessment_line_item", required=True),
            Ref("student_id", "studentSourcedId", "person", required=True),
            Ref("score_scale_id", "scoreScaleSourcedId", "score_scale"),
        ),
        own_alias=True,
        about="student_id",
        optional=True,
    ),
)
"""All kinds in the order of their dependencies: a kind refers only to itself and to earlier kinds."""

BY_NAME: Final = {kind.name: kind for kind in KINDS}

SCORE: Final = Kind("score", "scores", "score", (), about="student_id", optional=True)
"""The kind of the rows of a CSV file of scores. It is not in `KINDS`, because no roster delivery has such rows."""

MAY_BE_LEFT_OUT: Final = {
    **{"courses": "course", "demographics": "demographics", "categories": "category"},
    **{"scoreScales": "score_scale", "lineItems": "line_item", "results": "result"},
    "assessmentLineItems": "assessment_line_item",
    "assessmentResults": "assessment_result",
}
"""The collections or files that the settings of a source may leave out, with the kinds of their rows."""

ROLES: Final = (
    *("administrator", "aide", "guardian", "parent", "proctor", "relative", "student", "teacher", "counselor"),
    *("principal", "districtAdministrator", "siteAdministrator", "systemAdministrator"),
)
"""The roles of OneRoster, 1.1 and 1.2. A row with another role is quarantined, because the role may mean a student."""

ORG_TYPES: Final = ("department", "district", "local", "national", "school", "state")
"""The types of orgs of OneRoster."""

WORDS: Final = (
    *ORG_TYPES,
    *("gradingPeriod", "semester", "schoolYear", "term", "homeroom", "scheduled"),
    *ROLES,
    *("male", "female", "unspecified", "other", "primary", "secondary"),
)
"""The words of OneRoster's vocabulary. They are recognized in upper and lower case. Any other value is kept."""
