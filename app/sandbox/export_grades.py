"""Generates the gradebook's rows for a CSV export, and the roles of OneRoster 1.2.

The rows are the same as those that the sandbox SIS serves on the same day. They are generated one after another, so
that a large district needs no more memory than a small one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from itertools import islice
from typing import Any

from app.sandbox import sis_gradebook as gradebook
from app.sandbox.district import District
from app.sandbox.oneroster import Class, User

FRAMEWORK = "https://case.sandbox.example.org"
SCALE = "{A:90-100},{B:80-89},{C:70-79},{D:60-69},{F:0-59}"
Row = dict[str, Any]


class Grades:
    """The gradebook of a district on its current simulated day, with at most `items` line items for each class."""

    def __init__(self, district: District, items: int | None = None) -> None:
        self.district = district
        self.items = gradebook.line_items_by(district.day) if items is None else items

    def rows(self, name: str) -> Iterator[Row]:
        """Yields the rows of one file, each as a dictionary keyed by column; the first key is `sourcedId`."""
        match name:
            case "categories":
                return (
                    {"sourcedId": category.sourced_id, "title": category.title, "weight": category.weight}
                    for category in self._of()
                )
            case "scoreScales":
                return self._scales()
            case "lineItems":
                return self._line_items()
            case "results":
                return self._results()
            case "lineItemScoreScales":
                return self._item_scales()
            case "lineItemLearningObjectiveIds":
                return self._item_objectives()
            case _:
                return self._roles()

    def _of(self) -> Iterator[gradebook.Category]:
        return gradebook.categories()

    def _items_of(self, class_: Class) -> Iterator[gradebook.LineItem]:
        return islice(gradebook.line_items(self.district, class_), self.items)

    def _scales(self) -> Iterator[Row]:
        for class_ in self.district.classes():
            scale = gradebook.score_scale(class_)
            about = {"classSourcedId": class_.sourced_id, "courseSourcedId": class_.course_sourced_id}
            values = {"title": scale.title, "type": "letter", "scoreScaleValue": SCALE}
            yield {"sourcedId": scale.sourced_id, **values, **about, "orgSourcedId": class_.school_sourced_id}

    def _line_items(self) -> Iterator[Row]:
        for class_ in self.district.classes():
            for item in self._items_of(class_):
                yield {
                    "sourcedId": item.sourced_id,
                    "title": item.title,
                    "assignDate": _instant(item.assigned),
                    "dueDate": _instant(item.due),
                    "classSourcedId": item.class_sourced_id,
                    "categorySourcedId": item.category_sourced_id,
                    "academicSessionSourcedId": item.session_sourced_id,
                    "resultValueMin": item.result_value_min,
                    "resultValueMax": item.result_value_max,
                    "schoolSourcedId": item.school_sourced_id,
                }

    def _results(self) -> Iterator[Row]:
        district, day = self.district, self.district.day
        for seat in district.seats():
            for enrolled in district.enrollments_of(seat):
                for result in islice(gradebook.results(district, (enrolled,), day), self.items):
                    yield {
                        "sourcedId": result.sourced_id,
                        "lineItemSourcedId": result.line_item_sourced_id,
                        "studentSourcedId": result.student_sourced_id,
                        "classSourcedId": result.class_sourced_id,
                        "scoreStatus": result.score_status,
                        "score": result.score,
                        "scoreDate": result.score_date,
                    }

    def _item_scales(self) -> Iterator[Row]:
        for class_ in self.district.classes():
            scale = gradebook.score_scale(class_).sourced_id
            for item in self._items_of(class_):
                about = {"lineItemSourcedId": item.sourced_id, "scoreScaleSourcedId": scale}
                yield {"sourcedId": f"{item.sourced_id}S", "title": "Letter grades", **about}

    def _item_objectives(self) -> Iterator[Row]:
        for class_ in self.district.classes():
            for item in self._items_of(class_):
                objective = {"source": FRAMEWORK, "learningObjectiveId": f"{class_.class_code}-{item.sourced_id[12:]}"}
                yield {"sourcedId": f"{item.sourced_id}O", "lineItemSourcedId": item.sourced_id, **objective}

    def _roles(self) -> Iterator[Row]:
        for number, user in enumerate(self.district.users()):
            yield from self._roles_of(user, office=number == 0)

    def _roles_of(self, user: User, office: bool) -> Iterator[Row]:
        """Yields one role for each org of a person.

        The roles of administrators have other names in OneRoster 1.2 than in 1.1. `office` states that the person works
        in the district's office.
        """
        role = user.role
        name = role if role != "administrator" else "districtAdministrator" if office else "siteAdministrator"
        for number, org in enumerate(user.org_sourced_ids):
            values = {"role": name, "roleType": "secondary" if number else "primary", "orgSourcedId": org}
            yield {"sourcedId": f"{user.sourced_id}R{number}", "userSourcedId": user.sourced_id, **values}


def _instant(day: Any) -> str:
    return datetime.combine(day, time(), UTC).isoformat().replace("+00:00", ".000Z")
