"""The page for those who write a receiver: its code runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from app.core.ids import show
from app.events.catalogue import CATALOGUE
from app.webhooks.deliveries.again import send_test
from app.webhooks.service import NewEndpoint, register_endpoint
from app.worker import drain
from tests.rooms.webhook_town import SANDBOX, happen, log_of
from tests.town import Town

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


def _started(program: Path, secret_file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(program), "0", str(secret_file)], stdout=subprocess.PIPE, text=True)


async def test_the_receiver_of_the_page_takes_what_we_send(north: Town, tmp_path: Path) -> None:
    """Saved and started as the page says: it verifies, answers, does nothing twice, and refuses another's secret."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "receiver.py").write_text(code)
    secret_file = tmp_path / "secret.txt"
    with _started(tmp_path / "receiver.py", secret_file) as process:
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
            said = {process.stdout.readline().split()[0], process.stdout.readline().split()[0]}
            assert said == {"endpoint.tested", "concern.raised"}
            secret_file.write_text("whsec_" + "A" * 43 + "=")
            await happen(north)
            await drain(north.settings, {north.district_id})
        finally:
            process.kill()
    answers = [[attempt.status for attempt in one.attempts] for one in await log_of(north, made)]
    assert answers == [[204], [204], [401]]
    assert show("endpoint", made.id).startswith("end_")


def test_the_page_names_types_and_routes_that_there_are() -> None:
    """A type or a route that the page names and the product does not have would cost its reader an hour."""
    page = PAGE.read_text()
    named = set(re.findall(r'"((?:concern|response|support|endpoint)\.[a-z]+)"', page))
    assert named
    assert named <= CATALOGUE.keys()
    contract = (PAGE.parents[1] / "openapi" / "rest.json").read_text()
    for end in re.findall(r"…/\{endpoint\}(/[a-z]+(?:/\{delivery\}/[a-z]+)?)", page):
        assert f'"/v1/webhook-endpoints/{{endpoint}}{end}"' in contract, end
