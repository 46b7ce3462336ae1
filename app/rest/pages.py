"""Owns how a page looks in REST: items, `next`, and the Link header (RFC 8288)."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from app.access.work import Work
from app.core.page import Keyset, Page, keyset
from app.core.text import texts_of

Item = TypeVar("Item")
Row = TypeVar("Row")
NUL = "\x00"
LARGEST = 2**31 - 1
"""The largest number of a PostgreSQL `integer`."""


class Shape(BaseModel):
    """What goes out."""

    model_config = ConfigDict(extra="forbid")


class Input(BaseModel):
    """What comes in; a field that is not known is refused, so that a misspelt one is not lost."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """Refuses what PostgreSQL cannot store: a NUL in a text, a whole number beyond an `integer`."""
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and NUL in one:
                raise PydanticCustomError("nul", "A text has no NUL character")
            if isinstance(one, int) and not -LARGEST <= one <= LARGEST:
                raise PydanticCustomError("too_large", "This number is too large")
        return value


class Items(Shape, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next: str | None = Field(description="The cursor of the next page, as `after`; null on the last.")


def text_field(input_type: type, name: str, **more: Any) -> Any:
    """Returns the pydantic field of a text, with the lengths that the service's input declares for it."""
    text = texts_of(input_type)[name]
    return Field(min_length=text.min or None, max_length=text.max, **more)


def place(work: Work, listing: str, filters: dict[str, Any], after: str | None, limit: int | None) -> Keyset:
    """Where a page starts; the cursor belongs to district, listing and filter."""
    return keyset(work.district_id, listing, filters, after, limit, work.keyring)


def paged(
    request: Request, response: Response, page: Page[Row], shape: Callable[[Row], Item]
) -> tuple[list[Item], str | None]:
    """The items of a page; lays the Link header where more follow."""
    if page.next is not None:
        then = request.url.include_query_params(after=page.next)
        # Relative to the request: whatever host and scheme a proxy shows, it leads back through the same door.
        response.headers["Link"] = f'<{then.path}?{then.query}>; rel="next"'
    return [shape(row) for row in page.rows], page.next


def shaped(rows: Sequence[Row], shape: Callable[[Row], Item]) -> list[Item]:
    """Rows as a list that needs no page."""
    return [shape(row) for row in rows]
