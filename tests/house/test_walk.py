"""Tests two helpers of the tests that call every operation.

The first one splits a request with too many expansions into halves. The second one skips a statement that has passed
the checks before.
"""

from pathlib import Path

import httpx
import pytest

from tests.house import watch
from tests.house.walk import TOO_MANY_ROWS, Operation, Request, whole_answers

OPERATION = Operation("GET", "/v1/concerns", "list_concerns", (), None, reads=True)


async def test_expansions_that_could_return_too_many_rows_are_sent_in_halves() -> None:
    """A request with expansions that is refused for too many rows is sent again in halves.

    Each expansion is answered once. A refused request with a single expansion stays refused.
    """

    async def send(request: Request) -> httpx.Response:
        is_refused = request.params["expand"].count(",") > 1 or request.params["expand"] == "e"
        return httpx.Response(400, text=TOO_MANY_ROWS) if is_refused else httpx.Response(200)

    requests = [Request(OPERATION, OPERATION.path, {"expand": "a,b,c,d,e"}, named="expand")]
    answered = [(one.params["expand"], answer.status_code) async for one, answer in whole_answers(send, requests)]
    assert answered == [("a,b", 200), ("c", 200), ("d,e", 200)]
    alone = [Request(OPERATION, OPERATION.path, {"expand": "e"}, named="expand")]
    assert [answer.status_code async for _, answer in whole_answers(send, alone)] == [400]


def test_a_statement_that_passed_is_known_to_other_processes_and_later_runs(tmp_path: Path) -> None:
    """A statement is checked once for all processes of a test run, and is not checked again in the next run."""
    one, other, later = watch.Passed(), watch.Passed(), watch.Passed()
    one.open(tmp_path)
    other.open(tmp_path)
    assert not other.has("SELECT 1")
    one.add("SELECT 1")
    assert other.has("SELECT 1")
    assert not other.has("SELECT 2")
    later.open(tmp_path)
    assert later.has("SELECT 1")


def test_another_version_of_the_checks_knows_no_statement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that was checked before is checked again after a change of the checks."""
    before, after = watch.Passed(), watch.Passed()
    before.open(tmp_path)
    before.add("SELECT 1")
    monkeypatch.setattr(watch, "_version_of_checks", lambda: "another")
    after.open(tmp_path)
    assert not after.has("SELECT 1")
    assert [file.name for file in tmp_path.iterdir()] == ["another"]
