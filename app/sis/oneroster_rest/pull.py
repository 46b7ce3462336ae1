"""Reads a source completely: reads the collections in order, and reads a collection again if it changes meanwhile.

All rows are on disk before the result is yielded. No transaction is open meanwhile.

This file exceeds 250 lines so that everything that decides whether a collection is complete or must be read again is in
one place.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from app.sis.kinds import BY_NAME
from app.sis.oneroster_rest.collections import (
    COLLECTIONS,
    IN_12_ONLY,
    Collection,
    PulledCollection,
    RestSource,
    missing_sentence,
    to_source,
)
from app.sis.oneroster_rest.connection import Connection
from app.sis.oneroster_rest.reader import BadQuery, CollectionAbsent, Reader
from app.sis.oneroster_rest.spool import DiskBudget, Spool
from app.sis.oneroster_rest.translate import ROLE, Translator, roles_of
from app.sis.oneroster_rest.turns import PageBudget, TurnQueue
from app.sis.oneroster_rest.walk import CollectionChanged, Walk, WalkPage
from app.sis.oneroster_rest.wire import Wire
from app.sis.port import (
    CollectionBusy,
    CollectionRefused,
    OpenedSource,
    Progress,
    SourceInconsistent,
    SourceRefused,
)

RESTARTS: Final = 3
AHEAD: Final = 2  # pages requested ahead for each concurrent request, so that a slow page does not stop the others
PAGES_REFUSED: Final = (
    "The source does not accept limit and offset for {name}: ask its vendor how its pages are requested."
)
SIDE_BY_SIDE: Final = 5  # collections read at the same time, so that first and last pages overlap


class DeltaRefused(Exception):
    """Raised if a source can send a collection only as a whole, not only its changes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@asynccontextmanager
async def open_rest(
    connection: Connection, *, since: datetime | None, progress: Progress
) -> AsyncIterator[OpenedSource]:
    """Reads a source completely into temporary files.

    With `since`, reads only the rows that changed after this instant. Raises `SourceRefused` if the source cannot be
    read completely, and `SourceInconsistent` if it does not stop changing while it is read.
    """
    pull = RestPull(connection, since, progress)
    try:
        async with Wire(connection) as wire:
            try:
                async with asyncio.timeout(60 * connection.pull_minutes):
                    source = await pull.source(Reader(wire))
            except TimeoutError:
                raise SourceRefused(pull.timeout_sentence()) from None
            source.as_of = wire.as_of
        yield source
    finally:
        pull.close()


