"""Generates a synthetic gradebook: categories, line items, results, score scales and screenings.

The id of a row contains the ids of the rows to which it belongs (`{class}L{n}`, `{lineItem}{user}`), so that a row can
be found without an index.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from app.sandbox.district import District
from app.sandbox.oneroster import Class, Enrollment
from app.sandbox.school import LEVELS, Seat

ID = 12  # the number of letters in the sourcedId of a class or a user
CATEGORIES = ("Classwork", "Quizzes", "Projects", "Tests")
AT_FIRST, EVERY = 2, 5  # a class's number of line items on day 0, and the days until each further one
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
    class_sourced_id: str | None  # None for a result of an assessment
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
    """Returns the number of line items that each class has on the simulated day number `day`."""
    return AT_FIRST + day // EVERY


def day_of(number: int) -> int:
    """Returns the simulated day on which a class gets its line item number `number`."""
    return max(0, (number - AT_FIRST + 1) * EVERY)


def categories() -> Iterator[Category]:
    """Yields the four categories of line items, such as quizzes and tests."""
    return (Category(f"CAT{n}", title, 25.0) for n, title in enumerate(CATEGORIES))


def line_items(district: District, class_: Class) -> Iterator[LineItem]:
    """Yields the line items that a class has by the current simulated day of the district."""
    for number in range(line_items_by(district.day)):
        assigned = district.date + timedelta(days=day_of(number) - 7)
        category = number % len(CATEGORIES)
        title = f"{CATEGORIES[category]} {number // len(CATEGORIES) + 1}"
        about = class_.sourced_id, class_.school_sourced_id, f"CAT{category}", class_.term_sourced_ids[0]
        yield LineItem(
            f"{class_.sourced_id}L{number}", title, assigned, assigned + timedelta(days=6), *about, 0.0, 100.0
        )


def results(district: District, enrolled: Iterable[Enrollment], day: int) -> Iterator[Result]:
    """Yields a student's results: one for each line item that a class has by the simulated day `day`.

    `enrolled` are the student's enrollments in these classes.
    """
    for enrollment in enrolled:
        for number in range(line_items_by(day)):
            item = f"{enrollment.class_sourced_id}L{number}"
            on = district.date + timedelta(days=day_of(number) - 1)
            score = _score(district, item + enrollment.user_sourced_id, 40, 101)
            about = enrollment.class_sourced_id, enrollment.user_sourced_id, "fully graded", score, on
            yield Result(item + enrollment.user_sourced_id, item, *about)


def score_scale(class_: Class) -> ScoreScale:
    """Returns the score scale of a class, which converts scores to letter grades."""
    return ScoreScale(f"{class_.sourced_id}S", "Letter grades", class_.sourced_id)


def assessment_line_items() -> Iterator[AssessmentLineItem]:
    """Yields two assessment line items for each grade: one for each test of the fall screening."""
    for level in LEVELS:
        for grade in level.grades:
            for code, title in SCREENINGS:
                yield AssessmentLineItem(f"{code}-{grade}", f"{title}, grade {grade}", 0.0, SCREENED_TO)


def assessment_results(district: District, seat: Seat) -> Iterator[Result]:
    """Yields a student's results in the two tests of the fall screening.

    These are the tests for the grade in which the student was on the first simulated day. The student may be in a
    higher grade now.
    """
    user, grade = district.student_id(seat), seat.home.level.grades[seat.grade]
    on = date(district.date.year - (district.date.month < 8), 9, 10)
    for code, _ in SCREENINGS:
        score = _score(district, f"{code}{user}", 5, int(SCREENED_TO))
        yield Result(f"{code}-{grade}{user}", f"{code}-{grade}", None, user, "fully graded", score, on)


def _score(district: District, key: str, minimum: int, below: int) -> float:
    digest = hashlib.blake2b(f"{district.seed}/score/{key}".encode(), digest_size=8).digest()
    return float(minimum + int.from_bytes(digest, "big") % (below - minimum))
