"""Tests the engine of resources: its refusals, its statements, and its rendering of ids, texts and numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest

from app.access.permission import Can
from app.access.work import Work, needs
from app.catalog import CATALOG
from app.concern.resource import ConcernResource
from app.concern.service import NewConcern, raise_concern
from app.core import ids
from app.core.errors import Forbidden, Invalid, Malformed, Misuse
from app.core.ids import new_id
from app.core.page import keyset
from app.playbook.models import Measure
from app.resources import run
from app.resources.compile import tokens
from app.resources.compile.cost import cost
from app.resources.compile.plan import Plans
from app.resources.compile.tokens import ABOUT, ROW, SAME, id_token, record_letter, render
from app.resources.declare import CannotCompile, Resource
from app.resources.fields import field
from app.resources.members import ManyMember, ValueMember
from app.resources.run import Answer, read, resolve_filters
from app.resources.select import (
    GRAPHQL_STYLE,
    REST_STYLE,
    Constant,
    Cursor,
    Edges,
    Fact,
    Info,
    ListRoot,
    Next,
    Node,
    Page,
    Pick,
    Picks,
    Root,
    RowRoot,
    Rows,
    Total,
)
from app.roster.resource import StudentResource
from app.support.resource import SupportResource
from tests.faces.test_graphql_read import in_the_loop
from tests.sent import statements_sent
from tests.town import ALL_SCOPES, Town

NAME: Picks = (Pick("id", "id"), Pick("name", "given_name"))


async def answered(town: Town, *roots: Root, **more: Any) -> list[Answer]:
    """Reads roots as a client of the district, and returns the answer."""
    async with town.unit(more.get("principal")) as work:
        return await read(work, CATALOG, roots, more.get("style", REST_STYLE))


def students(picks: Picks = NAME, first: int | None = None, **more: Any) -> ListRoot:
    """Returns a selection of the list of students, in the form that REST uses."""
    return ListRoot("", "students", Page((Rows("items", picks), Next("next")), first, **more))


@pytest.mark.parametrize("few", [0, 100_000])
def test_ids_and_disclosures_are_rendered(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of id is rendered as by `format_id`, and the internal marks for the disclosure log are removed.

    Two implementations are tested: one for a few ids, and one for many ids, which uses arrays.
    """
    monkeypatch.setattr(tokens, "FEW", few)
    rows = [(kind, new_id()) for kind in ids.PREFIXES for _ in range(3)]
    rows += [("student", UUID(int=number)) for number in (0, 1, 2**60 - 1, 2**65, 2**128 - 1)]
    one, other = new_id(), new_id()
    text = "".join(f'{id_token(kind)}{row_id},"é☂",' for kind, row_id in rows)
    raw = f"{ABOUT}{record_letter(2)}{one}{{{text}{SAME}{record_letter(0)}{ROW}{ABOUT}{record_letter(2)}{other}}}"
    rendered = render(raw.encode())
    shown = "".join(f'"{ids.format_id(kind, row_id)}","é☂",' for kind, row_id in rows)
    assert rendered.text.decode() == f"{{{shown}}}"
    assert (set(rendered.students), set(rendered.records), rendered.rows) == ({one, other}, {0, 2}, 4)
    assert render(b"{}").text == b"{}"


async def test_what_nobody_declared_is_refused(north: Town) -> None:
    """An undeclared filter, sort, member or page is refused, so that a misspelt filter never lists everybody."""
    page = Page((Rows("items", NAME),))
    for root in (
        ListRoot("", "students", page, filters={"class_": new_id()}),
        ListRoot("", "students", page, sort="age"),
        ListRoot("", "concerns", page, search="a"),
        ListRoot("", "students", None, NAME),
        ListRoot("", "areas", Page((Rows("items", (Pick("id", "id"),)),))),
        students((Pick("age", "age"),)),
    ):
        with pytest.raises(CannotCompile):
            await answered(north, root)
    async with north.unit() as work:
        with pytest.raises(Malformed):
            await resolve_filters(work, CATALOG.listings["students"].by_face("rest"), {"class_": "x"}, pointers=True)


