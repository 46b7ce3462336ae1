"""Owns how rows of OneRoster JSON, 1.1 or 1.2, become the cells of our canonical CSV. Pure; never judges a value.

Longer than most: every form of a field, and a page read by columns beside the row that it must equal.

Every field may be missing, null, of another type, or written in another case; a reference may be flat. Whatever is
not named in `kinds` is not read: a password never leaves this module's input.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from app.sis.kinds import BY_NAME, WORDS, Field, Kind, Ref

Row = Mapping[str, Any]
Cells = tuple[str, ...]
BASE: Final = ("sourcedId", "dateLastModified", "status")
SHAPES: Final = 512  # sets of keys whose columns are remembered
ALIKE: Final = 16  # rows of one shape, from which on they are read column by column
_PLAIN: Final = ({str}, {int}, {float}, {bool})
_ID: Final = itemgetter("sourcedId")
_KNOWN_WORDS: Final = {word.lower(): word for word in WORDS}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth"
_GRADES: Final = {
    **{f"{name} grade": f"{number:02}" for number, name in enumerate(_ORDINALS.split(), 1)},
    **{f"grade {number}": f"{number:02}" for number in range(1, 14)},
    **{f"{number}{['st', 'nd', 'rd'][number - 1] if number < 4 else 'th'}": f"{number:02}" for number in range(1, 14)},
    **dict.fromkeys(("preschool/prekindergarten", "prekindergarten", "pre-kindergarten", "pre-k", "prek"), "PK"),
    **{"infant/toddler": "IT", "preschool": "PR", "kindergarten": "KG", "transitional kindergarten": "TK"},
    **{"postsecondary": "PS", "ungraded": "UG"},
}
"""CEDS codes by the names that sources write in their place; `conform` knows the codes' own spellings."""


def text(value: Any) -> str:
    """A value as text. An object is none."""
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
    """A word of a vocabulary; an extension (`ext:`) that only repeats one of the standard's words is that word."""
    said = text(value)
    return _KNOWN_WORDS.get(said[4:].lower(), said) if said[:4] == "ext:" else said


def day(value: Any) -> str:
    """A date; of a date and time the day that it names."""
    said = text(value)
    return said[:10] if len(said) > 10 and said[4] == said[7] == "-" and said[10] in "T " else said


def ref(value: Any) -> str:
    """The id in a GUIDRef, or the flat id in its place; where only a href is given, its last part."""
    if isinstance(value, dict):
        found = value.get("sourcedId") or _any_case(value, "sourcedId")
        if found is None and isinstance(value.get("href"), str):
            found = unquote(urlsplit(value["href"]).path.rstrip("/").rpartition("/")[2])
        return text(found)
    if isinstance(value, list):
        return ref(value[0]) if value else ""
    return text(value)


def refs(value: Any) -> str:
    """Ids, with commas between; once each."""
    many = value if isinstance(value, list) else [value]
    return ",".join(dict.fromkeys(filter(None, map(ref, many))))


def grades(value: Any) -> str:
    """Grades, names of grades as their codes."""
    many = value if isinstance(value, list) else text(value).split(",")
    said = (text(one).strip() for one in many)
    return ",".join(
        _GRADES.get(one.lower().removesuffix(" grade") if one[:1].isdigit() else one.lower(), one) for one in said
    )


def user_ids(value: Any) -> str:
    """`{Type:Id}` each, as the CSV binding writes them."""
    many = value if isinstance(value, list) else [value]
    return ",".join(filter(None, (_pair(one, "type", "identifier") for one in many)))


def scale(value: Any) -> str:
    """`{LHS:RHS}` each."""
    many = value if isinstance(value, list) else [value]
    return ",".join(filter(None, (_pair(one, "itemValueLHS", "itemValueRHS") for one in many)))


def objectives(value: Any) -> str:
    """Learning objectives as JSON, as the gradebook's models have them: sorted, of a result with scores."""
    found: list[dict[str, Any]] = []
    for one in value if isinstance(value, list) else []:
        if not isinstance(one, dict):
            continue
        source = text(one.get("source"))
        for each in _many(one.get("learningObjectiveIds")):
            found.append({"source": source, "id": text(each)})
        for each in _many(one.get("learningObjectiveResults")):
            if isinstance(each, dict):
                score = each.get("score")
                kept = float(score) if isinstance(score, int | float) else None
                found.append(
                    {
                        "source": source,
                        "id": text(each.get("learningObjectiveId")),
                        "score": kept,
                        "text_score": text(each.get("textScore")) or None,
                    }
                )
    return json.dumps(sorted(found, key=lambda one: (str(one["source"]), str(one["id"])))) if found else ""


def _many(value: Any) -> list[Any]:
    """A list; whatever else a source puts there names nothing."""
    return value if isinstance(value, list) else []


def _pair(value: Any, left: str, right: str) -> str:
    if not isinstance(value, dict):
        return text(value)
    one, other = text(_any_case(value, left)), text(_any_case(value, right))
    return f"{{{one}:{other}}}" if one or other else ""


def _any_case(row: Row, name: str) -> Any:
    if name in row:
        return row[name]
    return next((value for key, value in row.items() if key.lower() == name.lower()), None)


READ: Final[dict[str, Callable[[Any], str]]] = {"word": word, "date": day, "day": day, "grades": grades}
SPECIAL: Final[dict[str, tuple[tuple[str, ...], Callable[[Any], str]]]] = {
    "userIds": (("userIds",), user_ids),
    "agentSourcedIds": (("agents", "agentSourcedIds", "agentSourceIds"), refs),
    "scoreScaleValue": (("scoreScaleValue", "scoreScaleValues"), scale),
    "learningObjectiveSet": (("learningObjectiveSet",), objectives),
}


