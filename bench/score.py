"""Measures how long it takes to record one score, and how long its SQL statements alone take.

`python3 dev.py python -m bench.score [--requests 100] [--before FOLDER]`. Each score is sent to a district. Recording
it also judges the scores of the classmates. The statements that the product sends for the score are then sent again
through asyncpg, to a copy of the database. Therefore both do the same work: they lock, read and write the same rows,
and commit. The judging is timed apart, with the series that the product loaded. `--before` names a checkout of an
earlier commit, which is measured in turns with this one.

* command: `record_scores` in a unit of work of its own.
* REST: `POST /v1/scores` with an idempotency key, through the whole app without a socket.
* 500 at once: `record_scores` with 500 scores of 20 classes.

BEGIN and COMMIT are not counted as statements.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import uvloop
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url

from app.access.directory import Grant, KnownClient
from app.access.permission import GRANTABLE
from app.access.principal import Principal, client_principal, system_principal
from app.access.work import unit
from app.cli.district import open_district
from app.core.bound import BoundConnection
from app.core.db import open_engine
from app.core.ids import format_id, new_id
from app.evidence.service import NewScore
from app.main import build
from app.response.judging import judge
from app.response.service import record_scores
from app.settings import Settings
from bench.series import BEGINS, CLASS, WEEKS, create_series, read_codes
from bench.server import as_owner, migrated

AT_ONCE, ROUNDS, WARM = 500, 5, 15
LIMITS = {"statements": 10, "bare": 2.0, "before": 0.5, "at_once": 150}
"""The largest numbers that are allowed: of statements, and of times the bare, the earlier and the single time."""


@dataclass
class Recording:
    """The statements of one request with their parameters, and the judgements that were computed for it."""

    statements: list[tuple[str, Any, bool]] = field(default_factory=list)
    judgements: list[tuple[Any, ...]] = field(default_factory=list)


@dataclass
class Figures:
    """The measured figures of requests. Each list has one item for each request.

    `took` and `used` are the elapsed and the processor milliseconds of the request. `bare` and `judging` are the
    milliseconds of its statements alone and of its judging alone. `statements` is the number of its statements.
    """

    took: list[float] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    judging: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """Returns the median of each measured value, and the median ratio of two times.

        The ratio is the time of a request, divided by the time of its statements alone plus its judging alone.
        """
        values = {name: statistics.median(getattr(self, name)) for name in self.__dataclass_fields__}
        ratios = [
            took / (bare + judging) for took, bare, judging in zip(self.took, self.bare, self.judging, strict=True)
        ]
        return values | {"ratio": statistics.median(ratios)}


@contextmanager
def recording(into: Recording) -> Iterator[None]:
    """Records the statements and the judgements within the block.

    The time that the recording takes is measured as a part of the product's time.
    """
    run, judge_series = BoundConnection.run, judge.judge_series

    def keep(
        _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:  # SQLAlchemy's signature
        into.statements.append((statement, parameters, many))

    async def kept_run(connection: BoundConnection, statement: str, parameters: Sequence[Any]) -> list[Any]:
        into.statements.append((statement, parameters, False))
        return await run(connection, statement, parameters)

    def kept_judge(*arguments: Any) -> Any:
        into.judgements.append(arguments)
        return judge_series(*arguments)

    event.listen(Engine, "before_cursor_execute", keep)
    BoundConnection.run = kept_run  # type: ignore[method-assign]  # recorded
    judge.judge_series = kept_judge
    try:
        yield
    finally:
        judge.judge_series = judge_series
        BoundConnection.run = run  # type: ignore[method-assign]  # as it was
        event.remove(Engine, "before_cursor_execute", keep)


class Bench:
    """A district in a database, a copy of that database, and a client that sends scores to the district."""

    def __init__(self, settings: Settings, copy: asyncpg.Connection, client: Principal, students: list[UUID]) -> None:
        self.copy, self.client, self.students, self.settings = copy, client, students, settings
        self.engine = open_engine(settings.url_of("api"), name="bench")
        self.next = 0

    def new_score(self, day: date = BEGINS + timedelta(weeks=WEEKS)) -> NewScore:
        """Returns a score of the next student."""
        student = self.students[self.next % len(self.students)]
        self.next += 1
        return NewScore(format_id("student", student), "orf", day, 60.0 + self.next % 40, form="F20")

    async def measure(self, send: Callable[[], Awaitable[Any]], times: int, warm: int = WARM) -> Figures:
        """Sends requests, and returns the measured times.

        After each request, its SQL statements are sent again alone, and the series that it judged are judged again
        alone. So each of the two parts has a time of its own. The first `warm` requests are not counted.
        """
        figures = Figures()
        for number in range(-warm, times):
            recorded = Recording()
            with recording(recorded):
                began, used = time.perf_counter(), time.process_time()
                await send()
                took, used = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)
            bare = await self._repeat(recorded.statements)
            began = time.perf_counter()
            for arguments in recorded.judgements:
                judge.judge_series(*arguments)
            judging = 1000 * (time.perf_counter() - began)
            if number >= 0:
                for name, value in {"took": took, "used": used, "bare": bare, "judging": judging}.items():
                    getattr(figures, name).append(value)
                figures.statements.append(len(recorded.statements))
        return figures

    async def _repeat(self, recorded: Sequence[tuple[str, Any, bool]]) -> float:
        """Sends the recorded statements to a copy of the district between BEGIN and COMMIT; returns the
        milliseconds.
        """
        began = time.perf_counter()
        await self.copy.execute(f"BEGIN; {self.client.binding()}")
        for statement, parameters, many in recorded:
            if many:
                await self.copy.executemany(statement, parameters)
            else:
                await self.copy.fetch(statement, *parameters)
        await self.copy.execute("COMMIT")
        return 1000 * (time.perf_counter() - began)

    async def command(self, scores: Sequence[NewScore]) -> None:
        """Records scores through the product's command, in a unit of work."""
        async with unit(self.engine, self.client, self.settings.keyring, "bench") as work:
            results = await record_scores(work, scores)
        refused = [violation for result in results for violation in result.violations]
        if refused or any(result.outcome != "recorded" for result in results):
            raise RuntimeError(f"A score was not recorded: {refused[:1]}")