def test_an_annotation_that_differs_from_its_column_is_refused() -> None:
    """A declared field is refused if its annotation allows no null where its column does, or if it has no description.

    mypy finds neither of these faults.
    """
    with pytest.raises(Misuse, match="nullable"):

        class _Wrong(Resource[Measure], kind="measure", requires=Can.READ_PLAYBOOK):
            """A measure with a field whose type allows no null, although its column does."""

            sem: float = field(Measure.sem, "Its error.", 1.0)  # type: ignore[assignment]  # the planted error

    with pytest.raises(Misuse, match="description"):

        class _Silent(Resource[Measure], kind="measure", requires=Can.READ_PLAYBOOK):
            """A measure with an undescribed field."""

            kind: str = field(Measure.kind, "")

    assert "kind" in CATALOG.members(CATALOG.by_kind["measure"])


async def test_an_empty_selection_gives_empty_objects(north: Town) -> None:
    """A selection without fields gives an empty object, at any level. `@skip` can produce such a selection."""
    edges = Edges("edges", (Node("node", ()),))
    root = ListRoot("", "students", Page((edges, Edges("none", ()), Info("info", ())), 1))
    (answer,) = await answered(north, root, style=GRAPHQL_STYLE)
    assert orjson.loads(answer.text) == {"edges": [{"node": {}}], "none": [{}], "info": {}}
    (empty,) = await answered(north, ListRoot("", "students", Page(())))
    assert empty.text == b"{}"


async def test_texts_keep_every_character(north: Town) -> None:
    """Texts are returned as the caller wrote them, with quotes, control characters and other scripts.

    This holds even for characters that the engine itself uses as marks.
    """
    strange = "".join(map(chr, [*range(1, 32), 34, 92, 127, 0xE9, 0x2028, 0x1F30D])) + "\\u0001 \x04 \x06"
    async with north.unit() as work:
        concern = await raise_concern(
            work, NewConcern(ids.format_id("student", north.students["amy"]), "math", strange)
        )
    (answer,) = await answered(north, RowRoot("", ConcernResource, concern.id, (Pick("x", "description"),)))
    assert orjson.loads(answer.text)["x"] == strange


async def test_a_forged_cursor_must_fit_the_order(north: Town) -> None:
    """A validly encrypted cursor is refused if its position does not fit the order of the list.

    An invalid cursor or limit is refused too. The pointer of the error uses the parameter's name in the request.
    """
    for position in (("a",), ("a", "b", "no id"), (1, 2, str(new_id())), ("a", "b", True), (None, None, None)):
        filters = {"include_departed": None, "sort": None, "updated_since": None, "q": None}
        sealed = keyset(north.district_id, "students", filters, None, None, north.settings.keyring).mark(*position)
        (answer,) = await answered(north, students(after=sealed))
        assert [(type(one.error), one.path) for one in answer.errors] == [(Malformed, ())], position
    (edited,) = await answered(north, students(after="nonsense", after_name="cursor"))
    assert isinstance(edited.errors[0].error, Invalid)
    assert edited.errors[0].error.violations[0].pointer == "/cursor"
    (long,) = await answered(north, students(first=201, limit_name="first"))
    assert isinstance(long.errors[0].error, Invalid)
    assert long.errors[0].error.violations[0].pointer == "/first"


