"""Tests that every row of a source is read once, or that missing rows are reported, for all ways of paging. Uses no
database and no network.
"""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.sis.oneroster_rest.turns import PageBudget
from app.sis.oneroster_rest.walk import CollectionChanged, Fetch, Walk, WalkPage
from app.sis.port import SourceRefused


def page(rows: list[str], **metadata: object) -> WalkPage:
    """Returns a page whose rows are only ids."""
    return WalkPage(list(rows), list(rows), **metadata)  # type: ignore[arg-type]  # fields by name


def many(count: int) -> list[str]:
    """Returns this many rows with distinct ids."""
    return [f"r{number}" for number in range(count)]


async def walked(fetch: Fetch, limit: int = 10, ahead: int = 5) -> tuple[list[str], Walk]:
    """Returns every row in the order of the pages, and the object that read them."""
    walk = Walk(fetch, limit, PageBudget(ahead - 1))
    return [row async for one in walk.walk() for row in one.rows], walk


def serving(rows: list[str], cap: int, short: list[int], *, total: bool, link: bool, overlap: int) -> Fetch:
    """Returns a source that cuts pages at `cap` rows, makes some shorter by `short`, and repeats `overlap` rows on the
    next page.
    """
    cuts = iter(short * 1000)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        count = max(1, min(limit, cap) - next(cuts, 0))
        first = max(0, offset - overlap) if offset else 0
        page_rows = rows[first : offset + count] if offset < len(rows) else []
        return page(page_rows, total=len(rows) if total else None, more=offset + count < len(rows) if link else None)

    return fetch


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be loaded
@given(
    count=st.integers(0, 120),
    limit=st.integers(1, 40),
    cap=st.integers(1, 50),
    short=st.lists(st.integers(0, 9), max_size=6),
    total=st.booleans(),
    link=st.booleans(),
    overlap=st.integers(0, 2),
    ahead=st.integers(1, 6),
)
async def test_every_row_comes_once_whatever_the_pages(
    count: int, limit: int, cap: int, short: list[int], total: bool, link: bool, overlap: int, ahead: int
) -> None:
    """Every row is read exactly once for any size of pages, with repeated rows, and with or without totals and links.

    Pages are requested one by one, and in advance.
    """
    rows = many(count)
    served = serving(rows, cap, short, total=total, link=link, overlap=overlap)
    ids, walk = await walked(served, limit, ahead)
    assert list(dict.fromkeys(ids)) == rows
    assert overlap or ids == rows
    assert walk.whole
    assert not walk.disordered


async def test_a_small_collection_is_asked_about_once_more() -> None:
    """If each page states only its own number of rows as the total, further pages are read and no row is lost."""
    rows = many(25)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        ids = rows[offset : offset + min(limit, 10)]
        return page(ids, total=len(ids))

    ids, walk = await walked(fetch)
    assert ids == rows
    assert walk.whole


@pytest.mark.parametrize(("count", "at"), [(60, 20), (60, 40), (20, 10)])
async def test_a_page_that_is_empty_once_is_no_end(count: int, at: int) -> None:
    """If a page before the end is empty once, it is requested again, and all rows are read."""
    rows, slips = many(count), [at]

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        if offset in slips:
            slips.remove(offset)
            return page([])
        return page(rows[offset : offset + limit])

    ids, walk = await walked(fetch)
    assert (ids, walk.whole, slips) == (rows, True, [])


async def test_a_total_that_is_too_high_proves_no_absence() -> None:
    """If the total is higher than the number of rows, all rows are read, but the collection counts as incomplete."""
    rows = many(25)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        return page(rows[offset : offset + limit], total=30)

    ids, walk = await walked(fetch)
    assert ids == rows
    assert not walk.whole


async def test_a_next_that_leads_to_nothing_proves_no_absence() -> None:
    """If a `next` link leads to an empty page, the collection is marked as incomplete, so that no row is removed as
    absent.
    """

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        return page(many(10), more=True) if not offset else page([])

    _, walk = await walked(fetch)
    assert not walk.whole


