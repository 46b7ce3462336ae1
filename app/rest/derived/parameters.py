"""Builds the query parameters of a list or a row from the declarations."""

from datetime import date
from enum import StrEnum
from inspect import Parameter
from keyword import iskeyword
from typing import Annotated, Any, Literal, Optional, cast

from fastapi import Query
from pydantic import AwareDatetime, BeforeValidator, Field

from app.resources.listing import MAX_SEARCH, SEARCH, Filter, Flag, Listing, sort_words, updated_since_words
from app.resources.select import ResourceType
from app.rest.derived.selection import expandable, split
from app.rest.derived.shapes import Shapes
from app.rest.door import After, Limit
from app.rest.values import Day

EXPAND = (
    "Links whose rows are shown too, separated by commas; each needs the scope that reads its rows. The rows of `x` "
    "are in `x`, or in `x_expanded` where `x` has ids."
)
FIELDS = "The only fields to be shown, separated by commas, such as `id,{example}`; the id is always shown."
INCLUDE_TOTAL = "Whether `total` is shown: the number of rows on all pages, exact to 25,000."
MAX_FIELDS = 4000
MAX_EXPANDED = 20
"""The largest number of names in `expand`."""


def row_parameters(shapes: Shapes, resource: ResourceType) -> list[Parameter]:
    """Returns the parameters `expand` and `fields` of a resource."""
    names = tuple(expandable(shapes, resource))
    parameters = []
    if names:
        listed: Any = Annotated[cast(Any, list)[_literal(names)], Field(max_length=MAX_EXPANDED)]
        kind = Annotated[Optional[listed], BeforeValidator(split), Query(description=EXPAND)]  # noqa: UP045  # built at run time
        parameters.append(_parameter("expand", kind, None))
    example = list(shapes.members(resource))[1]
    text = Annotated[str | None, Query(description=FIELDS.format(example=example), max_length=MAX_FIELDS)]
    return [*parameters, _parameter("fields", text, None)]


def list_parameters(shapes: Shapes, listing: Listing) -> list[Parameter]:
    """Returns the parameters of a list: its filters, order, search, links, fields and page."""
    parameters = [criterion_parameter(name, criterion) for name, criterion in listing.by_face("rest").items()]
    if listing.search is not None:
        kind: Any = Annotated[str | None, Query(description=SEARCH, max_length=MAX_SEARCH)]
        parameters.append(_parameter("q", kind, None))
    if listing.changed_at is not None:
        words = updated_since_words(listing)
        parameters.append(_parameter("updated_since", Annotated[AwareDatetime | None, Query(description=words)], None))
    if listing.sorts:
        orders = tuple(f"{sign}{sort.name}" for sort in listing.sorts for sign in ("", "-"))
        order: Any = _literal(orders)
        kind = Annotated[Optional[order], Query(description=sort_words(listing))]  # noqa: UP045  # built at run time
        parameters.append(_parameter("sort", kind, None))
    parameters += row_parameters(shapes, listing.resource)
    if listing.paged:
        parameters += page_parameters()
    return parameters


def page_parameters() -> list[Parameter]:
    """Returns the parameters of a page: its cursor, its length, and whether it shows the total."""
    total = _parameter("include_total", Annotated[bool, Query(description=INCLUDE_TOTAL)], False)
    return [total, _parameter("after", After, None), _parameter("limit", Limit, None)]


def criterion_parameter(name: str, criterion: Filter[Any] | Flag) -> Parameter:
    """Returns the parameter of a filter or a flag."""
    if isinstance(criterion, Flag):
        return _parameter(name, Annotated[bool, Query(description=criterion.description)], False)
    alias = name if iskeyword(name) else None
    kind: Any = criterion.value_type
    if issubclass(kind, StrEnum):
        kind = _literal(tuple(choice.value for choice in kind))
    elif kind is date:
        kind = Day
    # A number is compared with a column of 32 bits.
    least, most = (0, 2**31 - 1) if kind is int else (None, None)
    query = Query(alias=alias, description=criterion.description, ge=least, le=most)
    return _parameter(f"{name}_" if alias else name, Annotated[Optional[kind], query], None)  # noqa: UP045  # built at run time


def _literal(values: tuple[str, ...]) -> Any:
    return cast(Any, Literal)[values]


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
