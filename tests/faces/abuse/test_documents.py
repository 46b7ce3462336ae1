"""Tests that answering the requests of the abuse corpus takes little time, memory, statements and bytes.

The abuse corpus has GraphQL requests that are small to send and could be expensive to answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event

from tests.faces.abuse.corpus import FULL_INTROSPECTION, Abuse, corpus, doubling, drawn
from tests.faces.abuse.measure import Answer, pace, peak_bytes, post, processor_seconds
from tests.faces.rest_town import CLIENT_SCOPES, caller
from tests.town import Town

MAX_SECONDS = 0.1
MAX_BYTES = 50_000_000
DRAWN = range(150)
ERRORS = 100


@pytest.fixture
def token(app: FastAPI, north: Town) -> str:
    """Returns a token of a client with every scope."""
    return caller(app, north).token


@contextmanager
def checkouts(app: FastAPI) -> Iterator[list[int]]:
    """Yields a list that gets an entry whenever the app takes a database connection."""
    used: list[int] = []

    def note(*_: Any) -> None:
        used.append(1)

    engine = app.state.services.engine.sync_engine
    event.listen(engine, "checkout", note)
    try:
        yield used
    finally:
        event.remove(engine, "checkout", note)


@pytest.mark.parametrize("abuse", corpus(), ids=lambda abuse: abuse.name)
async def test_a_document_takes_little_and_is_refused(app: FastAPI, token: str, abuse: Abuse) -> None:
    """A document of the abuse corpus takes less than 100 ms of processor time, and a refused one causes no
    statement.
    """
    with checkouts(app) as used:
        most = MAX_SECONDS * pace()
        seconds, answer = await processor_seconds(app, token, abuse.body, most)
    assert answer.code == abuse.code, answer.body[:500]
    assert seconds < most
    assert len(answer.body) < 1_000_000
    if abuse.code is not None:
        assert answer.status == 400
        assert used == [] or abuse.body.startswith(b'{"query": "mutation(')  # whose variables the execution reads
        assert len(answer.content["errors"]) <= ERRORS + 1


@pytest.mark.parametrize("abuse", corpus(), ids=lambda abuse: abuse.name)
async def test_a_document_takes_little_memory(app: FastAPI, token: str, abuse: Abuse) -> None:
    """No document takes more than 50 MB beyond the size of its body."""
    assert await peak_bytes(app, token, abuse.body) < MAX_BYTES


async def test_a_document_drawn_at_random_takes_little(app: FastAPI, token: str) -> None:
    """Random documents with fragments, repetitions and lists take little time."""
    most = MAX_SECONDS * pace()
    for seed in DRAWN:
        seconds, answer = await processor_seconds(app, token, drawn(seed).body, most)
        assert seconds < most, seed
        assert answer.status in (200, 400), (seed, answer.body)


async def test_twice_as_many_fragments_take_no_longer_each(app: FastAPI, token: str) -> None:
    """The work for a document is linear in its length, not in its expanded size."""
    most = MAX_SECONDS * pace()
    for fragments in (10, 20, 40, 60):
        seconds, answer = await processor_seconds(app, token, _body(doubling(fragments)), most)
        assert answer.code in (None, "document.too_large"), fragments
        assert seconds < most, fragments


async def test_nobody_without_a_token_has_a_document_read(app: FastAPI) -> None:
    """Every request with an invalid token gets 401, because the token is checked before the document is read."""
    for abuse in corpus():
        assert (await post(app, "nonsense", abuse.body)).status == 401, abuse.name


async def test_the_cost_is_in_every_answer(app: FastAPI, token: str) -> None:
    """Every answer, including a refusal, states the document's cost and the limit."""
    for query, cost in (
        ("{ students(first: 7) { edges { node { id } } } }", 7),
        ("{ students(first: 200) { edges { node { concerns { supports { phases { id } } } } } } }", 200 * 156),
        ("{ students(first: 7) { nothing } }", 7),
        ("{", None),
    ):
        answer = await post(app, token, _body(query))
        assert answer.content["extensions"] == {"cost": cost, "costLimit": 10_000}, query
        assert ("errors" in answer.content) == (cost != 7 or "nothing" in query)


async def test_the_introspection_of_tools_passes(app: FastAPI, token: str) -> None:
    """The usual introspection query of code generators and IDEs is within the limits."""
    answer = await post(app, token, _body(FULL_INTROSPECTION))
    assert answer.status == 200
    assert len(answer.content["data"]["__schema"]["types"]) > 50


async def test_an_answer_lists_few_errors(app: FastAPI, north: Town) -> None:
    """An answer lists at most a hundred errors, and then states how many more there are."""
    unknown = await post(app, caller(app, north).token, _body("{" + " ".join(f"x{n}" for n in range(500)) + "}"))
    assert len(unknown.content["errors"]) <= ERRORS + 1
    assert "more errors" in unknown.content["errors"][-1]["message"]
    fields = " ".join(f"a{n}: concerns {{ id }}" for n in range(30)) + " concerns { id } decisions { id } scores { id }"
    shut = caller(app, north, CLIENT_SCOPES & {"roster:read"}).token
    answer: Answer = await post(
        app, shut, _body("{ students(first: 4) { edges { node { " + fields + " supports { id } } } } }")
    )
    assert answer.status == 200
    *listed, last = answer.content["errors"]
    assert {one["extensions"]["code"] for one in listed} == {"permission.missing"}
    assert (len(listed), last["message"]) == (ERRORS, "And 2 more.")


async def test_a_message_is_short(app: FastAPI, token: str) -> None:
    """A name of 30 kB that occurs a hundred times in a document does not lead to an answer of 3 MB."""
    name = "n" * 30_000
    answer = await post(
        app, token, _body(f"query {name}({' '.join(f'$a{n}: Int' for n in range(100))}) {{ areas {{ code }} }}")
    )
    assert answer.code == "request.malformed"
    assert len(answer.body) < 60_000


def _body(query: str) -> bytes:
    return Abuse.of("", query).body