@pytest.mark.parametrize(
    ("count", "total", "whole"), [(25, False, True), (7, False, True), (100, False, False), (20, True, True)]
)
async def test_an_error_behind_full_pages_proves_no_absence(count: int, total: bool, whole: bool) -> None:
    """If an error follows full pages, the collection is marked as incomplete, so that no row is removed as absent."""
    rows = many(count)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        if offset > 20 or offset >= count:
            return page([], refused=400)
        return page(rows[offset : offset + limit], total=count if total else None)

    ids, walk = await walked(fetch)
    assert ids == rows[:30]
    assert walk.whole == whole


@pytest.mark.parametrize("size", [7, 10, 25])
async def test_a_source_that_never_pages_is_read_at_once(size: int) -> None:
    """A source that ignores the limit and returns everything is read once."""

    async def fetch(_limit: int, _offset: int, _link: str | None) -> WalkPage:
        return page(many(size))

    ids, walk = await walked(fetch)
    assert ids == many(size)
    assert walk.whole


@pytest.mark.parametrize("cap", [7, 10])
async def test_a_source_that_ignores_the_offset_is_refused(cap: int) -> None:
    """A source that ignores the offset is refused, because its other rows cannot be read."""

    async def fetch(limit: int, _offset: int, _link: str | None) -> WalkPage:
        return page(many(100)[: min(limit, cap)])

    with pytest.raises(SourceRefused, match="same page for every offset"):
        await walked(fetch)


@pytest.mark.parametrize("end", ["last page again", "first page again", "nothing"])
async def test_the_end_is_seen_however_it_looks(end: str) -> None:
    """The end of a collection is recognized even if the source repeats its last page or begins again."""
    rows = many(25)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        if offset >= len(rows):
            return page({"last page again": rows[20:], "first page again": rows[:limit], "nothing": []}[end])
        return page(rows[offset : offset + limit])

    ids, walk = await walked(fetch)
    assert ids == rows
    assert walk.whole == (end != "first page again")


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("total", [None, 40])
async def test_pages_without_an_order_are_noticed(total: int | None, ahead: int) -> None:
    """If the order of pages changes while they are read, rows come twice. This is noticed."""
    rows = many(40)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        order = rows[:] if offset < 20 else [*rows[:20], rows[19], *rows[20:39]]
        return page(order[offset : offset + limit], total=total)

    ids, walk = await walked(fetch, ahead=ahead)
    assert len(set(ids)) < 40
    assert walk.disordered


async def test_links_that_are_no_offsets_are_followed() -> None:
    """`next` links without an offset are followed until a page has no `next` link."""
    rows, links = many(25), []

    async def fetch(limit: int, offset: int, link: str | None) -> WalkPage:
        at = int(link or 0)
        links.append(link)
        return page(rows[at : at + limit], more=at + limit < 25, beyond=str(at + limit) if at + limit < 25 else None)

    ids, walk = await walked(fetch)
    assert ids == rows
    assert links == [None, "10", "20"]
    assert walk.whole


async def test_a_link_that_leads_nowhere_is_replaced_by_an_offset() -> None:
    """If the page of a `next` link is refused, the page at the offset is read, so that no row is missing."""
    rows = many(25)

    async def fetch(limit: int, offset: int, link: str | None) -> WalkPage:
        if link is not None:
            return WalkPage([], [], refused=404)
        at_end = offset + limit >= len(rows)
        return page(rows[offset : offset + limit], more=not at_end, beyond=None if at_end else "nowhere")

    ids, walk = await walked(fetch)
    assert ids == rows
    assert walk.whole


def _turning(at: int, after: Callable[[], dict[str, object]]) -> Fetch:
    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        metadata: dict[str, object] = {"total": 95, "revision": "1"} if offset < at else after()
        return page(many(95)[offset : offset + limit], **metadata)

    return fetch


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("metadata", [{"total": 96, "revision": "1"}, {"total": 95, "revision": "2"}])
async def test_a_source_that_moves_is_noticed(metadata: dict[str, object], ahead: int) -> None:
    """If the total or the revision of a source changes while its pages are read, the change is noticed.

    This applies whether pages are requested one by one or in advance.
    """
    with pytest.raises(CollectionChanged):
        await walked(_turning(40, lambda: metadata), ahead=ahead)


