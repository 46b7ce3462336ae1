"""Fills in those values of a response that are objects or lists, such as a dosage.

They are stored as JSON in a column, or computed in Python for all rows at once. A value that cannot be computed is
null, with an error at its place. The rest of the response is not affected.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog
from asyncpg.pgproto.pgproto import UUID as DriverUUID
from sqlalchemy import Uuid
from sqlalchemy.exc import DBAPIError

from app.access.work import Work, needs, required_permissions
from app.core.errors import AimlineError, Misuse
from app.resources.compile.scope import ValueSlot, column_of
from app.resources.select import Constant, Path, Picks, Style
from app.resources.values import Figures, Item, is_json, is_value, render_leaf

log = structlog.get_logger()
NULL = b"null"


async def complete_values(
    work: Work,
    slots: Sequence[ValueSlot],
    given: Mapping[Path, Any],
    style: Style,
    text: bytes,
    tokens: re.Pattern[bytes],
) -> tuple[bytes, list[tuple[Path, AimlineError]]]:
    """Fills in the objects and lists of a response. Returns the completed text, and the errors with their places.

    * `text` has a mark in the place of each such value. A mark contains the index of an entry in `slots`, and `tokens`
      is the pattern of a mark.
    * `slots` describe the values. If the values of one entry cannot be computed, they are null, and there is one error.
    * `given` has the arguments of computed values, keyed by path.
    """
    raw: list[list[bytes]] = [[] for _ in slots]
    for slot, json in tokens.findall(text):
        raw[int(slot)].append(json)
    failures: list[tuple[Path, AimlineError]] = []
    rendered_values: list[Any] = []
    for slot, texts in zip(slots, raw, strict=True):
        try:
            values = await _values(work, slot, given, texts)
        except AimlineError as error:
            failures.append((slot.pattern, error))
            values = [None for _ in texts]
        rendered_values.append(iter([_text(value, slot, style) for value in values]))
    completed = tokens.sub(lambda match: next(rendered_values[int(match.group(1))]), text)
    return completed, failures


async def _values(work: Work, slot: ValueSlot, given: Mapping[Path, Any], texts: Sequence[bytes]) -> Sequence[Any]:
    member = slot.member
    sent: list[Any] = orjson.loads(b"[%b]" % b",".join(texts))
    if member.compute is None or not texts:
        return sent
    places = [place for place, key in enumerate(member.keys) if isinstance(column_of(key).type, Uuid)]
    for row in sent:
        for place in places:
            if row[place] is not None:
                row[place] = DriverUUID(row[place])
    rows = [tuple(row) for row in sent]
    arguments = {
        argument.name: given[path]
        for argument in member.arguments
        if (path := (*slot.path, "argument", argument.name)) in given
    }
    try:
        # A function that declares no permissions needs only those of the row, which the caller has.
        compute = member.compute if required_permissions(member.compute) else needs()(member.compute)
        values = await compute(work, rows, **arguments)
    except (AimlineError, DBAPIError):
        raise  # a transaction that PostgreSQL aborted cannot continue
    except Exception as error:
        log.error("value.failed", member=member.name, error=type(error).__name__)
        raise AimlineError("This value could not be computed.") from error
    if len(values) != len(rows):
        raise Misuse(f"{member.name} computed {len(values)} values for {len(rows)} rows.")
    return values


def _text(value: Any, slot: ValueSlot, style: Style) -> bytes:
    whole = _whole(value, slot, style)
    return NULL if whole is None else orjson.dumps(whole)


def _whole(value: Any, slot: ValueSlot, style: Style) -> Any:
    member = slot.member
    if value is None:
        return [] if member.many and not member.nullable and member.compute is None else None
    if member.many:
        return [render_value(element, member.shape, slot.picks, style) for element in value]
    return render_value(value, member.shape, slot.picks, style)


def render_value(value: Any, shape: Any, picks: Picks, style: Style) -> Any:
    """Returns an object or a list that a resource declares, as JSON-compatible data with the selected items.

    `shape` is the type of the value. If no items are selected, returns all items that the API shows.
    """
    if value is None or is_json(shape) or not (is_value(shape) or shape is Figures):
        return value
    if shape is Figures:
        return _figures(value, picks, style)
    items: Mapping[str, Item] = shape.__items__
    if not picks:
        shown_items = [(item.shown_as(style.face), item) for item in items.values()]
        return {name: _item(value, item, (), style) for name, item in shown_items if name is not None}
    rendered: dict[str, Any] = {}
    for pick in picks:
        if isinstance(pick, Constant):
            rendered[pick.key] = orjson.loads(pick.text)
        else:
            rendered[pick.key] = _item(value, items[pick.member], pick.picks, style)
    return rendered


def _item(value: Any, item: Item, picks: Picks, style: Style) -> Any:
    part = item.get(value) if item.get is not None else _part(value, item.name)
    if part is None:
        return None
    if is_value(item.type) or item.type is Figures or is_json(item.type):
        if item.many:
            return [render_value(element, item.type, picks, style) for element in part]
        return render_value(part, item.type, picks, style)
    return render_leaf(part, item, upper=style.upper)


def _part(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name)


def _figures(value: Mapping[str, Any], picks: Picks, style: Style) -> Any:
    if style.face == "rest":
        return dict(value)
    figures = []
    for name, number in value.items():
        both = {"name": name, "value": number}
        figures.append(
            {pick.key: orjson.loads(pick.text) if isinstance(pick, Constant) else both[pick.member] for pick in picks}
            if picks
            else both
        )
    return figures
