"""Defines `aimline district`, an operator's commands for districts."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import districts_after, find_district
from app.access.models import District as DistrictRow
from app.access.principal import system_principal
from app.access.service import clients_of_district, district_of
from app.access.work import unit
from app.cli.district import open_district
from app.cli.output import print_record, print_table
from app.core import ids
from app.core.crypto import Keyring
from app.core.db import open_engine
from app.core.errors import AimlineError, Conflict, NotFound
from app.events.service import begin_epoch
from app.maintenance.models import TaskKind
from app.maintenance.service import create_tasks, run_task
from app.playbook.queries import reminder_days
from app.playbook.service import publish_reminders
from app.settings import Settings

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
District = Annotated[str, typer.Option(help="The district's short name.")]
Slug = Annotated[str, typer.Argument(help="The district's short name.")]


def as_operator(run: Callable[[AsyncEngine, Settings], Awaitable[Answer]]) -> Answer:
    """Calls an asynchronous function with an engine that uses the worker's role, and returns the function's result."""

    async def operation() -> Answer:
        settings = Settings()
        limits = settings.sync_timeouts
        engine = open_engine(settings.url_of("worker"), name="cli", pool_size=2, timeouts=limits)
        try:
            return await run(engine, settings)
        finally:
            await engine.dispose()

    return asyncio.run(operation())


def add_to(app: typer.Typer) -> None:
    """Adds `aimline district` to the command line."""
    district = typer.Typer(help="Districts.", no_args_is_help=True)
    app.add_typer(district, name="district")

    @district.command("create")
    def create_district(
        slug: Annotated[str, typer.Argument(help="A short name: a–z, 0–9 and hyphens.")],
        name: Annotated[str, typer.Option(help="The district's full name.")] = "",
        time_zone: Annotated[str, typer.Option(help="An IANA time zone, such as America/Chicago.")] = "UTC",
        sandbox: Annotated[
            bool, typer.Option("--sandbox", help="For trials: POST /v1/test-clock can move the district's day.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Creates a district with the default playbook."""

        async def run(engine: AsyncEngine, settings: Settings) -> str:
            try:
                await find_district(engine, slug)
            except NotFound:
                district_id = await open_district(
                    engine, settings.keyring, slug, name or slug, time_zone, is_sandbox=sandbox
                )
                await create_tasks(engine, settings.keyring, district_id)
                return ids.format_id("district", district_id)
            raise Conflict(f"The district {slug} exists already.", code="district.taken")

        record = as_operator(run)
        print(json.dumps({"district": slug, "id": record}) if as_json else f"Created the district {slug} ({record}).")

    @district.command("list")
    def list_districts(as_json: AsJson = False) -> None:
        """Lists the districts of this installation."""

        async def run(engine: AsyncEngine, settings: Settings) -> list[dict[str, str]]:
            return [summarize(row) async for row in _districts(engine, settings.keyring)]

        districts = as_operator(run)
        if as_json:
            print(json.dumps({"districts": districts}))
            return
        rows = [(row["slug"], row["id"], row["time_zone"], row["name"]) for row in districts]
        print_table(
            ("SLUG", "ID", "TIME ZONE", "NAME"), rows, empty="There is no district. See: aimline district create"
        )

    @district.command("show")
    def show_district(slug: Slug, as_json: AsJson = False) -> None:
        """Shows a district: its id, name, time zone, when it was created, and how many clients have access."""

        async def run(engine: AsyncEngine, settings: Settings) -> dict[str, str | int]:
            operator = system_principal(await find_district(engine, slug), "operator")
            async with unit(engine, operator, settings.keyring, "district show") as work:
                access = [client for client in await clients_of_district(work) if client.revoked_at is None]
                return {**summarize(await district_of(work)), "clients": len(access)}

        print_record(as_operator(run), as_json=as_json)

    @district.command("new-epoch")
    def new_epoch(slug: Slug, as_json: AsJson = False) -> None:
        """Restarts the change feed after a restore. Every reader must start again, because its cursor is refused."""

        async def run(engine: AsyncEngine, settings: Settings) -> None:
            district_id = await find_district(engine, slug)
            operator = system_principal(district_id, "operator")
            async with unit(engine, operator, settings.keyring, "district new-epoch") as work:
                await begin_epoch(work)

        as_operator(run)
        sentence = f"The change feed of {slug} was restarted: cursors issued before are refused."
        print(json.dumps({"district": slug, "restarted": True}) if as_json else sentence)

    @district.command("reminders")
    def reminders(
        slug: Slug,
        days: Annotated[list[str] | None, typer.Argument(help="As concern_unanswered=10; 0 means never.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Shows or sets the number of instructional days after which each kind of reminder is sent."""

        async def run(engine: AsyncEngine, settings: Settings) -> dict[str, int]:
            operator = system_principal(await find_district(engine, slug), "operator")
            async with unit(engine, operator, settings.keyring, "district reminders") as work:
                if days:
                    await publish_reminders(work, _days(days))
                return await reminder_days(work)

        print_record(as_operator(run), as_json=as_json)

    @district.command("maintain")
    def maintain(
        slug: Slug,
        task: Annotated[list[TaskKind] | None, typer.Option(help="Only this task; repeat it for several.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Runs the recurring tasks of a district now, without waiting for the worker."""

        async def run(engine: AsyncEngine, settings: Settings) -> dict[str, int]:
            district_id, history = await find_district(engine, slug), timedelta(days=settings.sync_history_days)
            return {
                kind.value: (await run_task(engine, settings.keyring, district_id, kind, history))[0]
                for kind in task or TaskKind
            }

        print_record(as_operator(run), as_json=as_json)


async def _districts(engine: AsyncEngine, keyring: Keyring) -> AsyncIterator[DistrictRow]:
    last = UUID(int=0)
    while district_ids := await districts_after(engine, last):
        for last in district_ids:
            async with unit(engine, system_principal(last, "operator"), keyring, "district list") as work:
                yield await district_of(work)


def summarize(row: DistrictRow) -> dict[str, str]:
    """Returns those fields of a district that the command line shows."""
    return {
        "slug": row.slug,
        "id": ids.format_id("district", row.district_id),
        "name": row.name,
        "time_zone": row.time_zone,
        "created_at": row.created_at.isoformat(timespec="seconds"),
    }


def _days(given: list[str]) -> dict[str, int]:
    days = dict(text.partition("=")[::2] for text in given)
    if not all(number.isascii() and number.isdigit() for number in days.values()):
        raise AimlineError("Write it as concern_unanswered=10.", code="reminders.malformed")
    return {name: int(number) for name, number in days.items()}