async def test_pages_ahead_are_no_more_than_allowed_and_end_with_the_walk() -> None:
    """No more pages are requested in advance than allowed, and no task is left when the collection has been read."""
    under_way, most = 0, 0

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(0)
            if offset == 60:
                raise SourceRefused("no")
            return page(many(200)[offset : offset + limit], total=200)
        finally:
            under_way -= 1

    with pytest.raises(SourceRefused):
        await walked(fetch, ahead=4)
    assert most <= 4
    assert under_way == 0


async def test_a_place_that_the_source_keeps_is_no_circle() -> None:
    """Some sources return the same link for every page. The link is followed as long as each page has new rows."""
    parts = iter(many(40)[at : at + 10] for at in range(0, 40, 10))

    async def fetch(_limit: int, _offset: int, _link: str | None) -> WalkPage:
        rows = next(parts, [])
        return page(rows, beyond="scroll" if rows else None)

    ids, walk = await walked(fetch)
    assert ids == many(40)
    assert walk.whole


async def test_offsets_that_turn_in_a_circle_are_refused() -> None:
    """A source that repeats its pages in a circle and states no total is refused.

    This is noticed even if the first page is not part of the circle.
    """

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        return page([f"r{number if number < 10 else 10 + number % 20}" for number in range(offset, offset + limit)])

    with pytest.raises(SourceRefused, match="go in a circle"):
        await asyncio.wait_for(walked(fetch), 120)


async def test_a_total_ends_what_turns_in_a_circle() -> None:
    """If a server repeats its pages but states a total, reading ends after this number of rows."""

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        return page([f"r{number % 20}" for number in range(offset, min(offset + limit, 200))], total=200)

    ids, _ = await walked(fetch)
    assert (len(ids), len(set(ids))) == (200, 20)


@pytest.mark.parametrize("count", [1, 2, 7, 10, 25])
async def test_a_source_that_pages_only_by_links_may_fit_on_one_page(count: int) -> None:
    """A source that ignores the offset and pages by `next` links is read completely, even if it has only one page."""
    rows = many(count)

    async def fetch(limit: int, _offset: int, link: str | None) -> WalkPage:
        at = int(link or 0)
        following = str(at + limit) if at + limit < count else None
        return page(rows[at : at + limit], more=following is not None or None, beyond=following)

    ids, walk = await walked(fetch)
    assert ids == rows
    assert walk.whole


COUNTS: dict[str, Callable[[int, int, int], int]] = {
    "from this page on": lambda count, offset, _came: max(0, count - offset),
    "after this page": lambda count, offset, came: max(0, count - offset - came),
    "until here": lambda _count, offset, came: offset + came,
    "of this page": lambda _count, _offset, came: came,
}


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("count", [1, 7, 10, 20, 25, 95])
@pytest.mark.parametrize("counts", COUNTS)
async def test_a_total_that_counts_something_else_is_no_change(counts: str, count: int, ahead: int) -> None:
    """If each page's total counts only the remaining rows, or only the rows up to this page, every row is still read.

    No row counts as missing.
    """
    rows = many(count)

    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        came = rows[offset : offset + limit]
        return page(came, total=COUNTS[counts](count, offset, len(came)))

    ids, walk = await walked(fetch, ahead=ahead)
    assert ids == rows
    assert walk.whole


@pytest.mark.parametrize("ahead", [1, 5])
async def test_a_collection_that_shrinks_by_a_page_is_noticed(ahead: int) -> None:
    """If the total shrinks while pages are read and the next page is empty, the collection counts as changed."""
    with pytest.raises(CollectionChanged):
        await walked(_halving(many(20)), ahead=ahead)


def _halving(rows: list[str]) -> Fetch:
    async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
        left = rows if not offset else rows[10:]
        return page(left[offset : offset + limit], total=len(left))

    return fetch
