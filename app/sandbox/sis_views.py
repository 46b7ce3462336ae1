"""Defines what each path of OneRoster lists: the kind of rows, where to search for them, and which of them to include.

Rows are searched in blocks. A block is a group of rows that are generated together, such as those of one school, one
class or one person. For a nested path, only the blocks of the school, class or person in the path are searched. The
response is 404 if that school, class or person does not exist.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.sandbox.sis_gradebook import ID
from app.sandbox.sis_history import Row
from app.sandbox.sis_query import Refused
from app.sandbox.sis_rows import Block, Rows

Keep = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class View:
    """What a list contains: the kind of rows, the blocks (groups of rows) to search, and the condition for a row.

    `keep` is a function that returns whether a record is in the list. If it is None, all records are in the list. `key`
    identifies the view in caches.
    """

    kind: str
    blocks: Sequence[Block]
    keep: Keep | None
    key: str


# Collections that are a part of another one: students are users, schools are orgs.
PARTS: dict[str, tuple[str, Keep]] = {
    "schools": ("orgs", lambda org: bool(org.type == "school")),
    "terms": ("academicSessions", lambda session: session.type in ("term", "semester")),
    "gradingPeriods": ("academicSessions", lambda session: bool(session.type == "gradingPeriod")),
    "students": ("users", lambda user: bool(user.role == "student")),
    "teachers": ("users", lambda user: bool(user.role == "teacher")),
}


def kind_of(collection: str) -> str:
    """Returns the kind of row that a collection's path returns, such as `users` for students."""
    return PARTS[collection][0] if collection in PARTS else collection


def one(rows: Rows, collection: str, sourced_id: str) -> Row:
    """Returns the row of a collection with this id; raises `Refused` (404) if the collection has no such row."""
    kind, keep = PARTS.get(collection, (collection, None))
    row = rows.find(kind, sourced_id)
    if row is None or (keep is not None and not keep(row.record)):
        raise Refused(404, "unknownobject", f"The collection {collection} has no such sourcedId.")
    return row


def whole(rows: Rows, collection: str) -> View:
    """Returns the view that lists all rows of a collection, such as `students`."""
    kind, keep = PARTS.get(collection, (collection, None))
    blocks = rows.blocks(kind)
    if collection == "students":
        return View(kind, rows.seats, None, collection)
    return View(kind, rows.staff if collection == "teachers" else blocks, keep, collection)


def nested(rows: Rows, path: Sequence[str]) -> View:
    """Returns the view of a nested path, in which one or two ids limit the list.

    Examples are (`schools`, id, `classes`) and (`classes`, id, `students`, id, `results`). Raises `Refused` (404) for
    an unknown id.
    """
    above, sourced_id, collection = path[0], path[1], path[-1]
    parent = one(rows, above, sourced_id).record
    if len(path) == 5:
        return _under_two(rows, path)
    match above:
        case "schools":
            return _of_school(rows, sourced_id, collection)
        case "classes":
            return _of_class(rows, parent, collection)
        case "terms":
            return _of_term(rows, sourced_id, collection)
        case "courses":
            return View(
                "classes", rows.rooms, lambda class_: bool(class_.course_sourced_id == sourced_id), "/".join(path)
            )
        case _:
            return _classes_of_user(rows, sourced_id)


def _under_two(rows: Rows, path: Sequence[str]) -> View:
    above, sourced_id, within, inner, collection = path
    below = one(rows, within, inner).record
    if above == "schools":
        if below.school_sourced_id != sourced_id:
            raise Refused(404, "unknownobject", "The class is not in this school.")
        return _of_class(rows, below, collection)
    of_class = _of_class(rows, one(rows, above, sourced_id).record, collection)
    if within == "lineItems" and below.class_sourced_id != sourced_id:
        raise Refused(404, "unknownobject", "The line item is not of this class.")
    field = "line_item_sourced_id" if within == "lineItems" else "student_sourced_id"
    keep = of_class.keep
    return View(
        collection,
        of_class.blocks,
        lambda record: keep is not None and keep(record) and getattr(record, field) == inner,
        "/".join(path),
    )


