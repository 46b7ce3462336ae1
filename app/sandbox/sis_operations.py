"""Lists the operations of the sandbox SIS, with their paths, the bases of their URLs, and the scopes they require.

All operations are read-only.
"""

from typing import Final, NamedTuple

V11: Final = "/ims/oneroster/v1p1"
ROSTERING: Final = "/ims/oneroster/rostering/v1p2"
GRADEBOOK: Final = "/ims/oneroster/gradebook/v1p2"
Path = tuple[str, ...]


class Operation(NamedTuple):
    """A GET operation: its version, its path with `*` for each id, and its scopes.

    A token needs only one of the scopes.
    """

    version: str
    path: Path
    scopes: tuple[str, ...]


_LISTS = (
    "academicSessions classes courses demographics enrollments gradingPeriods orgs schools students teachers terms"
    " users"
)
_NESTED = """
    schools/*/classes schools/*/courses schools/*/enrollments schools/*/students schools/*/teachers schools/*/terms
    schools/*/classes/*/enrollments schools/*/classes/*/students schools/*/classes/*/teachers
    classes/*/students classes/*/teachers courses/*/classes students/*/classes teachers/*/classes users/*/classes
    terms/*/classes terms/*/gradingPeriods
"""
_BOOK_LISTS = "categories lineItems results"
_BOOK_NESTED = "classes/*/lineItems classes/*/results classes/*/lineItems/*/results classes/*/students/*/results"
_BOOK_MORE = "classes/*/categories classes/*/scoreScales schools/*/scoreScales"
_ASSESSMENTS = "assessmentLineItems assessmentResults"

ROSTER, CORE = "roster.readonly", "roster-core.readonly"
BOOK, BOOK_CORE = "gradebook.readonly", "gradebook-core.readonly"


def _operations(version: str, paths: str, *scopes: str, single: bool = False) -> dict[Path, Operation]:
    parsed_paths = [tuple(path.split("/")) for path in paths.split()]
    parsed_paths += [(*path, "*") for path in parsed_paths] if single else []
    return {path: Operation(version, path, scopes) for path in parsed_paths}


def _rostering(version: str) -> dict[Path, Operation]:
    listed = _operations(version, _LISTS, CORE, ROSTER, single=True) | _operations(version, _NESTED, ROSTER)
    return listed | _operations(version, "demographics", "roster-demographics.readonly", single=True)


SERVICES: Final = {
    V11: _rostering("1.1")
    | _operations("1.1", _BOOK_LISTS, BOOK, single=True)
    | _operations("1.1", _BOOK_NESTED, BOOK),
    ROSTERING: _rostering("1.2"),
    GRADEBOOK: _operations("1.2", f"{_BOOK_LISTS} scoreScales", BOOK_CORE, BOOK, single=True)
    | _operations("1.2", f"{_BOOK_NESTED} {_BOOK_MORE}", BOOK)
    | _operations("1.2", _ASSESSMENTS, "assessment.readonly", single=True),
}


def operation(base: str, parts: Path) -> Operation | None:
    """Returns the GET operation that serves a URL path, or None if no operation serves it.

    `base` is the URL of the service, and `parts` are the parts of the path after it, such as (`schools`, id,
    `classes`).
    """
    shape = tuple("*" if number % 2 else part for number, part in enumerate(parts))
    return SERVICES[base].get(shape)


def bases(at: str | None) -> dict[str, Path]:
    """Returns, for each URL prefix, the services that are served under it.

    The services are named by their keys in `SERVICES`. Normally each service has its own prefix. If `at` is given, the
    two services of OneRoster 1.2 are both served under the prefix `at`, and no others.
    """
    if at is None:
        return {base: (base,) for base in SERVICES}
    return {"/" + at.strip("/"): (ROSTERING, GRADEBOOK)}
