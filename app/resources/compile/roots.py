"""Compiles the roots of a selection.

A root is a single row, or a list with its filters, at the top of the selection.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    FromClause,
    Select,
    Text,
    Uuid,
    and_,
    any_,
    case,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.access.permission import Can
from app.access.principal import Reach
from app.resources.compile.json_sql import text
from app.resources.compile.objects import object_of
from app.resources.compile.pages import page_of
from app.resources.compile.scope import Level, LinkSlot, Order, Scope, adapt, table_of
from app.resources.compile.sources import level_of, type_of
from app.resources.compile.tokens import END, TOO_MANY
from app.resources.declare import CannotCompile, declaration
from app.resources.listing import Filter, Flag, Listing
from app.resources.select import ListRoot, Root, RowRoot, WrittenRoot
from app.resources.terms import SCHOOLS, STUDENTS

SCHOOL_COLUMNS = ("school_id", "second_school_id", "third_school_id")
IDS = ARRAY(Uuid())


def root_of(scope: Scope, root: Root) -> ColumnElement[Any]:
    """Returns SQL whose value is a list or a row at the top of a selection, as JSON text.

    For a single row that does not exist, the value is null.
    """
    if isinstance(root, RowRoot):
        level, conditions = level_of(scope, root.resource)
        row_id = scope.bind(("id",), Uuid())
        row_object = object_of(scope, level, root.picks, (), (), None)
        query = select(row_object).select_from(level.source).where(*conditions, level.key == row_id)
        return query.scalar_subquery()
    if isinstance(root, WrittenRoot):
        return _written(scope, root)
    return _list(scope, root)


def _written(scope: Scope, root: WrittenRoot) -> ColumnElement[Any]:
    """Returns SQL for the rows that a command has just written, including rows that the command has removed."""
    level, conditions = level_of(scope, root.resource, removed=True)
    row = object_of(scope, level, root.picks, (), ("*", "row"), None)
    entry = func.concat(text('{"id":"'), level.key, text('","row":'), row, text("}"))
    rows = func.string_agg(entry, literal_column("','"))
    requested = level.key == any_(scope.bind(("ids",), IDS))
    return (
        select(func.concat(text("["), rows, text("]")))
        .select_from(level.source)
        .where(*conditions, requested)
        .scalar_subquery()
    )


def permissions_of_root(scope: Scope, root: Root) -> tuple[Can, ...]:
    """Returns the permissions that reading a list or a row requires."""
    if isinstance(root, RowRoot):
        facts = declaration(root.resource)
        return (*facts.requires, *facts.get_requires)
    if isinstance(root, WrittenRoot):
        return ()
    return permissions_of_list(scope.catalog.listings[root.listing], root.filters, root.sort)


def permissions_of_list(listing: Listing, filters: Mapping[str, Any], sort: str | None = None) -> tuple[Can, ...]:
    """Returns the permissions that a list requires with these filters and this sort order.

    `filters` also has the values of the list's flags, which are filters for true or false. A flag may require a
    permission of its own if it is used.
    """
    flags = [flag for flag in listing.flags if filters.get(flag.name)]
    order = None if sort is None else listing.sort_named(sort)
    required = [*declaration(listing.resource).requires, *listing.requires, *(order.requires if order else ())]
    return tuple(dict.fromkeys([*required, *(can for flag in flags for can in flag.requires)]))


def order_of(listing: Listing, root: ListRoot) -> Order:
    """Returns the order in which a list is read; raises `CannotCompile` if the list does not declare `root.sort`."""
    key = declaration(listing.resource).key
    if root.sort is not None:
        named = listing.sort_named(root.sort)
        if named is None:
            raise CannotCompile(f"{listing.name} is not sorted by {root.sort}.")
        return Order(named.columns, root.sort.startswith("-"))
    if root.updated_since is not None and listing.paged and listing.changed_at is not None:
        return Order((listing.changed_at, key))
    return Order(listing.order or (key,), listing.descending)


def _list(scope: Scope, root: ListRoot) -> ColumnElement[Any]:
    listing = scope.catalog.listings[root.listing]
    level, conditions = level_of(scope, listing.resource)
    order = order_of(listing, root)
    if listing.condition is not None:
        conditions.append(adapt(listing.condition, level))
    conditions += _filters(scope, root, listing, level)
    schools = _schools(scope, root, listing)
    conditions += _reach(scope, root, listing, level, restricted=schools is not None)
    others = _of_other_schools(scope, level) if schools is SCHOOLS else ()
    restrict = None if schools is None else at_schools(scope, level, listing.schools, schools, others)
    if root.page is None:
        return _whole(scope, root, listing, level, conditions, order)
    if not listing.paged:
        raise CannotCompile(f"{listing.name} has no pages.")
    return page_of(scope, root.page, level, conditions, order, (), (), None, object_of, (), restrict)


def _whole(
    scope: Scope, root: ListRoot, listing: Listing, level: Level, conditions: list[Any], order: Order
) -> ColumnElement[Any]:
    """Returns the SQL of all rows of a list that has no pages."""
    if listing.paged:
        raise CannotCompile(f"{listing.name} is read in pages.")
    columns = [adapt(column, level) for column in order.columns]
    row_object = object_of(scope, level, root.picks, (), ("*",), None)
    slot = len(scope.links)
    scope.links.append(LinkSlot(listing.name, listing.most))
    rows = func.string_agg(
        row_object,
        aggregate_order_by(
            literal_column("','"), *(column.desc() if order.descending else column for column in columns)
        ),
    )
    listed = case(
        (func.count() > literal_column(str(listing.most)), text(f"{TOO_MANY}{slot}:{END}")),
        else_=func.concat(text("["), rows, text("]")),
    )
    return select(listed).select_from(level.source).where(*conditions).scalar_subquery()


def _filters(scope: Scope, root: ListRoot, listing: Listing, level: Level) -> list[ColumnElement[bool]]:
    """Returns the SQL conditions of the filters that the request sets for a list.

    Raises `CannotCompile` for a filter that was not declared.
    """
    criteria = listing.by_face("rest")
    if unknown := root.filters.keys() - criteria.keys():
        raise CannotCompile(f"{listing.name} has no filter {', '.join(sorted(unknown))}.")
    conditions: list[ColumnElement[bool]] = []
    for name, criterion in criteria.items():
        value = root.filters.get(name)
        if isinstance(criterion, Flag):
            condition = criterion.on if value else criterion.off
            if condition is not None:
                conditions.append(adapt(condition, level))
        elif value is not None and criterion.condition is not None:
            bound = scope.bind(("filter", name), type_of(criterion))
            conditions.append(adapt(criterion.condition(bound), level))
    if root.updated_since is not None:
        if listing.changed_at is None:
            raise CannotCompile(f"{listing.name} does not know when its rows changed.")
        changed = scope.bind(("updated_since",), DateTime(timezone=True))
        conditions.append(adapt(listing.changed_at, level) >= changed)
    if root.search is not None:
        if listing.search is None:
            raise CannotCompile(f"{listing.name} cannot be searched.")
        conditions.append(adapt(listing.search(scope.bind(("search",), Text())), level))
    return conditions


def _schools(scope: Scope, root: ListRoot, listing: Listing) -> ColumnElement[Any] | None:
    """Returns SQL for the ids of the schools to which a list is restricted, or None to use no index by school.

    The result is None if the list is not restricted to schools, or if the caller has a caseload. It is also None if a
    narrow filter is set, because the filter has a better index of its own.
    """
    if listing.schools is None or scope.reach is Reach.CASELOAD or _is_narrow(root, listing):
        return None
    school_filter = _school_filter(root, listing)
    if school_filter is not None:
        school: ColumnElement[Any] = func.array(
            select(scope.bind(("filter", school_filter.name), Uuid())).scalar_subquery(), type_=IDS
        )
        return school
    return SCHOOLS if scope.reach is Reach.SCHOOLS else None


def _reach(
    scope: Scope, root: ListRoot, listing: Listing, level: Level, *, restricted: bool
) -> list[ColumnElement[bool]]:
    """Returns the conditions that restrict a list to the caller's caseload and to the requested school, if any.

    They apply in addition to row-level security. `restricted` is true if `at_schools` already restricts the list to the
    requested school; then no condition on the school is returned.
    """
    conditions: list[ColumnElement[bool]] = []
    if scope.reach is Reach.CASELOAD and (named := _named(scope, level)) is not None:
        conditions.append(named)
    school_filter = _school_filter(root, listing)
    if school_filter is not None and not restricted:
        school = scope.bind(("filter", school_filter.name), Uuid())
        column = level.tables[table_of(school_filter.schools).name]
        more = and_(column("has_more_schools").is_(True), school == any_(column("school_ids")))
        conditions.append(or_(*(column(name) == school for name in SCHOOL_COLUMNS), more))
    return conditions


def at_schools(
    scope: Scope,
    level: Level,
    model: Any,
    schools: ColumnElement[Any],
    others: Sequence[ColumnElement[bool]] = (),
) -> Callable[[Select[Any], tuple[Any, ...], ColumnElement[Any]], Select[Any]]:
    """Returns a function that restricts a query to the rows of these schools, in a form that uses an index by school.

    The function takes the query, its order, and the number n of rows that are needed. It reads the first n rows of each
    school from an index, and takes the first n of all these rows. Rows that satisfy one of the conditions `others` are
    included too, even if they belong to another school.

    PostgreSQL would not use an index on the array `school_ids`, because it evaluates row-level security before an array
    operator. Therefore three more columns store a student's first three schools. Each of them has an index in the order
    of the list.
    """
    column = level.tables[table_of(model).name]

    def restrict(query: Select[Any], order: tuple[Any, ...], limit: ColumnElement[Any]) -> Select[Any]:
        scope.number += 1
        name = f"{scope.prefix}t{scope.number}"
        requested: FromClause = func.unnest(schools).table_valued("id", name=name).render_derived()
        labelled = [term.label(f"o{place}") for place, term in enumerate(order)]
        names = [term.name for term in labelled]
        narrowed = query.with_only_columns(*labelled, maintain_column_froms=True)
        arms: list[Select[Any]] = []
        for school in SCHOOL_COLUMNS:
            arm = narrowed.where(column(school) == requested.c.id)
            first = arm.order_by(*order).limit(limit).correlate(requested).lateral()
            arms.append(select(*(first.c[name] for name in names)).join_from(requested, first, true()))
        more = narrowed.where(column("has_more_schools").is_(True), column("school_ids").op("&&")(schools))
        arms.append(select(*more.order_by(*order).limit(limit).subquery().c))
        for condition in others:
            arms.append(select(*narrowed.where(condition).order_by(*order).limit(limit).subquery().c))
        rows = union_all(*arms).subquery()
        columns = [rows.c[name] for name in names]
        firsts = select(*columns).distinct().order_by(*columns).limit(limit).subquery()
        # An array instead of a join, because the planner would misjudge the size of the join and might scan the whole
        # table.
        ids = func.array(select(firsts.c[names[-1]]).scalar_subquery(), type_=IDS)
        return query.where(order[-1] == any_(ids))

    return restrict


def _named(scope: Scope, level: Level) -> ColumnElement[bool] | None:
    """Returns the condition that a row is about one of the students in `Principal.students`, or about no student.

    `Principal.students` has the students of a caseload, or those that the caller sees through a team. Returns None if
    there are none, or if the resource is not about students.
    """
    student = level.student
    if student is None or not scope.principal.names_students:
        return None
    by_name = student == any_(STUDENTS)
    return or_(student.is_(None), by_name) if level.may_have_no_student else by_name


def _of_other_schools(scope: Scope, level: Level) -> tuple[ColumnElement[bool], ...]:
    """Returns conditions for rows that a list of some schools also shows, although they belong to no such school.

    These are the rows about students in `Principal.students`, and the rows about no student. They are separate
    conditions, because each has an index of its own.
    """
    student = level.student
    if student is None:
        return ()
    by_name = (student == any_(STUDENTS),) if scope.principal.names_students else ()
    return (*by_name, student.is_(None)) if level.may_have_no_student else by_name


def _is_narrow(root: ListRoot, listing: Listing) -> bool:
    return any(filter_.narrow and root.filters.get(filter_.name) is not None for filter_ in listing.filters)


def _school_filter(root: ListRoot, listing: Listing) -> Filter[Any] | None:
    """Returns the list's filter by school if it is set, otherwise None."""
    return next(
        (
            filter_
            for filter_ in listing.filters
            if filter_.schools is not None and root.filters.get(filter_.name) is not None
        ),
        None,
    )