def _of_school(rows: Rows, school_id: str, collection: str) -> View:
    school = next(block for block in rows.schools if rows.district.school_id(block) == school_id)
    feeding = {
        school.number,
        (school.number - 3) % len(rows.schools),
    }  # schools whose students attend this school or have moved to it
    rooms = [block for block in rows.rooms if block.school is school]
    seats = [block for block in rows.seats if block.school is not None and block.school.number in feeding]
    in_school: Keep = lambda record: bool(record.school_sourced_id == school_id)  # noqa: E731  # a predicate with a type
    belongs: Keep = lambda user: school_id in user.org_sourced_ids  # noqa: E731  # a predicate with a type
    key = f"schools/{school_id}/{collection}"
    match collection:
        case "classes" | "scoreScales" | "lineItems":
            return View(collection, rooms, None, key)
        case "enrollments":
            return View(collection, rooms + seats, in_school, key)
        case "students":
            return View("users", seats, belongs, key)
        case "teachers":
            near = [b for b in rows.staff if b.school and b.school.number in (school.number, school.number - 1)]
            return View("users", near, lambda user: user.role == "teacher" and belongs(user), key)
        case "courses":
            grades = set(school.level.grades)
            return View(collection, rows.blocks(collection), lambda course: not grades.isdisjoint(course.grades), key)
        case _:
            return whole(rows, collection)


def _of_class(rows: Rows, class_: Any, collection: str) -> View:
    rooms = rows.where("classes", class_.sourced_id)
    at = rooms[0]
    feeding = {at.school.number, (at.school.number - 3) % len(rows.schools)} if at.school else set()
    seats = [b for b in rows.seats if b.school and b.school.number in feeding and b.grade == at.grade]
    in_class: Keep = lambda record: bool(record.class_sourced_id == class_.sourced_id)  # noqa: E731  # a predicate with a type
    key = f"classes/{class_.sourced_id}/{collection}"
    match collection:
        case "enrollments":
            return View(collection, [*rooms, *seats], in_class, key)
        case "results":
            return View(collection, seats, in_class, key)
        case "lineItems" | "scoreScales":
            return View(collection, rooms, in_class, key)
        case "categories":
            return whole(rows, collection)
        case _:
            role, blocks = ("student", seats) if collection == "students" else ("teacher", list(rooms))
            enrolled = {
                row.record.user_sourced_id
                for block in blocks
                for row in rows.of("enrollments", block)
                if row.active and row.record.role == role and in_class(row.record)
            }
            shown_in = seats if collection == "students" else [b for b in rows.staff if b.school is at.school]
            return View("users", shown_in, lambda user: user.sourced_id in enrolled, key)


def _of_term(rows: Rows, term: str, collection: str) -> View:
    key = f"terms/{term}/{collection}"
    if collection == "classes":
        return View(collection, rows.rooms, lambda class_: term in class_.term_sourced_ids, key)
    periods = PARTS["gradingPeriods"][1]
    blocks = rows.blocks("academicSessions")
    return View("academicSessions", blocks, lambda session: periods(session) and session.parent_sourced_id == term, key)


def _classes_of_user(rows: Rows, user: str) -> View:
    near = rows.where("users", user)
    schools = {block.school.number for block in near if block.school}
    seats = [block for block in near if block.part == "seats"]
    rooms = [block for block in rows.rooms if block.school and block.school.number in schools]
    class_ids = {
        row.record.class_sourced_id
        for block in (seats or rooms)
        for row in rows.of("enrollments", block)
        if row.active and row.record.user_sourced_id == user
    }
    reach = schools | {(number + 3) % len(rows.schools) for number in schools} if seats else schools
    shown_in = [block for block in rows.rooms if block.school and block.school.number in reach]
    return View("classes", shown_in, lambda class_: class_.sourced_id in class_ids, f"users/{user[:ID]}/classes")
