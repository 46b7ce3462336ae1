"""Tests the declarations of resources: they are described, with examples and bounds, and served by indexes.

A resource with a student in it must be declared as being about the student.
"""

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Column
from sqlalchemy.sql import visitors

from app.access.work import required_permissions
from app.catalog import CATALOG
from app.core.ids import PREFIXES, new_id
from app.core.inputs import input_fields
from app.core.page import MAX_LIMIT
from app.playbook import resource as playbook
from app.resources.catalog import plain
from app.resources.declare import Resource, declaration
from app.resources.listing import Filter, Listing
from app.resources.members import FieldMember, ManyMember, OneMember, ReferenceMember, ValueMember
from app.resources.select import ListRoot, Page, Pick, Root, RowRoot, Rows
from app.resources.values import Value
from app.response.administration import commands as administration
from app.sis.runs import commands as syncing
from app.webhooks import commands as sending
from tests.house.plans import explain, value
from tests.town import Town

MAX_ROWS = 10_000
"""The most rows that a link without pages may have."""
SILENT = {command.name for module in (syncing, sending, administration, playbook) for command in module.COMMANDS} | {
    *("draft_interventions", "import_interventions"),
    *("publish_protocol", "retire_protocol"),
    *("record_attendance", "remove_attendance"),
    *("record_incidents", "remove_incident"),
    *("publish_signal_rule", "preview_signal_rule", "retire_signal_rule"),
}
"""Commands that record no event: the worker records what comes of them. A draft of the library is used by nothing until
it is published, which records an event.
"""
EXAMPLES = (str, int, float)
"""Types that need an example, because it tells more than the type."""


def undescribed() -> Iterator[str]:
    """Yields a finding for each member or filter that lacks a description, an example or a bound."""
    for resource in CATALOG.resources:
        name = declaration(resource).name
        for member in CATALOG.members(resource).values():
            where = f"{name}.{member.name}"
            if not member.description:
                yield f"{where} has no description"
            if isinstance(member, FieldMember) and member.value_type in EXAMPLES and member.example is None:
                yield f"{where} has no example"
            if isinstance(member, ManyMember) and not member.paged and not 0 < member.most <= MAX_ROWS:
                yield f"{where} has no bound"
            if isinstance(member, ReferenceMember):
                yield from (f"{where} has the kind {kind}, which no id has" for kind in {member.kind} - set(PREFIXES))
            if isinstance(member, ValueMember):
                yield from _undescribed_value(where, member.shape)
    for listing in CATALOG.listings.values():
        for name, criterion in listing.by_face("rest").items():
            if not criterion.description:
                yield f"{listing.name}: the filter {name} has no description"
        for filter_ in listing.filters:
            if filter_.example is None:
                yield f"{listing.name}: the filter {filter_.name} has no example"
            if filter_.value_type is str and not 0 < filter_.most <= 500:
                yield f"{listing.name}: the filter {filter_.name} has no bound"


def undescribed_commands() -> Iterator[str]:
    """Yields a finding for each command that lacks what a contract needs, such as a description or a path."""
    for command in CATALOG.commands.values():
        inputs = command.inputs
        fields = dict(inputs.fields) | (dict(input_fields(inputs.type)) if inputs.items else {})
        for one in fields.values():
            if not one.description:
                yield f"{command.name}: {one.name} has no description"
            if one.example is None and not is_dataclass(one.type):
                yield f"{command.name}: {one.name} has no example"
        if not command.description or not required_permissions(command.function):
            yield f"{command.name} has no description or no permission"
        if (inputs.path is not None) != bool(command.path):
            yield f"{command.name} names a row in its path or its parameters alone"
        is_bulk = command.bulk is not None
        if is_bulk != (command.items is not None) or (inputs.items is not None and not is_bulk):
            yield f"{command.name} takes items without a bound"
        if not command.emits and command.name not in SILENT:
            yield f"{command.name} records no event"
        method, path = command.rest.split(" ")
        if method not in ("POST", "PATCH", "PUT", "DELETE") or not path.startswith("/"):
            yield f"{command.name} has no method and path"


