"""Defines the columns of the files in OneRoster's CSV bindings 1.1 and 1.2, and the defects that an export can have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# These headers follow `sourcedId,status,dateLastModified`, with which every file begins.
HEADERS: Final = {
    "academicSessions": "title,type,startDate,endDate,parentSourcedId,schoolYear",
    "orgs": "name,type,identifier,metadata.classification,metadata.gender,metadata.boarding,parentSourcedId",
    "courses": "schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
    "classes": "title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds,"
    "subjects,subjectCodes,periods",
    "users": "enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,middleName,identifier,"
    "email,sms,phone,agentSourcedIds,grades,password",
    "enrollments": "classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
    "demographics": "birthDate,sex,americanIndianOrAlaskaNative,asian,blackOrAfricanAmerican,"
    "nativeHawaiianOrOtherPacificIslander,white,demographicRaceTwoOrMoreRaces,hispanicOrLatinoEthnicity,"
    "countryOfBirthCode,stateOfBirthAbbreviation,cityOfBirth,publicSchoolResidenceStatus",
}
GRADES: Final = {
    "categories": "title",
    "lineItems": "title,description,assignDate,dueDate,classSourcedId,categorySourcedId,gradingPeriodSourcedId,"
    "resultValueMin,resultValueMax",
    "results": "lineItemSourcedId,studentSourcedId,scoreStatus,score,scoreDate,comment",
}
"""The columns of the gradebook files in 1.1."""

HEADERS_1_2: Final = {
    **HEADERS,
    "orgs": "name,type,identifier,parentSourcedId",
    "users": "enabledUser,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,"
    "agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,preferredMiddleName,"
    "preferredFamilyName,primaryOrgSourcedId,pronouns",
    "roles": "userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId",
}
GRADES_1_2: Final = {
    "categories": "title,weight",
    "scoreScales": "title,type,orgSourcedId,courseSourcedId,classSourcedId,scoreScaleValue",
    "lineItems": "title,description,assignDate,dueDate,classSourcedId,categorySourcedId,academicSessionSourcedId,"
    "resultValueMin,resultValueMax,schoolSourcedId",
    "results": "lineItemSourcedId,studentSourcedId,scoreStatus,score,scoreDate,comment,textScore,classSourcedId,"
    "inProgress,incomplete,late,missing",
    "lineItemScoreScales": "title,lineItemSourcedId,scoreScaleSourcedId",
    "lineItemLearningObjectiveIds": "lineItemSourcedId,source,learningObjectiveId",
}
# The manifest names every data file of the binding, in this order.
FILES: Final = (
    "academicSessions",
    "categories",
    "classes",
    "classResources",
    "courses",
    "courseResources",
    "demographics",
    "enrollments",
    "lineItems",
    "orgs",
    "resources",
    "results",
    "users",
)
FILES_1_2: Final = (
    *FILES,
    "lineItemLearningObjectiveIds",
    "lineItemScoreScales",
    "resultLearningObjectiveIds",
    "resultScoreScales",
    "roles",
    "scoreScales",
    "userProfiles",
    "userResources",
)

CSV_QUIRKS: Final = {
    "status-filled": "status and dateLastModified are filled in, though the manifest says bulk.",
    "hidden-header:FILE": "A zero-width space in the file's header.",
    "utf-16:FILE": "The file is UTF-16.",
    "header-only:FILE": "The file has a header and no row.",
}
"""The defects that a badly made zip can have, keyed by name, with their descriptions.

The sandbox's other quirks apply only to its HTTP service.
"""
STAMP: Final = "2026-11-20T06:00:00.000Z"


class UnknownCsvQuirk(ValueError):
    """Raised for a quirk (a deliberate defect) that does not exist, or that names a file that is not in the export.

    The message lists the valid quirks.
    """


@dataclass(frozen=True, slots=True)
class Binding:
    """The files of an export, in one version of OneRoster's CSV binding.

    The gradebook's files are included on request.
    """

    version: str = "1.1"
    gradebook: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """Returns the columns of each file, in the order in which the files are written."""
        roster, grades = (HEADERS, GRADES) if self.version == "1.1" else (HEADERS_1_2, GRADES_1_2)
        return {**roster, **grades} if self.gradebook else dict(roster)

    @property
    def files(self) -> tuple[str, ...]:
        """Returns the names of all files that the manifest lists."""
        return FILES if self.version == "1.1" else tuple(sorted(FILES_1_2, key=str.lower))


def csv_quirks(requested: Iterable[str], files: Iterable[str]) -> frozenset[str]:
    """Returns the requested quirks: deliberate defects of an export, such as `utf-16:users`.

    `files` are the files of the export. Raises `UnknownCsvQuirk` for a quirk that does not exist or names another file.
    """
    file_names, forms = set(files), {name.partition(":")[0]: name for name in CSV_QUIRKS}
    quirks = frozenset(requested)
    for quirk in quirks:
        name, _, file = quirk.partition(":")
        form = forms.get(name)
        if form is None or (":" in form) != bool(file) or (file and file not in file_names):
            raise UnknownCsvQuirk(f"{quirk} is no quirk of an export. There are: {', '.join(CSV_QUIRKS)}.")
    return quirks
