"""Tests GraphQL reads: nested reads in few statements, pages, ids, permissions, the disclosure log."""

import asyncio

import pytest
from sqlalchemy import select

from app.access.models import Disclosure
from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.decision.service import NewDecision, decide
from app.graphql.budget import Budget
from app.graphql.door import OperationContext
from app.graphql.limits import Limits
from app.graphql.request import Operation
from app.graphql.schema import preparation
from app.response.service import record_scores, start_support
from app.support.service import plan_support
from tests.faces.graphql_face import ask, here, query_data
from tests.rooms.test_loop import RISES, STALLS, stu, support_for, weekly
from tests.sent import statements_sent
from tests.town import ALL_SCOPES, Town, by_four_points

NESTED = """
query Nested($id: ID!) {
  student(id: $id) {
    id givenName externalIds { source sourcedId } enrollments { classId }
    concerns {
      id state area { code }
      supports {
        id state level { rank } measure { code unit } phases { number goal level { name } }
        scores { value takenOn }
        verdict { state kind sentence because { code values { name value } } }
        verdicts(first: 1) { edges { node { number } } pageInfo { hasNextPage endCursor } }
        decisions { kind verdictId }
        concerns { id student { id } }
      }
    }
  }
}
"""
MANY = """
query Many {
  students(first: 4) { edges { node {
    givenName externalIds { sourcedId } schools { name } enrollments { class { title school { name } } }
    decisions { kind decidedBy { familyName } } scores { value measure { code } givenBy { familyName } }
    concerns { area { code } student { id } supports {
      phases { number level { rank } } scores { value } verdict { state because { code } }
      concerns { id raisedBy { familyName } } student { id } lead { familyName role schools { id } }
    } }
  } } }
}
"""


async def in_the_loop(town: Town, name: str) -> dict[str, str]:
    """Creates a student with a concern, a support that stopped working and a decision; returns their public ids."""
    await by_four_points(town)
    async with town.unit() as work:
        concern = await raise_concern(work, NewConcern(stu(town, name), "ela.fluency", f"Slow {town.canary}."))
        await accept_concern(work, concern.id)
        shown = ids.format_id("concern", concern.id)
        new = support_for(town, name, concerns=(shown,), lead="sis:sis:administrator-1")
        support = await plan_support(work, new)
        await start_support(work, support.id)
        taken = await record_scores(work, weekly(town, name, RISES))
        await record_scores(work, weekly(town, name, RISES + STALLS)[len(RISES) :])
        support_id = ids.format_id("support", support.id)
        decision = await decide(work, NewDecision("continue", support=support_id, note=town.canary))
    assert taken[0].score is not None
    assert decision.verdict_id is not None
    return {
        "student": stu(town, name),
        "concern": shown,
        "support": support_id,
        "score": ids.format_id("score", taken[0].score.id),
        "decision": ids.format_id("decision", decision.id),
        "verdict": ids.format_id("verdict", decision.verdict_id),
        "area": ids.format_id("area", town.areas["ela"]),
        "measure": ids.format_id("measure", town.measures["orf"]),
        "level": ids.format_id("level", town.levels[2]),
        "staff": ids.format_id("person", town.staff["teacher"]),
        "school": ids.format_id("org", town.schools[0]),
        "class": ids.format_id("class", town.classes[0]),
    }


async def test_the_loop_of_a_student_is_one_request(north: Town) -> None:
    """One request reads a student with concerns, supports, phases, scores, verdict with reasons, history and decisions.

    The student can be named by id and by external id.
    """
    made = await in_the_loop(north, "amy")
    for name in (made["student"], "sis:sis:amy-1"):
        student = (await query_data(north, NESTED, {"id": name}))["student"]
        assert student["id"] == made["student"]
        assert student["externalIds"] == [{"source": "sis", "sourcedId": "amy-1"}]
        (concern,) = student["concerns"]
        (support,) = concern["supports"]
        assert (concern["state"], concern["area"]["code"]) == ("ACCEPTED", "ela.fluency")
        assert (support["level"]["rank"], support["measure"]["code"]) == (2, "orf")
        assert [score["value"] for score in support["scores"]] == RISES + STALLS
        assert (support["verdict"]["state"], support["verdict"]["kind"]) == ("OFF_TRACK", None)
        assert support["verdict"]["sentence"]
        assert support["verdict"]["because"][0]["values"]
        assert support["verdicts"]["pageInfo"]["hasNextPage"] is True
        assert support["decisions"] == [{"kind": "CONTINUE", "verdictId": made["verdict"]}]
        assert support["concerns"] == [{"id": made["concern"], "student": {"id": made["student"]}}]


