"""Lists OneRoster's published fields by version and kind, independently of the sandbox that is compared with them.

`name*` is required; types: s string, d date, t instant, b boolean, f "true" or "false", n number, o object, [x] list of
x, @kind a GUIDRef, a|b one of these (in 1.2 also values with the prefix ext:).
"""

import re
from datetime import date, datetime
from typing import Any

BASE = "sourcedId*:s status*:active|tobedeleted dateLastModified*:t metadata:o"
RACES = (
    "americanIndianOrAlaskaNative:{b} asian:{b} blackOrAfricanAmerican:{b} nativeHawaiianOrOtherPacificIslander:{b}"
    " white:{b} demographicRaceTwoOrMoreRaces:{b} hispanicOrLatinoEthnicity:{b} countryOfBirthCode:s"
    " stateOfBirthAbbreviation:s cityOfBirth:s publicSchoolResidenceStatus:s"
)
ROLE_11 = "administrator|aide|guardian|parent|proctor|relative|student|teacher"
STATUS = "exempt|fully~graded|not~submitted|partially~graded|submitted"
MARKS = "inProgress:f incomplete:f late:f missing:f"
SESSION = (
    "title*:s startDate*:d endDate*:d type*:gradingPeriod|semester|schoolYear|term parent:@academicSession"
    " children:[@academicSession] schoolYear*:s"
)
ORG = "name*:s type*:department|district|local|national|school|state identifier*:s parent:@org children:[@org]"
COURSE = (
    "title*:s schoolYear:@academicSession courseCode*:s grades:[s] subjects:[s] org:@org subjectCodes:[s]"
    " resources:[@resource]"
)
FIELDS = {
    "1.1": {
        "academicSessions": SESSION,
        "orgs": ORG,
        "courses": COURSE,
        "classes": "title*:s classCode:s classType:homeroom|scheduled location:s grades:[s] subjects:[s] course:@course"
        " school*:@org terms:[@academicSession] subjectCodes:[s] periods:s resources:[@resource]",
        "users": "username*:s userIds:[o] enabledUser:b givenName*:s familyName*:s middleName:s"
        f" role*:{ROLE_11} identifier:s email:s sms:s phone:s agents:[@user] orgs*:[@org] grades:[s] password:s",
        "enrollments": f"user*:@user class*:@class school*:@org role*:{ROLE_11} primary:b beginDate:d endDate:d",
        "demographics": f"birthDate:d sex:male|female {RACES.format(b='b')}",
        "categories": "title*:s",
        "lineItems": "title*:s description:s assignDate*:t dueDate:t class*:@class category*:@category"
        " gradingPeriod:@academicSession resultValueMin*:n resultValueMax:n",
        "results": f"lineItem*:@lineItem student*:@user scoreStatus*:{STATUS} score*:n scoreDate*:d comment:s",
    },
    "1.2": {
        "academicSessions": SESSION,
        "orgs": ORG,
        "courses": COURSE,
        "classes": "title*:s classCode:s classType:homeroom|scheduled location:s grades:[s] subjects:[s]"
        " course*:@course school*:@org terms*:[@academicSession] subjectCodes:[s] periods:[s] resources:[@resource]",
        "users": "userMasterIdentifier:s username:s userIds:[o] enabledUser*:f givenName*:s familyName*:s middleName:s"
        " preferredFirstName:s preferredMiddleName:s preferredLastName:s pronouns:s roles*:[o] userProfiles:[o]"
        " primaryOrg:@org identifier:s email:s sms:s phone:s agents:[@user] grades:[s] password:s"
        " resources:[@resource]",
        "enrollments": "user*:@user class*:@class school*:@org role*:administrator|proctor|student|teacher primary:f"
        " beginDate:d endDate:d",
        "demographics": f"birthDate:d sex:male|female|unspecified|other {RACES.format(b='f')}",
        "categories": "title*:s weight:n",
        "lineItems": "title*:s description:s assignDate*:t dueDate*:t class*:@class school*:@org category*:@category"
        " gradingPeriod:@academicSession academicSession:@academicSession scoreScale:@scoreScale resultValueMin:n"
        " resultValueMax:n learningObjectiveSet:[o]",
        "results": "lineItem*:@lineItem student*:@user class:@class scoreScale:@scoreScale"
        f" scoreStatus*:{STATUS} score:n textScore:s scoreDate*:d comment:s learningObjectiveSet:[o] {MARKS}",
        "scoreScales": "title*:s type*:s course:@course class*:@class scoreScaleValue*:[o]",
        "assessmentLineItems": "title*:s description:s class:@class parentAssessmentLineItem:@assessmentLineItem"
        " scoreScale:@scoreScale resultValueMin:n resultValueMax:n learningObjectiveSet:[o]",
        "assessmentResults": "assessmentLineItem*:@assessmentLineItem student*:@user score:n textScore:s scoreDate*:d"
        f" scoreScale:@scoreScale scorePercentile:n scoreStatus*:{STATUS} comment:s learningObjectiveSet:[o] {MARKS}",
    },
}


def faults(version: str, kind: str, row: dict[str, Any]) -> list[str]:
    """Returns how a row differs from the published list of fields; the result is empty if it does not differ."""
    types = {}
    required = set()
    for field in f"{BASE} {FIELDS[version][kind]}".split():
        name, _, type_of = field.partition(":")
        types[name.rstrip("*")] = type_of
        required |= {name.rstrip("*")} if name.endswith("*") else set()
    faults_of_row = [f"{name} is missing" for name in required - row.keys()]
    faults_of_row += [f"{name} is not a field" for name in row.keys() - types.keys()]
    return faults_of_row + [
        f"{name} is no {types[name]}: {value!r}"
        for name, value in row.items()
        if name in types and not fits(version, types[name], value)
    ]


def fits(version: str, type_of: str, value: Any) -> bool:
    """Returns whether a value has a type, in the notation of this module."""
    if type_of.startswith("["):
        return isinstance(value, list) and all(fits(version, type_of[1:-1], one) for one in value)
    if type_of.startswith("@"):
        return _reference(type_of[1:], value)
    if "|" in type_of:
        extended = version == "1.2" and bool(re.fullmatch(r"ext:[A-Za-z0-9._-]+", str(value)))
        return value in type_of.replace("~", " ").split("|") or extended
    match type_of:
        case "s":
            return isinstance(value, str)
        case "b":
            return isinstance(value, bool)
        case "f":
            return value in ("true", "false")
        case "n":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "o":
            return isinstance(value, dict)
        case "d":
            return bool(date.fromisoformat(value).isoformat() == value)
        case _:
            return datetime.fromisoformat(value).tzinfo is not None and value.endswith("Z")


def _reference(kind: str, value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"href", "sourcedId", "type"}:
        return False
    return bool(value["type"] == kind and value["href"].startswith("http") and value["sourcedId"] in value["href"])
