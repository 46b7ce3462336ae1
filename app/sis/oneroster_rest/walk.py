"""Reads the pages of one collection in order, so that no row is lost, whatever a source states about its pages.

* The offset advances by the number of new rows in a page. Rows that were also in the previous page do not count.
* A page without new rows is the end.
* A total is trusted once two pages have stated the same total, unless there is a `next` link.
* If the pages go in circles, the source is refused.

This module does not send requests itself. This file exceeds 250 lines so that every sign of the end of a collection
is in one place.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from app.sis.oneroster_rest.turns import PageBudget
from app.sis.port import CollectionRefused

# The number of repeated pages in a row after which a source without a total counts as going in circles.
ROUND: Final = 3


@dataclass(frozen=True, slots=True)
class WalkPage:
    """A page of a collection: its rows, their ids, and what its headers state about the collection.

    * `total`: the number of rows of the collection. `revision`: the version of the data.
    * `more`: whether there is a `next` link; None if the source sends no links.
    * `beyond`: the URL in the `next` link, if the URL has no offset; otherwise None.
    * `refused`: the status of the error that the source sent in place of a page. Some sources send such an error after
      the last page, and others for every offset above a limit.
    """

    rows: list[Any]
    ids: list[str]
    total: int | None = None
    more: bool | None = None
    revision: str | None = None
    beyond: str | None = None
    refused: int | None = None


CIRCLE: Final = (
    "The source's pages go in a circle: earlier pages come again without an end. Ask its vendor how its pages are "
    "requested, or set a page-size above the size of its collections."
)


class CollectionChanged(Exception):
    """Raised if the total or the revision of a collection changed while its pages were read."""


Fetch = Callable[[int, int, str | None], Awaitable[WalkPage]]
"""A function that fetches a page.

