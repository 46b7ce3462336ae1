"""Parses the query parameters of a list: limit, offset, sort, orderBy, filter, fields.

Strings are compared without regard to case, but ids are compared exactly. A field with a list of values matches if one
of the values matches. `a.b` refers to a field of an object or of a list of objects. The error for an invalid
parameter names the parameter.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.sandbox.sis_json import Json

DEFAULT_LIMIT, MAX_LIMIT = 100, 50_000  # the rows of a page: the default, and the largest number
_CLAUSE = re.compile(r"\s*([A-Za-z][\w.]*)\s*(!=|>=|<=|=|>|<|~)\s*'((?:[^']|'(?! AND | OR |\s*$))*)'\s*")
_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda value, expected: bool(value == expected),
    ">": lambda value, expected: bool(value > expected),
    ">=": lambda value, expected: bool(value >= expected),
    "<": lambda value, expected: bool(value < expected),
    "<=": lambda value, expected: bool(value <= expected),
    "~": lambda value, expected: str(expected) in str(value),
}


class Refused(Exception):
    """Raised for a request that the SIS refuses, with an HTTP status, an imsx_codeMinorFieldValue and a sentence."""

    def __init__(self, status: int, minor: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status, self.minor, self.description = status, minor, description
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Query:
    """The parsed query parameters of a list.

    `keep` is the function that says whether a row passes the filter, or None without a filter. `since` is an instant or
    None: the filter excludes every row that last changed before this instant.
    """

    limit: int
    offset: int
    sort: str | None
    descending: bool
    filter: str
    keep: Callable[[Json], bool] | None
    since: datetime | None
    fields: tuple[str, ...]


def read_query(parameters: Mapping[str, str], allowed: frozenset[str], version: str) -> Query:
    """Parses the query parameters of a list, and returns them; raises `Refused` for an invalid parameter.

    `allowed` are the fields that may be selected, sorted by and filtered by.
    """
    keep, since = _filter(parameters.get("filter", ""), allowed, version)
    sort, order = parameters.get("sort"), parameters.get("orderBy", "asc")
    if sort is not None and sort.partition(".")[0] not in allowed:
        minor = "invalid_sort_field" if version == "1.1" else "invaliddata"
        raise Refused(400, minor, f"There is no field {sort} to sort by.")
    if order not in ("asc", "desc"):
        raise Refused(400, "invaliddata", "orderBy must be asc or desc.")
    return Query(
        min(_whole(parameters, "limit", DEFAULT_LIMIT, 1), MAX_LIMIT),
        _whole(parameters, "offset", 0, 0),
        sort,
        order == "desc",
        parameters.get("filter", ""),
        keep,
        since,
        _fields(parameters.get("fields", ""), allowed, version),
    )


def read_fields(parameters: Mapping[str, str], allowed: frozenset[str], version: str) -> tuple[str, ...]:
    """Returns the fields that a request for a single row asks for.

    Raises `Refused` for a field that is not in `allowed`.
    """
    return _fields(parameters.get("fields", ""), allowed, version)


def select(row: Json, fields: tuple[str, ...]) -> Json:
    """Returns a row with the selected fields only, or with all fields if none are selected."""
    return {name: row[name] for name in fields if name in row} if fields else row


def sort_key(row: Json, field: str) -> tuple[bool, str]:
    """Returns the key by which a row is sorted when a list is sorted by this field.

    Rows without the field come first. Numbers are sorted by size.
    """
    values = [reached for reached in _reach(row, field.split(".")) if reached is not None]
    if not values:
        return (False, "")
    value = values[0]
    text = f"{value:020.6f}" if isinstance(value, float) else str(value)
    return (True, text if field.endswith("sourcedId") else text.casefold())


def _whole(parameters: Mapping[str, str], name: str, default: int, minimum: int) -> int:
    value = parameters.get(name)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) < minimum:
        raise Refused(400, "invaliddata", f"{name} is a whole number, at least {minimum}.")
    return int(value)


def _fields(text: str, allowed: frozenset[str], version: str) -> tuple[str, ...]:
    fields = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in fields if name not in allowed]
    if unknown and version == "1.2":
        raise Refused(400, "invalid_selection_field", f"There is no field {unknown[0]} to select.")
    return () if unknown else fields  # 1.1 ignores the whole selection


def _filter(text: str, allowed: frozenset[str], version: str) -> tuple[Callable[[Json], bool] | None, datetime | None]:
    if not text:
        return None, None
    first = _CLAUSE.match(text)
    rest = text[first.end() :] if first else ""
    joined = re.match(r"(AND|OR)\s+", rest)
    second = _CLAUSE.fullmatch(rest, joined.end()) if joined else None
    if first is None or (rest and second is None):
        raise Refused(400, "invaliddata", "A filter is field op 'value', once, or twice joined by AND or OR.")
    clauses = [(clause[1], clause[2], clause[3]) for clause in (first, second) if clause]
    tests = [_test(*clause, allowed, version) for clause in clauses]
    if joined is None or second is None:
        return tests[0], _bound(*clauses[0])
    first_test, second_test = tests
    if joined[1] == "OR":
        bounds = [_bound(*clause) for clause in clauses]
        every = [bound for bound in bounds if bound is not None]
        return lambda row: first_test(row) or second_test(row), min(every) if len(every) == 2 else None
    bounds = [_bound(*clause) for clause in clauses]
    return lambda row: first_test(row) and second_test(row), next(
        (bound for bound in bounds if bound is not None), None
    )


def _bound(field: str, operator: str, value: str) -> datetime | None:
    return _moment(value) if field == "dateLastModified" and operator in (">", ">=", "=") else None


def _test(field: str, operator: str, value: str, allowed: frozenset[str], version: str) -> Callable[[Json], bool]:
    path = field.split(".")
    if path[0] not in allowed:
        minor = "invaliddata" if version == "1.1" else "invalid_filter_field"  # 1.1 has no code of its own for this
        raise Refused(400, minor, f"There is no field {field} to filter by.")
    if operator == "!=":
        equal = _test(field, "=", value, allowed, version)
        return lambda row: not equal(row)
    test = _TESTS[operator]
    moment = _moment(value) if path == ["dateLastModified"] and operator != "~" else None

    def is_true(row: Json) -> bool:
        for actual in _reach(row, path):
            if actual is None:
                continue
            if moment is not None:
                if test(_moment(actual), moment):
                    return True
            elif _compares(test, actual, value, path[-1]):
                return True
        return False

    return is_true


def _compares(test: Callable[[Any, Any], bool], actual: Any, expected: str, name: str) -> bool:
    if isinstance(actual, bool):
        return test(str(actual).lower(), expected.lower())
    if isinstance(actual, int | float):
        try:
            return test(actual, float(expected))
        except ValueError:
            return False
    if isinstance(actual, dict):
        actual = actual.get("sourcedId", "")
        name = "sourcedId"
    return test(actual, expected) if name == "sourcedId" else test(str(actual).casefold(), expected.casefold())


def _reach(value: Any, path: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [reached for member in value for reached in _reach(member, path)]
    if not path:
        return [value]
    return _reach(value.get(path[0]), path[1:]) if isinstance(value, dict) else []


def _moment(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Refused(400, "invaliddata", "dateLastModified is compared with an ISO 8601 instant.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