async def test_pages_go_both_ways(north: Town) -> None:
    """A list can be read page by page forwards and backwards. Each student comes once, and the page info is right."""

    async def page(after: str | None, *, backward: bool) -> Any:
        facts = tuple(Fact(one, one) for one in ("has_next_page", "has_previous_page", "start_cursor", "end_cursor"))
        edges = Edges("edges", (Node("node", (Pick("id", "id"),)), Cursor("cursor")))
        shape = Page((edges, Info("info", facts), Total("total")), 2, after, backward)
        (answer,) = await answered(north, ListRoot("", "students", shape), style=GRAPHQL_STYLE)
        return orjson.loads(answer.text)

    first = await page(None, backward=False)
    second = await page(first["info"]["end_cursor"], backward=False)
    everybody = [edge["node"]["id"] for edge in first["edges"] + second["edges"]]
    assert len(set(everybody)) == len(north.students) == first["total"] == 3
    assert (first["info"]["has_next_page"], second["info"]["has_next_page"]) == (True, False)
    last = await page(None, backward=True)
    before = await page(last["info"]["start_cursor"], backward=True)
    assert [edge["node"]["id"] for edge in before["edges"] + last["edges"]] == everybody
    assert (last["info"]["has_previous_page"], last["info"]["has_next_page"]) == (True, False)
    assert (before["info"]["has_previous_page"], before["info"]["has_next_page"]) == (False, True)
    assert first["edges"][0]["cursor"] == first["info"]["start_cursor"]


async def test_a_cursor_of_one_row_is_of_no_use_below_another(north: Town) -> None:
    """A cursor that pages through the linked rows of one row is refused with an error if it is used for another row."""
    made = {name: await in_the_loop(north, name) for name in ("amy", "ben")}
    verdicts = Page((Rows("items", (Pick("number", "number"),)), Next("next")), 1)

    def support(name: str, after: str | None) -> RowRoot:
        row_id = ids.parse_id("support", made[name]["support"])
        return RowRoot("", SupportResource, row_id, (Pick("page", "verdicts", page=replace(verdicts, after=after)),))

    first, _ = await answered(north, support("amy", None), support("ben", None))
    cursor = orjson.loads(first.text)["page"]["next"]
    mine, foreign = await answered(north, support("amy", cursor), support("ben", cursor))
    assert orjson.loads(mine.text)["page"]["items"] == [{"number": 2}]
    assert mine.errors == ()
    assert foreign.text == b'{"page":null}'
    assert [(one.path, type(one.error)) for one in foreign.errors] == [(("page",), Malformed)]


async def test_a_refused_link_is_null_where_it_stands(north: Town) -> None:
    """A link that the caller may not read is null with an error for each row. If the list itself may not be read, the
    whole query is refused.
    """
    await in_the_loop(north, "amy")
    picks = (Pick("id", "id"), Pick("concerns", "concerns", (Pick("id", "id"),)))
    (answer,) = await answered(north, students(picks), principal=north.client(frozenset({"roster:read"})))
    items = orjson.loads(answer.text)["items"]
    assert [item["concerns"] for item in items] == [None, None, None]
    assert [one.path for one in answer.errors] == [("items", place, "concerns") for place in range(3)]
    assert {type(one.error) for one in answer.errors} == {Forbidden}
    both = await answered(
        north,
        students(),
        ListRoot("", "areas", picks=(Pick("code", "code"),)),
        principal=north.client(ALL_SCOPES - {"roster:read"}),
    )
    assert both[0].text == b"null"
    assert both[0].errors[0].path == ()
    assert len(orjson.loads(both[1].text)) > 3


async def test_the_row_beyond_the_page_is_not_shown_nor_disclosed(north: Town) -> None:
    """The row after the page is neither shown nor logged as disclosed."""
    async with north.unit() as work:
        (answer,) = await read(work, CATALOG, (students(first=1),), REST_STYLE)
        (item,) = orjson.loads(answer.text)["items"]
        assert answer.next is not None
        assert answer.next == orjson.loads(answer.text)["next"]
        assert [ids.format_id("student", one) for one in work.disclosed.students] == [item["id"]]
        assert answer.rows == 1


async def test_several_roots_are_one_statement(north: Town) -> None:
    """Several lists and rows of a request are read with one statement, whatever is nested in them."""
    made = await in_the_loop(north, "amy")
    supports = Pick("supports", "supports", (Pick("id", "id"), Pick("scores", "scores", (Pick("value", "value"),))))
    async with north.unit() as work:
        await work.finish()
        with statements_sent(north.engine) as statements:
            row_id = ids.parse_id("concern", made["concern"])
            roots = (students((Pick("id", "id"), supports)), RowRoot("", ConcernResource, row_id, (supports,)))
            answers = await read(work, CATALOG, roots, REST_STYLE)
    assert len(statements) == 1
    assert all(b'"value"' in answer.text for answer in answers)


