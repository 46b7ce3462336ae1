"""Defines the subcommands of `aimline sync` that show sync runs, and decide about runs that wait for approval.

They are `status`, `report`, `diff`, `quarantine`, `acknowledge`, `approve`, `discard`, `history`, `rekey` and `undo`.
The exit codes are those of `aimline sync`.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import orjson
import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import Work, unit
from app.cli.diff import add_to_sync as add_diff
from app.cli.operate import AsJson, District, as_operator
from app.cli.output import print_csv, printable
from app.cli.report import print_report
from app.cli.sync import ALREADY_RUNNING, USAGE, sync_app
from app.core import ids
from app.core.csv_file import BOM, csv_lines
from app.core.errors import AimlineError, Invalid
from app.core.page import keyset
from app.core.plural import pluralize
from app.settings import Settings
from app.sis.engine.report import Report
from app.sis.port import AlreadyRunning
from app.sis.runs import approval, quarantine, queries, rekey
from app.sis.runs import undo as undoing
from app.sis.runs.history import history_of
from app.sis.scheduler.answers import attempt_answer
from app.sis.scheduler.leases import claim_answer

Answer = TypeVar("Answer")
NEWEST = 10  # the number of runs that `status` shows if no run is given
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id: run_…")]
Plan = Annotated[str, typer.Option(help="The digest of the plan, which the report shows.")]
Kept = Annotated[bool, typer.Option("--without-removals", help="Do not remove any rows.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands about sync runs to `aimline sync`."""
    app.add_typer(sync_app, name="sync")
    add_diff()

    @sync_app.command("status")
    def status(
        district: District,
        run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run's id; without it, the newest runs.")] = "",
        as_json: AsJson = False,
    ) -> None:
        """Shows the state of a run, or of the newest runs, in one line each."""
        if not run:
            _show_newest(district, as_json)
            return
        report = _read(district, lambda work: queries.read_report(work, ids.parse_id("run", run)))
        summary = {"run_id": run, "state": report.state, "sentence": report.sentence}
        print(orjson.dumps(summary).decode() if as_json else printable(f"{run}: {report.state}. {report.sentence}"))

    @sync_app.command("report")
    def report(run: Run, district: District, as_json: AsJson = False) -> None:
        """Shows a run's report, with its plan if it is held."""
        run_report = _read(district, lambda work: queries.read_report(work, ids.parse_id("run", run)))
        _show(run_report, district, as_json, weighed=True)

    @sync_app.command("quarantine")
    def quarantine_(run: Run, district: District) -> None:
        """Prints a CSV of the rows that a run refused, for the clerk who corrects them in the SIS."""
        print_csv(BOM + _read(district, lambda work: quarantine.quarantine_csv(work, ids.parse_id("run", run))))

    @sync_app.command("acknowledge")
    def acknowledge(
        run: Run,
        district: District,
        row: Annotated[list[str] | None, typer.Option(help="FILE:ROW; may be repeated. Without it, all rows.")] = None,
        same_person: Annotated[
            list[str] | None,
            typer.Option(help="A sourcedId that is still the same person's; may be repeated. The next run imports it."),
        ] = None,
    ) -> None:
        """Acknowledges refused rows: they are still not imported, but later runs do not exit with 3 because of them.

        The acknowledgement of a row ends when the row's content or its fault changes.
        """
        run_id = ids.parse_id("run", run)
        if row and same_person:
            print("Use --row or --same-person, not both.", file=sys.stderr)
            raise typer.Exit(USAGE)

        async def mark(work: Work) -> int:
            if same_person:
                people = await quarantine.find_reused(work, run_id, same_person)
                return await quarantine.acknowledge_rows(work, run_id, people, same_person=True)
            chosen = await quarantine.find_rows(work, run_id, row) if row else None
            return await quarantine.acknowledge_rows(work, run_id, chosen)

        print(f"{pluralize(_read(district, mark), 'row is', 'rows are')} acknowledged.")

    @sync_app.command("approve")
    def approve(
        run: Run,
        district: District,
        plan: Plan,
        without_removals: Kept = False,
        school: Annotated[
            list[str] | None,
            typer.Option(help="Apply this school only: an id, or sis:<source>:<sourcedId>; may be repeated."),
        ] = None,
        kind: Annotated[
            list[str] | None, typer.Option(help="Apply this kind only, such as person; may be repeated.")
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Applies the plan of a held run, or of a run that failed to apply.

        `--plan` must name the plan that the operator has read, and the roster must not have changed since.

        With --school or --kind, the rest of the plan is left out; the next run plans it again.
        """
        run_id = ids.parse_id("run", run)

        async def mark(work: Work) -> None:
            await approval.approve(work, run_id, plan, without_removals, school or None, kind or None)

        _decide(district, run_id, mark, as_json)

    @sync_app.command("discard")
    def discard(run: Run, district: District, as_json: AsJson = False) -> None:
        """Discards the plan of a held run, or of one that failed to apply."""
        run_id = ids.parse_id("run", run)
        _decide(district, run_id, lambda work: approval.discard(work, run_id), as_json)

    @sync_app.command("history")
    def history(
        person: Annotated[str, typer.Argument(metavar="PERSON", help="An id, or sis:<source>:<sourcedId>.")],
        district: District,
        as_json: AsJson = False,
    ) -> None:
        """Shows what every sync did to a person, to find out why somebody is in the roster or is not."""

        async def read(work: Work) -> list[dict[str, str]]:
            _, steps = await history_of(work, person)
            runs = [(change, change.run.run) for change in steps]
            return [
                {
                    "run_id": ids.format_id("run", run.id),
                    "at": (run.ended_at or run.began_at).isoformat(timespec="seconds"),
                    "kind": change.kind,
                    "action": change.action,
                    "sentence": change.sentence,
                }
                for change, run in runs
            ]

        lines = _read(district, read)
        if as_json:
            print(orjson.dumps(lines).decode())
        for step in () if as_json else lines:
            print(printable(f"{step['at']}  {step['run_id']}  {step['sentence']}"))
        if not as_json and not lines:
            print("No sync has touched this person.")

    @sync_app.command("rekey")
    def rekey_people(
        run: Run,
        district: District,
        match: Annotated[str, typer.Option(help="likely, identifier, email, or a CSV file of old and new sourcedIds.")],
        out: Annotated[Path | None, typer.Option(help="Write the resulting map as CSV.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Finds the people of a held run to whom the SIS gave new sourcedIds, and adds the new ids to the run's plan.

        They take effect once the plan is approved.
        """

        async def operation(engine: AsyncEngine, settings: Settings) -> Report:
            district_id, keyring = await find_district(engine, district), settings.keyring
            pairs = () if match in (*rekey.MATCHES, rekey.LIKELY) else rekey.read_pairs(Path(match))
            report = await rekey.plan_rekey(engine, keyring, district_id, ids.parse_id("run", run), match, pairs)
            async with unit(engine, system_principal(district_id, "operator"), keyring, "sync rekey") as work:
                matched_pairs = await rekey.list_pairs(work, report.run_id) if out else []
            if out:
                _write_map(out, matched_pairs)
            return report

        report = _run_or_exit(lambda: as_operator(operation))
        _show(report, district, as_json)
        raise typer.Exit(report.exit_code)

    @sync_app.command("undo")
    def undo(run: Run, district: District, as_json: AsJson = False) -> None:
        """Undoes an applied run, unless a later run changed the same rows."""

        async def operation(engine: AsyncEngine, settings: Settings) -> Report:
            district_id, nobody = await find_district(engine, district), lambda _doing, _done, _of: None
            return await undoing.undo(engine, settings.keyring, district_id, ids.parse_id("run", run), nobody)

        report = _run_or_exit(lambda: as_operator(operation))
        _show(report, district, as_json)
        raise typer.Exit(report.exit_code)


def _write_map(file: Path, pairs: rekey.Pairs) -> None:
    """Writes a map of sourcedIds as CSV, in the form that `--match FILE` reads. Raises `AimlineError` if it cannot."""
    try:
        file.write_bytes((BOM + csv_lines([("old", "new"), *pairs])).encode())
    except OSError as error:
        sentence = (
            f"The map is planned, but {file} cannot be written ({type(error).__name__}): see aimline sync status."
        )
        raise AimlineError(sentence, code="rekey.out") from None


def _show_newest(district: str, as_json: bool) -> None:
    """Shows the newest runs, one per line, so that the id of a nightly run can be found."""
    page = _read(
        district, lambda work: queries.runs(work, keyset(work.district_id, "runs", {}, None, NEWEST, work.keyring))
    )
    lines = [
        {
            "run_id": ids.format_id("run", row.run.id),
            "source": row.source,
            "state": row.run.state,
            "began_at": row.run.began_at.isoformat(timespec="seconds"),
            "sentence": row.sentence,
        }
        for row in page.rows
    ]
    if as_json:
        print(orjson.dumps(lines).decode())
    for row in () if as_json else lines:
        print(printable(f"{row['began_at']}  {row['run_id']}  {row['source']}  {row['state']}. {row['sentence']}"))
    if not as_json and not lines:
        print("There was no run yet.")


def _read(district: str, read: Callable[[Work], Awaitable[Answer]]) -> Answer:
    async def run(engine: AsyncEngine, settings: Settings) -> Answer:
        district_id = await find_district(engine, district)
        async with unit(engine, system_principal(district_id, "operator"), settings.keyring, "sync") as work:
            return await read(work)

    return _run_or_exit(lambda: as_operator(run))


def _decide(district: str, run_id: UUID, mark: Callable[[Work], Awaitable[None]], as_json: bool) -> None:
    """Stores the operator's decision about a held run (`mark` writes it), and carries it out at once.

    If a fault or a crash interrupts this, the worker carries the decision out later.
    """

    async def run(engine: AsyncEngine, settings: Settings) -> Report:
        district_id = await find_district(engine, district)
        async with unit(engine, system_principal(district_id, "operator"), settings.keyring, "sync answer") as work:
            await mark(work)
            job = await claim_answer(work, run_id)
        report = await attempt_answer(engine, settings.keyring, district_id, job)
        if report is None:
            raise AssertionError("An answer that has just been given has attempts left.")
        return report

    report = _run_or_exit(lambda: as_operator(run))
    _show(report, district, as_json)
    raise typer.Exit(report.exit_code)


def _run_or_exit(run: Callable[[], Answer]) -> Answer:
    """Calls `run` and returns its result. For an error, prints a sentence and exits with the matching exit code."""
    try:
        return run()
    except AlreadyRunning as error:
        Console(stderr=True).print(error.detail, markup=False)
        raise typer.Exit(ALREADY_RUNNING) from None
    except Invalid as error:
        for violation in error.violations:
            Console(stderr=True).print(violation.detail, markup=False)
        raise typer.Exit(USAGE) from None
    except AimlineError as error:
        Console(stderr=True).print(error.detail, markup=False)
        raise typer.Exit(USAGE) from None


def _show(report: Report, district: str, as_json: bool, *, weighed: bool = False) -> None:
    if as_json:
        typer.echo(orjson.dumps(report.as_json()).decode())
    else:
        print_report(report, district, weighed=weighed)
