"""Owns how a record is written as OneRoster JSON, in 1.1 and 1.2. Never decides which rows there are."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final

from app.sandbox.sis_history import Row

Json = dict[str, Any]
SINGLE: Final = {
    "academicSessions": "academicSession",
    "categories": "category",
    "classes": "class",
    "courses": "course",
    "demographics": "demographics",
    "enrollments": "enrollment",
    "lineItems": "lineItem",
    "orgs": "org",
    "results": "result",
    "users": "user",
    "scoreScales": "scoreScale",
    "assessmentLineItems": "assessmentLineItem",
    "assessmentResults": "assessmentResult",
}
GRADEBOOK: Final = {
    "categories",
    "lineItems",
    "results",
    "scoreScales",
    "assessmentLineItems",
    "assessmentResults",
}
BASE: Final = "sourcedId status dateLastModified metadata"
_DEMOGRAPHICS = (
    "birthDate sex americanIndianOrAlaskaNative asian blackOrAfricanAmerican nativeHawaiianOrOtherPacificIslander"
    " white demographicRaceTwoOrMoreRaces hispanicOrLatinoEthnicity countryOfBirthCode stateOfBirthAbbreviation"
    " cityOfBirth publicSchoolResidenceStatus"
)
_SNAKE = {name: "".join(f"_{c.lower()}" if c.isupper() else c for c in name) for name in _DEMOGRAPHICS.split()}
_BOTH = {
    "academicSessions": "title startDate endDate type parent children schoolYear",
    "classes": "title classCode classType location grades subjects course school terms subjectCodes periods resources",
    "courses": "title schoolYear courseCode grades subjects org subjectCodes resources",
    "demographics": _DEMOGRAPHICS,
    "enrollments": "user class school role primary beginDate endDate",
    "orgs": "name type identifier parent children",
}
_FLAGS = "inProgress incomplete late missing"
_FIELDS = {
    "1.1": _BOTH
    | {
        "users": "username userIds enabledUser givenName familyName middleName role identifier email sms phone agents"
        " orgs grades password",
        "categories": "title",
        "lineItems": "title description assignDate dueDate class category gradingPeriod resultValueMin resultValueMax",
        "results": "lineItem student scoreStatus score scoreDate comment",
    },
    "1.2": _BOTH
    | {
        "users": "userMasterIdentifier username userIds enabledUser givenName familyName middleName preferredFirstName"
        " preferredMiddleName preferredLastName pronouns roles userProfiles primaryOrg identifier email sms phone"
        " agents grades password resources",
        "categories": "title weight",
        "lineItems": "title description assignDate dueDate class school category gradingPeriod academicSession"
        " scoreScale resultValueMin resultValueMax learningObjectiveSet",
        "results": "lineItem student class scoreScale scoreStatus score textScore scoreDate comment"
        f" learningObjectiveSet {_FLAGS}",
        "scoreScales": "title type course class scoreScaleValue",
        "assessmentLineItems": "title description class parentAssessmentLineItem scoreScale resultValueMin"
        " resultValueMax learningObjectiveSet",
        "assessmentResults": "assessmentLineItem student score textScore scoreDate scoreScale scorePercentile"
        f" scoreStatus comment learningObjectiveSet {_FLAGS}",
    },
}
FIELDS: Final = {
    version: {kind: frozenset(f"{BASE} {names}".split()) for kind, names in kinds.items()}
    for version, kinds in _FIELDS.items()
}
LETTERS = (("A", "90-100"), ("B", "80-89"), ("C", "70-79"), ("D", "60-69"), ("F", "0-59"))


class Writer:
    """Writes rows of one version. `bases` gives the URL of each service; `children` the ids under an org or session."""

    def __init__(
        self,
        version: str,
        bases: tuple[str, str],
        when: Callable[[int], str],
        children: Callable[[str, str], list[str]],
    ) -> None:
        self.version, self.when, self.children = version, when, children
        self.rostering, self.gradebook = bases

    def write(self, kind: str, row: Row) -> Json:
        """The row's JSON. What is not given is left out."""
        status = "active" if row.active else "tobedeleted"
        body = getattr(self, f"_{SINGLE[kind]}")(row.record)
        given = {name: value for name, value in body.items() if value is not None}
        return {"sourcedId": row.record.sourced_id, "status": status, "dateLastModified": self.when(row.day), **given}

    def ref(self, kind: str, sourced_id: str) -> Json:
        """A GUIDRef."""
        base = self.gradebook if kind in GRADEBOOK else self.rostering
        return {"href": f"{base}/{kind}/{sourced_id}", "sourcedId": sourced_id, "type": SINGLE[kind]}

    def refs(self, kind: str, ids: tuple[str, ...] | list[str]) -> list[Json]:
        """A list of GUIDRefs."""
        return [self.ref(kind, one) for one in ids]

    def flag(self, value: bool | None) -> bool | str | None:
        """A boolean in 1.1; in 1.2 a string."""
        return value if value is None or self.version == "1.1" else str(value).lower()

    def _org(self, one: Any) -> Json:
        boarding = self.flag(one.metadata_boarding)
        metadata = {"classification": one.metadata_classification, "gender": one.metadata_gender, "boarding": boarding}
        return {
            "metadata": metadata if one.metadata_gender else None,
            "name": one.name,
            "type": one.type,
            "identifier": one.identifier,
            "parent": self.ref("orgs", one.parent_sourced_id) if one.parent_sourced_id else None,
            "children": self.refs("orgs", self.children("orgs", one.sourced_id)) or None,
        }

    def _academicSession(self, one: Any) -> Json:
        parent = one.parent_sourced_id
        return {
            "title": one.title,
            "startDate": one.start_date.isoformat(),
            "endDate": one.end_date.isoformat(),
            "type": one.type,
            "parent": self.ref("academicSessions", parent) if parent else None,
            "children": self.refs("academicSessions", self.children("academicSessions", one.sourced_id)) or None,
            "schoolYear": one.school_year,
        }

    def _course(self, one: Any) -> Json:
        return {
            "title": one.title,
            "schoolYear": self.ref("academicSessions", one.school_year_sourced_id),
            "courseCode": one.course_code,
            "grades": list(one.grades),
            "subjects": list(one.subjects),
            "org": self.ref("orgs", one.org_sourced_id),
            "subjectCodes": list(one.subject_codes),
        }

    def _class(self, one: Any) -> Json:
        periods = list(one.periods) if self.version == "1.2" else ",".join(one.periods)
        return {
            "title": one.title,
            "classCode": one.class_code,
            "classType": one.class_type,
            "location": one.location,
            "grades": list(one.grades),
            "subjects": list(one.subjects),
            "course": self.ref("courses", one.course_sourced_id),
            "school": self.ref("orgs", one.school_sourced_id),
            "terms": self.refs("academicSessions", one.term_sourced_ids),
            "subjectCodes": list(one.subject_codes),
            "periods": periods or None,
        }

    def _user(self, one: Any) -> Json:
        ids = [one_id.strip("{}").partition(":") for one_id in one.user_ids]
        body: Json = {
            "username": one.username,
            "userIds": [{"type": kind, "identifier": identifier} for kind, _, identifier in ids],
            "enabledUser": self.flag(one.enabled_user),
            "givenName": one.given_name,
            "familyName": one.family_name,
            "middleName": one.middle_name,
            "identifier": one.identifier,
            "email": one.email,
            "grades": list(one.grades) or None,
        }
        if self.version == "1.1":
            return body | {"role": one.role, "orgs": self.refs("orgs", one.org_sourced_ids)}
        office = self.children("orgs", one.org_sourced_ids[0])
        role = one.role if one.role != "administrator" else "districtAdministrator" if office else "siteAdministrator"
        roles = [
            {"roleType": "secondary" if number else "primary", "role": role, "org": self.ref("orgs", org)}
            for number, org in enumerate(one.org_sourced_ids)
        ]
        return body | {"roles": roles, "primaryOrg": self.ref("orgs", one.org_sourced_ids[0])}

    def _enrollment(self, one: Any) -> Json:
        # 1.2 has no aide among the roles of an enrollment, but lets vocabularies be extended.
        role = "ext:aide" if one.role == "aide" and self.version == "1.2" else one.role
        return {
            "user": self.ref("users", one.user_sourced_id),
            "class": self.ref("classes", one.class_sourced_id),
            "school": self.ref("orgs", one.school_sourced_id),
            "role": role,
            "primary": self.flag(one.primary),
            "beginDate": one.begin_date.isoformat(),
            "endDate": one.end_date.isoformat(),
        }

    def _demographics(self, one: Any) -> Json:
        values = {name: getattr(one, field) for name, field in _SNAKE.items()}
        return {
            name: self.flag(value) if isinstance(value, bool) else value.isoformat() if name == "birthDate" else value
            for name, value in values.items()
        }

    def _category(self, one: Any) -> Json:
        return {"title": one.title, "weight": one.weight if self.version == "1.2" else None}

    def _lineItem(self, one: Any) -> Json:
        body = {
            "title": one.title,
            "assignDate": _noon(one.assigned),
            "dueDate": _noon(one.due),
            "class": self.ref("classes", one.class_sourced_id),
            "category": self.ref("categories", one.category_sourced_id),
            "resultValueMin": one.result_value_min,
            "resultValueMax": one.result_value_max,
        }
        if self.version == "1.1":
            return body | {"gradingPeriod": self.ref("academicSessions", f"{one.session_sourced_id}Q1")}
        school, session = one.school_sourced_id, one.session_sourced_id
        return body | {"school": self.ref("orgs", school), "academicSession": self.ref("academicSessions", session)}

    def _result(self, one: Any) -> Json:
        more = {}
        if self.version == "1.2":
            more = {"class": self.ref("classes", one.class_sourced_id)} | dict.fromkeys(_FLAGS.split(), "false")
        return {"lineItem": self.ref("lineItems", one.line_item_sourced_id)} | self._scored(one) | more

    def _assessmentResult(self, one: Any) -> Json:
        return {"assessmentLineItem": self.ref("assessmentLineItems", one.line_item_sourced_id)} | self._scored(one)

    def _scored(self, one: Any) -> Json:
        return {
            "student": self.ref("users", one.student_sourced_id),
            "scoreStatus": one.score_status,
            "score": one.score,
            "scoreDate": one.score_date.isoformat(),
        }

    def _scoreScale(self, one: Any) -> Json:
        letters = [{"itemValueLHS": letter, "itemValueRHS": span} for letter, span in LETTERS]
        about = self.ref("classes", one.class_sourced_id)
        return {"title": one.title, "type": "letter", "class": about, "scoreScaleValue": letters}

    def _assessmentLineItem(self, one: Any) -> Json:
        return {
            "title": one.title,
            "resultValueMin": one.result_value_min,
            "resultValueMax": one.result_value_max,
        }


def instant(moment: datetime) -> str:
    """An instant in UTC, in milliseconds, as OneRoster writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _noon(day: date) -> str:
    return f"{day.isoformat()}T12:00:00.000Z"
