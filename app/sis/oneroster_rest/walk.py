"""Owns how the pages of one collection are walked, so that no row is lost, whatever a source says of its pages.

The offset advances by the rows that came, less those that the page before had already. A page with nothing new is the
end; a total is believed once two pages have agreed on it and no `next` speaks against it. A walk that goes in circles
is refused. Never speaks HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from app.sis.oneroster_rest.turns import PageBudget
from app.sis.port import SourceRefused

ROUND: Final = 3  # whole pages in a row that came before, after which a source without a total goes in circles


@dataclass(frozen=True, slots=True)
class WalkPage:
    """A page: its rows with their ids, and what was said with it.

    `more` is whether a `next` was promised, None where links are not used; `beyond` is a `next` that is no offset.
    `refused` is whether the source gave an error in place of a page, as some do behind their end, and some at an
    offset that is too high for them.
    """

    rows: list[Any]
    ids: list[str]
    total: int | None = None
    more: bool | None = None
    revision: str | None = None
    beyond: str | None = None
    refused: bool = False


CIRCLE: Final = (
    "The source's pages go in a circle: behind a page come others that came before, without an end. Ask its vendor how "
    "its pages are asked for, or set a page-size above the size of its collections."
)


class CollectionChanged(Exception):
    """The collection changed while it was walked: its total or its revision did."""


Fetch = Callable[[int, int, str | None], Awaitable[WalkPage]]
"""A page by limit and offset, or by the link that the page before it gave."""


class Walk:
    """One walk through a collection. Afterwards `whole` is whether nothing that was said speaks for more rows.

    `disordered` is whether a row came again as no source that repeats the end of its last page would give it: pages
    without a fixed order, of which some row is then missing.
    """

    def __init__(self, fetch: Fetch, limit: int, hand: PageBudget) -> None:
        self._fetch, self._limit, self._hand = fetch, limit, hand
        self.total: int | None = None
        self.revision: str | None = None
        self.whole = True
        self.offset = self.pages = 0
        self.disordered = False
        self._overlaps: bool | None = None
        self._agreed = 0
        self._counts_pages = False
        self._first: WalkPage | None = None
        self._last: WalkPage | None = None
        self._seen: frozenset[str] = frozenset()
        self._links: set[int] = set()
        self._pages: set[int] = set()
        self._again = 0
        self._followed: str | None = None

    async def walk(self) -> AsyncIterator[WalkPage]:
        """The pages in their order. Raises `CollectionChanged`, `SourceRefused`, and what `fetch` raises."""
        first = await self._fetch(self._limit, 0, None)
        if not await self._take(first):
            return
        yield first
        if self.total is not None and not first.beyond:
            async for page in self._stride(len(first.rows), self.total):
                yield page
        while not self._ended():
            page = await self._fetch(self._limit, self.offset, self._link())
            if self._is_sudden(page):
                page = await self._fetch(self._limit, self.offset, None)
            if not await self._take(page):
                return
            yield page

    def _is_sudden(self, page: WalkPage) -> bool:
        """Whether an empty page may be a slip: it follows a full one, and nothing else says that this is the end.

        It is asked for once more, since what lies behind it would be taken for gone."""
        last, first = self._last, self._first
        if page.rows or page.refused or last is None or first is None:
            return False
        full = len(last.rows) >= (len(first.rows) if self.pages > 1 else self._limit)
        return full and self.total is None and last.more is None

    async def _stride(self, step: int, total: int) -> AsyncIterator[WalkPage]:
        """Asks for the pages ahead at once, while each has as many rows as it should; as many as the hand holds, and
        one beyond, without which a walk would wait for the others."""
        starts = iter(range(step, total, step))
        under_way: list[asyncio.Task[WalkPage]] = []
        held = 0
        try:
            while True:
                while len(under_way) <= held and (start := next(starts, None)) is not None:
                    under_way.append(asyncio.ensure_future(self._fetch(step, start, None)))
                    held += self._hand.take()
                if not under_way:
                    return
                page = await under_way.pop(0)
                asked = self.offset
                if not await self._take(page):
                    return
                yield page
                if self.offset != min(asked + step, total):
                    return
                while held > len(under_way):
                    held -= 1
                    self._hand.give()
        finally:
            for _ in range(held):
                self._hand.give()
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def _link(self) -> str | None:
        """The `next` to follow. Raises `SourceRefused` where it was followed before.

        One that leads to its own page is no circle: it stands for a place that the source keeps, or ends by itself."""
        link, before = self._last.beyond if self._last else None, self._followed
        if link is not None and link != before:
            if hash(link) in self._links:
                raise SourceRefused(CIRCLE)
            self._links.add(hash(link))
        self._followed = link
        return link

    def _notice(self, ids: list[str]) -> None:
        """Raises `SourceRefused` where page after page is one that came before, and no total says where it ends."""
        page = hash(tuple(ids))
        self._again = self._again + 1 if page in self._pages else 0
        if self._again >= ROUND and self.total is None:
            raise SourceRefused(CIRCLE)
        self._pages.add(page)

    async def _take(self, page: WalkPage) -> bool:
        """Notes what a page says, and whether it has rows that the page before did not have."""
        self._compare(page)
        last, self._last = self._last, page
        new = len(page.ids) - sum(map(self._seen.__contains__, page.ids))
        if new and not self._wraps(page):
            self._notice(page.ids)
            if last is not None:
                again = len(page.ids) - new
                overlaps = again > 0 and page.ids[:again] == last.ids[-again:]
                self.disordered |= (again > 0 and not overlaps) or self._overlaps not in (None, overlaps)
                self._overlaps = overlaps
            if self.pages and self.total is not None and self.offset >= self.total:
                self.total, self._counts_pages = None, True  # rows behind its own end
            self._first = self._first or page
            self.offset += new
            self.pages += 1
            self._seen = frozenset(page.ids)
            return True
        full = (
            last is not None and self._first is not None and len(last.rows) >= min(len(self._first.rows), self._limit)
        )
        only = self.pages == 1 and last is not None and len(last.rows) < self._limit  # short by itself: its end
        promised = bool(last and last.more) or bool(new) or (page.refused and full and not only)
        self.whole = not promised and (self.total is None or self.offset >= self.total)
        if last and self.pages == 1 and page.ids == last.ids and len(last.ids) > 1 and self.total != len(last.ids):
            await self._probe(last)
        return False

    def _compare(self, page: WalkPage) -> None:
        """Raises `CollectionChanged` when the page says another total or revision than those before it."""
        if page.total is not None and not self._counts_pages:
            beyond = not page.rows and not page.total and self.offset >= (self.total or 0)
            if self.total is None:
                self.total = page.total
            elif page.total != self.total and not beyond:
                first = self._first
                if not (self.pages == 1 and first and self.total == len(first.rows) and page.total == len(page.rows)):
                    raise CollectionChanged
                self.total, self._counts_pages = None, True  # what each page says is how many rows it has itself
            self._agreed += 1
        if page.revision is not None:
            if self.revision not in (None, page.revision):
                raise CollectionChanged
            self.revision = page.revision

    async def _probe(self, first: WalkPage) -> None:
        """The second page was the first again. Raises `SourceRefused` where rows may lie behind it.

        Who asks for one row from the second on gets all rows of a source that never pages, and the second of one
        that has no more. A source that limits and does not move on gives the first."""
        one = await self._fetch(1, 1, None)
        if first.ids[1] not in one.ids:
            raise SourceRefused(
                "The source answers with the same page for every offset, so that the rest of its rows cannot be "
                "read: ask its vendor, or set the source's page size above the size of its collections."
            )
        self.whole = True

    def _wraps(self, page: WalkPage) -> bool:
        """Whether a source without a total begins anew behind its end."""
        first = self._first
        anew = first is not None and first.ids[0] == page.ids[0] and self._seen.isdisjoint(page.ids)
        return anew and self.total is None and self.pages > 1

    def _ended(self) -> bool:
        """Whether the end is reached, by a total that can be believed, or by the last of the links."""
        if self._last is None or self._last.beyond:
            return False
        if self._first and self._first.beyond:
            self.whole = self.total is None or self.offset >= self.total
            return True
        return self._agreed > 1 and self.total is not None and self.offset >= self.total and not self._last.more
