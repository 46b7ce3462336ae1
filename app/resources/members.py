"""Defines the members of a resource: fields, references, links, and stored or computed values.

The functions in `fields` declare them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NewType, TypeVar
from uuid import UUID

from app.access.permission import Can

if TYPE_CHECKING:
    from app.resources.listing import Filter

T = TypeVar("T")
R = TypeVar("R")
Id = NewType("Id", UUID)
"""The public id of another row, such as `stu_…`."""

SAME = "="
"""The marker for a member that has the same name in an API as in its declaration (GraphQL writes it in camel case)."""


class One(Generic[R]):
    """The type annotation of a link that leads to at most one row of another resource."""


class Many(Generic[R]):
    """The type annotation of a link that leads to any number of rows of another resource."""


@dataclass(frozen=True)
class Member:
    """The base class of all members of a resource: fields, references, links and values.

    It has the member's name, description and example, and its name in each API. A name of None means that the API does
    not show the member.
    """

    name: str
    description: str
    example: Any = None
    rest: str | None = SAME
    graphql: str | None = SAME

    def shown_as(self, face: str) -> str | None:
        """Returns the member's snake-case name in an API (`rest` or `graphql`), or None if the API hides the member."""
        name = self.rest if face == "rest" else self.graphql
        return self.name if name == SAME else name


@dataclass(frozen=True, kw_only=True)
class FieldMember(Member):
    """A member whose value is stored in the row itself.

    `many` states that the value is a list. `choices` is the enum of the possible values. If a text has no enum,
    `values` may list the possible texts; only REST's contract shows this list.
    """

    expression: Any
    value_type: type[Any] = str
    nullable: bool = False
    many: bool = False
    choices: type[StrEnum] | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReferenceMember(Member):
    """A member that is the public id of another row, or a list of such ids.

    `kind` is the kind of that row. If it can be of several kinds, such as a concern or a support, `kinds` lists these
    kinds, and `kind_expression` is the column with the kind. If a row's kind is not in `kinds`, the id is null.
    """

    expression: Any
    kind: str
    kinds: tuple[str, ...] = ()
    kind_expression: Any = None
    nullable: bool = False
    many: bool = False


@dataclass(frozen=True, kw_only=True)
class OneMember(Member):
    """A link to a single row, which a column or a condition determines; null if the caller may not see the row.

    * `expression` is the column with the id of the row, or None if there is a `condition`.
    * `through` is a joined table that the condition uses.
    * `inline` states that REST always shows the linked row as an object. Otherwise REST shows the row's id, and shows
      the object only with `expand`.
    """

    expression: Any
    target: Any
    nullable: bool = False
    inline: bool = False
    requires: tuple[Can, ...] = ()
    condition: Any = None
    through: Any = None


@dataclass(frozen=True, kw_only=True)
class ManyMember(Member):
    """A link to the rows of another resource that satisfy a condition.

    * `through` is a joined table that the condition uses.
    * `paged` states that the APIs page through the rows. Otherwise more than `most` rows are an error.
    * `array` is the column with the ids of the linked rows, if the linking row has such a column.
    * `inline` states that REST shows the rows without `expand`.
    """

    target: Any
    condition: Any = None
    through: Any = None
    array: Any = None
    order: tuple[Any, ...] = ()
    descending: bool = False
    paged: bool = False
    most: int = 2000
    assumed: int = 5
    inline: bool = False
    filters: tuple["Filter[Any]", ...] = ()
    requires: tuple[Can, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ValueMember(Member):
    """A member whose value is an object or a list.

    It comes from a JSON column, or is computed for all rows of a response.

    * `expression` is the JSON column, if there is one.
    * `keys` are the columns from which the value is computed otherwise.
    * `compute(work, rows, **arguments)` computes the values. For each row, `rows` has a tuple with the values of
      `keys`. `arguments` are the arguments that the request gives. The result has one value for each row.
    * `shape` is the class of the value (see `values.py`). If `many` is true, the value is a list of objects of this
      class.
    """

    shape: Any
    expression: Any = None
    compute: Callable[..., Awaitable[Sequence[Any]]] | None = None
    keys: tuple[Any, ...] = ()
    arguments: tuple["Filter[Any]", ...] = ()
    nullable: bool = False
    many: bool = False
    assumed: int = 5
    requires: tuple[Can, ...] = ()


def named(member: Member, name: str) -> Member:
    """Returns a copy of a member (a field, link or value) with this name.

    The name is that of the attribute that declares the member.
    """
    return replace(member, name=name)
