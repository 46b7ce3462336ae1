"""Generates a synthetic district, as a pure function of (seed, students, date, day).

Every record is computed on demand from its own position in the district, so that even a million students are generated
in constant memory. Ids are hashes: opaque, case-sensitive, and the same for the same seed.

This file exceeds 250 lines because the seven kinds of record refer to each other by ids.
"""

import hashlib
from binascii import b2a_base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import lru_cache
from random import Random

from app.sandbox import names
from app.sandbox.oneroster import AcademicSession, Class, Course, Demographics, Enrollment, Org, User
from app.sandbox.school import (
    ELEMENTARY,
    LEVELS,
    WHOLE_YEAR,
    Level,
    Role,
    School,
    Seat,
    Subject,
    adults,
    grade_title,
    next_school,
    posts,
    schools,
)

# The share of students to whom each change happens on each day after day 0.
LEAVING, TRANSFERRING, ENTERING, RENAMED, REGRADED = 0.004, 0.003, 0.004, 0.002, 0.0005

_LETTERS = bytes.maketrans(b"+/", b"xQ")
Term = tuple[str, date, date]  # sourcedId, first day, day after the last


@dataclass(frozen=True, slots=True)
class District:
    """A district that is generated from `seed`, in the school year of `date`, after `day` simulated days.

    On each day, some students change: they enter, leave, move, or get another name or grade. `students` is the exact
    number of students on day 0; later, about as many students enter as leave. Raises ValueError for fewer than one
    student.
    """

    seed: int
    students: int
    date: date
    day: int = 0

    def __post_init__(self) -> None:
        if self.students < 1 or self.day < 0:
            raise ValueError("A district needs at least one student, and a day that is not negative.")

    def on(self, day: int) -> "District":
        """Returns the district as it is on another day.

        By then, some students have left, entered, moved, or changed name or grade.
        """
        return replace(self, day=day)

    @property
    def place(self) -> str:
        return names.PLACES[self.seed % len(names.PLACES)]

    @property
    def name(self) -> str:
        return f"{self.place} Unified School District"

    def orgs(self) -> Iterator[Org]:
        district = self._id("org", "district")
        yield Org(district, self.name, "district", "D001")
        for school in schools(self.students):
            code = f"S{school.number + 1:04d}"
            yield Org(self.school_id(school), _name(school), "school", code, "public", "mixed", False, district)

    def academic_sessions(self) -> Iterator[AcademicSession]:
        """Yields a school year and its two semesters.

        The year ends on the day on which the next one begins, so that every date is in a school year.
        """
        year, fall, spring = self._terms()
        begins = year[1].year
        years, whole = f"{begins}-{begins + 1}", year[0]
        yield AcademicSession(whole, f"{years} School Year", "schoolYear", *year[1:], None, str(begins + 1))
        for title, (sourced_id, start, end) in ((f"Fall {begins}", fall), (f"Spring {begins + 1}", spring)):
            yield AcademicSession(sourced_id, title, "semester", start, end, whole, str(begins + 1))

    def courses(self) -> Iterator[Course]:
        district, year = self._id("org", "district"), self._terms()[0][0]
        for level in LEVELS:
            for grade in level.grades:
                for subject in level.subjects:
                    title = f"{subject.title} {grade_title(grade)}"
                    sourced_id = self._course_id(level, grade, subject)
                    about = (grade,), district, (subject.area,), (subject.sced,)
                    yield Course(sourced_id, year, title, f"{subject.code}{grade}", *about)

    def classes(self) -> Iterator[Class]:
        for school in schools(self.students):
            for grade in range(len(school.sizes)):
                yield from self.classes_of(school, grade)

    def classes_of(self, school: School, grade: int) -> Iterator[Class]:
        """Yields the classes of one grade of one school, subject by subject."""
        terms = self._terms()
        for subject, section in _sections(school, grade):
            code = school.level.grades[grade]
            period = str(subject.slot if school.level is ELEMENTARY else (subject.slot - 1 + grade) % 7 + 1)
            yield Class(
                self._class_id(school, grade, subject, section),
                f"{subject.title} {grade_title(code)}-{section + 1}",
                (code,),
                self._course_id(school.level, code, subject),
                f"{subject.code}{code}-{section + 1}",
                "scheduled" if subject.slot else "homeroom",
                f"Room {(grade if school.level is ELEMENTARY else subject.slot) + 1}{section + 1:02d}",
                self.school_id(school),
                tuple(terms[semester + 1][0] for semester in subject.semesters),
                (subject.area,),
                (subject.sced,),
                (period,) if subject.slot else (),
            )

    def users(self) -> Iterator[User]:
        yield from self.staff()
        yield from (self.student(seat) for seat in self.seats())

    def staff(self) -> Iterator[User]:
        """Yields the district's administrator, then each school's administrator, teachers and aides."""
        district = self._id("org", "district")
        yield self._adult("district/admin", "administrator", (district,), "00000000")
        for school in schools(self.students):
            yield from self.staff_of(school)

    def staff_of(self, school: School) -> Iterator[User]:
        """Yields a school's administrator, teachers and aides."""
        school_id = self.school_id(school)
        for number, (role, key) in enumerate(posts(school)):
            # The music teacher of an elementary school also belongs to the next middle school.
            shared = school.level is ELEMENTARY and key == "special/MUS"
            orgs = (school_id, self._id("org", str(school.number + 1))) if shared else (school_id,)
            yield self._adult(f"{school.number}/{key}", role, orgs, f"{school.number + 1:05d}{number:03d}")

    def enrollments(self) -> Iterator[Enrollment]:
        """Yields the enrollments of the adults of all classes, and then the enrollments of the students.

        Each student is enrolled in ten classes. One adult of each class is marked as primary.
        """
        for school in schools(self.students):
            for grade in range(len(school.sizes)):
                yield from self.adult_enrollments_of(school, grade)
        for seat in self.seats():
            yield from self.enrollments_of(seat)

    def adult_enrollments_of(self, school: School, grade: int) -> Iterator[Enrollment]:
        """Yields the enrollments of the adults in the classes of one grade of one school."""
        terms, school_id = self._terms(), self.school_id(school)
        for subject, section in _sections(school, grade):
            dates = _dates(terms, subject)
            class_id = self._class_id(school, grade, subject, section)
            for role, key, primary in adults(school, grade, subject, section):
                user = self._id("user", f"{school.number}/{key}")
                enrollment_id = self._id("enrollment", class_id + user)
                yield Enrollment(enrollment_id, class_id, school_id, user, role, primary, *dates)

    def enrollments_of(self, seat: Seat) -> Iterator[Enrollment]:
        """Yields the enrollments of the student `seat` in ten classes."""
        terms, prefix = (
            self._terms(),
            f"{self.seed}/enrollment/",
        )  # This runs a million times in a large export, so hashes are made without `_id`.
        user, school_id = self.student_id(seat), self.school_id(seat.school)
        number, grade = seat.school.number, seat.grade
        for subject in seat.school.level.subjects:
            class_id = _class_id(self.seed, number, grade, subject.code, seat.section(subject))
            starts, ends = _dates(terms, subject)
            enrollment_id = _opaque(prefix + class_id + user)
            yield Enrollment(enrollment_id, class_id, school_id, user, "student", None, starts, ends)

    def demographics(self) -> Iterator[Demographics]:
        yield from (self.demographics_of(seat) for seat in self.seats())

    def demographics_of(self, seat: Seat) -> Demographics:
        """Returns the demographics of one student, which never change."""
        begins = self._terms()[0][1].year
        rng = Random(f"{self.seed}/demographics/{seat.key}")
        age = 5 + seat.grade + 13 - sum(len(level.grades) for level in LEVELS[LEVELS.index(seat.home.level) :])
        born = date(begins - age - 1, 9, 2) + timedelta(days=rng.randrange(365))
        sex = rng.choices(names.SEXES, (51, 48, 1))[0]
        many = rng.random() < 0.05
        first, second = rng.choices(range(5), (2, 8, 16, 1, 73))[0], rng.randrange(1, 5)
        races = (race == first or (many and race == (first + second) % 5) for race in range(5))
        native, asian, black, pacific, white = races
        hispanic, abroad = rng.random() < 0.27, rng.random() < 0.08
        return Demographics(
            self.student_id(seat),
            born,
            sex,
            native,
            asian,
            black,
            pacific,
            white,
            many,
            hispanic,
            rng.choice(names.COUNTRIES) if abroad else "US",
            None if abroad else rng.choice(names.STATES),
            None if abroad else rng.choice(names.TOWNS),
        )

    def seats(self) -> Iterator[Seat]:
        """Yields a `Seat` for each student who is enrolled on this day.

        A `Seat` identifies a student and has the present school.
        """
        leaving, moved, renamed, regraded = (
            1 - (1 - p) ** self.day for p in (LEAVING, TRANSFERRING, RENAMED, REGRADED)
        )
        for home in schools(self.students):
            later_school = next_school(self.students, home)
            for grade, size in enumerate(home.sizes):
                for number in range(size):
                    seat = Seat(home, grade, number, home)
                    if self.day:
                        thresholds = self.change_thresholds(seat.key)
                        if thresholds[0] < leaving:
                            continue
                        moves, *changes = thresholds[1] < moved, thresholds[2] < renamed, thresholds[3] < regraded
                        seat = Seat(home, grade, number, later_school if moves else home, moves, *changes)
                    yield seat
                for number in range(size, size + self.entered(home, grade)):
                    yield Seat(home, grade, number, home)

    def entered(self, home: School, grade: int) -> int:
        """Returns the number of students who have entered this grade of the school `home` since day 0."""
        late = Random(f"{self.seed}/entering/{home.number}/{grade}").random()
        return int(late + self.day * ENTERING * home.sizes[grade])

    def student_id(self, seat: Seat) -> str:
        """Returns the student's `sourcedId`.

        The ids of the first two students differ in case only, to test that clients distinguish case.
        """
        if seat.key == "0/student/0/1":
            return self._id("user", "0/student/0/0").swapcase()
        return self._id("user", seat.key)

    def student(self, seat: Seat) -> User:
        """Returns the OneRoster user record of one student."""
        rng = Random(f"{self.seed}/person/{seat.key}")
        given_name, family, middle = names.person(rng)
        if seat.renamed:
            family = rng.choice(names.FAMILY)
        number = f"{seat.home.number + 1:05d}{seat.grade}{seat.number:04d}"
        grades = seat.home.level.grades
        grade = grades[min(seat.grade + 1, len(grades) - 1) if seat.regraded else seat.grade]
        login = f"{names.login(given_name, family)}{int(number)}"
        email = None if grade in ("KG", "01", "02") else f"{login}@students.{self.place.lower()}.example.org"
        orgs = (self.school_id(seat.school),)
        ids = (f"{{State:{rng.randrange(10**9, 10**10)}}}",)
        sourced_id = self.student_id(seat)
        return User(sourced_id, True, orgs, "student", login, ids, given_name, family, middle, number, email, (grade,))

    def _adult(self, key: str, role: Role, orgs: tuple[str, ...], number: str) -> User:
        given_name, family, middle = names.person(Random(f"{self.seed}/person/{key}"))
        login = f"{names.login(given_name, family)}.{int(number)}"
        email = f"{login}@staff.{self.place.lower()}.example.org"
        ids = (f"{{Staff:{number}}}", f"{{Badge:B{number[::-1]}}}")
        sourced_id = self._id("user", key)
        return User(sourced_id, True, orgs, role, login, ids, given_name, family, middle, f"E{number}", email)

    def _terms(self) -> tuple[Term, Term, Term]:
        return _terms(self.seed, self.date)

    def change_thresholds(self, key: str) -> list[float]:
        """Returns a student's four random numbers in [0, 1), one for each kind of change, such as a move.

        The student is identified by `key`. Each kind of change has a probability that grows from day to day. The change
        happens to the student when this probability exceeds the student's number.
        """
        digest = hashlib.blake2b(f"{self.seed}/fate/{key}".encode(), digest_size=16).digest()
        return [int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in (0, 4, 8, 12)]

    def school_id(self, school: School) -> str:
        """Returns the `sourcedId` of a school."""
        return self._id("org", str(school.number))

    def _course_id(self, level: Level, grade: str, subject: Subject) -> str:
        return self._id("course", f"{level.name}/{grade}/{subject.code}")

    def _class_id(self, school: School, grade: int, subject: Subject, section: int) -> str:
        return _class_id(self.seed, school.number, grade, subject.code, section)

    def _id(self, kind: str, key: str) -> str:
        return _opaque(f"{self.seed}/{kind}/{key}")