@asynccontextmanager
async def _opened(settings: Settings, students: int) -> AsyncIterator[Bench]:
    """Fills the database, creates a copy of it, and yields the benchmark for both."""
    worker = open_engine(settings.url_of("worker"), name="bench")
    district = await open_district(worker, settings.keyring, "bench", "bench", "UTC")
    async with unit(worker, system_principal(district, "bench"), settings.keyring, "bench") as work:
        ids = await create_series(work, await read_codes(work), students, WEEKS - 1)
    await worker.dispose()
    await as_owner(settings, "VACUUM ANALYZE")
    url = make_url(settings.url_of("owner"))
    name = f"{url.database}_copy"
    elsewhere = settings.model_copy(
        update={"database_url": url.set(database="postgres").render_as_string(hide_password=False)}
    )
    await as_owner(elsewhere, f"CREATE DATABASE {name} TEMPLATE {url.database}")
    copied = make_url(settings.url_of("api")).set(database=name).render_as_string(hide_password=False)
    copy = await asyncpg.connect(
        copied,
        max_cacheable_statement_size=0,
        max_cached_statement_lifetime=0,
        server_settings={"jit": "off"},
    )
    scopes = frozenset(can.value for can in GRANTABLE) | {"area:sel"}
    bench = Bench(settings, copy, client_principal(district, new_id(), "bench", scopes, ()), ids)
    try:
        yield bench
    finally:
        await bench.engine.dispose()
        await copy.close()
        await as_owner(elsewhere, f"DROP DATABASE {name} WITH (FORCE)")


