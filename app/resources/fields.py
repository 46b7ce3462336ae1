"""Provides the functions that declare the attributes of a resource's class.

At run time, each of these functions returns a `Member`.

The annotation of an attribute states the type in the contract, and its value states where the data comes from. mypy
compares the two: `field(Mapped[T]) -> T`.
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
    """Declares a value of the row, whose annotation must have the column's type.

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
    """Declares a value from a fixed list; the annotation is a `StrEnum` with the values of the column."""
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
    """Declares the id of another row, which is of the kind `kind`."""
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
    """Declares a list of the ids of other rows, which are of the kind `kind`."""
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

    The annotation is a `Value`, a list of a `Value`, `Figures` or `JsonObject` (see `values.py`).
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
    """Declares a value that Python computes for all rows of an answer in one call; the annotation is a `Value`.

    `compute` takes the unit of work, the values of the columns `keys` for each row, and the arguments. Reading
    the value needs the permissions of `compute` and the permissions in `requires`. If neither names a permission, a
    caller who may read the row may also read the value.
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
