"""Finds the rows of a page of a list.

A block is a group of rows that are generated together. The cost of a page depends on the query:

* Without a filter, the number of rows in each block is calculated, without generating the rows. After the first day of
  the simulation, one hash for each student must be calculated for this. Then only the blocks of the page are generated,
  however far down the list the page is.
* With a filter, or for a nested path, one scan counts the matching rows of each block, and then only the blocks of the
  page are generated. For `dateLastModified>` the scan skips students who have not changed since.
* With a sort, one scan keeps every sort key in memory. After the sort, eight bytes remain for each row, and only the
  blocks of the page's rows are generated.

The counts and sort orders of the last few queries are cached, separately for each day of the simulation.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import accumulate, islice
from typing import Any

import numpy as np

from app.sandbox.sis_history import Row, stamp
from app.sandbox.sis_json import Json
from app.sandbox.sis_query import Query, sort_key
from app.sandbox.sis_rows import Block, Rows
from app.sandbox.sis_views import View

MAX_CACHED = 16
Write = Callable[[Row], Json]


class Pages:
    """Serves the lists of a simulated SIS, page by page, on one day of the simulation."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def page(self, view: View, query: Query, version: str, write: Write) -> tuple[list[Json], int]:
        """Returns the rows of the requested page of a list as JSON, and the total number of rows in the list."""
        if query.sort is not None:
            return self._sorted(view, query, version, write)
        key = (view.key, version, query.filter)
        ends = self._keep(key, lambda: list(accumulate(self._counts(view, query, write))))
        total = ends[-1] if ends else 0
        rows: list[Json] = []
        at = bisect_right(ends, query.offset)
        skipped = query.offset - (ends[at - 1] if at else 0)
        while at < len(ends) and len(rows) < query.limit:
            matching = self._matching(view, view.blocks[at], query, write)
            rows.extend(islice(matching, skipped, skipped + query.limit - len(rows)))
            at, skipped = at + 1, 0
        return rows, total

    def _counts(self, view: View, query: Query, write: Write) -> Iterator[int]:
        for block in view.blocks:
            if view.keep is None and query.keep is None:
                yield self.rows.count(view.kind, block)
            elif query.keep is None and view.keep is not None:
                yield sum(1 for row in self.rows.of(view.kind, block) if view.keep(row.record))
            else:
                yield sum(1 for _ in self._matching(view, block, query, write))

    def _matching(self, view: View, block: Block, query: Query, write: Write) -> Iterator[Json]:
        for row in self.rows.of(view.kind, block, self._since(query.since)):
            if view.keep is not None and not view.keep(row.record):
                continue
            json_row = write(row)
            if query.keep is None or query.keep(json_row):
                yield json_row

    def _since(self, since: datetime | None) -> int:
        """Returns the last simulated day whose changes are dated before the instant `since`.

        A request for the rows that changed since this instant can skip every student without a change after that day.
        The result is -1 if no student may be skipped: without `since`, if there is no such day, or if a quirk of the
        simulated SIS changes how times are shown.
        """
        if since is None or any(name.startswith("modified-") for name in self.rows.quirks.values):
            return -1
        days = range(self.rows.district.day, -1, -1)
        return next((day for day in days if stamp(self.rows.district, day) < since), -1)

    def _sorted(self, view: View, query: Query, version: str, write: Write) -> tuple[list[Json], int]:
        key = (view.key, version, query.filter, query.sort, query.descending)
        order = self._keep(key, lambda: self._order(view, query, write))
        written_rows = []
        for block, number in order[query.offset : query.offset + query.limit].tolist():
            rows = self.rows.of(view.kind, view.blocks[block])
            written_rows.append(write(next(islice(rows, number, None))))
        return written_rows, len(order)

    def _order(self, view: View, query: Query, write: Write) -> Any:
        keys = []
        for at, block in enumerate(view.blocks):
            for number, row in enumerate(self.rows.of(view.kind, block)):
                if view.keep is not None and not view.keep(row.record):
                    continue
                json_row = write(row)
                if query.keep is None or query.keep(json_row):
                    keys.append((sort_key(json_row, query.sort or ""), at, number))
        keys.sort(key=lambda entry: entry[0], reverse=query.descending)
        return np.array([entry[1:] for entry in keys], dtype=np.int32).reshape(-1, 2)

    def _keep(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > MAX_CACHED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
