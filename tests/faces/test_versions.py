"""Tests that a change is refused if the row has changed since it was read, so that two people do not overwrite each
other.
"""

import asyncio
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI

from app.core import ids
from tests.faces.admission_app import Built
from tests.faces.faulty import code_of
from tests.faces.rest_town import Caller, caller
from tests.town import Town


async def endpoint_of(client: Caller) -> dict[str, Any]:
    """Creates a webhook endpoint of the client, and returns it."""
    new = {"url": "http://127.0.0.1:9999/hook", "event_types": ["concern.raised"]}
    made: dict[str, Any] = (await client.post("/v1/webhook-endpoints", new)).json()
    return made


async def concern_of(client: Caller, town: Town) -> str:
    """Creates a concern, and returns its path."""
    area = ids.format_id("area", next(iter(town.areas.values())))
    student = ids.format_id("student", town.students["amy"])
    new = {"student": student, "area": area, "description": "Quiet."}
    return f"/v1/concerns/{(await client.post('/v1/concerns', new)).json()['id']}"


async def test_a_change_needs_the_version_that_was_read(app: FastAPI, north: Town) -> None:
    """A change without If-Match is answered with 428, and a change with an outdated version with 412.

    The answer to an accepted change has the new ETag, which the next change can send.
    """
    client = caller(app, north)
    path = f"/v1/webhook-endpoints/{(await endpoint_of(client))['id']}"
    read = await client.get(path)
    assert read.headers["etag"].startswith('"1-')
    missing = await client.ask("PATCH", path, json={"description": "x"})
    assert (missing.status_code, code_of(missing)) == (428, "version.required")
    first = await client.patch(path, {"description": "mine"}, read.headers["etag"])
    assert (first.status_code, first.json()["version"]) == (200, 2)
    late = await client.patch(path, {"description": "theirs"}, read.headers["etag"])
    assert (late.status_code, code_of(late)) == (412, "version.mismatch")
    assert (await client.get(path)).json()["description"] == "mine"
    assert (await client.patch(path, {"description": "again"}, first.headers["etag"])).status_code == 200
    assert (await client.patch(path, {"description": "any"}, "*")).status_code == 200
    assert (await client.patch(path, {"description": "short"}, '"4"')).status_code == 200


async def test_of_changes_at_once_one_is_made(app: FastAPI, north: Town) -> None:
    """Of eight concurrent changes with the same version, one is accepted."""
    client = caller(app, north)
    for path, body in (
        (f"/v1/webhook-endpoints/{(await endpoint_of(client))['id']}", {"description": "x"}),
        ("/v1/measures/orf", {"name": "x"}),
    ):
        names = [{key: f"{value}{number}" for key, value in body.items()} for number in range(8)]
        answers = await asyncio.gather(*(client.patch(path, changes, '"1"') for changes in names))
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7


async def test_changes_without_a_version_are_still_counted(app: FastAPI, north: Town) -> None:
    """Each of eight concurrent changes without If-Match gives the row a new version number."""
    client = caller(app, north)
    path = f"/v1/webhook-endpoints/{(await endpoint_of(client))['id']}"
    changes = [{"description": str(number)} for number in range(8)]
    answers = await asyncio.gather(*(client.patch(path, one) for one in changes))
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 10))


async def test_a_verb_takes_a_version(app: FastAPI, north: Town) -> None:
    """A command with an If-Match version that is no longer current gets 412, before the concern's state is checked.

    Without a version, only the state decides whether the command is accepted.
    """
    client = caller(app, north)
    path = await concern_of(client, north)
    accepted = await client.ask("POST", f"{path}/accept", json={}, headers={"If-Match": '"1"'})
    assert (accepted.status_code, accepted.headers["etag"][:3]) == (200, '"2-')
    late = await client.ask("POST", f"{path}/accept", json={}, headers={"If-Match": '"1"'})
    assert (late.status_code, code_of(late)) == (412, "version.mismatch")
    assert (await client.post(f"{path}/accept", {})).status_code == 409
    several = await client.ask("POST", f"{path}/resolve", json={}, headers={"If-Match": '"1", "2-0123456789abcdef"'})
    assert several.status_code == 200


