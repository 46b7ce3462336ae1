"""Runs PostGraphile 5 on the benchmark's database. npm installs it into a temporary folder that is never committed."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from app.access.permission import Can
from app.access.principal import Principal, Reach, parts_of
from app.core.ids import new_id
from app.settings import Settings
from bench.graphql.district import Made

PACKAGE = "postgraphile@5"
LOG = """INSERT INTO disclosure (district_id, id, at, client_id, principal, operation, student_ids, kinds)
         VALUES ($1, gen_random_uuid(), now(), $2, 'bench', 'graphql query', $3, ARRAY['student'])"""


@contextmanager
def folder(given: Path | None) -> Iterator[Path]:
    """Yields a folder with PostGraphile in it: the given folder, or else a temporary one."""
    with tempfile.TemporaryDirectory() as temporary:
        place = given or Path(temporary)
        if not (place / "node_modules" / "postgraphile").exists():
            place.mkdir(exist_ok=True)
            (place / "package.json").write_text('{"private": true, "type": "module"}')
            npm = [shutil.which("npm") or "npm", "install", "--no-audit", "--no-fund", PACKAGE]
            subprocess.run(npm, cwd=place, check=True, stdout=subprocess.DEVNULL)
        shutil.copy(Path(__file__).parent / "postgraphile.mjs", place)
        yield place


@contextmanager
def running(settings: Settings, made: Made, place: Path, reach: Reach, students: int) -> Iterator[str]:
    """Runs PostGraphile with the access of a principal who sees the students in `reach`, and yields its address.

    Each row of the disclosure log names `students` students.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = make_url(settings.url_of("api")).set(drivername="postgresql").render_as_string(hide_password=False)
    values = [str(made.district_id), str(new_id()), [str(one) for one in made.student_ids[:students]]]
    order = {
        "connection": url,
        "pgSettings": _settings(Principal(made.district_id, "bench", reach, frozenset(Can), (), made.caseload(reach))),
        "port": port,
        "log": {"text": LOG, "values": values},
    }
    environment = os.environ | {"BENCH": json.dumps(order), "NODE_ENV": "production", "GRAPHILE_ENV": "production"}
    node = [shutil.which("node") or "node", "postgraphile.mjs"]
    with subprocess.Popen(node, cwd=place, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError("PostGraphile did not start.")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _settings(principal: Principal) -> dict[str, str]:
    """Returns the PostgreSQL settings, by name, that the SQL function `app.enter` sets for this principal."""
    settings = {"app.district_id": str(principal.district_id), "app.reach": principal.reach.value}
    settings |= {"app.schools": "{}", "app.opens": "{" + ",".join(sorted(principal.opens)) + "}"}
    if principal.reach is Reach.CASELOAD:
        settings |= {f"app.students_{place:x}": part for place, part in enumerate(parts_of(principal.students))}
    return settings
