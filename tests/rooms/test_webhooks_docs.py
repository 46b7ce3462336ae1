"""Tests that the code on the documentation page for authors of receivers works as printed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.core.ids import format_id
from app.events.catalogue import CATALOGUE
from app.webhooks.deliveries.redeliver import send_test
from app.webhooks.service import NewEndpoint, register_endpoint
from app.webhooks.sign import Signature
from app.worker import drain
from tests.rooms.test_webhooks_ed25519 import capturing
from tests.rooms.webhook_town import SANDBOX, happen, log_of
from tests.town import Town

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


def _code(language: str, containing: str) -> str:
    """Returns the only program of the page that is in this language and contains this text."""
    programs = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (code,) = [program for program in programs if containing in program]
    return str(code)


def _started(interpreter: str, program: Path, secret_file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([interpreter, str(program), "0", str(secret_file)], stdout=subprocess.PIPE, text=True)


NODE = shutil.which("node")
RECEIVERS = [
    pytest.param(sys.executable, "python", "HTTPServer", "receiver.py", id="python"),
    pytest.param(
        NODE,
        "js",
        "createServer",
        "receiver.mjs",
        id="javascript",
        marks=pytest.mark.skipif(NODE is None, reason="there is no node on this machine to run JavaScript"),
    ),
]


@pytest.mark.parametrize(("interpreter", "language", "words", "name"), RECEIVERS)
async def test_the_receiver_of_the_page_takes_what_we_send(
    north: Town, tmp_path: Path, interpreter: str, language: str, words: str, name: str
) -> None:
    """The documentation's example receiver verifies our deliveries, and refuses them after its secret has changed."""
    (tmp_path / name).write_text(_code(language, words))
    secret_file = tmp_path / "secret.txt"
    with _started(interpreter, tmp_path / name, secret_file) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip().removeprefix("listening on ")
            new = NewEndpoint(f"http://127.0.0.1:{port}/", ("concern.raised", "response.stopped"))
            async with north.unit() as work:
                made, secret = await register_endpoint(work, new, SANDBOX)
            secret_file.write_text(str(secret))
            async with north.unit() as work:
                await send_test(work, made.id)
            await happen(north)
            await drain(north.settings, {north.district_id})
            output = {process.stdout.readline().split()[0], process.stdout.readline().split()[0]}
            assert output == {"endpoint.tested", "concern.raised"}
            secret_file.write_text("whsec_" + "A" * 43 + "=")
            await happen(north)
            await drain(north.settings, {north.district_id})
        finally:
            process.kill()
    answers = [[attempt.status for attempt in one.attempts] for one in await log_of(north, made)]
    assert answers == [[204], [204], [401]]
    assert format_id("endpoint", made.id).startswith("end_")


async def test_the_page_verifies_ed25519(north: Town) -> None:
    """The function in the documentation verifies an ed25519 delivery, and refuses a changed byte."""
    page: dict[str, Any] = {}
    exec(_code("python", "Ed25519PublicKey"), page)  # noqa: S102  # code from our own page
    async with capturing() as (address, came):
        new = NewEndpoint(address, ("concern.raised",), signature=Signature.ED25519)
        async with north.unit() as work:
            made, _ = await register_endpoint(work, new, SANDBOX)
        await happen(north)
        await drain(north.settings, {north.district_id})
    ((headers, body),) = came
    assert page["verified"](made.public_key, headers, body)
    assert not page["verified"](made.public_key, headers, body + b" ")


def test_the_page_names_types_and_routes_that_there_are() -> None:
    """Every event type and every route that the documentation page names exists in the product."""
    page = PAGE.read_text()
    named = set(re.findall(r'["`]((?:concern|response|support|score|decision|student|endpoint)\.[a-z_]+)["`:]', page))
    assert named
    assert named <= CATALOGUE.keys()
    contract = (PAGE.parents[1] / "openapi" / "rest.json").read_text()
    for end in re.findall(r"…/\{name\}(/[a-z]+)", page):
        assert f'"/v1/events/consumers/{{name}}{end}"' in contract, end
    for end in re.findall(r"…/\{endpoint\}(/[a-z]+(?:/\{delivery\}/[a-z]+)?)", page):
        assert f'"/v1/webhook-endpoints/{{endpoint}}{end}"' in contract, end