async def test_a_condition_of_several_values_is_run(north: Town) -> None:
    """The values of a declared `IN` condition are bound as parameters, for a read of one list or of several lists."""
    flagged = ListRoot("", "supports", Page((Rows("items", (Pick("id", "id"),)),)), filters={"unled": True})
    for answers in (await answered(north, flagged), await answered(north, students(), flagged, flagged)):
        assert all(not answer.errors for answer in answers)
        assert orjson.loads(answers[-1].text) == {"items": []}


async def test_a_value_that_fails_is_null_with_an_error(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the value of a field cannot be computed, the field is null with an error, and the request goes on.

    The function of a field is called once for all rows of an answer.
    """
    made = await in_the_loop(north, "amy")
    calls: list[Sequence[Any]] = []

    @needs(Can.READ_SUPPORTS)
    async def fails(work: Work, /, keys: Sequence[tuple[UUID]], **_more: Any) -> list[Any]:
        calls.append(keys)
        raise ZeroDivisionError

    member = CATALOG.members(SupportResource)["dosage"]
    assert isinstance(member, ValueMember)
    monkeypatch.setitem(CATALOG.members(SupportResource), "dosage", replace(member, compute=fails))
    monkeypatch.setattr(run, "PLANS", Plans())
    row_id = ids.parse_id("support", made["support"])
    (answer,) = await answered(
        north, RowRoot("", SupportResource, row_id, (Pick("id", "id"), Pick("dosage", "dosage")))
    )
    assert orjson.loads(answer.text) == {"id": made["support"], "dosage": None}
    assert [(one.path, one.error.code) for one in answer.errors] == [(("dosage",), "internal")]
    assert calls == [[(row_id,)]]


async def test_a_link_with_too_many_rows_is_refused(north: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a link without pages has more rows than it may have, the read gives null and an error.

    The link is never cut off.
    """
    await in_the_loop(north, "amy")
    member = CATALOG.members(StudentResource)["scores"]
    assert isinstance(member, ManyMember)
    monkeypatch.setitem(CATALOG.members(StudentResource), "scores", replace(member, most=2))
    monkeypatch.setattr(run, "PLANS", Plans())
    picks = (Pick("scores", "scores", (Pick("value", "value"),)),)
    (answer,) = await answered(north, students(picks))
    assert (answer.text, answer.errors[0].path) == (b"null", ())
    assert isinstance(answer.errors[0].error, Invalid)


def test_the_cost_is_known_before_anything_is_read() -> None:
    """The cost of a read is computed before anything is read.

    The cost depends on the requested length of a page, on the assumed length of a list without pages, and on whether
    the total of a list is requested.
    """
    below = (Pick("concerns", "concerns", (Pick("id", "id"),)), Pick("x", "id"), Constant("t", '"T"'))
    assert cost(CATALOG, students(NAME, 10)) == 10
    assert cost(CATALOG, students(below, 10)) == 10 * (1 + 5)
    assert cost(CATALOG, ListRoot("", "students", Page((Rows("items", NAME), Total("total")), 10))) == 10 + 250
    assert cost(CATALOG, RowRoot("", ConcernResource, new_id(), (Pick("student", "student", NAME),))) == 2


async def test_statements_are_not_compiled_by_the_server(north: Town) -> None:
    """PostgreSQL does not compile the product's statements (JIT), which would take longer than running them."""

    @needs(Can.READ_ROSTER)
    async def shown(work: Work) -> Any:
        return (await (await work.db.connection()).exec_driver_sql("SHOW jit")).scalar_one()

    async with north.unit() as work:
        assert await shown(work) == "off"
