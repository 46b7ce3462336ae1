"""Chooses the tables from which a query reads the rows of a resource, and the conditions that the rows must satisfy."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Date, DateTime, FromClause, Integer, Text, Uuid

from app.resources.compile.scope import Level, Scope, adapt, columns_of, table_of
from app.resources.declare import CannotCompile, declaration
from app.resources.listing import Filter
from app.resources.members import ManyMember
from app.resources.select import Path, Pick, ResourceType
from app.resources.terms import DISTRICT

TYPES: dict[Any, Any] = {UUID: Uuid(), int: Integer(), str: Text()}


def level_of(
    scope: Scope, resource: ResourceType, through: Any = None, *, removed: bool = False
) -> tuple[Level, list[ColumnElement[Any]]]:
    """Returns a `Level` with new aliases for the tables of a resource, and the conditions that each row must satisfy.

    The conditions restrict the rows to the district. Unless `removed` is true, they include the resource's `visible`
    condition, which hides removed rows. The resource's own table comes first, then its joined tables, then the
    intermediate table of a link (`through`), if any.
    """
    facts = declaration(resource)
    models = [facts.model, *(join.model for join in facts.joins)]
    aliases = [scope.alias(table_of(model)) for model in models]
    columns = [columns_of(alias) for alias in aliases]
    tables = {table_of(model).name: look_up for model, look_up in zip(models, columns, strict=True)}
    level = Level(resource, tables, aliases[0], tuple(aliases))
    source: FromClause = aliases[0]
    conditions: list[ColumnElement[Any]] = [columns[0]("district_id") == DISTRICT]
    for join, alias, look_up in zip(facts.joins, aliases[1:], columns[1:], strict=True):
        on = (look_up("district_id") == DISTRICT) & adapt(join.condition, level)
        source = source.outerjoin(alias, on) if join.outer else source.join(alias, on)
        if not join.outer:
            conditions.append(look_up("district_id") == DISTRICT)
    linking = {}
    if through is not None:
        # The caller adds the link's condition, which joins the two tables. Each table has an index for this condition.
        middle = scope.alias(table_of(through))
        linking[table_of(through).name] = look_up = columns_of(middle)
        source = source.join(middle, look_up("district_id") == columns[0]("district_id"))
        conditions.append(look_up("district_id") == DISTRICT)
        aliases.append(middle)
    level = Level(resource, tables, source, tuple(aliases), linking)
    if facts.visible is not None and not removed:
        conditions.append(adapt(facts.visible, level))
    return level, conditions


def link_filters(scope: Scope, level: Level, member: ManyMember, pick: Pick, path: Path) -> list[ColumnElement[bool]]:
    """Returns the SQL conditions of the filters that the request sets for a link.

    Raises `CannotCompile` for a filter that was not declared.
    """
    arguments = dict(pick.arguments)
    if unknown := arguments.keys() - {filter_.name for filter_ in member.filters}:
        raise CannotCompile(f"{member.name} has no filter {', '.join(sorted(unknown))}.")
    return [
        adapt(filter_.condition(scope.bind((*path, "argument", filter_.name), type_of(filter_))), level)
        for filter_ in member.filters
        if arguments.get(filter_.name) is not None and filter_.condition is not None
    ]


def type_of(filter_: Filter[Any]) -> Any:
    """Returns the SQL type of the value that a filter compares with a column."""
    type_ = filter_.bound or filter_.value_type
    if type_ in TYPES:
        return TYPES[type_]
    return {"date": Date(), "datetime": DateTime(timezone=True)}.get(type_.__name__, Text())