def test_every_command_is_described_and_can_be_derived() -> None:
    """Each command's inputs have descriptions and examples, and the command has permission, events and a REST path."""
    assert list(undescribed_commands()) == []


def _undescribed_value(where: str, shape: Any) -> Iterator[str]:
    if isinstance(shape, type) and issubclass(shape, Value):
        for item in shape.__items__.values():
            if not item.description:
                yield f"{where}.{item.name} has no description"
            if item.type in EXAMPLES and item.example is None:
                yield f"{where}.{item.name} has no example"
            yield from _undescribed_value(f"{where}.{item.name}", item.type)


def test_every_member_and_filter_is_described_with_an_example_and_bounded() -> None:
    """Every member and filter has a description, an example and a bound, for both contracts."""
    assert list(undescribed()) == []


def test_a_resource_with_a_student_is_about_the_student() -> None:
    """A resource with a student declares that it is about the student, so that the disclosure log is complete."""
    silent = []
    for resource in CATALOG.resources:
        facts = declaration(resource)
        columns = {column.name for column in facts.model.__table__.columns}
        visible = "" if facts.visible is None else str(facts.visible)
        of_student = "student_id" in columns or ("school_ids" in columns and "person" in facts.model.__tablename__)
        is_staff = "NOT person.is_student" in visible
        if (of_student or "school_ids" in columns) and facts.about is None and not is_staff:
            silent.append(facts.name)
        if facts.about is not None and not facts.discloses:
            silent.append(f"{facts.name} has no kind of record")
    assert silent == ["WebhookEndpoint"]  # the schools that an endpoint is limited to


def test_the_order_of_every_list_is_without_nulls_and_ends_in_a_key() -> None:
    """No column by which a list is sorted can be null, and the last such column is a key.

    A page that begins after a null would otherwise be empty. Without a key, a page that begins among equal rows would
    repeat or skip rows.
    """
    wrong = []
    for listing in CATALOG.listings.values():
        for order in (listing.order, *(sort.columns for sort in listing.sorts)):
            wrong += [f"{listing.name}: {column}" for column in order if _column(column).nullable]
            if listing.paged and order and _column(order[-1]).name not in ("id", "code"):
                wrong.append(f"{listing.name} does not end in a key")
    for resource, link in links():
        wrong += [f"{declaration(resource).name}.{link.name}" for column in link.order if _column(column).nullable]
    assert wrong == []


def links() -> Iterator[tuple[type[Resource[Any]], ManyMember]]:
    """Yields every link to several rows, with the resource that declares it."""
    for resource in CATALOG.resources:
        for member in CATALOG.members(resource).values():
            if isinstance(member, ManyMember):
                yield resource, member


def _column(mapped: Any) -> Column[Any]:
    return next(one for one in visitors.iterate(plain(mapped)) if isinstance(one, Column))


def _leaf(resource: type[Resource[Any]]) -> Pick:
    names = [one.name for one in CATALOG.members(resource).values() if isinstance(one, FieldMember | ReferenceMember)]
    return Pick(names[0], names[0])


def reads() -> Iterator[tuple[str, Root]]:
    """Yields a read of every link, of every row by its id, and of every list by each filter that selects few rows."""
    for resource in CATALOG.resources:
        facts = declaration(resource)
        for member in CATALOG.members(resource).values():
            if isinstance(member, ManyMember | OneMember):
                leaf = (_leaf(member.target),)
                page = (
                    Page((Rows("items", leaf),), MAX_LIMIT) if isinstance(member, ManyMember) and member.paged else None
                )
                pick = Pick(member.name, member.name, () if page else leaf, page)
                yield f"{facts.name}.{member.name}", RowRoot("", resource, new_id(), (pick,))
        if facts.get is not None:
            yield facts.get, RowRoot("", resource, new_id(), (_leaf(resource),))
    for listing in CATALOG.listings.values():
        for filter_ in listing.filters:
            if filter_.narrow:
                yield f"{listing.name} by {filter_.name}", _list(listing, filter_)