Its arguments are the limit, the offset, and the link of the previous page, or None.
"""


class Walk:
    """Reads all pages of a collection once, from the first to the last.

    * `whole`: after the last page, whether all rows were read as far as is known.
    * `disordered`: whether rows were repeated in a way that overlapping pages do not explain. The pages may then have
      no fixed order, and some row may be missing.
    * `promised`: whether the source announced more rows than it sent.
    * `has_gap`: whether more rows follow an empty page. These rows are not read.
    * `refused`: the status of the error with which the pages ended.
    * `start`: the position in the collection of the first row of the page that was yielded last.
    * `largest`: the number of rows of the largest page.
    """

    def __init__(self, fetch: Fetch, limit: int, budget: PageBudget) -> None:
        self._fetch, self._limit, self._budget = fetch, limit, budget
        self.total: int | None = None
        self.revision: str | None = None
        self.whole = True
        self.offset = self.pages = self.start = self.largest = 0
        self.disordered = self.promised = self.has_gap = False
        self.refused: int | None = None
        self._received = self._repeated = 0
        self._before: list[Any] = []
        self._overlaps: bool | None = None
        self._agreed = 0
        self._counts_pages = self._counts_after = False
        self._first: WalkPage | None = None
        self._last: WalkPage | None = None
        self._seen: frozenset[str] = frozenset()
        self._links: set[int] = set()
        self._pages: set[int] = set()
        self._again = 0
        self._followed: str | None = None

    async def walk(self) -> AsyncIterator[WalkPage]:
        """Yields the pages in their order. Raises `CollectionChanged`, `SourceRefused`, and the errors of `fetch`."""
        first = await self._fetch(self._limit, 0, None)
        if not await self._accept(first):
            return
        yield first
        if self.total is not None and not first.beyond:
            async for page in self._prefetch(len(first.rows), self.total):
                yield page
        while not self._ended():
            link = self._link()
            self.start = self.offset if link is None else self._received
            page = await self._fetch(self._limit, self.offset, link)
            if link is not None and page.refused is not None:  # the link leads nowhere, but an offset may still work
                page = await self._fetch(self._limit, self.offset, None)
            if self._is_suspicious(page):
                page = await self._fetch(self._limit, self.offset, None)
                if not page.rows:
                    beyond = await self._fetch(self._limit, self.offset + self.largest, None)
                    self.has_gap = bool(beyond.rows)
            if not await self._accept(page):
                if self._has_repeats(page):
                    yield page
                return
            yield page

    def _has_repeats(self, page: WalkPage) -> bool:
        """Returns whether all ids of a page were also in the previous page, although the two pages differ.

        Such a page only repeats rows, and more rows may follow. Two equal pages would mean the end of the collection.
        """
        return bool(page.rows) and all(map(self._seen.__contains__, page.ids)) and page.rows != self._before

    def _is_suspicious(self, page: WalkPage) -> bool:
        """Returns whether an empty page may be an error: it follows a full page, and nothing else marks the end.

        Such a page is requested once more. If it is empty again, the page after it is requested too. If that page has
        rows, the collection has a gap, and its missing rows must not count as removed.
        """
        last, first = self._last, self._first
        if page.rows or page.refused or last is None or first is None:
            return False
        full = len(last.rows) >= (len(first.rows) if self.pages > 1 else self._limit)
        return full and self.total is None and last.more is None

    async def _prefetch(self, step: int, total: int) -> AsyncIterator[WalkPage]:
        """Yields the next pages, each of `step` rows, and requests several of them in advance.

        Ends at a page that does not have `step` new rows. `total` is the number of rows in the collection. All
        collections share a budget of pages that may be requested in advance. If it is used up, a collection may still
        request one page, so that it does not have to wait for the others.
        """
        starts = iter(range(step, total, step))
        requests: list[tuple[int, asyncio.Task[WalkPage]]] = []
        reserved = 0
        try:
            while True:
                while len(requests) <= reserved and (start := next(starts, None)) is not None:
                    requests.append((start, asyncio.ensure_future(self._fetch(step, start, None))))
                    reserved += self._budget.reserve()
                if not requests:
                    return
                self.start, request = requests.pop(0)
                page = await request
                start_offset = self.offset
                if not await self._accept(page):
                    if self._has_repeats(page):
                        yield page
                    return
                yield page
                if self.offset != min(start_offset + step, total):
                    return
                while reserved > len(requests):
                    reserved -= 1
                    self._budget.release()
        finally:
            for _ in range(reserved):
                self._budget.release()
            tasks = [task for _, task in requests]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _link(self) -> str | None:
        """Returns the URL of the next page if the last page had a link without an offset, otherwise None.

        A link that comes twice in a row is followed again, because some sources send the same link with every page. For
        any other source, the next page then has no new rows, and the reading ends. Raises `SourceRefused` if a link
        comes again later.
        """
        link, before = self._last.beyond if self._last else None, self._followed
        if link is not None and link != before:
            if hash(link) in self._links:
                raise CollectionRefused(CIRCLE)
            self._links.add(hash(link))
        self._followed = link
        return link

    def _check_for_circle(self, ids: list[str]) -> None:
        """Raises `SourceRefused` if the pages repeat endlessly.

        That is assumed if several pages in succession equal earlier pages, and the source states no total.
        """
        page = hash(tuple(ids))
        self._again = self._again + 1 if page in self._pages else 0
        if self._again >= ROUND and self.total is None:
            raise CollectionRefused(CIRCLE)
        self._pages.add(page)

    async def _accept(self, page: WalkPage) -> bool:
        """Records a page, and returns whether it has rows that the previous page did not have."""
        self._compare(page)
        last, self._last = self._last, page
        self._before = last.rows if last is not None else []
        new = len(page.ids) - sum(map(self._seen.__contains__, page.ids))
        if new and not self._wraps(page):
            self._check_for_circle(page.ids)
            if last is not None:
                repeated = len(page.ids) - new
                overlaps = repeated > 0 and page.ids[:repeated] == last.ids[-repeated:]
                self.disordered |= (repeated > 0 and not overlaps) or self._overlaps not in (None, overlaps)
                self._overlaps = overlaps
            if self.pages and self.total is not None and self.offset >= self.total:
                self.total, self._counts_pages = None, True  # rows come after the end that the total stated
            self._first = self._first or page
            self.offset += new
            self.pages += 1
            self._received += len(page.rows)
            self.largest = max(self.largest, len(page.rows))
            # Rows without a sourcedId may be alike although they are not the same row.
            self._seen = frozenset(one for one in page.ids if one[:1] != "\0") or frozenset(page.ids)
            self._repeated = 0
            return True
        if self._has_repeats(page) and self.total is not None and self.offset < self.total and self._repeated < ROUND:
            self._repeated += 1  # the total says that more rows follow
            self.offset += len(page.rows)
            self._received += len(page.rows)
            return True
        full = (
            last is not None and self._first is not None and len(last.rows) >= min(len(self._first.rows), self._limit)
        )
        only = self.pages == 1 and last is not None and len(last.rows) < self._limit  # a single short page
        if full and not only:
            self.refused = page.refused
        self.promised = bool(last and last.more) or bool(new) or self.refused is not None or self.has_gap
        self.whole = not self.promised and (self.total is None or self.offset >= self.total)
        if last and self.pages == 1 and page.ids == last.ids and len(last.ids) > 1 and self.total != len(last.ids):
            await self._probe(last)
        return False

    def _compare(self, page: WalkPage) -> None:
        """Raises `CollectionChanged` if the total or the revision of a page differs from that of the previous pages."""
        if page.total is not None and not self._counts_pages:
            beyond = not page.rows and not page.total and self.offset >= (self.total or 0)
            if self.total is None:
                self.total = page.total
            elif page.total != self.total and not beyond and not self._counts_remaining(page, page.total):
                if not self._counts_so_far(page, page.total):
                    raise CollectionChanged
                self.total, self._counts_pages = None, True
            self._agreed += 1
        if page.revision is not None:
            if self.revision not in (None, page.revision):
                raise CollectionChanged
            self.revision = page.revision

    def _counts_remaining(self, page: WalkPage, total: int) -> bool:
        """Returns whether a page states as `total` how many rows remain, and not how many the collection has.

        The remaining rows are those from this page on, or those after this page. If a page states that rows remain, but
        has none itself, returns False: the collection has become shorter.
        """
        if self._first is None or self.total is None or not (page.rows or total == 0):
            return False
        if self.offset + total == self.total:
            return True
        first, rows = len(self._first.rows), len(page.rows)
        is_after = self.offset + rows + total == (self.total if self._counts_after else first + self.total)
        if is_after and not self._counts_after:
            self.total, self._counts_after = first + self.total, True
        return is_after

    def _counts_so_far(self, page: WalkPage, total: int) -> bool:
        """Returns whether the source states as the total only how many rows it has sent.

        For example, the first page has 100 rows and states 100, and the second page has 50 rows and states 50 or 150.
        Such totals say nothing about the rows that follow.
        """
        first = self._first
        if first is None or self.pages != 1 or self.total != len(first.rows):
            return False
        return total in (len(page.rows), len(first.rows) + len(page.rows))

    async def _probe(self, first: WalkPage) -> None:
        """Finds out why the second page equals the first. Raises `SourceRefused` if there may be more rows.

        For this, it requests a single row at offset 1.

        * If the response has the second row, the collection is complete. The source has no more rows, or sends all of
          them in every page.
        * If the response has a `next` link and the first page had none, the collection is complete too: the source
          pages by links alone, and all rows came in the first page.
        * If it has only the first row and no link, the source ignores the offset, and more rows may exist.
        """
        single = await self._fetch(1, 1, None)
        if first.ids[1] not in single.ids and not (single.more and not first.more):
            raise CollectionRefused(
                "The source answers with the same page for every offset, so that the rest of its rows cannot be "
                "read: ask its vendor, or set the source's page size above the size of its collections."
            )
        self.whole = True

    def _wraps(self, page: WalkPage) -> bool:
        """Returns whether the source has sent its first page again after its last page.

        This is only considered for a source that states no total.
        """
        first = self._first
        is_first_page = first is not None and first.ids == page.ids and self._seen.isdisjoint(page.ids)
        return is_first_page and self.total is None and self.pages > 1

    def _ended(self) -> bool:
        """Returns whether all rows were read.

        This is the case if the number of rows equals a total that two pages have stated, or if the source pages by
        links and the last page has no further link.
        """
        if self._last is None or self._last.beyond:
            return False
        if self._first and self._first.beyond:
            self.whole = self.total is None or self.offset >= self.total
            return True
        # A source that has sent more rows than its total has a wrong total, and may have still more.
        return self._agreed > 1 and self.total is not None and self.offset == self.total and not self._last.more