@dataclass(slots=True)
class RestPull:
    """The state of reading one source: what was read so far, and what must be read again."""

    connection: Connection
    since: datetime | None
    progress: Progress
    done: dict[str, PulledCollection] = field(default_factory=dict)
    before: dict[str, PulledCollection] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    unsorted: set[str] = field(default_factory=set)
    disordered: set[str] = field(default_factory=set)
    revision: str | None = None
    fell_back: str | None = None
    turns: TurnQueue = field(init=False)
    page_budget: PageBudget = field(init=False)
    disk_budget: DiskBudget = field(init=False)

    def __post_init__(self) -> None:
        self.disk_budget = DiskBudget(self.connection.pull_gb)
        self.turns = TurnQueue(self.connection.concurrency)
        self.page_budget = PageBudget(AHEAD * self.connection.concurrency)

    async def source(self, reader: Reader) -> RestSource:
        """Reads all collections, reads a collection again if it changed meanwhile, and returns the result.

        If only changes were requested, and the source cannot send the changes of one collection, all collections are
        read in full.
        """
        try:
            return await self._source(reader)
        except DeltaRefused as error:
            self.close()
            for state in (self.done, self.before, self.sizes, self.unsorted, self.disordered):
                state.clear()
            self.since = self.revision = None
            self.fell_back = f"The source cannot send only the changes of {error.name}: it is read in full."
            return await self._source(reader)

    async def _source(self, reader: Reader) -> RestSource:
        selected = [collection for collection in COLLECTIONS if self._is_selected(collection)]
        todo = selected
        for attempt in range(1 + RESTARTS):
            if attempt:
                self.progress(f"starting again with {', '.join(collection.name for collection in todo)}", 0, 0)
                await asyncio.sleep(random.uniform(0.5, 1) * self.connection.patience.first * 2**attempt)
            await self._pull(reader, todo)
            todo = self._find_outdated(selected)
            if not todo:
                notes = [*([self.fell_back] if self.fell_back else []), *reader.warnings]
                source = to_source(selected, self.done, notes, is_delta=self.since is not None)
                source.mode = "full" if self.fell_back else None
                return source
        names = ", ".join(collection.name for collection in todo)
        raise SourceInconsistent(
            f"The source changed while it was read, {1 + RESTARTS} times in a row ({names}): sync it at an hour at "
            "which nothing is written to it."
        )

    def timeout_sentence(self) -> str:
        """Returns a sentence for the report: the source could not be read completely within the time limit."""
        missing = [
            collection.name
            for collection in COLLECTIONS
            if self._is_selected(collection) and collection.name not in self.done
        ]
        return (
            f"The source was read for {self.connection.pull_minutes:g} minutes and has not ended "
            f"({', '.join(missing) or 'it kept changing'}): ask its vendor whether its collections end. If it is only "
            "slow, raise the source's pull-minutes."
        )

    def close(self) -> None:
        """Deletes all rows of the pull from disk."""
        for pulled in self.done.values():
            pulled.close()

    def _is_selected(self, collection: Collection) -> bool:
        left_out = collection.optional and collection.name in self.connection.leave_out
        return not left_out and (self.connection.version == "1.2" or collection.name not in IN_12_ONLY)

    def _find_outdated(self, selected: list[Collection]) -> list[Collection]:
        """Returns the collections that must be read: those not read yet, and those that changed after they were read.

        Some sources state a revision, that is, the version of their data, in each response. A collection has changed if
        the revision that was stated when it was read differs from the latest one.
        """
        unchanged = (None, self.revision)
        return [
            collection
            for collection in selected
            if collection.name not in self.done or self.done[collection.name].revision not in unchanged
        ]

    async def _pull(self, reader: Reader, todo: list[Collection]) -> None:
        waiting = iter(todo)

        async def work() -> None:
            for collection in waiting:
                old = self.done.pop(collection.name, None)
                if old is not None:
                    old.close()
                try:
                    pulled = await self._one(reader, collection)
                except CollectionRefused as error:
                    if not collection.optional:
                        raise
                    pulled = PulledCollection(failed=error.detail)
                if pulled is not None:
                    self.done[collection.name] = pulled

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(SIDE_BY_SIDE):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _one(self, reader: Reader, collection: Collection) -> PulledCollection | None:
        """Reads one collection. Returns None if the collection changed meanwhile.

        If the source does not have this collection, reads the collections that together contain the same rows.
        """
        try:
            return await self._spooled(reader, collection, (collection.name,))
        except CollectionAbsent as absent:
            status = absent.status
            with suppress(CollectionAbsent, BadQuery, CollectionRefused):
                await self._require_no_filter(reader, collection.name, collection.optional)
        if collection.instead and status not in (401, 403):
            try:
                pulled = await self._spooled(reader, collection, collection.instead)
            except CollectionAbsent:
                pulled = None
            else:
                if pulled is not None:
                    pulled.instead = True
                return pulled
        if not collection.optional:
            raise SourceRefused(missing_sentence(collection, status))
        return PulledCollection(absent=status)

    async def _require_no_filter(self, reader: Reader, name: str, optional: bool) -> None:
        """Raises `DeltaRefused` if the source refused a request only because of its filter for changes.

        To find this out, requests the collection `name` once more without the filter. If this request fails too, raises
        its error. Does nothing if the whole source is read, because no filter was used.
        """
        if self.since is not None:
            await reader.page(name, 1, 0, {}, None, optional)
            raise DeltaRefused(name)

    async def _spooled(self, reader: Reader, collection: Collection, names: tuple[str, ...]) -> PulledCollection | None:
        translator = Translator(BY_NAME[collection.kind], self.connection.today)
        pulled = PulledCollection(Spool(collection.kind, " and ".join(names), translator.header, self.disk_budget))
        if collection.kind == "person" and self.connection.version == "1.2":
            pulled.roles = Spool("role", "users.roles", ROLE.header, self.disk_budget)
        try:
            for name in names:
                walk = await self._walk(reader, collection, name, translator, pulled)
                pulled.whole = pulled.whole and walk.whole
                pulled.disordered = pulled.disordered or walk.disordered
                pulled.promised = pulled.promised or walk.promised
                pulled.walks.append(walk)
                pulled.revision = walk.revision or pulled.revision
            if self._is_trusted(collection, pulled):
                return pulled
        except CollectionChanged:
            pass
        except BaseException:
            pulled.close()
            raise
        pulled.close()
        return None

    async def _walk(
        self, reader: Reader, collection: Collection, name: str, translator: Translator, pulled: PulledCollection
    ) -> Walk:
        while True:
            query = self._query(name)

            async def fetch(limit: int, offset: int, link: str | None, query: Mapping[str, str] = query) -> WalkPage:
                async with self.turns.turn(COLLECTIONS.index(collection)):
                    page = await reader.page(name, limit, offset, query, link, collection.optional)
                self.revision = page.revision or self.revision
                return page

            walk = Walk(fetch, self._page_size(collection), self.page_budget)
            before = pulled.spool.end if pulled.spool else 0
            try:
                async for page in walk.walk():
                    self._spool(translator, page, pulled, before + walk.start)
                    self.progress(f"fetching {name}", walk.offset, walk.total or 0)
                return walk
            except RecursionError:
                raise CollectionRefused(f"A row of {name} has lists in lists, deeper than can be read.") from None
            except CollectionBusy:
                raise
            except CollectionRefused:
                with suppress(CollectionAbsent, BadQuery, CollectionRefused):
                    await self._require_no_filter(reader, name, collection.optional)
                raise
            except BadQuery:
                if "sort" not in query:
                    with suppress(BadQuery):
                        await self._require_no_filter(reader, name, collection.optional)
                    raise CollectionRefused(PAGES_REFUSED.format(name=name)) from None
                self.unsorted.add(name)

    def _query(self, name: str) -> dict[str, str]:
        """Returns the query parameters for a collection: a filter if only changes are requested, and the order.

        The rows are sorted by id if only changes are requested, or if the pages had no fixed order. Ids are unique, and
        a row that changes while the source is read keeps its place in this order.
        """
        query = {}
        if self.since is not None:
            since = self.since.astimezone(UTC)
            query["filter"] = f"dateLastModified>'{since:%Y-%m-%dT%H:%M:%S}.{since.microsecond // 1000:03}Z'"
        if (query or name in self.disordered) and name not in self.unsorted:
            query |= {"sort": "sourcedId", "orderBy": "asc"}
        return query

    def _page_size(self, collection: Collection) -> int:
        """Returns the number of rows to request per page.

        When a collection is read again, the pages are smaller. If every row then has the same position as before, the
        order of the source does not depend on the page size, and no row was missed between two pages.
        """
        size, attempt = self.sizes.get(collection.name, (0, 0))
        return max(2, (3 + attempt % 2) * size // 5) if size else self.connection.page_size

    def _spool(self, translator: Translator, page: WalkPage, pulled: PulledCollection, start: int) -> None:
        if pulled.spool is not None:
            pulled.spool.add(translator.page(page.rows), start)
        if pulled.roles is not None:
            pulled.roles.add(role for row in page.rows for role in roles_of(row))

    def _is_trusted(self, collection: Collection, pulled: PulledCollection) -> bool:
        """Returns whether the rows that were read of a collection can be used. If not, the collection is read again.

        * If some rows came twice, either the source has them twice, or the collection changed between two pages. It is
          assumed that the source has them twice in three cases: all rows came in one page; a second reading with pages
          of another size returned every row at the same place; or the repeated rows were adjacent after sorting.
        * If a collection was incomplete twice in the same way, it is imported, but the rows that it lacks are not
          removed from the roster.
        """
        if pulled.spool is None:
            return True
        repeats = pulled.spool.repeats()
        walk, alone = pulled.walks[0], len(pulled.walks) == 1
        total = walk.total or 0
        at_once = alone and walk.pages == 1
        if alone and not at_once:  # with two alternative collections, a person may be in both
            pulled.disordered |= repeats.scattered and repeats.distinct < walk.offset
            pulled.whole = pulled.whole and (repeats.distinct >= total or not repeats.scattered)
        pulled.fingerprint = (total, repeats.distinct, repeats.digest, repeats.differing)
        pulled.order = repeats.order
        if pulled.disordered or not pulled.whole or (repeats.differ and not at_once):
            last, sorted_by_id = self.before.get(collection.name), collection.name in self.disordered - self.unsorted
            self.before[collection.name] = pulled
            size, attempt = self.sizes.get(collection.name, (max(each.largest for each in pulled.walks), -1))
            self.sizes[collection.name] = size, attempt + 1
            self.disordered |= {collection.name, *collection.instead}
            if last is None:
                return False
            is_alike = last.fingerprint == pulled.fingerprint
            is_sorted = sorted_by_id and not repeats.scattered and (is_alike or not repeats.differ)
            covers = alone and repeats.placed == pulled.spool.end >= total and not pulled.promised
            pulled.whole = covers and (last.order == pulled.order or is_sorted)
            pulled.disordered = pulled.disordered and not pulled.whole
            if not (pulled.whole or is_alike):
                return False
        if repeats.repeated:
            pulled.spool.remove(repeats.repeated)
        if pulled.roles is not None and (repeated := pulled.roles.repeats().repeated):
            pulled.roles.remove(repeated)
        return True


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Returns the first error in a group of errors."""
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    return errors
