"""Defines the structure of the sandbox's schools: levels, grades, subjects, sections, adults, and places for students.

The module `district` generates the people's names and ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

STUDENTS_PER_TRIO = 1500  # one elementary, one middle and one high school
STUDENTS_PER_SECTION = 25
Adult = Literal["aide", "teacher"]
Role = Literal["administrator", "aide", "teacher"]
WHOLE_YEAR, FIRST, SECOND = (0, 1), (0,), (1,)  # the semesters in which a class meets


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject in a student's timetable.

    * `slot` is the position in the day; 0 is homeroom, and two half-year subjects share a slot.
    * `area` is the subject's field, and `sced` its two-digit SCED subject area.
    * `taught_by` says who teaches it: the teacher of the homeroom, one specialist for the whole school, or a department
      with a teacher for each section.
    """

    code: str
    title: str
    area: str
    sced: str
    slot: int
    taught_by: Literal["homeroom", "specialist", "department"]
    semesters: tuple[int, ...] = WHOLE_YEAR
    co_taught: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A kind of school, such as an elementary school.

    Grades are CEDS entry-level codes. `begins` is the number of grades that a student passes through before the first
    grade of this kind of school, counted from kindergarten.
    """

    name: str
    begins: int
    grades: tuple[str, ...]
    subjects: tuple[Subject, ...]


ELEMENTARY = Level(
    "Elementary",
    0,
    ("KG", "01", "02", "03", "04", "05"),
    (
        Subject("HR", "Homeroom", "Homeroom", "22", 0, "homeroom"),
        Subject("RDG", "Reading", "English Language Arts", "01", 1, "homeroom", co_taught=True),
        Subject("WRT", "Writing", "English Language Arts", "01", 2, "homeroom"),
        Subject("MTH", "Mathematics", "Mathematics", "02", 3, "homeroom", co_taught=True),
        Subject("SCI", "Science", "Science", "03", 4, "homeroom"),
        Subject("SOC", "Social Studies", "Social Studies", "04", 5, "homeroom"),
        Subject("ART", "Art", "Fine and Performing Arts", "05", 6, "specialist"),
        Subject("MUS", "Music", "Fine and Performing Arts", "05", 6, "specialist"),
        Subject("PED", "Physical Education", "Physical Education", "08", 7, "specialist"),
        Subject("LIB", "Library", "Library", "22", 7, "specialist"),
    ),
)
MIDDLE = Level(
    "Middle",
    6,
    ("06", "07", "08"),
    (
        Subject("ADV", "Advisory", "Homeroom", "22", 0, "homeroom"),
        Subject("ELA", "English Language Arts", "English Language Arts", "01", 1, "department", co_taught=True),
        Subject("MTH", "Mathematics", "Mathematics", "02", 2, "department", co_taught=True),
        Subject("SCI", "Science", "Science", "03", 3, "department"),
        Subject("SOC", "Social Studies", "Social Studies", "04", 4, "department"),
        Subject("PED", "Physical Education", "Physical Education", "08", 5, "department"),
        Subject("ART", "Art", "Fine and Performing Arts", "05", 6, "department", FIRST),
        Subject("MUS", "Music", "Fine and Performing Arts", "05", 6, "department", SECOND),
        Subject("TEC", "Technology", "Computer Science", "10", 7, "department", FIRST),
        Subject("WLD", "World Languages", "World Languages", "24", 7, "department", SECOND),
    ),
)
HIGH = Level(
    "High",
    9,
    ("09", "10", "11", "12"),
    (
        Subject("ADV", "Advisory", "Homeroom", "22", 0, "homeroom"),
        Subject("ENG", "English", "English Language Arts", "01", 1, "department", co_taught=True),
        Subject("MTH", "Mathematics", "Mathematics", "02", 2, "department", co_taught=True),
        Subject("SCI", "Science", "Science", "03", 3, "department"),
        Subject("SOC", "Social Studies", "Social Studies", "04", 4, "department"),
        Subject("SPA", "Spanish", "World Languages", "24", 5, "department"),
        Subject("HLT", "Health", "Physical Education", "08", 6, "department", FIRST),
        Subject("ART", "Studio Art", "Fine and Performing Arts", "05", 6, "department", SECOND),
        Subject("CSC", "Computer Science", "Computer Science", "10", 7, "department", FIRST),
        Subject("ECO", "Personal Finance", "Business", "12", 7, "department", SECOND),
    ),
)
LEVELS = (ELEMENTARY, MIDDLE, HIGH)


def grade_title(grade: str) -> str:
    """Returns a CEDS grade code as course titles spell it; `KG` gives `K`, and `03` gives `3`."""
    return "K" if grade == "KG" else grade.lstrip("0")


@dataclass(frozen=True, slots=True)
class School:
    """A school of the district. `sizes` and `sections` have one number for each grade.

    `sizes` are the numbers of students on the first simulated day, `sections` the numbers of parallel classes.
    """

    number: int
    level: Level
    sizes: tuple[int, ...]
    sections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """A student of the synthetic district.

    `home`, `grade` and `number` identify the student and never change. They are the school and the grade in which the
    student was generated, and the student's number in this grade. `school` is the student's present school.
    """

    home: School
    grade: int
    number: int
    school: School
    moved: bool = False
    renamed: bool = False
    regraded: bool = False

    @property
    def key(self) -> str:
        return f"{self.home.number}/student/{self.grade}/{self.number}"

    def section(self, subject: Subject) -> int:
        """Returns the number of the student's section in a subject.

        The students of an elementary class are together in all subjects. Older students are in a different group in
        each subject. The sections have nearly equal sizes.
        """
        sections = self.school.sections[self.grade]
        number = self.number + self.moved  # a student who moves within the only school of a level changes section
        turn = 0 if self.school.level is ELEMENTARY else subject.slot
        return (number + number // sections * turn) % sections


def schools(students: int) -> Iterator[School]:
    """Yields the schools of a district with this number of students.

    The schools come in groups with one school of each level. The more students, the more groups there are.
    """
    return (_school(students, number) for number in range(_trios(students) * len(LEVELS)))


def next_school(students: int, school: School) -> School:
    """Returns the next school of the same level, to which students of this school move.

    If no other school has this level, returns the school itself.
    """
    return _school(students, (school.number + len(LEVELS)) % (_trios(students) * len(LEVELS)))


def _trios(students: int) -> int:
    return max(1, round(students / STUDENTS_PER_TRIO))


def _school(students: int, number: int) -> School:
    trio, kind = divmod(number, len(LEVELS))
    level, trios, grades = LEVELS[kind], _trios(students), sum(len(level.grades) for level in LEVELS)
    students = students // trios + (trio < students % trios)
    grade_range = range(level.begins, level.begins + len(level.grades))
    sizes = tuple(students // grades + (grade < students % grades) for grade in grade_range)
    return School(number, level, sizes, tuple(max(1, round(size / STUDENTS_PER_SECTION)) for size in sizes))


def posts(school: School) -> Iterator[tuple[Role, str]]:
    """Yields a role and a key for each adult of a school. The key identifies the adult within the school.

    The function `adults` uses the same keys.
    """
    yield "administrator", "admin"
    grades = range(len(school.sizes))
    if school.level is ELEMENTARY:
        yield from (("teacher", f"room/{grade}/{s}") for grade in grades for s in range(school.sections[grade]))
        specials = (subject for subject in school.level.subjects if subject.taught_by == "specialist")
        yield from (("teacher", f"special/{subject.code}") for subject in specials)
    else:
        sections = max(school.sections)
        yield from (("teacher", f"department/{slot}/{s}") for slot in range(1, 8) for s in range(sections))
    yield from (("teacher", f"support/{grade}") for grade in grades)
    yield from (("aide", f"aide/{grade}") for grade in grades)


def adults(school: School, grade: int, subject: Subject, section: int) -> Iterator[tuple[Adult, str, bool | None]]:
    """Yields the adults of a class: for each, the role in the class, the adult's key, and whether the adult is primary.

    Every class has a teacher, who is primary. In some subjects, the first section also has a co-teacher, who is not
    primary, or an aide. For an aide, the third value is None. The key identifies the adult within the school.
    """
    if subject.taught_by == "specialist":
        key = f"special/{subject.code}"
    elif school.level is ELEMENTARY:
        key = f"room/{grade}/{section}"
    else:  # a teacher has one section in each period: a subject meets at a different hour in each grade
        key = f"department/{subject.slot or grade + 1}/{section}"
    yield "teacher", key, True
    if subject.co_taught and section == 0:
        yield "teacher", f"support/{grade}", False
    if subject.taught_by == "homeroom" and subject.slot == 0 and section == 0:
        yield "aide", f"aide/{grade}", None
