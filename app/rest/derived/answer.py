"""Answers the read routes that are generated from the resource declarations.

Converts a request into a selection, reads the selection with one statement, and sends the JSON.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from app.access.permission import Can
from app.access.work import Work
from app.core import ids
from app.core.errors import Invalid, Malformed, NotFound, Violation
from app.core.violations import ReadViolations
from app.resources.compile.cost import cost
from app.resources.declare import declaration
from app.resources.listing import Listing
from app.resources.members import ManyMember, OneMember
from app.resources.run import Answer, open_root, read, resolve_filters
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
from app.rest.derived.selection import Tree, permissions_of_picks, picks_of, require, split, tree_of, unknown_field
from app.rest.derived.shapes import Shapes
from app.rest.pages import link_to_next

MAX_ROWS = 30_000
"""A request with `expand` is refused if its answer could have more rows than this, including the rows of links."""
INDEPENDENT = frozenset({"expand", "fields", "include_total", "limit"})
"""The parameters on which a cursor does not depend. The cursor of a list depends on all others, such as filters."""
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
        root = await self.list_root(work, listing, given)
        (answer,) = await self.read(work, root)
        text = answer.text if listing.paged else b'{"items":%b}' % answer.text
        return _response(request, text, answer.next)

    async def list_root(
        self, work: Work, listing: Listing, given: Mapping[str, Any], refused: frozenset[str] = frozenset()
    ) -> ListRoot:
        """Returns what a request for a list selects.

        Raises `Malformed` or `Invalid` with the violations of all parameters together. `given` has the values of the
        parameters, without those in `refused`, whose form is wrong. What depends on these is not checked.
        """
        criteria = listing.by_face("rest")
        picks: Picks = ()
        filters: dict[str, Any] | None = None
        violations = ReadViolations()
        with violations:
            picks = self._picks(work, listing.resource, given, refused)
        with violations:
            filters = await resolve_filters(work, criteria, _texts(criteria, given), pointers=True)
        page = _page(picks, given) if listing.paged else None
        order = (given.get("sort"), given.get("updated_since"), given.get("q"))
        root = ListRoot("", listing.name, page, () if page else picks, filters or {}, *order)
        with violations:
            self._check_cost(root, given)
        if violations or refused:
            if page is not None and (filters is None or not refused <= INDEPENDENT):
                root = replace(root, page=replace(page, after=None))
            with violations:
                open_root(work, self.catalog, root, REST_STYLE)
        violations.refuse()
        return root

    async def answer_row(
        self, work: Work, request: Request, resource: ResourceType, name: str, given: Mapping[str, Any]
    ) -> Response:
        """Returns the response with one row.

        `name` is the row's id, or another name such as a code. Raises `NotFound`.
        """
        return _response(request, await self._row(work, await self.row_root(work, resource, name, given)))

    async def row_root(
        self,
        work: Work,
        resource: ResourceType,
        name: str,
        given: Mapping[str, Any],
        refused: frozenset[str] = frozenset(),
    ) -> RowRoot:
        """Returns what a request for one row selects. The parameters and errors are those of `list_root`."""
        picks = self._picks(work, resource, given, refused)
        root = RowRoot("", resource, await self.find(work, resource, name), picks)
        self._check_cost(root, given)
        return root

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
        text = await self._row(work, await self.link_root(work, resource, link, name, given))
        if isinstance(link, OneMember):
            text = text[len(b'{"row":') : -1]
            if text == b"null":
                raise NotFound(declaration(link.target).kind or link.name)
            return _response(request, text)
        if not link.paged:
            return _response(request, text)
        text = text[len(b'{"page":') : -1]
        following = NEXT.search(text)
        return _response(request, text, following.group(1).decode() if following else None)

    async def link_root(
        self,
        work: Work,
        resource: ResourceType,
        link: OneMember | ManyMember,
        name: str,
        given: Mapping[str, Any],
        refused: frozenset[str] = frozenset(),
    ) -> RowRoot:
        """Returns what a request for the rows of a link selects. The parameters and errors are those of `list_root`."""
        criteria = {} if isinstance(link, OneMember) else {one.shown_as("rest"): one for one in link.filters}
        picks: Picks = ()
        arguments: dict[str, Any] | None = None
        violations = ReadViolations()
        with violations:
            picks = self._picks(work, link.target, given, refused)
        row_id = await self.find(work, resource, name)
        with violations:
            arguments = await resolve_filters(work, criteria, _texts(criteria, given), pointers=True)
        if isinstance(link, OneMember):
            pick = Pick("row", link.name, picks)
        elif not link.paged:
            pick = Pick("items", link.name, picks)
        else:
            pick = Pick("page", link.name, page=_page(picks, given), arguments=tuple((arguments or {}).items()))
        root = RowRoot("", resource, row_id, (pick,))
        if violations or refused:
            if pick.page is not None and (arguments is None or not refused <= INDEPENDENT):
                root = replace(root, picks=(replace(pick, page=replace(pick.page, after=None)),))
            with violations:
                open_root(work, self.catalog, root, REST_STYLE)
        violations.refuse()
        return root

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

    def _picks(
        self, work: Work, resource: ResourceType, given: Mapping[str, Any], refused: frozenset[str] = frozenset()
    ) -> Picks:
        """Returns the fields, links and values that the parameters `expand` and `fields` of a request select.

        Raises `Forbidden`, before any row is looked up, if the caller may not read one of them, and `Malformed` with
        the names in `fields` that the response does not have. They are not checked if `expand` is in `refused`.
        """
        expand, fields = tree_of(given.get("expand") or ()), given.get("fields")
        if not expand and fields is None:
            picks, needed = self._picks_of_whole(resource)
        else:
            names = None if fields is None or "expand" in refused else split([fields])
            picks = self._limited_picks(resource, expand, names)
            needed = self._permissions_of(resource, picks)
        require(work, needed)
        return picks

    def _limited_picks(self, resource: ResourceType, expand: Tree, names: Sequence[str] | None) -> Picks:
        try:
            return picks_of(self.shapes, resource, expand, None if names is None else tree_of(names))
        except Malformed:
            unknown = (place for place, name in enumerate(names or ()) if not self._has_field(resource, expand, name))
            raise Malformed([unknown_field(place) for place in unknown]) from None

    def _has_field(self, resource: ResourceType, expand: Tree, name: str) -> bool:
        try:
            picks_of(self.shapes, resource, expand, tree_of([name]))
        except Malformed:
            return False
        return True

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


def _texts(criteria: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the filters in a request. A filter whose name is a Python keyword has `_` after it."""
    return {name: value for name in criteria if (value := given.get(name, given.get(f"{name}_"))) is not None}


def _response(request: Request, text: bytes, following: str | None = None) -> Response:
    headers = {} if following is None else {"Link": link_to_next(request, following)}
    return Response(text, media_type=JSON, headers=headers)
