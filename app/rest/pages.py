"""Defines the base classes of request and response models, and formats pages with their Link header (RFC 8288)."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from app.access.work import Work
from app.core.page import Keyset, Page, keyset
from app.rest.values import annotations_of, check_value

Item = TypeVar("Item")
Row = TypeVar("Row")
NUL = "\x00"
PATH_CHARACTERS = "/:@!$&'()*+,;=~"
"""The characters besides letters and digits that a path contains as they are (RFC 3986 §3.3)."""
MAX_INTEGER = 2**31 - 1
"""The largest value of PostgreSQL's type `integer`."""


class Shape(BaseModel):
    """The base class of all response models.

    The contract says that a response can have more fields than it lists. Clients must therefore ignore unknown fields,
    and fields can be added later.
    """


class Input(BaseModel):
    """The base class of all request models, which refuse an unknown field, so that a misspelt field is not ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def of_its_type(cls, value: Any, info: ValidationInfo) -> Any:
        """Returns the value, or raises an error if its JSON type does not match the field.

        For example, a field for a date accepts neither a number nor an instant.
        """
        check_value(annotations_of(cls)[str(info.field_name)], value)
        return value

    @field_validator("*")
    @classmethod
    def storable(cls, value: Any) -> Any:
        """Returns the value, or raises an error for a value that PostgreSQL cannot store.

        These are texts with a NUL character, and whole numbers that do not fit into an `integer`.
        """
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and NUL in item:
                raise PydanticCustomError("nul", "A text must not contain a NUL character")
            if isinstance(item, int) and not -MAX_INTEGER <= item <= MAX_INTEGER:
                raise PydanticCustomError("too_large", "This number is too large")
        return value


def _remove_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class Changes(Input):
    """The base class of request models that change a row; a field that the client does not send stays as it is.

    The contract states no default, because a generated client would send it and overwrite the value. A model gives its
    fields the default `NOT_NAMED`, and its route reads the model with `exclude_unset=True`.
    """

    model_config = ConfigDict(json_schema_extra=_remove_defaults)


NOT_NAMED: Any = None
"""The default of the fields of a `Changes` model. Pydantic does not validate it, and no route reads it."""


class Items(Shape, Generic[Item]):
    """A page of a list."""

    items: list[Item] = Field(description="The rows of this page, in the order of the list.")
    next: str | None = Field(description="The cursor of the next page, for `after`; null on the last page.")

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Returns the model's name in the contract, such as `ConcernPage`."""
        return f"{params[0].__name__}Page"


def page_keyset(work: Work, listing: str, filters: dict[str, Any], after: str | None, limit: int | None) -> Keyset:
    """Returns the start and the length of the requested page.

    Cursors of the page are valid for one district, one list and one set of filters.
    """
    return keyset(work.district_id, listing, filters, after, limit, work.keyring)


def to_page(
    request: Request, response: Response, page: Page[Row], shape: Callable[[Row], Item]
) -> tuple[list[Item], str | None]:
    """Returns the items of a page and the next cursor. If more items follow, it also sets the Link header."""
    if page.next is not None:
        response.headers["Link"] = link_to_next(request, page.next)
    return [shape(row) for row in page.rows], page.next


def link_to_next(request: Request, cursor: str) -> str:
    """Returns the Link header for the next page. It has the address of this request, with the cursor `cursor`.

    The address is relative to the request, so that it works behind a proxy with any host and scheme.
    """
    query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = [*((name, value) for name, value in query if name != "after"), ("after", cursor)]
    return f'<{quote(request.scope["path"], safe=PATH_CHARACTERS)}?{urlencode(query)}>; rel="next"'
