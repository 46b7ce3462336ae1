"""Declares the members of a resource: fields, references, links, stored and computed values. Reads no row.

A member is written as an annotated class attribute. The annotation is the contract, the value is the source of the
member, and mypy compares the two: `field(Mapped[T]) -> T`. At run time the functions here return a `Member`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NewType, TypeVar, cast, overload
from uuid import UUID

from sqlalchemy.sql.elements import SQLCoreOperations

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


def field(
    column: SQLCoreOperations[T],
    description: str,
    example: Any = None,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> T:
    """Declares a value of the row; the annotation must be the column's type."""
    member = FieldMember("", description, example, rest, graphql, expression=column)
    return cast(T, member)


def choice(
    column: SQLCoreOperations[str] | SQLCoreOperations[str | None],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Any:
    """Declares a value from a fixed list; the annotation is a `StrEnum`, which is compared with the column."""
    return FieldMember("", description, None, rest, graphql, expression=column)


@overload
def reference(
    column: SQLCoreOperations[UUID], kind: str, description: str, *, rest: str | None = SAME, graphql: str | None = SAME
) -> Id: ...
@overload
def reference(
    column: SQLCoreOperations[UUID | None],
    kind: str,
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Id | None: ...
def reference(column: Any, kind: str, description: str, *, rest: str | None = SAME, graphql: str | None = SAME) -> Any:
    """Declares the id of another row."""
    return ReferenceMember("", description, None, rest, graphql, expression=column, kind=kind)


def reference_of(
    column: SQLCoreOperations[UUID],
    kind_expression: SQLCoreOperations[Any],
    kinds: tuple[str, ...],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Id | None:
    """Declares the id of another row, whose kind is in another column."""
    return cast(
        Id | None,
        ReferenceMember(
            "",
            description,
            None,
            rest,
            graphql,
            expression=column,
            kind=kinds[0],
            kinds=kinds,
            kind_expression=kind_expression,
        ),
    )


def references(
    column: SQLCoreOperations[list[UUID]],
    kind: str,
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> list[Id]:
    """Declares a list of the ids of other rows."""
    member = ReferenceMember("", description, None, rest, graphql, expression=column, kind=kind, many=True)
    return cast(list[Id], member)


@overload
def one(
    column: SQLCoreOperations[UUID],
    target: type[R],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> One[R]: ...
@overload
def one(
    column: SQLCoreOperations[UUID | None],
    target: type[R],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> One[R] | None: ...
def one(column: Any, target: Any, description: str, *, rest: str | None = SAME, graphql: str | None = SAME) -> Any:
    """Declares a link to the row that a column refers to."""
    return OneMember("", description, None, rest, graphql, expression=column, target=target)


def many_by_ids(
    column: SQLCoreOperations[list[UUID]],
    target: type[R],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Many[R]:
    """Declares a link to the rows whose ids are in an array column, in the order of the array."""
    member = ManyMember("", description, None, rest, graphql, target=target, array=column)
    return cast(Many[R], member)


def stored(
    column: SQLCoreOperations[Any], description: str, *, rest: str | None = SAME, graphql: str | None = SAME
) -> Any:
    """Declares a JSON column; the annotation is a `Value`, a list of a `Value`, `Figures` or `JsonObject` (see
    `values.py`).
    """
    return ValueMember("", description, None, rest, graphql, shape=None, expression=column)


def computed(
    compute: Callable[..., Awaitable[Sequence[Any]]],
    keys: tuple[SQLCoreOperations[Any], ...],
    description: str,
    *,
    arguments: tuple["Filter[Any]", ...] = (),
    requires: tuple[Can, ...] = (),
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Any:
    """Declares a value that Python computes for all rows of an answer in one call; the annotation is a `Value`."""
    return ValueMember(
        "",
        description,
        None,
        rest,
        graphql,
        shape=None,
        compute=compute,
        keys=keys,
        arguments=arguments,
        requires=requires,
    )


def named(member: Member, name: str) -> Member:
    """Returns the member with its name, which only the class knows."""
    return replace(member, name=name)
