"""Defines the members of a resource: fields, references, links, stored and computed values. `fields` declares them."""

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
"""The default name of a member in an API: the member's own name (GraphQL in camel case)."""


class One(Generic[R]):
    """The annotation of a link to one row of another resource."""


class Many(Generic[R]):
    """The annotation of a link to the rows of another resource."""


@dataclass(frozen=True)
class Member:
    """The facts that all members have: name, description, example, and the name in each API (None: not shown)."""

    name: str
    description: str
    example: Any = None
    rest: str | None = SAME
    graphql: str | None = SAME

    def shown_as(self, face: str) -> str | None:
        """Returns the member's name in an API (`rest` or `graphql`, in snake case), or None if it is not shown."""
        name = self.rest if face == "rest" else self.graphql
        return self.name if name == SAME else name


@dataclass(frozen=True, kw_only=True)
class FieldMember(Member):
    """A value of the row itself. `choices` is the enum of a choice; `many` states that the value is a list."""

    expression: Any
    value_type: type[Any] = str
    nullable: bool = False
    many: bool = False
    choices: type[StrEnum] | None = None


@dataclass(frozen=True, kw_only=True)
class ReferenceMember(Member):
    """The public id of another row (a kind in `app.core.ids`), or a list of them.

    `kinds`: the possible kinds, of which `kind_expression` gives that of each row; a row of another kind gives null.
    """

    expression: Any
    kind: str
    kinds: tuple[str, ...] = ()
    kind_expression: Any = None
    nullable: bool = False
    many: bool = False


@dataclass(frozen=True, kw_only=True)
class OneMember(Member):
    """A link to the row that a column refers to or that a condition selects; null if it is outside the caller's reach.

    `expression` is the column, or None with a `condition`; `through` is a joined table in the condition. REST shows the
    id under this name, and the object with `expand`. With `inline`, REST always shows the object.
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

    `through`: a joined table in the condition. `paged`: the APIs page through the rows; otherwise more than `most` rows
    are an error. `array`: the column with the rows' ids, if the row itself has them. `inline`: REST shows the rows
    without `expand`.
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
    """A structured value: `expression` is a JSON column, or `compute` computes it for all rows of an answer at once.

    `compute` gets the unit of work, one tuple of `keys` for each row, and the arguments by name; it returns one value
    for each row. `shape` is the value's class (see `values.py`); `many` states that the value is a list of it.
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
    """Returns the member with its name, which only the class knows."""
    return replace(member, name=name)
