"""Tests GraphQL over HTTP: authentication, media types, statuses, GET, limits, contents of errors, the SDL."""

from typing import Any

import httpx
import pytest
from graphql import GraphQLField, GraphQLObjectType, build_schema
from sqlalchemy import text

from app.access.permission import GRANTABLE
from app.concern.rules import STATES as CONCERN_STATES
from app.concern.rules import ConcernState
from app.core.db import open_engine
from app.core.errors import Misuse
from app.decision.rules import KINDS, DecisionKind
from app.evidence.rules import PURPOSES, ScorePurpose
from app.graphql.limits import Limits
from app.graphql.schema import sdl
from app.support.rules import STATES as SUPPORT_STATES
from app.support.rules import SupportState
from tests.faces.graphql_face import MODERN, ask, http, query_data, token
from tests.town import Town

LEGACY = "application/json"
LIMITS = Limits()
AREAS = "{ areas { code } }"


async def send(town: Town, method: str = "POST", *, accept: str | None = MODERN, **more: Any) -> httpx.Response:
    """Sends one request to /graphql, with a valid token, and returns the answer."""
    headers = {"Authorization": f"Bearer {token(town)}", **({"Accept": accept} if accept else {})}
    async with http(town.engine, town.settings) as client:
        return await client.request(method, "/graphql", headers={**headers, **more.pop("headers", {})}, **more)


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer nonsense", "Basic abc"])
async def test_without_a_token_there_is_nothing(north: Town, given: str | None) -> None:
    """Without a valid token, the answer is 401 with the header WWW-Authenticate and an error as GraphQL writes it."""
    async with http(north.engine, north.settings) as client:
        headers = {"Authorization": given} if given else {}
        answer = await client.post("/graphql", json={"query": AREAS}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["errors"][0]["extensions"]["code"] == "unauthenticated"
    assert "data" not in answer.json()


@pytest.mark.parametrize("extensions", ["text", 0, 1, False, True, ["list"]])
async def test_extensions_are_an_object(north: Town, extensions: object) -> None:
    """`extensions` of a GraphQL request must be an object; 0 and false are refused as well."""
    answer = await send(north, json={"query": AREAS, "extensions": extensions})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "extensions.malformed"


@pytest.mark.parametrize(
    ("accept", "media"),
    [(MODERN, MODERN), (f"{MODERN}, {LEGACY};q=0.9", MODERN), (LEGACY, LEGACY), ("*/*", LEGACY), (None, LEGACY)],
)
async def test_the_answer_has_the_media_type_that_is_taken(north: Town, accept: str | None, media: str) -> None:
    """The answer has the media type that the client accepts, and a valid request gets 200."""
    answer = await send(north, accept=accept, json={"query": AREAS})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, f"{media}; charset=utf-8")
    assert "errors" not in answer.json()


async def test_neither_media_type(north: Town) -> None:
    """A client that accepts neither media type gets 406."""
    assert (await send(north, accept="text/html", json={"query": AREAS})).status_code == 406


@pytest.mark.parametrize(
    "body",
    [
        {"query": "{"},
        {"query": "{ nothing }"},
        {"query": "query($id: ID!) { node(id: $id) { id } }"},
        {"query": "query($n: Int) { students(first: $n) { edges { cursor } } }", "variables": {"n": "many"}},
        {"query": "subscription { x }"},
    ],
)
async def test_a_request_that_is_no_good(north: Town, body: dict[str, Any]) -> None:
    """An invalid request gets 400 if the client accepts `application/graphql-response+json`.

    With `application/json` it gets 200, except for a subscription, which always gets 400. The answer never has `data`.
    """
    for accept, status in ((MODERN, 400), (LEGACY, 200)):
        answer = await send(north, accept=accept, json=body)
        assert answer.status_code == (400 if "subscription" in body["query"] else status)
        assert answer.json()["errors"]
        assert "data" not in answer.json()


