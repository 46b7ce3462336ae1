"""Provides the functions that declare the attributes of a resource's class, for example:

    state: ConcernState = choice(Concern.state, "The state of the concern.")

The annotation is the type in the contract. The function on the right says where the data comes from, and returns a
`Member`. mypy compares the two: `field(Mapped[T]) -> T`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast, overload
from uuid import UUID

from sqlalchemy.sql.elements import SQLCoreOperations

from app.access.permission import Can
from app.access.work import required_permissions
from app.resources.listing import Filter
from app.resources.members import SAME, FieldMember, Id, Many, ManyMember, One, OneMember, ReferenceMember, ValueMember

T = TypeVar("T")
R = TypeVar("R")


def field(
    column: SQLCoreOperations[T],
    description: str,
    example: Any = None,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
    values: tuple[str, ...] = (),
) -> T:
    """Declares a value of the row. The attribute must be annotated with the type of the column.

    `rest` and `graphql` are the member's names in the two APIs, or None if an API does not show it. `values` are the
    values that a text can have.
    """
    member = FieldMember("", description, example, rest, graphql, expression=column, values=values)
    return cast(T, member)


def choice(
    column: SQLCoreOperations[str] | SQLCoreOperations[str | None],
    description: str,
    *,
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Any:
    """Declares a value from a fixed list. The attribute must be annotated with the `StrEnum` that lists the values."""
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
    """Declares the id of another row. `kind` is the kind of that row, such as `student`."""
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
    """Declares the id of a row that can be of several kinds, for example of a concern or a support.

    `kinds` are the possible kinds. `kind_expression` is the column that says which of them the row is.
    """
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
    """Declares a list of the ids of other rows. `kind` is the kind of these rows, such as `student`."""
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
    """Declares the value of a JSON column.

    The attribute must be annotated with the type of the value: a subclass of `Value`, a list of such a subclass,
    `Figures` or `JsonObject` (see `values.py`).
    """
    return ValueMember("", description, None, rest, graphql, shape=None, expression=column)


def computed(
    compute: Callable[..., Awaitable[Sequence[Any]]],
    keys: tuple[SQLCoreOperations[Any], ...],
    description: str,
    *,
    arguments: tuple[Filter[Any], ...] = (),
    requires: tuple[Can, ...] = (),
    rest: str | None = SAME,
    graphql: str | None = SAME,
) -> Any:
    """Declares a value that Python computes for all rows of a response in one call of `compute`.

    * The attribute must be annotated with the type of the value, such as a subclass of `Value`.
    * `compute` takes the unit of work, a list with the values of the columns `keys` for each row, and the arguments. It
      returns a value for each row.
    * To read the value, a caller needs the permissions in `requires`, and those that `compute` requires by the
      decorator `needs`. If there are none, every caller who may read the row may read the value.
    """
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
        requires=tuple(dict.fromkeys((*requires, *required_permissions(compute)))),
    )
