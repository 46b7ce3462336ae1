"""Computes the largest number of rows that a selection could return, before anything is read."""

from app.core.page import DEFAULT_LIMIT, MAX_LIMIT
from app.resources.catalog import Catalog
from app.resources.members import ManyMember, OneMember, ValueMember
from app.resources.select import ListRoot, Page, Pick, Picks, ResourceType, Root, Total, parts_with_rows

COUNTING = 250
"""The cost of requesting a list's total, in rows; counting a row costs about a hundredth of returning it."""


def cost(catalog: Catalog, root: Root) -> int:
    """Returns the largest number of rows that a list or row at the top of a selection could return.

    The rows that are nested in it are counted too. A page counts as `first` rows. A list without pages counts as the
    number of rows that its declaration assumes (`assumed`). `Answer.rows` has the number of rows that were really read.
    """
    if not isinstance(root, ListRoot):
        return 1 + _picks(catalog, root.resource, root.picks)
    listing = catalog.listings[root.listing]
    if root.page is None:
        return listing.assumed * (1 + _picks(catalog, listing.resource, root.picks))
    return _page(catalog, listing.resource, root.page)


def _page(catalog: Catalog, resource: ResourceType, page: Page) -> int:
    length = DEFAULT_LIMIT if page.first is None else max(0, min(page.first, MAX_LIMIT))
    rows = sum(length * (1 + _picks(catalog, resource, picks)) for _, picks in parts_with_rows(page))
    return rows + COUNTING * sum(isinstance(part, Total) for part in page.parts)


def _picks(catalog: Catalog, resource: ResourceType, picks: Picks) -> int:
    rows = 0
    for pick in picks:
        if not isinstance(pick, Pick):
            continue
        member = catalog.member(resource, pick.member)
        if isinstance(member, ManyMember) and pick.page is not None:
            rows += _page(catalog, member.target, pick.page)
        elif isinstance(member, ManyMember):
            rows += member.assumed * (1 + _picks(catalog, member.target, pick.picks))
        elif isinstance(member, OneMember) and pick.picks:
            rows += 1 + _picks(catalog, member.target, pick.picks)
        elif isinstance(member, ValueMember):
            rows += member.assumed if member.many else 1
    return rows