async def test_a_request_that_ran_nothing_leaves_no_principal_behind(north: Town) -> None:
    """If a request runs no statement, its connection goes back to the pool bound to no principal.

    The next user of the connection must bind it to its own principal.
    """
    engine = open_engine(north.settings.url_of("api"), name="tests one", pool_size=1)
    try:
        async with http(engine, north.settings) as client:
            headers = {"Authorization": f"Bearer {token(north)}", "Accept": MODERN}
            answer = await client.post("/graphql", json={"query": "{ nothing }"}, headers=headers)
        assert answer.status_code == 400
        with pytest.raises(Misuse):
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", LEGACY, 400),
        (b"[]", LEGACY, 400),
        (b"{}", LEGACY, 400),
        (b'{"query": 1}', LEGACY, 400),
        (b'{"query": "{ areas { code } }", "variables": []}', LEGACY, 400),
        (b'{"query": "{ areas { code } }", "variables": {"x": "\\u0000"}}', LEGACY, 400),
        (b'{"query": "{ student(id: \\"\\\\u{0}\\") { id } }"}', LEGACY, 400),
        (b'{"query": "{ areas { code } }"}', "text/plain", 415),
    ],
)
async def test_a_body_that_is_no_request(north: Town, content: bytes, kind: str, status: int) -> None:
    """An invalid GraphQL request gets 400, and a request with another content type gets 415.

    This holds for both media types that a client may accept.
    """
    for accept in (MODERN, LEGACY):
        answer = await send(north, accept=accept, content=content, headers={"Content-Type": kind})
        assert answer.status_code == status
        assert answer.json()["errors"][0]["message"]


async def test_a_get_reads_and_never_writes(north: Town) -> None:
    """A GET executes a query. A GET with a mutation gives 405, and a GET without a query gives 400."""
    query = "query A($x: ID!) { node(id: $x) { id } }"
    answer = await send(north, "GET", params={"query": query, "variables": '{"x": ""}'})
    assert (answer.status_code, answer.json()["data"]) == (200, {"node": None})
    mutation = 'mutation { decide(input: {kind: REFER, student: "sis:sis:amy-1"}) { problems { code } } }'
    answer = await send(north, "GET", params={"query": mutation})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert (await query_data(north, "{ decisions { edges { cursor } } }"))["decisions"]["edges"] == []
    assert (await send(north, "GET", accept="text/html,*/*")).status_code == 400


async def test_the_named_operation_is_run(north: Town) -> None:
    """A document with several operations requires the name of one."""
    document = "query A { areas { code } } query L { levels { rank } }"
    answer = await send(north, json={"query": document, "operationName": "L"})
    assert list(answer.json()["data"]) == ["levels"]
    assert (await send(north, json={"query": document, "operationName": "X"})).status_code == 400
    assert (await send(north, json={"query": document})).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "{ students { edges { node "
        + "{ concerns { student " * LIMITS.depth
        + "{ id }"
        + " } }" * LIMITS.depth
        + " } } }",
        "{" + " ".join(f"a{n}: areas {{ code }}" for n in range(LIMITS.aliases + 1)) + "}",
        "{" + " areas { code }" * (LIMITS.tokens // 4 + 1) + "}",
    ],
    ids=["depth", "aliases", "tokens"],
)
async def test_there_are_limits(north: Town, query: str) -> None:
    """A document beyond the limits is refused before anything is read."""
    answer = await ask(north, query)
    assert answer.status_code == 400
    assert "data" not in answer.json()


