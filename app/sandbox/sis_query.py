"""Owns the reading of a list's query: limit, offset, sort, orderBy, filter, fields. Never touches a row's making.

Strings compare without regard to case, ids with it; a list matches when one of its members does; `a.b` reaches into
an object or a list of them. What cannot be read is refused by name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app.sandbox.sis_json import Json

LIMIT, MOST = 100, 50_000  # a page's rows by default, and at most
_CLAUSE = re.compile(r"\s*([A-Za-z][\w.]*)\s*(!=|>=|<=|=|>|<|~)\s*'((?:[^']|'(?! AND | OR |\s*$))*)'\s*")
_TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": lambda found, asked: bool(found == asked),
    ">": lambda found, asked: bool(found > asked),
    ">=": lambda found, asked: bool(found >= asked),
    "<": lambda found, asked: bool(found < asked),
    "<=": lambda found, asked: bool(found <= asked),
    "~": lambda found, asked: str(asked) in str(found),
}


class Refused(Exception):
    """A request that is not answered: HTTP status, imsx_codeMinorFieldValue, and a sentence."""

    def __init__(self, status: int, minor: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.status, self.minor, self.description = status, minor, description
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Query:
    """`keep` is None without a filter; `since` is an instant before which no row that matches was changed."""

    limit: int
    offset: int
    sort: str | None
    descending: bool
    filter: str
    keep: Callable[[Json], bool] | None
    since: datetime | None
    fields: tuple[str, ...]


def read_query(asked: Mapping[str, str], known: frozenset[str], version: str) -> Query:
    """The query of a list whose rows may have the fields `known`. Refused says what is wrong with it."""
    keep, since = _filter(asked.get("filter", ""), known, version)
    sort, order = asked.get("sort"), asked.get("orderBy", "asc")
    if sort is not None and sort.partition(".")[0] not in known:
        minor = "invalid_sort_field" if version == "1.1" else "invaliddata"
        raise Refused(400, minor, f"There is no field {sort} to sort by.")
    if order not in ("asc", "desc"):
        raise Refused(400, "invaliddata", "orderBy is asc or desc.")
    return Query(
        min(_whole(asked, "limit", LIMIT, 1), MOST),
        _whole(asked, "offset", 0, 0),
        sort,
        order == "desc",
        asked.get("filter", ""),
        keep,
        since,
        _fields(asked.get("fields", ""), known, version),
    )


def read_fields(asked: Mapping[str, str], known: frozenset[str], version: str) -> tuple[str, ...]:
    """The `fields` of a request for one row."""
    return _fields(asked.get("fields", ""), known, version)


def select(row: Json, fields: tuple[str, ...]) -> Json:
    """The asked fields of a row; all of them, if none was asked for."""
    return {name: row[name] for name in fields if name in row} if fields else row


def sort_key(row: Json, field: str) -> tuple[bool, str]:
    """Where a row stands when sorted by a field. Rows without it come first, numbers by size."""
    found = [one for one in _reach(row, field.split(".")) if one is not None]
    if not found:
        return (False, "")
    value = found[0]
    text = f"{value:020.6f}" if isinstance(value, float) else str(value)
    return (True, text if field.endswith("sourcedId") else text.casefold())


def _whole(asked: Mapping[str, str], name: str, default: int, least: int) -> int:
    value = asked.get(name)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,18}", value) or int(value) < least:
        raise Refused(400, "invaliddata", f"{name} is a whole number, at least {least}.")
    return int(value)


def _fields(asked: str, known: frozenset[str], version: str) -> tuple[str, ...]:
    fields = tuple(one.strip() for one in asked.split(",") if one.strip())
    unknown = [one for one in fields if one not in known]
    if unknown and version == "1.2":
        raise Refused(400, "invalid_selection_field", f"There is no field {unknown[0]} to select.")
    return () if unknown else fields  # 1.1 answers with all fields


def _filter(asked: str, known: frozenset[str], version: str) -> tuple[Callable[[Json], bool] | None, datetime | None]:
    if not asked:
        return None, None
    first = _CLAUSE.match(asked)
    rest = asked[first.end() :] if first else ""
    joined = re.match(r"(AND|OR)\s+", rest)
    second = _CLAUSE.fullmatch(rest, joined.end()) if joined else None
    if first is None or (rest and second is None):
        raise Refused(400, "invaliddata", "A filter is field op 'value', once, or twice joined by AND or OR.")
    clauses = [(clause[1], clause[2], clause[3]) for clause in (first, second) if clause]
    tests = [_test(*clause, known, version) for clause in clauses]
    if joined is None or second is None:
        return tests[0], _bound(*clauses[0])
    one, other = tests
    if joined[1] == "OR":
        bounds = [_bound(*clause) for clause in clauses]
        every = [bound for bound in bounds if bound is not None]
        return lambda row: one(row) or other(row), min(every) if len(every) == 2 else None
    bounds = [_bound(*clause) for clause in clauses]
    return lambda row: one(row) and other(row), next((bound for bound in bounds if bound is not None), None)


def _bound(field: str, operator: str, value: str) -> datetime | None:
    return _moment(value) if field == "dateLastModified" and operator in (">", ">=", "=") else None


def _test(field: str, operator: str, value: str, known: frozenset[str], version: str) -> Callable[[Json], bool]:
    path = field.split(".")
    if path[0] not in known:
        minor = "invaliddata" if version == "1.1" else "invalid_filter_field"  # 1.1 has no word of its own for it
        raise Refused(400, minor, f"There is no field {field} to filter by.")
    if operator == "!=":
        equal = _test(field, "=", value, known, version)
        return lambda row: not equal(row)
    test = _TESTS[operator]
    moment = _moment(value) if path == ["dateLastModified"] and operator != "~" else None

    def holds(row: Json) -> bool:
        for found in _reach(row, path):
            if found is None:
                continue
            if moment is not None:
                if test(_moment(found), moment):
                    return True
            elif _compares(test, found, value, path[-1]):
                return True
        return False

    return holds


def _compares(test: Callable[[Any, Any], bool], found: Any, asked: str, name: str) -> bool:
    if isinstance(found, bool):
        return test(str(found).lower(), asked.lower())
    if isinstance(found, int | float):
        try:
            return test(found, float(asked))
        except ValueError:
            return False
    if isinstance(found, dict):
        found = found.get("sourcedId", "")
        name = "sourcedId"
    return test(found, asked) if name == "sourcedId" else test(str(found).casefold(), asked.casefold())


def _reach(value: Any, path: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for one in value for found in _reach(one, path)]
    if not path:
        return [value]
    return _reach(value.get(path[0]), path[1:]) if isinstance(value, dict) else []


def _moment(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise Refused(400, "invaliddata", "dateLastModified is compared with an ISO 8601 instant.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
