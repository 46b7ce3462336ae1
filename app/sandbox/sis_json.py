"""Converts records to OneRoster JSON, in the versions 1.1 and 1.2."""

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
    """Converts rows to the JSON of one version of OneRoster.

    `bases` are the URLs of the rostering and the gradebook service. `when` turns a simulated day into the text of
    `dateLastModified`. `children` returns the ids of the orgs directly under an org, or of the sessions under a
    session.
    """

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
        """Returns the JSON of a row, without the fields that have no value."""
        status = "active" if row.active else "tobedeleted"
        body = getattr(self, f"_{SINGLE[kind]}")(row.record)
        fields = {name: value for name, value in body.items() if value is not None}
        return {"sourcedId": row.record.sourced_id, "status": status, "dateLastModified": self.when(row.day), **fields}

    def ref(self, kind: str, sourced_id: str) -> Json:
        """Returns OneRoster's reference to a row (GUIDRef)."""
        base = self.gradebook if kind in GRADEBOOK else self.rostering
        return {"href": f"{base}/{kind}/{sourced_id}", "sourcedId": sourced_id, "type": SINGLE[kind]}

    def refs(self, kind: str, ids: tuple[str, ...] | list[str]) -> list[Json]:
        """Returns a list of OneRoster's references to rows (GUIDRefs)."""
        return [self.ref(kind, sourced_id) for sourced_id in ids]

    def flag(self, value: bool | None) -> bool | str | None:
        """Returns a boolean as this version writes it: unchanged in 1.1, and as a string in 1.2."""
        return value if value is None or self.version == "1.1" else str(value).lower()

    def _org(self, org: Any) -> Json:
        boarding = self.flag(org.metadata_boarding)
        metadata = {"classification": org.metadata_classification, "gender": org.metadata_gender, "boarding": boarding}
        return {
            "metadata": metadata if org.metadata_gender else None,
            "name": org.name,
            "type": org.type,
            "identifier": org.identifier,
            "parent": self.ref("orgs", org.parent_sourced_id) if org.parent_sourced_id else None,
            "children": self.refs("orgs", self.children("orgs", org.sourced_id)) or None,
        }

    def _academicSession(self, session: Any) -> Json:
        parent = session.parent_sourced_id
        return {
            "title": session.title,
            "startDate": session.start_date.isoformat(),
            "endDate": session.end_date.isoformat(),
            "type": session.type,
            "parent": self.ref("academicSessions", parent) if parent else None,
            "children": self.refs("academicSessions", self.children("academicSessions", session.sourced_id)) or None,
            "schoolYear": session.school_year,
        }

    def _course(self, course: Any) -> Json:
        return {
            "title": course.title,
            "schoolYear": self.ref("academicSessions", course.school_year_sourced_id),
            "courseCode": course.course_code,
            "grades": list(course.grades),
            "subjects": list(course.subjects),
            "org": self.ref("orgs", course.org_sourced_id),
            "subjectCodes": list(course.subject_codes),
        }

    def _class(self, class_: Any) -> Json:
        periods = list(class_.periods) if self.version == "1.2" else ",".join(class_.periods)
        return {
            "title": class_.title,
            "classCode": class_.class_code,
            "classType": class_.class_type,
            "location": class_.location,
            "grades": list(class_.grades),
            "subjects": list(class_.subjects),
            "course": self.ref("courses", class_.course_sourced_id),
            "school": self.ref("orgs", class_.school_sourced_id),
            "terms": self.refs("academicSessions", class_.term_sourced_ids),
            "subjectCodes": list(class_.subject_codes),
            "periods": periods or None,
        }

    def _user(self, user: Any) -> Json:
        ids = [one_id.strip("{}").partition(":") for one_id in user.user_ids]
        body: Json = {
            "username": user.username,
            "userIds": [{"type": kind, "identifier": identifier} for kind, _, identifier in ids],
            "enabledUser": self.flag(user.enabled_user),
            "givenName": user.given_name,
            "familyName": user.family_name,
            "middleName": user.middle_name,
            "identifier": user.identifier,
            "email": user.email,
            "grades": list(user.grades) or None,
        }
        if self.version == "1.1":
            return body | {"role": user.role, "orgs": self.refs("orgs", user.org_sourced_ids)}
        office = self.children("orgs", user.org_sourced_ids[0])
        role = user.role if user.role != "administrator" else "districtAdministrator" if office else "siteAdministrator"
        roles = [
            {"roleType": "secondary" if number else "primary", "role": role, "org": self.ref("orgs", org)}
            for number, org in enumerate(user.org_sourced_ids)
        ]
        return body | {"roles": roles, "primaryOrg": self.ref("orgs", user.org_sourced_ids[0])}

    def _enrollment(self, enrollment: Any) -> Json:
        # 1.2 has no aide among the roles of an enrollment, but allows extensions of vocabularies.
        role = "ext:aide" if enrollment.role == "aide" and self.version == "1.2" else enrollment.role
        return {
            "user": self.ref("users", enrollment.user_sourced_id),
            "class": self.ref("classes", enrollment.class_sourced_id),
            "school": self.ref("orgs", enrollment.school_sourced_id),
            "role": role,
            "primary": self.flag(enrollment.primary),
            "beginDate": enrollment.begin_date.isoformat(),
            "endDate": enrollment.end_date.isoformat(),
        }

    def _demographics(self, record: Any) -> Json:
        values = {name: getattr(record, field) for name, field in _SNAKE.items()}
        return {
            name: self.flag(value) if isinstance(value, bool) else value.isoformat() if name == "birthDate" else value
            for name, value in values.items()
        }

    def _category(self, category: Any) -> Json:
        return {"title": category.title, "weight": category.weight if self.version == "1.2" else None}

    def _lineItem(self, item: Any) -> Json:
        body = {
            "title": item.title,
            "assignDate": _noon(item.assigned),
            "dueDate": _noon(item.due),
            "class": self.ref("classes", item.class_sourced_id),
            "category": self.ref("categories", item.category_sourced_id),
            "resultValueMin": item.result_value_min,
            "resultValueMax": item.result_value_max,
        }
        if self.version == "1.1":
            return body | {"gradingPeriod": self.ref("academicSessions", f"{item.session_sourced_id}Q1")}
        school, session = item.school_sourced_id, item.session_sourced_id
        return body | {"school": self.ref("orgs", school), "academicSession": self.ref("academicSessions", session)}

    def _result(self, result: Any) -> Json:
        extras = {}
        if self.version == "1.2":
            extras = {"class": self.ref("classes", result.class_sourced_id)} | dict.fromkeys(_FLAGS.split(), "false")
        return {"lineItem": self.ref("lineItems", result.line_item_sourced_id)} | self._scored(result) | extras

    def _assessmentResult(self, result: Any) -> Json:
        return {"assessmentLineItem": self.ref("assessmentLineItems", result.line_item_sourced_id)} | self._scored(
            result
        )

    def _scored(self, result: Any) -> Json:
        return {
            "student": self.ref("users", result.student_sourced_id),
            "scoreStatus": result.score_status,
            "score": result.score,
            "scoreDate": result.score_date.isoformat(),
        }

    def _scoreScale(self, scale: Any) -> Json:
        letters = [{"itemValueLHS": letter, "itemValueRHS": span} for letter, span in LETTERS]
        about = self.ref("classes", scale.class_sourced_id)
        return {"title": scale.title, "type": "letter", "class": about, "scoreScaleValue": letters}

    def _assessmentLineItem(self, item: Any) -> Json:
        return {
            "title": item.title,
            "resultValueMin": item.result_value_min,
            "resultValueMax": item.result_value_max,
        }


def instant(moment: datetime) -> str:
    """Returns an instant in OneRoster's form, in UTC with milliseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _noon(day: date) -> str:
    return f"{day.isoformat()}T12:00:00.000Z"