async def test_introspection_works(north: Town) -> None:
    """Tools can read the schema by introspection, within the limits."""
    from graphql import get_introspection_query

    data = await query_data(north, get_introspection_query(descriptions=True))
    assert data["__schema"]["queryType"]["name"] == "Query"
    wrapped = await query_data(north, '{ __type(name: "Student") { fields { type { isOneOf ofType { isOneOf } } } } }')
    assert all(field["type"]["isOneOf"] is None for field in wrapped["__type"]["fields"])


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query($n: Int) { students(first: $n) { edges { cursor } } }", {"n": "CanaryChild"}),
        ("query($n: Int) { students(first: $n) { edges { cursor } } }", {"n": {"CanaryChild": "at 'CanaryChild'; "}}),
        (
            "mutation($i: RaiseConcernInput!) { raiseConcern(input: $i) { problems { code } } }",
            {"i": {"student": "s", "area": "ela", "description": "d", "raisedOn": "CanaryChild"}},
        ),
        (
            "mutation($i: RaiseConcernInput!) { raiseConcern(input: $i) { problems { code } } }",
            {"i": {"student": "CanaryChild", "CanaryChild": "CanaryChild"}},
        ),
        ('query($d: Date = "CanaryChild") { scores(since: $d) { edges { cursor } } }', None),
        ('{ students(first: "CanaryChild") { edges { cursor } } }', None),
        ('{ scores(since: "CanaryChild") { edges { cursor } } }', None),
        ('{ students(grade: "a" "CanaryChild") { edges { cursor } } }', None),
        ('{ student(id: "CanaryChild', None),
        ('{ student(id: {name: "CanaryChild"}) { id } }', None),
        ('{ students(after: "CanaryChild") { edges { cursor } } }', None),
        ("{ concerns(state: CanaryChild) { edges { cursor } } }", None),
        ('{ concerns(state: "CanaryChild") { edges { cursor } } }', None),
    ],
)
async def test_no_error_shows_a_submitted_value(north: Town, query: str, variables: dict[str, Any] | None) -> None:
    """Neither an error nor the log contains a submitted value."""
    answer = await ask(north, query, variables)
    assert answer.json()["errors"][0]["message"]
    assert "CanaryChild" not in answer.text


async def test_an_error_still_says_what_to_mend(north: Town) -> None:
    """The message of an error names what the caller must correct: the place, the type or the missing field."""
    record = "mutation($i: RecordScoresInput!) { recordScores(input: $i) { problems { code } } }"
    for query, variables, message in (
        (
            record,
            {"i": {"scores": [{"student": "s", "measure": "orf", "value": 1}]}},
            "$i at .scores[0]: the field takenOn",
        ),
        ("query($value: Int!) { students(first: $value) { nothing } }", {"value": 1}, "Cannot query field 'nothing'"),
        (
            "query($n: Int!) { students(first: $n) { edges { cursor } } }",
            {"n": "x"},
            "$n: a value does not fit the type Int",
        ),
        ("{ concerns(state: LOST) { edges { cursor } } }", None, "the type ConcernState"),
    ):
        answer = (await ask(north, query, variables)).json()
        assert message in answer["errors"][0]["message"]
        assert answer["errors"][0]["extensions"]["code"] == "request.malformed"


def test_the_sdl_says_what_each_read_and_command_asks_for() -> None:
    """In the GraphQL schema, every root field and every field that leads to another read names its permissions."""
    schema = build_schema(sdl())
    roots = (schema.query_type, schema.mutation_type)
    fields: list[tuple[str, GraphQLField]] = [
        (f"{root.name}.{name}", field)
        for root in roots
        if root
        for name, field in root.fields.items()
        if name != "me"  # which anybody may ask
    ]
    scopes = {f"`{can.value}`" for can in GRANTABLE}
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and kind.name in ("Student", "Concern", "Support", "Score", "Decision"):
            nested = kind.fields.keys() & {"student", "concerns", "supports", "scores", "decisions", "verdict"}
            fields += [(f"{kind.name}.{name}", kind.fields[name]) for name in sorted(nested)]
    assert len(fields) > 25
    for name, field in fields:
        assert "Needs: " in (field.description or ""), name
        assert name == "Query.me" or any(scope in (field.description or "") for scope in scopes), name


def test_the_words_are_those_of_the_rooms() -> None:
    """The GraphQL enums have exactly the values of the product's own enums."""
    assert tuple(ConcernState) == CONCERN_STATES
    assert tuple(SupportState) == SUPPORT_STATES
    assert tuple(ScorePurpose) == PURPOSES
    assert tuple(DecisionKind) == KINDS