def _list(listing: Listing, filter_: Filter[Any]) -> ListRoot:
    page = Page((Rows("items", (_leaf(listing.resource),)),), MAX_LIMIT)
    return ListRoot("", listing.name, page, (), {filter_.name: value(filter_)})


async def indexed(db: asyncpg.Connection) -> dict[str, set[str]]:
    """Returns, for each table, the columns that come second in an index that begins with `district_id`.

    Indexes that contain only some of the rows are left out.
    """
    rows = await db.fetch(
        """SELECT c.relname AS table, a.attname AS column FROM pg_index i
           JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[1]
           JOIN pg_attribute d ON d.attrelid = c.oid AND d.attnum = i.indkey[0] AND d.attname = 'district_id'
           WHERE c.relnamespace = 'public'::regnamespace AND i.indpred IS NULL"""
    )
    columns: dict[str, set[str]] = {}
    for row in rows:
        columns.setdefault(row["table"], set()).add(row["column"])
    return columns


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the alias and the name of each table that a plan reads."""
    if "Relation Name" in plan:
        yield plan["Alias"], plan["Relation Name"]
    for inner in plan.get("Plans", ()):
        yield from scans(inner)


def conditions(plan: dict[str, Any]) -> Iterator[str]:
    """Yields the conditions in a query plan of PostgreSQL."""
    yield from (str(value) for name, value in plan.items() if name.endswith(("Cond", "Filter")))
    for inner in plan.get("Plans", ()):
        yield from conditions(inner)


def unserved(plan: dict[str, Any], columns: dict[str, set[str]]) -> Iterator[str]:
    """Yields a finding for each table in a plan that has no index on a compared column.

    PostgreSQL's choice of an index depends on statistics, which a test database lacks. So this checks which indexes
    could be used.
    """
    text = " ".join(conditions(plan))
    for alias, table in scans(plan):
        compared = set(re.findall(rf"\b{alias}\.(\w+) = ", text)) | set(re.findall(rf" = {alias}\.(\w+)\b", text))
        if not compared & columns[table]:
            yield f"no index of {table} begins with one of {sorted(compared)}"


async def test_an_index_serves_every_link_and_every_narrow_filter(north: Town, owner: asyncpg.Connection) -> None:
    """Every link can be served by an index, and so can every filter that leaves only a few rows.

    Therefore no read goes through a whole district.
    """
    columns, findings = await indexed(owner), {}
    async with north.unit(north.client()) as work:
        for name, root in reads():
            if faults := list(unserved(await explain(work, root), columns)):
                findings[name] = faults
    assert findings == {}


@pytest.mark.parametrize("name", ["concerns", "supports", "scores", "decisions", "students"])
async def test_a_list_of_one_school_is_read_in_the_order_of_an_index(
    north: Town, owner: asyncpg.Connection, name: str
) -> None:
    """A page of a list by school is read in the order of an index, whatever the school's size."""
    listing = CATALOG.listings[name]
    page = Page((Rows("items", (_leaf(listing.resource),)),), MAX_LIMIT)
    async with north.unit(north.client(schools=(north.schools[0],))) as work:
        text = " ".join(conditions(await explain(work, ListRoot("", name, page))))
    table = declaration(listing.resource).model.__tablename__
    order = [_column(one).name for one in listing.order or (declaration(listing.resource).key,)]
    for school in ("school_id", "second_school_id", "third_school_id"):
        assert f".{school} = " in text
        columns = ", ".join(("district_id", school, *order))
        query = "SELECT count(*) FROM pg_indexes WHERE tablename = $1 AND indexdef LIKE $2"
        assert await owner.fetchval(query, table, f"%({columns})%"), (table, columns)
