"""Defines the files of OneRoster's CSV binding, 1.1 and 1.2: their kinds of record, columns and required columns.

Files are read by column name, so 1.2.0 and 1.2.1 need not be distinguished.
"""

from dataclasses import dataclass
from typing import Final

from app.sis.kinds import BY_NAME

COMMON: Final = ("sourcedId", "status", "dateLastModified")
VERSIONS: Final = ("1.1", "1.2")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A file of OneRoster's CSV binding.

    * `kind`: the kind of record that its rows are. A supplementary file adds columns to records of this kind.
    * `columns`: its columns in 1.1 and 1.2, after the three columns that all files have.
    * `required`: the columns that must have a value, in the rows of a REST source as well.
    * `since`: the version that introduced the file.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    required: frozenset[str]
    since: str = "1.1"
    supplement: str = ""

    @property
    def taken(self) -> frozenset[str]:
        """Returns the names of the file's columns that are imported."""
        if self.supplement:
            return frozenset((*COMMON, *self.columns))
        kind = BY_NAME[self.kind]
        return frozenset((*COMMON, *(f.header for f in kind.fields), *(r.header for r in kind.refs)))


def _file(name: str, kind: str, columns: str, required: str, since: str = "1.1", supplement: str = "") -> CsvFile:
    return CsvFile(
        name,
        kind,
        tuple(columns.split(",")),
        frozenset(("sourcedId", *filter(None, required.split(",")))),
        since,
        supplement,
    )


_ROSTER: Final = (
    _file("orgs", "org", "name,type,identifier,parentSourcedId", "name,type"),
    _file(
        "academicSessions",
        "academic_session",
        "title,type,startDate,endDate,parentSourcedId,schoolYear",
        "type,startDate,endDate",
    ),
    _file(
        "courses",
        "course",
        "schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
        "",
    ),
    _file(
        "classes",
        "class",
        "title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds,subjects,"
        "subjectCodes,periods",
        "schoolSourcedId",
    ),
    _file(
        "users",
        "person",
        "enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,"
        "agentSourcedIds,grades,password,userMasterIdentifier,resourceSourcedIds,preferredGivenName,"
        "preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns",
        "givenName,familyName",
    ),
    _file(
        "roles",
        "role",
        "userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId",
        "userSourcedId,role",
        since="1.2",
    ),
    _file(
        "enrollments",
        "enrollment",
        "classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
        "classSourcedId,schoolSourcedId,userSourcedId,role",
    ),
    _file(
        "demographics",
        "demographics",
        "birthDate,sex,americanIndianOrAlaskaNative,asian,blackOrAfricanAmerican,nativeHawaiianOrOtherPacificIslander,"
        "white,demographicRaceTwoOrMoreRaces,hispanicOrLatinoEthnicity,countryOfBirthCode,stateOfBirthAbbreviation,"
        "cityOfBirth,publicSchoolResidenceStatus",
        "",
    ),
)

_GRADEBOOK: Final = (
    _file("categories", "category", "title,weight", ""),
    _file(
        "scoreScales",
        "score_scale",
        "title,type,orgSourcedId,courseSourcedId,classSourcedId,scoreScaleValue",
        "",
        since="1.2",
    ),
    _file(
        "lineItems",
        "line_item",
        "title,description,assignDate,dueDate,classSourcedId,categorySourcedId,gradingPeriodSourcedId,"
        "academicSessionSourcedId,resultValueMin,resultValueMax,schoolSourcedId",
        "classSourcedId",
    ),
    _file(
        "results",
        "result",
        "lineItemSourcedId,studentSourcedId,scoreStatus,score,scoreDate,comment,textScore,classSourcedId,inProgress,"
        "incomplete,late,missing",
        "lineItemSourcedId,studentSourcedId",
    ),
)

_SUPPLEMENTS: Final = (
    _file(
        "lineItemScoreScales",
        "line_item",
        "title,lineItemSourcedId,scoreScaleSourcedId",
        "lineItemSourcedId,scoreScaleSourcedId",
        since="1.2",
        supplement="item_scale",
    ),
    _file(
        "lineItemLearningObjectiveIds",
        "line_item",
        "lineItemSourcedId,source,learningObjectiveId",
        "lineItemSourcedId,source,learningObjectiveId",
        since="1.2",
        supplement="item_objective",
    ),
    _file(
        "resultScoreScales",
        "result",
        "title,resultSourcedId,scoreScaleSourcedId",
        "resultSourcedId,scoreScaleSourcedId",
        since="1.2",
        supplement="result_scale",
    ),
    _file(
        "resultLearningObjectiveIds",
        "result",
        "resultSourcedId,source,learningObjectiveId,score,textScore",
        "resultSourcedId,source,learningObjectiveId",
        since="1.2",
        supplement="result_objective",
    ),
)

FILES: Final = {file.name: file for file in (*_ROSTER, *_GRADEBOOK, *_SUPPLEMENTS)}
"""The files that are imported. Resources are not supported. User profiles are not read, because they contain
credentials.
"""

ONLY_1_1: Final = {"users": {"orgSourcedIds", "role"}, "lineItems": {"gradingPeriodSourcedId"}}
ONLY_1_2: Final = {
    "users": {
        *("userMasterIdentifier", "resourceSourcedIds", "preferredGivenName", "preferredMiddleName"),
        *("preferredFamilyName", "primaryOrgSourcedId", "pronouns"),
    },
    "categories": {"weight"},
    "lineItems": {"academicSessionSourcedId", "schoolSourcedId"},
    "results": {"textScore", "classSourcedId", "inProgress", "incomplete", "late", "missing"},
}


def expected_columns(file: CsvFile, version: str) -> tuple[str, ...]:
    """Returns the columns of a file in a version, in their standard order."""
    others = (ONLY_1_2 if version == "1.1" else ONLY_1_1).get(file.name, set())
    return (*COMMON, *(column for column in file.columns if column not in others))
