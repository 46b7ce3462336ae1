"""Owns the synthetic gradebook: categories, line items, results, score scales, screenings. Never does I/O.

Ids are put together from the ids they hang on (`{class}L{n}`, `{lineItem}{user}`), so that none needs an index.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from app.sandbox.district import District
from app.sandbox.oneroster import Class, Enrollment
from app.sandbox.school import LEVELS, Seat

ID = 12  # letters of a class's or a user's sourcedId
CATEGORIES = ("Classwork", "Quizzes", "Projects", "Tests")
AT_FIRST, EVERY = 2, 5  # line items of a class on day 0, and the days between two later ones
SCREENINGS = (("ORF", "Oral Reading Fluency, fall"), ("CBM", "Mathematics Computation, fall"))
SCREENED_TO = 200.0


@dataclass(frozen=True, slots=True)
class Category:
    sourced_id: str
    title: str
    weight: float


@dataclass(frozen=True, slots=True)
class LineItem:
    sourced_id: str
    title: str
    assigned: date
    due: date
    class_sourced_id: str
    school_sourced_id: str
    category_sourced_id: str
    session_sourced_id: str
    result_value_min: float
    result_value_max: float


@dataclass(frozen=True, slots=True)
class Result:
    sourced_id: str
    line_item_sourced_id: str
    class_sourced_id: str | None  # None for an assessment's
    student_sourced_id: str
    score_status: str
    score: float | None
    score_date: date


@dataclass(frozen=True, slots=True)
class ScoreScale:
    sourced_id: str
    title: str
    class_sourced_id: str


@dataclass(frozen=True, slots=True)
class AssessmentLineItem:
    sourced_id: str
    title: str
    result_value_min: float
    result_value_max: float


def line_items_by(day: int) -> int:
    """How many line items a class has on a day."""
    return AT_FIRST + day // EVERY


def day_of(number: int) -> int:
    """The day on which a class's line item of this number came."""
    return max(0, (number - AT_FIRST + 1) * EVERY)


def categories() -> Iterator[Category]:
    """The district's four."""
    return (Category(f"CAT{n}", title, 25.0) for n, title in enumerate(CATEGORIES))


def line_items(district: District, room: Class) -> Iterator[LineItem]:
    """Those of a class up to the district's day."""
    for number in range(line_items_by(district.day)):
        given = district.date + timedelta(days=day_of(number) - 7)
        category = number % len(CATEGORIES)
        title = f"{CATEGORIES[category]} {number // len(CATEGORIES) + 1}"
        about = room.sourced_id, room.school_sourced_id, f"CAT{category}", room.term_sourced_ids[0]
        yield LineItem(f"{room.sourced_id}L{number}", title, given, given + timedelta(days=6), *about, 0.0, 100.0)


def results(district: District, enrolled: Iterable[Enrollment], day: int) -> Iterator[Result]:
    """Those of a student in these classes, up to `day`."""
    for one in enrolled:
        for number in range(line_items_by(day)):
            item = f"{one.class_sourced_id}L{number}"
            on = district.date + timedelta(days=day_of(number) - 1)
            score = _score(district, item + one.user_sourced_id, 40, 101)
            about = one.class_sourced_id, one.user_sourced_id, "fully graded", score, on
            yield Result(item + one.user_sourced_id, item, *about)


def score_scale(room: Class) -> ScoreScale:
    """The letter grades of a class."""
    return ScoreScale(f"{room.sourced_id}S", "Letter grades", room.sourced_id)


def assessment_line_items() -> Iterator[AssessmentLineItem]:
    """Two screenings for each grade."""
    for level in LEVELS:
        for grade in level.grades:
            for code, title in SCREENINGS:
                yield AssessmentLineItem(f"{code}-{grade}", f"{title}, grade {grade}", 0.0, SCREENED_TO)


def assessment_results(district: District, seat: Seat) -> Iterator[Result]:
    """Both screenings of a student, in September, in the grade where they began."""
    user, grade = district.student_id(seat), seat.home.level.grades[seat.grade]
    on = date(district.date.year - (district.date.month < 8), 9, 10)
    for code, _ in SCREENINGS:
        score = _score(district, f"{code}{user}", 5, int(SCREENED_TO))
        yield Result(f"{code}-{grade}{user}", f"{code}-{grade}", None, user, "fully graded", score, on)


def _score(district: District, key: str, least: int, below: int) -> float:
    digest = hashlib.blake2b(f"{district.seed}/score/{key}".encode(), digest_size=8).digest()
    return float(least + int.from_bytes(digest, "big") % (below - least))
