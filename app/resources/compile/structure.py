"""Splits a selection into its structure and its values.

The structure determines the SQL statement. The values, such as ids and filters, are the parameters of the statement.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from app.resources.select import (
    Constant,
    Edges,
    KeptPicks,
    ListRoot,
    Node,
    Page,
    Path,
    Pick,
    Picks,
    Root,
    RowRoot,
    Rows,
    WrittenRoot,
    is_plain,
    parts_with_rows,
)


def structure(root: Root) -> tuple[Any, ...]:
    """Returns the structure of a selected list or row: all that its SQL statement depends on, without the values."""
    if isinstance(root, RowRoot | WrittenRoot):
        return (type(root), root.resource, _picks(root.picks))
    shape = _picks(root.picks) if root.page is None else _page(root.page)
    flags = tuple(sorted((name, value) for name, value in root.filters.items() if isinstance(value, bool)))
    filter_names = tuple(sorted(name for name, value in root.filters.items() if value is not None))
    is_set = (root.sort, root.updated_since is not None, root.search is not None)
    return ("list", root.listing, filter_names, flags, is_set, shape)


def values(root: Root) -> Iterator[tuple[Path, Any]]:
    """Yields the values in a selected list or row (ids, filters and arguments), each with its path.

    Cursors and limits are not included, because `cursors.open_pages` returns them.
    """
    if isinstance(root, RowRoot):
        yield ("id",), root.row_id
        yield from _values_of_picks(root.picks, ())
        return
    if isinstance(root, WrittenRoot):
        yield ("ids",), list(root.row_ids)
        yield from _values_of_picks(root.picks, ())
        return
    for name, value in root.filters.items():
        yield ("filter", name), value
    yield ("updated_since",), _in_utc(root.updated_since)
    yield ("search",), root.search
    yield from _values_of_picks(root.picks, ()) if root.page is None else _values_of_page(root.page, ())


def _in_utc(instant: datetime | None) -> datetime | None:
    """Returns an instant in UTC, or the nearest instant that `datetime` can represent."""
    if instant is None:
        return None
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return (datetime.min if instant.year == 1 else datetime.max).replace(tzinfo=UTC)


def pages(root: Root) -> Iterator[tuple[Path, Page]]:
    """Yields every page in a selected list or row, with the page's path."""
    if isinstance(root, ListRoot) and root.page is not None:
        yield from _pages(root.page, ())
    else:
        yield from _pages_of_picks(root.picks, ())


def _picks(picks: Picks) -> tuple[Any, ...]:
    if not picks:
        return ()
    if not isinstance(picks, KeptPicks):
        return _structure(picks)
    if picks.structure is None:
        picks.structure = _structure(picks)
    return picks.structure


def _structure(picks: Picks) -> tuple[Any, ...]:
    return tuple(
        (pick.key, pick.text)
        if isinstance(pick, Constant)
        else (
            pick.key,
            pick.member,
            tuple(name for name, value in pick.arguments if value is not None),
            None if pick.page is None else _page(pick.page),
            _picks(pick.picks),
        )
        for pick in picks
    )


def _page(page: Page) -> tuple[Any, ...]:
    parts: list[Any] = []
    for part in page.parts:
        if isinstance(part, Rows):
            parts.append((part.key, _picks(part.picks)))
        elif isinstance(part, Edges):
            inner = [(piece.key, _picks(piece.picks)) if isinstance(piece, Node) else piece for piece in part.parts]
            parts.append((part.key, tuple(inner)))
        else:
            parts.append(part)
    return (page.after is not None, page.backward, tuple(parts))


def _values_of_picks(picks: Picks, path: Path) -> Iterator[tuple[Path, Any]]:
    for pick in () if is_plain(picks) else picks:
        if isinstance(pick, Pick):
            for name, value in pick.arguments:
                yield (*path, pick.key, "argument", name), value
            if pick.page is not None:
                yield from _values_of_page(pick.page, (*path, pick.key))
            yield from _values_of_picks(pick.picks, (*path, pick.key))


def _values_of_page(page: Page, path: Path) -> Iterator[tuple[Path, Any]]:
    for keys, picks in parts_with_rows(page):
        yield from _values_of_picks(picks, (*path, *keys))


def _pages(page: Page, path: Path) -> Iterator[tuple[Path, Page]]:
    yield path, page
    for keys, picks in parts_with_rows(page):
        yield from _pages_of_picks(picks, (*path, *keys))


def _pages_of_picks(picks: Picks, path: Path) -> Iterator[tuple[Path, Page]]:
    for pick in picks:
        if isinstance(pick, Pick):
            if pick.page is not None:
                yield from _pages(pick.page, (*path, pick.key))
            yield from _pages_of_picks(pick.picks, (*path, pick.key))
