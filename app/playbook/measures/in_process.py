"""Caches measures and rulebooks in the memory of the process. A rulebook has all decision rules of a playbook version.

The cached rows never change: a changed measure or playbook has a new version, which gets a new entry. In each
transaction, the caller reads which version is in force. The functions check no permission, because the commands that
call them have already done so.
"""

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable
from datetime import datetime
from typing import Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import any_, cast, select

from app.access.work import Work
from app.playbook.models import Measure
from app.playbook.queries import Rulebook, rulebook
from app.playbook.rules import AREA
from app.roster.lookup import IdList

MOST_MEASURES: Final = 4096
MOST_RULEBOOKS: Final = 512
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """A dictionary with a maximum size. If it is full, the entry that was used least recently is dropped."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Returns the value of a key, or None."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Stores a value under a key."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)


MeasureVersion = tuple[UUID, int, datetime]
"""The id of a measure, its version number, and the time of its last change.

If a change was rolled back, a later version can have the same number. The time distinguishes the two.
"""

_measures: Kept[tuple[UUID, MeasureVersion], Measure] = Kept(MOST_MEASURES)
_rulebooks: Kept[tuple[UUID, UUID], Rulebook] = Kept(MOST_RULEBOOKS)


async def measures_in_process(work: Work, versions: Iterable[MeasureVersion]) -> dict[UUID, Measure]:
    """Returns these versions of measures, keyed by id.

    The objects are shared by all requests, and must not be changed.
    """
    measures: dict[UUID, Measure] = {}
    unread: dict[UUID, MeasureVersion] = {}
    for version in versions:
        measure_id, number, changed_at = version
        measure = _measures.get((work.district_id, (measure_id, number, changed_at)))
        if measure is None:
            unread[measure_id] = (measure_id, number, changed_at)
        else:
            measures[measure_id] = measure
    if unread:
        columns = [column.key for column in Measure.__mapper__.column_attrs if column.key != "updated_at"]
        query = select(*(getattr(Measure, name) for name in columns))
        rows = await work.db.execute(
            query.where(Measure.district_id == work.district_id, Measure.id == any_(cast(list(unread), IdList)))
        )
        for row in rows:
            measure = Measure(**dict(zip(columns, row, strict=True)))
            _measures.put((work.district_id, unread[measure.id]), measure)
            measures[measure.id] = measure
    return measures


async def rulebook_in_force(work: Work, version_id: UUID, area_ids: Collection[UUID]) -> Rulebook:
    """Returns the rulebook of a playbook version, which must be the version in force.

    `area_ids` are the areas of the series to be judged. An area may have been added after the rulebook was cached. If
    the rulebook has rules for areas but lacks one of these areas, it is therefore read from the database again.
    """
    rules = _rulebooks.get((work.district_id, version_id))
    if rules is None or (any(AREA in key for key in rules.rules) and not rules.above.keys() >= set(area_ids)):
        rules = await rulebook(work)
        _rulebooks.put((work.district_id, rules.playbook_version_id), rules)
    return rules
