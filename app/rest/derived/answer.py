"""Answers the read routes that are generated from the resource declarations.

Converts a request into a selection, reads the selection with one statement, and sends the JSON.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from app.access.permission import Can
from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, Malformed, NotFound, Violation
from app.resources.compile.cost import cost
from app.resources.declare import declaration
from app.resources.listing import Listing
from app.resources.members import ManyMember, OneMember
from app.resources.run import Answer, read, resolve_filters
from app.resources.select import (
    REST_STYLE,
    KeptPicks,
    ListRoot,
    Next,
    Page,
    PagePart,
    Pick,
    Picks,
    ResourceType,
    Root,
    RowRoot,
    Rows,
    Total,
)
from app.rest.derived.selection import Tree, permissions_of_picks, picks_of, require, split, tree_of
from app.rest.derived.shapes import Shapes
from app.rest.pages import link_to_next

MAX_ROWS = 30_000
"""A request with `expand` is refused if its answer could have more rows than this, including the rows of links."""
JSON = "application/json"
NEXT = re.compile(rb'"next":"([^"]*)"\}+$')


class Reader:
    """Answers the read routes that are generated from the resource declarations.

    `shapes` has the response models of the resources that REST serves.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.catalog = shapes.catalog
        self._whole_picks: dict[ResourceType, tuple[Picks, tuple[Can, ...]]] = {}

    async def answer_list(self, work: Work, request: Request, listing: Listing, given: Mapping[str, Any]) -> Response:
        """Returns the response with a page of a list, or with a whole list that has no pages."""
        criteria = listing.by_face("rest")
        texts = {name: value for name in criteria if (value := given.get(name, given.get(f"{name}_"))) is not None}
        picks = self._picks(work, listing.resource, given)
        filters = await resolve_filters(work, criteria, texts, pointers=True)
        page = None
        if listing.paged:
            page = _page(picks, given)
        root = ListRoot(
            "",
            listing.name,
            page,
            () if page else picks,
            filters,
            given.get("sort"),
            given.get("updated_since"),
            given.get("q"),
        )
        self._check_cost(root, given)
        (answer,) = await self.read(work, root)
        text = answer.text if listing.paged else b'{"items":%b}' % answer.text
        return _response(request, text, answer.next)

    async def answer_row(
        self, work: Work, request: Request, resource: ResourceType, name: str, given: Mapping[str, Any]
    ) -> Response:
        """Returns the response with one row.

        `name` is the row's id, or another name such as a code. Raises `NotFound`.
        """
        picks = self._picks(work, resource, given)
        root = RowRoot("", resource, await self.find(work, resource, name), picks)
        self._check_cost(root, given)
        return _response(request, await self._row(work, root))

    async def answer_link(
        self,
        work: Work,
        request: Request,
        resource: ResourceType,
        link: OneMember | ManyMember,
        name: str,
        given: Mapping[str, Any],
    ) -> Response:
        """Returns the response with the rows to which a link of one row leads, such as the supports of a student.

        It is a single row, a page of rows, or all rows of a link without pages. `name` identifies the row that has the
        link.
        """
        picks = self._picks(work, link.target, given)
        if isinstance(link, OneMember):
            one = RowRoot("", resource, await self.find(work, resource, name), (Pick("row", link.name, picks),))
            text = (await self._row(work, one))[len(b'{"row":') : -1]
            if text == b"null":
                raise NotFound(declaration(link.target).kind or link.name)
            return _response(request, text)
        criteria = {filter_.shown_as("rest"): filter_ for filter_ in link.filters}
        texts = {each: value for each in criteria if (value := given.get(each, given.get(f"{each}_"))) is not None}
        row_id = await self.find(work, resource, name)
        arguments = tuple((await resolve_filters(work, criteria, texts, pointers=True)).items())
        if not link.paged:
            text = await self._row(work, RowRoot("", resource, row_id, (Pick("items", link.name, picks),)))
            return _response(request, text)
        page = _page(picks, given)
        pick = Pick("page", link.name, page=page, arguments=arguments)
        text = await self._row(work, RowRoot("", resource, row_id, (pick,)))
        text = text[len(b'{"page":') : -1]
        following = NEXT.search(text)
        return _response(request, text, following.group(1).decode() if following else None)

    async def read_row(self, work: Work, resource: ResourceType, row_id: UUID) -> bytes:
        """Returns one row as JSON text, for the response to a command; raises `NotFound`."""
        return await self._row(work, RowRoot("", resource, row_id, picks_of(self.shapes, resource, {})))

    async def read(self, work: Work, *roots: Root) -> list[Answer]:
        """Reads lists and rows with one statement, and returns an `Answer` (the response) for each of them, in order.

        Raises the first error that an answer contains.
        """
        answers = await read(work, self.catalog, roots, REST_STYLE)
        for answer in answers:
            for error in answer.errors:
                raise error.error
        return answers

    async def find(self, work: Work, resource: ResourceType, name: str) -> UUID:
        """Returns the id of the row that `name` identifies. `name` is a text from the path of a URL.

        It is a public id or, for some resources, another name such as a code. Raises `NotFound` if there is no such
        row.
        """
        facts = declaration(resource)
        if facts.locate is not None:
            row_id: UUID = await facts.locate(work, name, None)
            return row_id
        try:
            return ids.parse_id(str(facts.kind), name)
        except Invalid:
            raise NotFound(str(facts.kind)) from None

    def permissions(self, resource: ResourceType, more: Iterable[Can] = ()) -> tuple[Can, ...]:
        """Returns the permissions that reading a resource without `expand` requires, together with those in `more`."""
        picks = picks_of(self.shapes, resource, {})
        inner = permissions_of_picks(self.catalog, resource, picks)
        return tuple(dict.fromkeys((*declaration(resource).requires, *more, *inner)))

    def _picks(self, work: Work, resource: ResourceType, given: Mapping[str, Any]) -> Picks:
        """Returns the fields, links and values that the parameters `expand` and `fields` of a request select.

        Raises `Forbidden`, before any row is looked up, if the caller may not read one of them.
        """
        expand, fields = tree_of(given.get("expand") or ()), _fields(given.get("fields"))
        if not expand and fields is None:
            picks, needed = self._picks_of_whole(resource)
        else:
            picks = picks_of(self.shapes, resource, expand, fields)
            needed = self._permissions_of(resource, picks)
        require(work, needed)
        return picks

    def _picks_of_whole(self, resource: ResourceType) -> tuple[Picks, tuple[Can, ...]]:
        """Returns the fields, links and values that a response shows if the request has no `expand` and no `fields`.

        Also returns the permissions that they require.
        """
        if resource not in self._whole_picks:
            picks = KeptPicks(picks_of(self.shapes, resource, {}))
            self._whole_picks[resource] = picks, self._permissions_of(resource, picks)
        return self._whole_picks[resource]

    def _permissions_of(self, resource: ResourceType, picks: Picks) -> tuple[Can, ...]:
        return tuple(dict.fromkeys(permissions_of_picks(self.catalog, resource, picks)))

    async def _row(self, work: Work, root: RowRoot) -> bytes:
        (answer,) = await self.read(work, root)
        if answer.text == b"null":
            raise NotFound(str(declaration(root.resource).kind))
        return answer.text

    def _check_cost(self, root: Root, given: Mapping[str, Any]) -> None:
        rows = cost(self.catalog, root) if given.get("expand") else 0
        if rows > MAX_ROWS:
            detail = f"This could return {rows} rows, more than {MAX_ROWS}. Use a smaller `limit`, or expand less."
            raise Malformed([Violation("/expand", "expand.too_many_rows", detail)])


def _page(picks: Picks, given: Mapping[str, Any]) -> Page:
    total: tuple[PagePart, ...] = (Total("total"),) if given.get("include_total") else ()
    return Page((Rows("items", picks), *total, Next("next")), given.get("limit"), given.get("after"))


def _fields(text: str | None) -> Tree | None:
    return None if text is None else tree_of(split([text]))


def _response(request: Request, text: bytes, following: str | None = None) -> Response:
    headers = {} if following is None else {"Link": link_to_next(request, following)}
    return Response(text, media_type=JSON, headers=headers)
