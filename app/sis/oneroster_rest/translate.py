"""Translates OneRoster JSON rows, 1.1 or 1.2, into the cells of the CSV that the sync engine reads.

Validates no value.

* A field may be missing, null, of another type, or written in another case. A reference may be a plain id.
* Fields that are not in `kinds` are not read, so that a password is never copied.

This file exceeds 250 lines because it handles all forms of a field, and can read a page by column or by row, with the
same result.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from operator import itemgetter
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from app.core.grades import GRADE_CODES
from app.core.text import EDGE_BLANKS
from app.sis.kinds import BY_NAME, NO_DATES, ROLES, WORDS, Field, Kind, Ref

Row = Mapping[str, Any]
Cells = tuple[str, ...]
BASE: Final = ("sourcedId", "dateLastModified", "status")
SHAPES: Final = 512  # The number of sets of keys whose columns are cached.
ALIKE: Final = 16  # The minimum number of rows with the same keys that are read by column.
CURRENT, TO_COME, ENDED = 1, 2, 3
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]*)?|\.[0-9]+)")
_PLAIN: Final = ({str}, {int}, {float}, {bool})
_ID: Final = itemgetter("sourcedId")
_KNOWN_WORDS: Final = {word.lower(): word for word in WORDS}
_ROLES: Final = frozenset(role.lower() for role in ROLES)


def text(value: Any) -> str:
    """Returns a JSON value as text. An object or null becomes an empty text."""
    if type(value) is str:
        return value
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, list):
        return ",".join(filter(None, map(text, value)))
    return str(value)


def word(value: Any) -> str:
    """Returns a value such as a type or a status as text, in OneRoster's spelling if OneRoster defines this word.

    The prefix `ext:` before such a word is removed.
    """
    raw = text(value)
    plain = raw.strip().lower()
    return _KNOWN_WORDS.get(plain.removeprefix("ext:"), raw)


def day(value: Any) -> str:
    """Returns a date as text. If the value has a time, the time is left out."""
    raw = text(value)
    return raw[:10] if len(raw) > 10 and raw[4] == raw[7] == "-" and raw[10] in "T " else raw


def ref(value: Any) -> str:
    """Returns the id in a GUIDRef, or the value itself if it is a plain id.

    If there is only an href, returns the last part of the href's path.
    """
    if isinstance(value, dict):
        sourced_id = value.get("sourcedId") or _any_case(value, "sourcedId")
        if sourced_id is None and isinstance(value.get("href"), str):
            sourced_id = unquote(urlsplit(value["href"]).path.rstrip("/").rpartition("/")[2])
        return text(sourced_id)
    if isinstance(value, list):
        return ref(value[0]) if value else ""
    return text(value)


def refs(value: Any) -> str:
    """Returns the ids in a list of references, separated by commas and without repeats."""
    many = value if isinstance(value, list) else [value]
    return ",".join(dict.fromkeys(filter(None, map(ref, many))))


def grades(value: Any) -> str:
    """Returns grades separated by commas. Names of grades are replaced by their codes."""
    many = value if isinstance(value, list) else text(value).split(",")
    names = (text(item).strip() for item in many)
    return ",".join(GRADE_CODES.get(name.lower(), name) for name in names)


def user_ids(value: Any) -> str:
    """Returns user ids as text, each in the form `{Type:Id}`, as in a CSV file."""
    many = value if isinstance(value, list) else [value]
    return ",".join(filter(None, (_pair(item, "type", "identifier") for item in many)))


def scale(value: Any) -> str:
    """Returns the values of a score scale as text. Each has the form `{LHS:RHS}`, with its left and its right side."""
    many = value if isinstance(value, list) else [value]
    return ",".join(filter(None, (_pair(item, "itemValueLHS", "itemValueRHS") for item in many)))


def objectives(value: Any) -> str:
    """Returns learning objectives as a JSON list of `{source, id}`, sorted by both.

    This is the form in which they are stored. Objectives of a result also have their scores.
    """
    items: list[dict[str, Any]] = []
    for item in value if isinstance(value, list) else []:
        if not isinstance(item, dict):
            continue
        source = text(item.get("source"))
        for each in _many(item.get("learningObjectiveIds")):
            items.append({"source": source, "id": text(each)})
        for each in _many(item.get("learningObjectiveResults")):
            if isinstance(each, dict):
                score, words = text(each.get("score")).strip(), text(each.get("textScore"))
                kept = float(score) if _NUMBER.fullmatch(score) else None
                items.append(
                    {
                        "source": source,
                        "id": text(each.get("learningObjectiveId")),
                        "score": kept,
                        "text_score": words or (score if score and kept is None else None),
                    }
                )
    return json.dumps(sorted(items, key=lambda item: (str(item["source"]), str(item["id"])))) if items else ""


def _many(value: Any) -> list[Any]:
    """Returns the value if it is a list, otherwise an empty list."""
    return value if isinstance(value, list) else []


def _pair(value: Any, left: str, right: str) -> str:
    if not isinstance(value, dict):
        return text(value)
    first, second = text(_any_case(value, left)), text(_any_case(value, right))
    return f"{{{first}:{second}}}" if first or second else ""


def _any_case(row: Row, name: str) -> Any:
    if name in row:
        return row[name]
    return next((value for key, value in row.items() if key.lower() == name.lower()), None)


READ: Final[dict[str, Callable[[Any], str]]] = {
    **{"word": word, "role": word, "date": day, "end_date": day},
    "grades": grades,
}
SPECIAL: Final[dict[str, tuple[tuple[str, ...], Callable[[Any], str]]]] = {
    "userIds": (("userIds",), user_ids),
    "agentSourcedIds": (("agents", "agentSourcedIds", "agentSourceIds"), refs),
    "scoreScaleValue": (("scoreScaleValue", "scoreScaleValues"), scale),
    "learningObjectiveSet": (("learningObjectiveSet",), objectives),
}


def _column(column: Field | Ref) -> tuple[str, tuple[str, ...], Callable[[Any], str]]:
    """Returns the header of a column, the JSON fields that may have its value, and the converting function."""
    if column.header in SPECIAL:
        return (column.header, *SPECIAL[column.header])
    if isinstance(column, Field):
        return column.header, (column.header,), READ.get(column.type, text)
    if column.many:
        return column.header, (column.header.removesuffix("SourcedIds") + "s", column.header), refs
    return column.header, (column.header.removesuffix("SourcedId"), column.header), ref


class _Shape(NamedTuple):
    """How to translate JSON rows that all have the same keys.

    `columns` has, for each column of the CSV, the converting function and the JSON key. `roles` is true if the rows are
    users with roles as in OneRoster 1.2.
    """

    columns: tuple[tuple[Callable[[Any], str], str | None], ...]
    roles: bool


class Translator:
    """Translates the JSON rows of one kind of record into cells of CSV.

    `today` decides which roles of a user are current. Without it, the begin and end dates of roles are ignored.
    """

    def __init__(self, kind: Kind, today: date | None = None) -> None:
        own: tuple[Field | Ref, ...] = (*kind.fields, *kind.refs)
        columns = [_column(column) for column in own if column.header not in BASE]
        base = [(name, (name,), text) for name in BASE]
        self._columns = [*base, *columns]
        self.header: Cells = tuple(name for name, _, _ in self._columns)
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._roles, self._today = kind.name == "person", today.isoformat() if today else ""
        self._role_at, self._orgs_at = (
            (self.header.index("role"), self.header.index("orgSourcedIds")) if self._roles else (0, 0)
        )

    def page(self, rows: Sequence[Any]) -> list[Cells]:
        """Returns the cells of each row, as `cells` does, but faster.

        Rows with the same keys are translated column by column.
        """
        if set(map(type, rows)) != {dict}:
            return list(map(self.cells, rows))
        shapes = set(map(tuple, rows))
        if len(shapes) == 1:
            return self._alike(shapes.pop(), rows)
        alike: dict[tuple[str, ...], list[int]] = {}
        for number, keys in enumerate(map(tuple, rows)):
            alike.setdefault(keys, []).append(number)
        result: list[Cells] = [()] * len(rows)
        for keys, numbers in alike.items():
            for number, cells in zip(numbers, self._alike(keys, [rows[index] for index in numbers]), strict=True):
                result[number] = cells
        return result

    def cells(self, row: Any) -> Cells:
        """Returns the cells of a row. If the row is not a JSON object, all cells are empty.

        Such a row is then quarantined.
        """
        if not isinstance(row, dict):
            return ("",) * len(self.header)
        keys = tuple(row)
        shape = self._shapes.get(keys) or self._shape(keys)
        cells = tuple([read(row[key]) if key is not None else "" for read, key in shape.columns])
        return self._with_roles(row, cells) if shape.roles else cells

    def _alike(self, keys: tuple[str, ...], rows: Sequence[Row]) -> list[Cells]:
        if len(rows) < ALIKE:
            return list(map(self.cells, rows))
        shape = self._shapes.get(keys) or self._shape(keys)
        none = [""] * len(rows)
        columns = [
            none if key is None else _read(read, list(map(itemgetter(key), rows))) for read, key in shape.columns
        ]
        cells = list(zip(*columns, strict=True))
        return list(map(self._with_roles, rows, cells)) if shape.roles else cells

    def _with_roles(self, row: Row, cells: Cells) -> Cells:
        """Fills in the cells for the main role and the orgs of a OneRoster 1.2 user, from the user's roles.

        The org of the primary role comes first. Only current roles count. If none is current, the roles that begin
        later are used. If all roles have ended, the user has no org.
        """
        roles, primary = _any_case(row, "roles"), _any_case(row, "primaryOrg")
        if not roles and not primary:
            return cells
        changed, held = list(cells), _roles_in(row)
        ranks = [self._rank(role) for role in held]
        best = min(ranks, default=CURRENT)
        counting = [role for role, rank in zip(held, ranks, strict=True) if rank == best]
        orgs = sorted((not _is_primary(role), ref(_any_case(role, "org"))) for role in counting)
        changed[self._role_at] = _one_role(counting) or cells[self._role_at]
        changed[self._orgs_at] = (
            "" if best == ENDED else refs([*(org for _, org in orgs), primary, *cells[self._orgs_at].split(",")])
        )
        return tuple(changed)

    def _rank(self, role: Row) -> int:
        """Returns whether a role is `CURRENT`, `TO_COME` or `ENDED`. On its end date, a role has already ended."""
        begins, ends = (day(_any_case(role, name)).strip() for name in ("beginDate", "endDate"))
        if self._today and _DAY.fullmatch(ends) and ends <= self._today and ends not in NO_DATES:
            return ENDED
        return TO_COME if self._today and _DAY.fullmatch(begins) and begins > self._today else CURRENT

    def _shape(self, keys: tuple[str, ...]) -> _Shape:
        """Returns how to translate rows that have these keys. The result is cached."""
        lower = {key.lower(): key for key in reversed(keys)}
        exact = dict(zip(keys, keys, strict=True))
        columns = []
        for _, names, read in self._columns:
            candidates = [exact.get(name) or lower.get(name.lower()) for name in names]
            columns.append((read, next(filter(None, candidates), None)))
        shape = _Shape(tuple(columns), self._roles and not lower.keys().isdisjoint(("roles", "primaryorg")))
        if len(self._shapes) < SHAPES:
            self._shapes[keys] = shape
        return shape


def _read(read: Callable[[Any], str], values: list[Any]) -> list[str]:
    """Returns `read(value)` for each of the values.

    Equal values of a plain type are read only once. The type is compared too, because 1 and true are equal.
    """
    types = set(map(type, values))
    if read is text and types == {str}:
        return values
    if types - {type(None)} in _PLAIN:
        text_by_value = {value: read(value) for value in set(values)}
        return list(map(text_by_value.__getitem__, values))
    if read is ref and types == {dict}:
        try:
            ids = list(map(_ID, values))
        except KeyError:
            return list(map(ref, values))
        if set(map(type, ids)) == {str}:
            return ids
    return list(map(read, values))


def _roles_in(row: Row) -> list[dict[str, Any]]:
    """Returns the roles of a OneRoster 1.2 user as a list, even if the source sent a single role without a list."""
    roles = _any_case(row, "roles")
    many = roles if isinstance(roles, list) else [roles]
    return [role for role in many if isinstance(role, dict)]


ROLE: Final = Translator(BY_NAME["role"])


def roles_of(row: Any) -> list[Cells]:
    """Returns the roles of a OneRoster 1.2 user, each as the cells of a separate row.

    Over REST a role has no id, so one is built from the values of the role.
    """
    roles = _roles_in(row) if isinstance(row, dict) else []
    if not roles:
        return []
    user, result = text(_any_case(row, "sourcedId")), []
    user_id = user.strip(EDGE_BLANKS)  # so that a blank that comes or goes does not give each role a new id
    common = {name: _any_case(row, name) for name in ("dateLastModified", "status")}
    for role in roles:
        if user:
            org, begins = ref(_any_case(role, "org")), day(_any_case(role, "beginDate"))
            named = "/".join(filter(None, (user_id, word(_any_case(role, "role")), org.strip(EDGE_BLANKS), begins)))
            if len(named.encode("utf-8", "replace")) > 255:
                named = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()
            result.append(ROLE.cells({**role, **common, "sourcedId": named, "userSourcedId": user}))
    return result


def _is_primary(role: Row) -> bool:
    return text(_any_case(role, "roleType")).strip().lower() == "primary"


def _one_role(roles: list[dict[str, Any]]) -> str:
    """Returns the main role of a person: student if the person has that role, else the primary role, else the first.

    A role that OneRoster does not define counts only if the person has no role that OneRoster defines.
    """
    named = [(word(_any_case(role, "role")), _is_primary(role)) for role in roles]
    standard = [(name, is_primary) for name, is_primary in named if name.strip().lower() in _ROLES]
    if any(name.strip().lower() == "student" for name, _ in standard):
        return "student"
    pairs = standard or [pair for pair in named if pair[0]]
    return next((name for name, is_primary in pairs if is_primary), pairs[0][0] if pairs else "")