async def test_three_students_cost_as_many_statements_as_one(north: Town) -> None:
    """A nested GraphQL read of three students needs as many statements as a read of one student."""
    counts = []
    with statements_sent(north.engine) as statements:
        for names in (("amy",), ("ben", "cy")):
            for name in names:
                await in_the_loop(north, name)
            statements.clear()
            edges = (await query_data(north, MANY))["students"]["edges"]
            assert sum(bool(edge["node"]["concerns"]) for edge in edges) == len(names) + (names != ("amy",))
            counts.append(len(statements))
    assert counts[0] == counts[1]
    assert counts[0] < 25


async def test_node_reads_the_prefix(north: Town) -> None:
    """`node` reads a row of any kind by its public id."""
    made = await in_the_loop(north, "amy")
    query = "query($id: ID!) { node(id: $id) { __typename id } }"
    for kind, row_id in made.items():
        node = (await query_data(north, query, {"id": row_id}))["node"]
        assert node == {"__typename": kind.title(), "id": row_id}
    for nothing in ("stu_nonsense", "", "evt_" + "0" * 26, ids.format_id("student", north.staff["teacher"])):
        assert (await query_data(north, query, {"id": nothing}))["node"] is None


async def test_another_district_is_not_there(north: Town, south: Town) -> None:
    """Ids of another district give null and empty pages, without an error."""
    made = await in_the_loop(south, "amy")
    school = made["school"]
    reads = [f'{kind}: {kind}(id: "{made[kind]}") {{ id }}' for kind in ("student", "concern", "support", "score")]
    reads += [f'{kind}: {kind}(id: "{made[kind]}") {{ id }}' for kind in ("verdict", "decision")]
    reads += [f'node_{kind}: node(id: "{row_id}") {{ id }}' for kind, row_id in made.items()]
    answer = await ask(north, "{" + "\n".join(reads) + "}")
    assert set(answer.json()["data"].values()) == {None}
    assert "errors" not in answer.json()
    assert south.canary not in answer.text
    empty = f"""{{
      classes(schoolId: "{school}") {{ edges {{ cursor }} }}
      staff(classId: "{made["class"]}") {{ edges {{ cursor }} }}
      students(schoolId: "{school}") {{ edges {{ cursor }} }}
      concerns(studentId: "{made["student"]}") {{ edges {{ cursor }} }}
      supports(schoolId: "{school}") {{ edges {{ cursor }} }}
      scores(studentId: "{made["student"]}") {{ edges {{ cursor }} }}
      decisions(supportId: "{made["support"]}") {{ edges {{ cursor }} }}
    }}"""
    assert [page["edges"] for page in (await query_data(north, empty)).values()] == [[]] * 7
    everything = await ask(north, MANY)
    assert south.canary not in everything.text
    assert north.canary in everything.text


async def test_a_person_acted_for_binds_every_list(north: Town) -> None:
    """A request that acts for amy's teacher lists only rows about amy, although two other students have rows of the
    same kinds.
    """
    made = {name: await in_the_loop(north, name) for name in ("amy", "ben", "cy")}
    lists = """{
      students { edges { node { id schools { id } } } }
      concerns { edges { node { id student { id } } } }
      unserved: concerns(unserved: true) { edges { node { student { id } } } }
      supports { edges { node { student { id } } } }
      scores { edges { node { student { id } } } }
      decisions { edges { node { student { id } } } }
    }"""
    for act_for in ("sis:sis:teacher-1", ids.format_id("person", north.staff["teacher"])):
        answer = await ask(north, lists, act_for=act_for)
        assert made["amy"]["student"] in answer.text
        assert all(page["edges"] for name, page in answer.json()["data"].items() if name != "unserved")
        assert made["ben"]["student"] not in answer.text
        assert made["cy"]["student"] not in answer.text
        hidden = await query_data(
            north, "query($id: ID!) { node(id: $id) { id } }", {"id": made["ben"]["support"]}, act_for=act_for
        )
        assert hidden["node"] is None
    assert (await ask(north, "{ areas { code } }", act_for="sis:sis:parent-1")).status_code == 403
    assert (await ask(north, "{ areas { code } }", act_for="sis:sis:nobody")).status_code == 400


