"""Owns the tables that a level of a selection reads, with the conditions that each row of it fulfils."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause

from app.resources.compile.scope import Level, Scope, adapt, columns_of, table_of
from app.resources.declare import declaration
from app.resources.select import ResourceType
from app.resources.terms import DISTRICT


def level_of(scope: Scope, resource: ResourceType, through: Any = None) -> tuple[Level, list[ColumnElement[Any]]]:
    """Returns a resource's tables under names of their own, and the conditions of district and visibility.

    The resource's own table comes first; its joins follow, and the table of a link that goes through one.
    """
    facts = declaration(resource)
    models = [facts.model, *(join.model for join in facts.joins)]
    aliases: list[FromClause] = [scope.alias(table_of(model)) for model in models]
    tables = {table_of(model).name: columns_of(alias) for model, alias in zip(models, aliases, strict=True)}
    level = Level(resource, tables, aliases[0], tuple(aliases))
    source = aliases[0]
    conditions: list[ColumnElement[Any]] = [aliases[0].c.district_id == DISTRICT]
    for join, alias in zip(facts.joins, aliases[1:], strict=True):
        on = (alias.c.district_id == DISTRICT) & adapt(join.condition, level)
        source = source.outerjoin(alias, on) if join.outer else source.join(alias, on)
        if not join.outer:
            conditions.append(alias.c.district_id == DISTRICT)
    linking = {}
    if through is not None:
        # The link's condition, which the caller adds, joins the two; each has an index for its side of it.
        middle = scope.alias(table_of(through))
        linking[table_of(through).name] = columns_of(middle)
        source = source.join(middle, middle.c.district_id == aliases[0].c.district_id)
        conditions.append(middle.c.district_id == DISTRICT)
        aliases.append(middle)
    level = Level(resource, tables, source, tuple(aliases), linking)
    if facts.visible is not None:
        conditions.append(adapt(facts.visible, level))
    return level, conditions