def _column(one: Field | Ref) -> tuple[str, tuple[str, ...], Callable[[Any], str]]:
    """A column's header, the fields that it may come from, and how it is read."""
    if one.header in SPECIAL:
        return (one.header, *SPECIAL[one.header])
    if isinstance(one, Field):
        return one.header, (one.header,), READ.get(one.type, text)
    if one.many:
        return one.header, (one.header.removesuffix("SourcedIds") + "s", one.header), refs
    return one.header, (one.header.removesuffix("SourcedId"), one.header), ref


class _Shape(NamedTuple):
    """Of rows with the same keys: how and from which key each column is read, and whether a key names 1.2's roles."""

    columns: tuple[tuple[Callable[[Any], str], str | None], ...]
    roles: bool


class Translator:
    """Translates the rows of one kind."""

    def __init__(self, kind: Kind) -> None:
        own: tuple[Field | Ref, ...] = (*kind.fields, *kind.refs)
        columns = [_column(one) for one in own if one.header not in BASE]
        base = [(name, (name,), text) for name in BASE]
        self._columns = [*base, *columns]
        self.header: Cells = tuple(name for name, _, _ in self._columns)
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._roles = kind.name == "person"
        self._role_at, self._orgs_at = (
            (self.header.index("role"), self.header.index("orgSourcedIds")) if self._roles else (0, 0)
        )

    def page(self, rows: Sequence[Any]) -> list[Cells]:
        """The cells of each row, as `cells` gives them; where many rows have the same keys, column by column."""
        if set(map(type, rows)) != {dict}:
            return list(map(self.cells, rows))
        shapes = set(map(tuple, rows))
        if len(shapes) == 1:
            return self._alike(shapes.pop(), rows)
        alike: dict[tuple[str, ...], list[int]] = {}
        for number, keys in enumerate(map(tuple, rows)):
            alike.setdefault(keys, []).append(number)
        found: list[Cells] = [()] * len(rows)
        for keys, numbers in alike.items():
            for number, cells in zip(numbers, self._alike(keys, [rows[one] for one in numbers]), strict=True):
                found[number] = cells
        return found

    def cells(self, row: Any) -> Cells:
        """A row's cells; of what is no row, empty ones, so that it is missed."""
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
        found = list(zip(*columns, strict=True))
        return list(map(self._with_roles, rows, found)) if shape.roles else found

    def _with_roles(self, row: Row, cells: Cells) -> Cells:
        """A user of 1.2: of several roles one, and the orgs of all."""
        roles, primary = _any_case(row, "roles"), _any_case(row, "primaryOrg")
        if not roles and not primary:
            return cells
        changed = list(cells)
        held = [one for one in roles if isinstance(one, dict)] if isinstance(roles, list) else []
        changed[self._role_at] = _one_role(held) or cells[self._role_at]
        changed[self._orgs_at] = refs(
            [*(_any_case(one, "org") for one in held), primary, *cells[self._orgs_at].split(",")]
        )
        return tuple(changed)

    def _shape(self, keys: tuple[str, ...]) -> _Shape:
        """Which key each column is read from, for rows that have these keys."""
        lower = {key.lower(): key for key in reversed(keys)}
        exact = dict(zip(keys, keys, strict=True))
        columns = []
        for _, names, read in self._columns:
            found = [exact.get(name) or lower.get(name.lower()) for name in names]
            columns.append((read, next(filter(None, found), None)))
        shape = _Shape(tuple(columns), self._roles and not lower.keys().isdisjoint(("roles", "primaryorg")))
        if len(self._shapes) < SHAPES:
            self._shapes[keys] = shape
        return shape


def _read(read: Callable[[Any], str], values: list[Any]) -> list[str]:
    """`read` of each value: once for each that is there, where equal ones are the same (1 and true are equal)."""
    types = set(map(type, values))
    if read is text and types == {str}:
        return values
    if types - {type(None)} in _PLAIN:
        known = {value: read(value) for value in set(values)}
        return list(map(known.__getitem__, values))
    if read is ref and types == {dict}:
        try:
            found = list(map(_ID, values))
        except KeyError:
            return list(map(ref, values))
        if set(map(type, found)) == {str}:
            return found
    return list(map(read, values))


ROLE: Final = Translator(BY_NAME["role"])


def roles_of(row: Any) -> list[Cells]:
    """The roles of a 1.2 user as rows of their own; their ids, which 1.2 has in CSV only, are made of what they say."""
    roles = _any_case(row, "roles") if isinstance(row, dict) else None
    if not isinstance(roles, list):
        return []
    user, found = text(_any_case(row, "sourcedId")), []
    about = {name: _any_case(row, name) for name in ("dateLastModified", "status")}
    for one in roles:
        if isinstance(one, dict) and user:
            org, begins = ref(_any_case(one, "org")), day(_any_case(one, "beginDate"))
            named = "/".join(filter(None, (user, word(_any_case(one, "role")), org, begins)))
            if len(named.encode("utf-8", "replace")) > 255:
                named = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()
            found.append(ROLE.cells({**one, **about, "sourcedId": named, "userSourcedId": user}))
    return found


def _one_role(roles: list[dict[str, Any]]) -> str:
    """The role of a person who has several: student where it is one of them, else the primary, else the first."""
    said = [(word(_any_case(one, "role")), text(_any_case(one, "roleType")).lower()) for one in roles]
    names = [name for name, _ in said if name]
    if any(name.lower() == "student" for name in names):
        return "student"
    return next((name for name, kind in said if name and kind == "primary"), names[0] if names else "")
