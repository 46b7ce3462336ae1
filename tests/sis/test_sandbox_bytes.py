"""Tests that two sandbox SISs with one seed send the same bytes, and that a token request may leave out the scope."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import httpx

from app.sandbox.district import District
from app.sandbox.score_window import export_scores
from tests.processes import REPOSITORY, TRUSTS_NOBODY, environment
from tests.sis.sandbox_sis import BOOK, ON, V11, V12

PATHS = (
    *(f"{V11}/{name}" for name in ("orgs", "users", "classes", "enrollments", "demographics", "results", "nothing")),
    *(f"{V12}/{name}" for name in ("orgs", "users", "enrollments")),
    *(f"{BOOK}/{name}" for name in ("lineItems", "results", "assessmentResults")),
    *("csv/oneroster.zip", "csv/oneroster.zip?oneroster=1.2&gradebook=true", "csv/oneroster.zip?day=2"),
)


@contextmanager
def _sandbox(hash_seed: int, port: int) -> Iterator[str]:
    """Runs a sandbox SIS with this hash seed of Python, and yields its address.

    The seed changes the order of Python's sets.
    """
    arguments = ["sandbox", "sis", "--students", "40", "--seed", "7", "--on", ON, "--client", "north:of-a-test"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments, "--port", str(port), "--until-stdin-closes"],
        cwd=REPOSITORY,
        env={**environment(), "PYTHONHASHSEED": str(hash_seed)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(120)


def _answers(address: str) -> dict[str, tuple[int, dict[str, str], bytes]]:
    with httpx.Client(base_url=address, timeout=60, verify=TRUSTS_NOBODY) as client:
        grant = client.post(
            "oauth/token", data={"grant_type": "client_credentials"}, auth=("north", "of-a-test")
        ).json()
        assert grant["scope"].split(), "a token without a requested scope reads everything"
        client.headers["Authorization"] = f"Bearer {grant['access_token']}"
        answers = {path: client.get(path) for path in PATHS}
    own_address = address.encode()
    return {
        path: (
            answer.status_code,
            {name: text.replace(address, "") for name, text in answer.headers.items() if name != "date"},
            answer.content.replace(own_address, b""),
        )
        for path, answer in answers.items()
    }


def test_two_runs_of_a_seed_are_the_same_bytes() -> None:
    """Two sandbox SISs with the same seed send the same bytes in all answers.

    No answer depends on the time or on the process.
    """
    answers = []
    for hash_seed in (1, 2):
        with _sandbox(hash_seed, 0) as address:
            answers.append(_answers(address))
    first, second = answers
    assert {path: answer[0] for path, answer in first.items() if answer[0] != 200} == {f"{V11}/nothing": 404}
    for path in PATHS:
        assert first[path] == second[path], path


def test_a_screening_window_is_of_the_districts_students(tmp_path: Path) -> None:
    """A file of screening scores has one score for each student, within the measure's range.

    Two files that are generated from the same seed are equal.
    """
    district = District(7, 60, date.fromisoformat(ON))
    texts = []
    for name in ("one.csv", "two.csv"):
        assert export_scores(district, tmp_path / name, "orf") > 0
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    sheet = list(csv.DictReader(texts[0].splitlines()))
    students = {user.sourced_id for user in district.users() if user.role == "student"}
    assert {row["studentSourcedId"] for row in sheet} == students
    assert len(sheet) == len(students)
    assert all(0 <= int(row["value"]) <= 300 for row in sheet)
