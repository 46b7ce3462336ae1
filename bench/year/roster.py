"""Defines the roster of the simulated year, and writes it as a OneRoster 1.1 CSV delivery."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from app.sandbox.export_files import FILES, HEADERS

SCHOOL, OTHER_SCHOOL = "school-1", "school-2"
CLASSES: Final = 4
GRADE: Final = "02"
YEAR_BEGINS, YEAR_ENDS = date(2026, 8, 17), date(2027, 6, 12)
TEACHERS: Final = tuple(f"teacher-{number}" for number in range(1, CLASSES + 1))
SPECIALIST, COUNSELLOR, OTHER_TEACHER = "specialist", "counsellor", "teacher-other"
SOURCE: Final = "sis"


def external(sourced_id: str) -> str:
    """Returns the external id of a person or an organization."""
    return f"sis:{SOURCE}:{sourced_id}"


@dataclass
class Roster:
    """The people of two schools: one with the four classes of a grade, and another one to which students can move.

    `gone` are the people who are left out of the delivery. `moved` are the students at the other school.
    """

    students: int
    gone: set[str] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)

    def student(self, number: int) -> str:
        """Returns a student's `sourcedId`. Consecutive students are in different classes."""
        return f"student-{number:03d}"

    def teacher_of(self, number: int) -> str:
        """Returns the `sourcedId` of the teacher in whose class a student begins."""
        return TEACHERS[number % CLASSES]

    def as_zip(self) -> bytes:
        """Returns the roster as a zip in OneRoster's CSV format."""
        tables = self._tables()
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            modes = [[f"file.{name}", "bulk" if name in tables else "absent"] for name in FILES]
            versions = [["manifest.version", "1.0"], ["oneroster.version", "1.1"]]
            archive.writestr("manifest.csv", _csv(["propertyName", "value"], [*versions, *modes]))
            for name, rows in tables.items():
                header = ["sourcedId", "status", "dateLastModified", *HEADERS[name].split(",")]
                archive.writestr(f"{name}.csv", _csv(header, [[row.get(each, "") for each in header] for row in rows]))
        return content.getvalue()

    def _tables(self) -> dict[str, list[dict[str, str]]]:
        dates = {"startDate": YEAR_BEGINS.isoformat(), "endDate": YEAR_ENDS.isoformat()}
        schools = (SCHOOL, OTHER_SCHOOL)
        classes = [(f"class-{number}", SCHOOL) for number in range(1, CLASSES + 1)] + [("class-other", OTHER_SCHOOL)]
        return {
            "academicSessions": [_row("y27", title="2026-27", type="schoolYear", schoolYear="2027", **dates)],
            "orgs": [
                _row("district", name="The district", type="district"),
                *(_row(each, name=f"The {each}", type="school", parentSourcedId="district") for each in schools),
            ],
            "courses": [
                _row("reading", title="Reading", schoolYearSourcedId="y27", orgSourcedId="district", grades=GRADE)
            ],
            "classes": [
                _row(
                    class_,
                    title=class_,
                    grades=GRADE,
                    courseSourcedId="reading",
                    classType="homeroom",
                    schoolSourcedId=school,
                    termSourcedIds="y27",
                )
                for class_, school in classes
            ],
            "users": [*self._staff(), *self._students()],
            "enrollments": [*self._teaching(), *self._seats()],
        }

    def _staff(self) -> list[dict[str, str]]:
        people = [*TEACHERS, SPECIALIST, COUNSELLOR, OTHER_TEACHER]
        return [
            _person(name, "teacher", OTHER_SCHOOL if name == OTHER_TEACHER else SCHOOL)
            for name in people
            if name not in self.gone
        ]

    def _students(self) -> list[dict[str, str]]:
        names = [self.student(number) for number in range(self.students)]
        return [
            _person(name, "student", OTHER_SCHOOL if name in self.moved else SCHOOL, grades=GRADE)
            for name in names
            if name not in self.gone
        ]

    def _teaching(self) -> list[dict[str, str]]:
        pairs = [(name, f"class-{number}", SCHOOL) for number, name in enumerate(TEACHERS, start=1)]
        pairs.append((OTHER_TEACHER, "class-other", OTHER_SCHOOL))
        return [_seat(*pair, "teacher") for pair in pairs if pair[0] not in self.gone]

    def _seats(self) -> list[dict[str, str]]:
        seats = []
        for number in range(self.students):
            name = self.student(number)
            class_, school = f"class-{number % CLASSES + 1}", SCHOOL
            if name in self.moved:
                class_, school = "class-other", OTHER_SCHOOL
            if name not in self.gone:
                seats.append(_seat(name, class_, school, "student"))
        return seats


def _row(sourced_id: str, **cells: str) -> dict[str, str]:
    return {"sourcedId": sourced_id, **cells}


def _person(sourced_id: str, role: str, school: str, **cells: str) -> dict[str, str]:
    names = {"givenName": "Given", "familyName": sourced_id.title()}
    return _row(sourced_id, enabledUser="true", orgSourcedIds=school, role=role, username=sourced_id, **names, **cells)


def _seat(user: str, class_: str, school: str, role: str) -> dict[str, str]:
    return _row(
        f"{class_}/{user}",
        classSourcedId=class_,
        schoolSourcedId=school,
        userSourcedId=user,
        role=role,
        primary="true" if role == "teacher" else "",
        beginDate=YEAR_BEGINS.isoformat(),
        endDate=YEAR_ENDS.isoformat(),
    )


def _csv(header: list[str], rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    sheet = csv.writer(text, lineterminator="\r\n")
    sheet.writerow(header)
    sheet.writerows(rows)
    return text.getvalue()