async def test_pages_go_on_where_they_ended(north: Town) -> None:
    """A list read page by page has every student once. A cursor of another filter, and a wrong page size, are
    refused.
    """
    query = """query($after: String) {
      students(first: 2, after: $after) { edges { node { id } cursor } pageInfo { hasNextPage endCursor } } }"""
    seen, after = [], None
    while True:
        page = (await query_data(north, query, {"after": after}))["students"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert sorted(seen) == sorted(stu(north, name) for name in ("amy", "ben", "cy"))
    for arguments, pointer in ((f'grade: "03", after: "{after}"', "/after"), ("first: 0", "/first")):
        answer = (await ask(north, f"{{ students({arguments}) {{ edges {{ cursor }} }} }}")).json()
        assert answer["data"] == {"students": None}
        assert answer["errors"][0]["extensions"]["problems"][0]["pointer"] == pointer


async def test_supports_are_found_by_what_a_screen_needs(north: Town) -> None:
    """Supports can be filtered by verdict, level, area, state and caseload."""
    made = await in_the_loop(north, "amy")
    for taken, left in (
        ("verdict: OFF_TRACK", "verdict: RESPONDING"),
        ("level: 2", "level: 3"),
        ('area: "ela.fluency"', 'area: "math"'),
        ("state: ACTIVE", "state: ENDED"),
        ('schoolId: "sis:sis:school-1"', 'schoolId: "sis:sis:school-2"'),
        ('studentId: "sis:sis:amy-1"', 'studentId: "sis:sis:ben-1"'),
    ):
        query = f"{{ taken: supports({taken}) {{ ...ids }} left: supports({left}) {{ ...ids }} }}"
        query += " fragment ids on SupportConnection { edges { node { id } } }"
        data = await query_data(north, query)
        assert [edge["node"]["id"] for edge in data["taken"]["edges"]] == [made["support"]], taken
        assert data["left"]["edges"] == [], left


async def test_whom_a_nested_read_shows_is_logged(north: Town) -> None:
    """Each request writes one row to the disclosure log, with all shown students, kinds and fields."""
    await in_the_loop(north, "amy")
    await in_the_loop(north, "cy")
    await query_data(north, MANY)

    @needs(Can.READ_ROSTER)
    async def logged(work: Work) -> list[Disclosure]:
        rows = await work.db.scalars(select(Disclosure).where(Disclosure.district_id == north.district_id))
        return list(rows)

    async with north.unit() as work:
        (row,) = [row for row in await logged(work) if row.operation.startswith("graphql")]
    assert row.operation == "graphql query students"
    assert set(row.student_ids) == set(north.students.values())
    assert {"student", "concern", "support", "score", "verdict", "decision"} <= set(row.kinds)


async def test_a_missing_permission_is_told_and_leaves_the_rest(north: Town) -> None:
    """A missing permission is an error with its code, and other fields are answered."""
    await in_the_loop(north, "amy")
    query = "{ students { edges { node { id concerns { id } } } } areas { code } }"
    answer = await ask(north, query, scopes=frozenset({"roster:read"}))
    assert answer.status_code == 200
    body = answer.json()
    assert {error["extensions"]["code"] for error in body["errors"]} == {"permission.missing"}
    assert body["data"]["areas"] is None
    assert [edge["node"]["concerns"] for edge in body["data"]["students"]["edges"]] == [None] * 3


@pytest.mark.parametrize("scope", ["area:sel"])
async def test_a_secured_area_stays_shut(north: Town, scope: str) -> None:
    """A concern in a secured area is not shown to a caller without the scope of this area."""
    async with north.unit() as work:
        concern = await raise_concern(work, NewConcern(stu(north, "amy"), "sel", "Keeps apart."))
    query = 'query($id: ID!) { concern(id: $id) { id } student(id: "sis:sis:amy-1") { concerns { id } } }'
    shut = await query_data(north, query, {"id": ids.format_id("concern", concern.id)}, scopes=ALL_SCOPES - {scope})
    assert shut == {"concern": None, "student": {"concerns": []}}


async def test_resolvers_reach_the_session_one_at_a_time(north: Town) -> None:
    """Resolvers run at the same time, but a database session serves one caller. A lock lets them use it one by one."""
    inside: list[int] = []

    @needs(Can.READ_PLAYBOOK)
    async def slow(work: Work) -> None:
        inside.append(1)
        for _ in range(3):
            await asyncio.sleep(0)
            assert sum(inside) == 1
        inside.append(-1)

    prepared = preparation(Limits()).prepare(Operation("{ areas { code } }", None, None), "POST")
    async with north.unit() as work:
        context = OperationContext(work, prepared, Budget(10), here(north.engine, north.settings))
        await asyncio.gather(*(context.read(slow) for _ in range(5)))
    assert len(inside) == 10
