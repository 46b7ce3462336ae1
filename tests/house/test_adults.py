"""Tests that neither API lets a caller order, filter, group or count students' records by a member of staff."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from graphql import GraphQLObjectType, build_schema, get_named_type
from sqlalchemy import BindParameter, Column, bindparam
from sqlalchemy.sql import visitors

from app.catalog import CATALOG
from app.resources.declare import declaration
from app.resources.listing import Filter, Flag, Listing
from app.resources.members import ManyMember, OneMember
from app.roster.resource import StaffResource
from tests.faces.graphql_face import ask
from tests.faces.rest_town import caller
from tests.rooms.team_town import named
from tests.town import Town

CONTRACTS = Path(__file__).parents[2] / "openapi"
ABOUT_NO_STUDENT = {"teams": {"member"}, "groups": {"unled"}}
"""Conditions about an adult, in lists that have no student: on which teams somebody is, and which groups were led by
somebody who has left. The second one takes no adult as a value.
"""
OWN = {"action_items": {"mine"}}
"""Flags that mean the person for whom the request acts, and nobody else."""
NEUTRAL = {"student", "school", "team", "area", "level", "came_with_student"}
"""Filters that do not say how students do, so that they may be combined with the caseload of any adult."""


def adult_columns() -> set[str]:
    """Returns the columns that refer to a member of staff, as `table.column`."""
    columns = set()
    for resource in CATALOG.resources:
        for member in CATALOG.members(resource).values():
            if isinstance(member, OneMember) and member.target is StaffResource and member.expression is not None:
                columns |= set(columns_in(member.expression))
            elif isinstance(member, ManyMember) and member.target is StaffResource and member.array is not None:
                columns |= set(columns_in(member.array))
    return columns


def columns_in(expression: Any) -> Iterator[str]:
    """Yields the columns in an SQL condition, as `table.column`."""
    for part in visitors.iterate(getattr(expression, "__clause_element__", lambda: expression)()):
        if isinstance(part, Column) and part.table is not None:
            yield f"{part.table.name}.{part.name}"


def conditions_of(listing: Listing) -> Iterator[tuple[str, Filter[Any] | Flag | None, list[Any]]]:
    """Yields the name of each filter, flag and order of a list, with its declaration and the SQL that it uses."""
    for criterion in listing.filters:
        value: BindParameter[Any] = bindparam("value", required=False)
        yield criterion.name, criterion, [] if criterion.condition is None else [criterion.condition(value)]
    for flag in listing.flags:
        yield flag.name, flag, [each for each in (flag.on, flag.off) if each is not None]
    for sort in listing.sorts:
        yield sort.name, None, list(sort.columns)
    yield "the order", None, list(listing.order)


def adult_words() -> set[str]:
    """Returns words that a parameter for a member of staff could have in its name."""
    words = {"caseload", "staff", "person", "teacher", "member", "adult"}
    for resource in CATALOG.resources:
        for member in CATALOG.members(resource).values():
            if isinstance(member, OneMember) and member.target is StaffResource:
                words.add(member.name)
    return words


def test_no_list_is_filtered_or_ordered_by_an_adult() -> None:
    """No list can be filtered or sorted by a member of staff, so that teachers cannot be compared.

    This test lists the filters and orders that are exceptions. A filter by a member of staff is also allowed if it
    declares the filters that must not be combined with it (`of_adult`).
    """
    adults = adult_columns()
    assert {"support.lead_id", "action_item.owner_id", "decision.decided_by"} <= adults
    seen = set()
    for listing in CATALOG.listings.values():
        allowed = ABOUT_NO_STUDENT.get(listing.name, set()) | OWN.get(listing.name, set())
        for name, criterion, conditions in conditions_of(listing):
            if not adults.intersection(column for each in conditions for column in columns_in(each)):
                continue
            is_of_adult = isinstance(criterion, Filter) and criterion.of_adult is not None
            assert is_of_adult or name in allowed, f"{listing.name} is read by an adult: {name}"
            seen.add((listing.name, name))
    assert {("supports", "caseload"), ("groups", "caseload"), ("teams", "member")} <= seen


def test_a_caseload_excludes_every_filter_that_says_how_students_do() -> None:
    """A list with a filter by a member of staff forbids to combine this filter with any other filter, flag or order.

    The only exceptions are those in `NEUTRAL`.
    """
    for listing in CATALOG.listings.values():
        for criterion in listing.filters:
            if criterion.of_adult is None:
                continue
            others = {each.name for each in listing.filters} | {each.name for each in listing.flags}
            others |= {each.name for each in listing.sorts}
            others -= {criterion.name}
            assert others - NEUTRAL == set(criterion.of_adult), listing.name


def test_no_operation_of_the_contracts_takes_an_adult() -> None:
    """No operation of the two contracts filters, groups or counts by a member of staff, except operations that are
    listed.
    """
    words = adult_words()
    rest = json.loads((CONTRACTS / "rest.json").read_text())
    by_adult, grouped = set(), set()
    for path, operations in rest["paths"].items():
        for parameter in operations.get("get", {}).get("parameters", []):
            shown = (
                rest["components"]["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
                if "$ref" in parameter
                else parameter
            )
            if shown["in"] == "query" and shown["name"] in words:
                by_adult.add((path, shown["name"]))
            if shown["name"] in ("count_by", "group_by", "sort"):
                grouped |= words.intersection(json.dumps(shown["schema"]).replace('"', " ").replace("-", " ").split())
    assert by_adult == {("/v1/supports", "caseload"), ("/v1/groups", "caseload"), ("/v1/teams", "member")}
    assert grouped == set()
    schema = build_schema((CONTRACTS / "schema.graphql").read_text())
    camel = {
        "".join((first, *(part.title() for part in rest_))) for first, *rest_ in (word.split("_") for word in words)
    }
    taken = {
        f"{type_.name}.{name}({argument})"
        for type_ in schema.type_map.values()
        if isinstance(type_, GraphQLObjectType) and type_.name != "Mutation"
        for name, field in type_.fields.items()
        for argument in field.args
        if argument.removesuffix("Id") in camel
    }
    assert taken == {"Query.supports(staffId)", "Query.groups(staffId)", "Query.teams(staffId)"}
    staff = schema.type_map[declaration(StaffResource).name]
    assert isinstance(staff, GraphQLObjectType)
    of_staff = {get_named_type(field.type).name for field in staff.fields.values()}
    of_student = {
        "SupportConnection",
        "Support",
        "VerdictConnection",
        "Verdict",
        "DecisionConnection",
        "ConcernConnection",
    }
    assert not of_staff & of_student


@pytest.mark.parametrize("face", ["rest", "graphql"])
async def test_a_caseload_is_the_own_one(app: FastAPI, north: Town, face: str) -> None:
    """A person can list only that person's own caseload.

    A client that acts for no person cannot combine a filter by caseload with a filter or an order that shows how
    students do.
    """
    teacher, other = (named("person", north.staff[name]) for name in ("teacher", "administrator"))

    async def codes(act_for: str | None, person: str, **more: str) -> list[tuple[str, str]]:
        """Requests a list of supports, and returns the pointers and codes of the violations in the response."""
        if face == "rest":
            answer = await caller(app, north, act_for=act_for).get("/v1/supports", caseload=person, **more)
            return [(one["pointer"], one["code"]) for one in answer.json().get("violations", [])]
        given = "".join(
            f", {name}: {json.dumps(text) if name == 'sort' else text.upper()}" for name, text in more.items()
        )
        query = f'{{ supports(staffId: "{person}"{given}) {{ edges {{ node {{ id }} }} }} }}'
        errors = (await ask(north, query, act_for=act_for)).json().get("errors", [])
        violations = [one for error in errors for one in error["extensions"].get("problems", [])]
        return [(one["pointer"], one["code"]) for one in violations]

    name = {"rest": "/caseload", "graphql": "/staffId"}[face]
    assert await codes(teacher, teacher, verdict="off_track", state="active") == []
    assert await codes(teacher, other) == [(name, "caseload.of_another")]
    assert await codes(None, teacher) == []
    for more, pointer in (({"verdict": "off_track"}, "/verdict"), ({"state": "active"}, "/state")):
        assert await codes(None, teacher, **more) == [(pointer, "caseload.combined")]
    assert await codes(None, teacher, sort="-last_verdict") == [("/sort", "caseload.combined")]