async def test_a_command_that_changes_nothing_is_held_to_its_version(app: FastAPI, north: Town) -> None:
    """A command that would change nothing still checks the version that it is given."""
    client = caller(app, north)
    path = f"/v1/webhook-endpoints/{(await endpoint_of(client))['id']}/pause"
    assert (await client.ask("POST", path, headers={"If-Match": '"1"'})).status_code == 200
    assert (await client.ask("POST", path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await client.ask("POST", path, headers={"If-Match": '"2"'})).status_code == 200


@pytest.mark.parametrize("tag", ['W/"1"', '"x"', '"0"', '""', '"1x"'])
async def test_a_tag_that_is_no_version_matches_nothing(app: FastAPI, north: Town, tag: str) -> None:
    """An If-Match tag that is no version gives 412 and not a server error; a weak tag never matches (RFC 9110
    §13.1.1).
    """
    client = caller(app, north)
    answer = await client.ask("POST", f"{await concern_of(client, north)}/accept", json={}, headers={"If-Match": tag})
    assert answer.status_code == 412


@pytest.mark.parametrize("tag", ["1", "", '"1', "1-a, 2", '"1"' + ',"2"' * 100])
async def test_a_malformed_header_is_refused(app: FastAPI, north: Town, tag: str) -> None:
    """A malformed If-Match header is refused with 400.

    If it were ignored, a change could be made although the client has set a condition.
    """
    client = caller(app, north)
    answer = await client.ask("POST", f"{await concern_of(client, north)}/accept", json={}, headers={"If-Match": tag})
    assert answer.status_code == 400
    assert answer.json()["violations"][0]["code"] == "version.malformed"


async def test_what_a_client_has_is_not_sent_again(app: FastAPI, north: Town) -> None:
    """An unchanged answer is 304 without a body. After a command has changed the row, the whole answer is sent."""
    client = caller(app, north)
    path = await concern_of(client, north)
    tag = (await client.get(path)).headers["etag"]
    for matching in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        same = await client.ask("GET", path, headers={"If-None-Match": matching})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await client.post(f"{path}/accept", {})
    assert (await client.ask("GET", path, headers={"If-None-Match": tag})).status_code == 200


async def test_a_member_that_changes_without_a_version_changes_the_tag(app: FastAPI, north: Town) -> None:
    """The ETag of a webhook endpoint changes when its deliveries begin to fail, although its version stays the same.

    Otherwise a client would keep an outdated answer.
    """
    client = caller(app, north)
    path = f"/v1/webhook-endpoints/{(await endpoint_of(client))['id']}"
    tag = (await client.get(path)).headers["etag"]
    owner = await asyncpg.connect(north.settings.url_of("owner"))
    try:
        await owner.execute(
            "UPDATE webhook_endpoint SET failing_since = now() WHERE district_id = $1", north.district_id
        )
    finally:
        await owner.close()
    assert (await client.ask("GET", path, headers={"If-None-Match": tag})).status_code == 200
    assert (await client.patch(path, {"description": "x"}, tag)).status_code == 200


async def test_an_answer_that_was_known_counts_against_no_quota(built: Built, north: Town) -> None:
    """A response with status 304 (not modified) uses no quota."""
    async with built(client_requests=5) as app:
        client = caller(app, north)
        path = await concern_of(client, north)
        first = await client.get(path)
        for _ in range(10):
            same = await client.ask("GET", path, headers={"If-None-Match": first.headers["etag"]})
            assert same.status_code == 304
            assert same.headers["ratelimit"].split(";t=")[0] == first.headers["ratelimit"].split(";t=")[0]