def _opaque(key: str) -> str:
    """Returns an id of twelve letters and digits in upper and lower case, derived from a key.

    An id has 72 bits, so it is practically impossible that two ids of a source are equal.
    """
    digest = hashlib.blake2b(key.encode(), digest_size=9).digest()
    return b2a_base64(digest, newline=False).translate(_LETTERS).decode()


@lru_cache(maxsize=4096)  # called once for each student of a class
def _class_id(seed: int, school: int, grade: int, subject: str, section: int) -> str:
    return _opaque(f"{seed}/class/{school}/{grade}/{subject}/{section}")


@lru_cache(maxsize=8)  # called for each student
def _terms(seed: int, within: date) -> tuple[Term, Term, Term]:
    begins = within.year - (within.month < 8)
    august, january, june = date(begins, 8, 15), date(begins + 1, 1, 8), date(begins + 1, 6, 8)
    fall, spring, summer = (day + timedelta(days=-day.weekday() % 7) for day in (august, january, june))
    year = (_opaque(f"{seed}/session/{begins}"), date(begins, 8, 1), date(begins + 1, 8, 1))
    first = (_opaque(f"{seed}/session/{begins}/fall"), fall, spring)
    return year, first, (_opaque(f"{seed}/session/{begins}/spring"), spring, summer)


def _sections(school: School, grade: int) -> Iterator[tuple[Subject, int]]:
    return ((subject, section) for subject in school.level.subjects for section in range(school.sections[grade]))


def _name(school: School) -> str:
    cycle, place = divmod(school.number // len(LEVELS), len(names.PLACES))
    return f"{names.PLACES[place]}{f' {cycle + 1}' if cycle else ''} {school.level.name} School"


def _dates(terms: tuple[Term, Term, Term], subject: Subject) -> tuple[date, date]:
    """Returns the first day of a subject's classes and the day after the last one.

    For a class that lasts the whole year, these are the dates of the school year.
    """
    return terms[0][1:] if subject.semesters == WHOLE_YEAR else terms[subject.semesters[0] + 1][1:]
