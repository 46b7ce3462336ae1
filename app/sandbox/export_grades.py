"""Owns the gradebook's rows in a CSV export, and the roles of 1.2, one by one. Never holds them, never does I/O.

They are those that the sandbox SIS serves on the same day; a district's results stream.
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
    """The gradebook of a district on its day; `items` of each class at most, where that is said."""

    def __init__(self, district: District, items: int | None = None) -> None:
        self.district = district
        self.items = gradebook.line_items_by(district.day) if items is None else items

    def rows(self, name: str) -> Iterator[Row]:
        """The rows of a file by column; its `sourcedId` first."""
        match name:
            case "categories":
                return ({"sourcedId": one.sourced_id, "title": one.title, "weight": one.weight} for one in self._of())
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

    def _items_of(self, room: Class) -> Iterator[gradebook.LineItem]:
        return islice(gradebook.line_items(self.district, room), self.items)

    def _scales(self) -> Iterator[Row]:
        for room in self.district.classes():
            scale = gradebook.score_scale(room)
            about = {"classSourcedId": room.sourced_id, "courseSourcedId": room.course_sourced_id}
            told = {"title": scale.title, "type": "letter", "scoreScaleValue": SCALE}
            yield {"sourcedId": scale.sourced_id, **told, **about, "orgSourcedId": room.school_sourced_id}

    def _line_items(self) -> Iterator[Row]:
        for room in self.district.classes():
            for one in self._items_of(room):
                yield {
                    "sourcedId": one.sourced_id,
                    "title": one.title,
                    "assignDate": _instant(one.assigned),
                    "dueDate": _instant(one.due),
                    "classSourcedId": one.class_sourced_id,
                    "categorySourcedId": one.category_sourced_id,
                    "academicSessionSourcedId": one.session_sourced_id,
                    "resultValueMin": one.result_value_min,
                    "resultValueMax": one.result_value_max,
                    "schoolSourcedId": one.school_sourced_id,
                }

    def _results(self) -> Iterator[Row]:
        district, day = self.district, self.district.day
        for seat in district.seats():
            for enrolled in district.enrollments_of(seat):
                for one in islice(gradebook.results(district, (enrolled,), day), self.items):
                    yield {
                        "sourcedId": one.sourced_id,
                        "lineItemSourcedId": one.line_item_sourced_id,
                        "studentSourcedId": one.student_sourced_id,
                        "classSourcedId": one.class_sourced_id,
                        "scoreStatus": one.score_status,
                        "score": one.score,
                        "scoreDate": one.score_date,
                    }

    def _item_scales(self) -> Iterator[Row]:
        for room in self.district.classes():
            scale = gradebook.score_scale(room).sourced_id
            for one in self._items_of(room):
                about = {"lineItemSourcedId": one.sourced_id, "scoreScaleSourcedId": scale}
                yield {"sourcedId": f"{one.sourced_id}S", "title": "Letter grades", **about}

    def _item_objectives(self) -> Iterator[Row]:
        for room in self.district.classes():
            for one in self._items_of(room):
                objective = {"source": FRAMEWORK, "learningObjectiveId": f"{room.class_code}-{one.sourced_id[12:]}"}
                yield {"sourcedId": f"{one.sourced_id}O", "lineItemSourcedId": one.sourced_id, **objective}

    def _roles(self) -> Iterator[Row]:
        for number, user in enumerate(self.district.users()):
            yield from self._roles_of(user, office=number == 0)

    def _roles_of(self, user: User, office: bool) -> Iterator[Row]:
        """One for each org; 1.2 has other words for administrators."""
        role = user.role
        name = role if role != "administrator" else "districtAdministrator" if office else "siteAdministrator"
        for number, org in enumerate(user.org_sourced_ids):
            what = {"role": name, "roleType": "secondary" if number else "primary", "orgSourcedId": org}
            yield {"sourcedId": f"{user.sourced_id}R{number}", "userSourcedId": user.sourced_id, **what}


def _instant(day: Any) -> str:
    return datetime.combine(day, time(), UTC).isoformat().replace("+00:00", ".000Z")
