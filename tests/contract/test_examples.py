"""Tests that each example of the contract works in the playground as it is printed, with the printed credentials."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.examples import Examples, success_of
from tests.contract.tools import CONTRACTS
from tests.playground import Playground

pytestmark = pytest.mark.long

WITHOUT_EXAMPLE = {
    "agree_at_agenda_item": "its owner must be a member of the team of the item, which no list of ids shows yet",
    "get_calendar": "a secret is shown only once, in the answer that creates its link",
    "stream_events": "a stream does not end",
    "token": "the credentials are its example; the fixture gets its token by it",
    "send_roster": "a file: `aimline sandbox export` writes one",
    "send_scores": "a file: `aimline sandbox scores` writes one",
}
NEEDS_STATE = {"approve_sync_run", "discard_sync_run", "rekey_sync_run", "undo_sync_run", "move_test_clock"}
"""Operations on a run that is held or applied last, or on a sandbox district: only for that is the example refused."""


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a fresh playground, with a token for the credentials that it has printed."""
    started = Playground(tmp_path_factory.mktemp("playground"))
    credentials = (started.named(r"client id +(\S+)"), started.named(r"client secret +(\S+)"))
    address = started.named(r"serves at (\S+)\. ")
    with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        answer = client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=credentials)
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client
    started.end(signal.SIGINT)


def test_every_example_works_in_the_playground(playground: httpx.Client) -> None:
    """Each operation's example has a documented status of success, and each id is found where the contract says."""
    examples = Examples(json.loads((CONTRACTS / "rest.json").read_text()), playground)
    failed, sent = [], 0
    for method, path, operation in examples.operations():
        name = operation["operationId"]
        if name in WITHOUT_EXAMPLE:
            continue
        answer = examples.send(method, path, operation)
        if answer is None:
            failed.append((name, "There is no row of which to take the id.", ""))
            continue
        expected = {409} if name in NEEDS_STATE else success_of(operation)
        sent += 1
        is_refused = b'"outcome":"refused"' in answer.content
        if answer.status_code not in expected or is_refused:
            failed.append((name, str(answer.status_code), answer.text[:300]))
    assert not failed, "\n".join(map(str, failed))
    assert sent > 100


def test_every_body_has_an_example() -> None:
    """Each operation with a body of JSON has an example of it."""
    contract = json.loads(Path(CONTRACTS / "rest.json").read_text())
    assert [
        operation["operationId"]
        for methods in contract["paths"].values()
        for operation in methods.values()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/json" and "example" not in content
    ] == []
