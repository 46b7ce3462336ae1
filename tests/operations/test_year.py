"""Simulates the first weeks of a school year with the product's own processes, as `bench.year` does."""

import secrets

import pytest

from app.settings import Settings
from bench.year.__main__ import play
from bench.year.installation import started
from tests.processes import free_port

pytestmark = pytest.mark.long


def test_the_first_weeks_of_a_year_keep_every_promise(settings: Settings) -> None:
    """In the first weeks of a simulated year, every promise of the product holds.

    * No verdict contradicts the probabilities that it states.
    * Every alert that is open in the feed is shown by the state of its support.
    * Each webhook arrives once with a valid signature.
    * One call records a group's session for all members.
    * Each agenda has exactly the expected items. An item disappears when its reason no longer exists.
    * Each question gets the true answer over REST and in GraphQL.
    """
    address = {"base_url": f"http://127.0.0.1:{free_port()}", "sandbox": True, "token_seconds": 3600}
    with started(settings.model_copy(update=address), f"year-{secrets.token_hex(4)}") as installation:
        report = play(installation, seed=1, weeks=9, students=12, quiet=True)
    assert report.failed == []
    assert report.findings.verdicts > 50
    assert report.findings.deliveries > 20
    assert report.lessons > 0
    assert [figures["meetings"] for figures in report.meetings.values()] == [8, 4]
    assert report.meetings["Grade 2"]["items"] > 0