async def _measure(settings: Settings, times: int) -> dict[str, dict[str, float]]:
    classes = AT_ONCE // CLASS + (2 * (times + WARM)) // CLASS + 1
    async with _opened(settings, classes * CLASS) as bench:
        one = await bench.measure(lambda: bench.command([bench.new_score()]), times)
        app = build(settings)
        grant = Grant(bench.client.district_id, "bench", frozenset(map(str, bench.client.scopes)), ())
        known_client = KnownClient(bench.client.client_id or new_id(), "bench", (), (grant,))
        token = app.state.services.tokens.issue(known_client, grant, tuple(sorted(grant.scopes))).token
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bench.test") as client:

            async def post() -> None:
                new = bench.new_score()
                body = {"student": new.student, "measure": new.measure, "taken_on": str(new.taken_on)}
                headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(new_id())}
                answer = await client.post(
                    "/v1/scores", json=body | {"value": new.value, "form": new.form}, headers=headers
                )
                if answer.status_code != 201:
                    raise RuntimeError(answer.text)

            rest = await bench.measure(post, times)
        await app.state.services.engine.dispose()
        bench.next, round_ = 0, iter(range(1, 100))

        async def record_many() -> None:
            bench.next = 0
            day = BEGINS + timedelta(weeks=WEEKS - 2, days=next(round_))
            await bench.command([bench.new_score(day) for _ in range(AT_ONCE)])

        many = await bench.measure(record_many, ROUNDS, warm=1)
        return {"command": one.medians(), "REST": rest.medians(), "500 at once": many.medians()}


def _print(figures: dict[str, dict[str, float]], title: str) -> None:
    print(f"\n{title}\n")
    print("| | ms | processor, ms | bare statements, ms | judging, ms | statements | × (bare + judging) |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in figures.items():
        cells = [f"{row[column]:.1f}" for column in ("took", "used", "bare", "judging")]
        print(f"| {name} | {' | '.join(cells)} | {row['statements']:.0f} | {row['ratio']:.2f} |")
    at_once = figures["500 at once"]["took"] / figures["command"]["took"]
    print(f"\n500 at once take {at_once:.0f} times the time of one (limit {LIMITS['at_once']}).")


def _measure_in(folder: Path, times: int) -> dict[str, dict[str, float]]:
    """Measures the code of the checkout `folder` in a separate process.

    Modules that `folder` lacks, such as those of the benchmark, come from the present checkout.
    """
    checkout = Path(__file__).resolve().parent.parent
    paths = os.pathsep.join(map(str, dict.fromkeys((folder.resolve(), checkout))))
    answer = subprocess.run(
        [sys.executable, "-m", "bench.score", "--json", "--requests", str(times)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, dict[str, float]] = json.loads(answer.stdout.splitlines()[-1])
    return figures


def _compare(before: Path, times: int, rounds: int) -> None:
    """Measures two checkouts in turns, and prints the figures of both."""
    rows: dict[Path, list[dict[str, dict[str, float]]]] = {before: [], Path(__file__).resolve().parent.parent: []}
    for number in range(rounds):
        for folder in rows if number % 2 == 0 else reversed(rows):
            rows[folder].append(_measure_in(folder, times))
    middle = []
    for folder, runs in rows.items():
        figures = {
            name: {column: statistics.median(run[name][column] for run in runs) for column in runs[0][name]}
            for name in runs[0]
        }
        middle.append(figures)
        _print(figures, "before" if folder == before else "now")
    for name in middle[0]:
        ratio = middle[1][name]["took"] / middle[0][name]["took"]
        print(f"{name}: {ratio:.2f} of the time before (limit for one score: {LIMITS['before']}).")


def main() -> None:
    """Runs the benchmark's command line."""
    ask = argparse.ArgumentParser(prog="python -m bench.score", description=__doc__)
    ask.add_argument("--requests", type=int, default=100)
    ask.add_argument("--before", type=Path, help="a checkout of an earlier commit, to be measured in turns")
    ask.add_argument("--rounds", type=int, default=2, help="how often each checkout is measured")
    ask.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = ask.parse_args()
    if options.before is not None:
        _compare(options.before, options.requests, options.rounds)
        return
    with migrated() as settings:
        figures = uvloop.run(_measure(settings, options.requests))
    if options.json:
        print(json.dumps(figures))
    else:
        _print(figures, "one score")


if __name__ == "__main__":
    main()
