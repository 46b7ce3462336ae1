"""`aimline district` and `aimline client`: an operator's commands for districts and machine clients."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_client, find_district
from app.access.permission import GRANTABLE, MEANING
from app.access.principal import system_principal
from app.access.service import NewClient, grant_client, register_client, rotate_secret
from app.access.work import unit
from app.cli.district import open_district
from app.core import ids
from app.core.db import open_engine
from app.core.errors import AimlineError, Conflict, NotFound
from app.events.service import begin_epoch
from app.playbook.queries import reminder_days
from app.playbook.service import publish_reminders
from app.roster.queries import find_school
from app.settings import Settings

Answer = TypeVar("Answer")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
District = Annotated[str, typer.Option(help="The district's short name.")]


def as_operator(run: Callable[[AsyncEngine, Settings], Awaitable[Answer]]) -> Answer:
    """Runs a coroutine with an engine that uses the worker's role."""

    async def go() -> Answer:
        settings = Settings()
        limits = settings.sync_timeouts
        engine = open_engine(settings.url_of("worker"), name="cli", pool_size=2, timeouts=limits)
        try:
            return await run(engine, settings)
        finally:
            await engine.dispose()

    return asyncio.run(go())


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    district = typer.Typer(help="Districts.", no_args_is_help=True)
    client = typer.Typer(help="Machine clients.", no_args_is_help=True)
    app.add_typer(district, name="district")
    app.add_typer(client, name="client")

    @district.command("create")
    def create_district(
        slug: Annotated[str, typer.Argument(help="A short name: a–z, 0–9 and hyphens.")],
        name: Annotated[str, typer.Option(help="The district's full name.")] = "",
        time_zone: Annotated[str, typer.Option(help="An IANA time zone, such as America/Chicago.")] = "UTC",
        as_json: AsJson = False,
    ) -> None:
        """Creates a district with the default playbook."""

        async def run(engine: AsyncEngine, settings: Settings) -> str:
            try:
                await find_district(engine, slug)
            except NotFound:
                made = await open_district(engine, settings.keyring, slug, name or slug, time_zone)
                return ids.format_id("district", made)
            raise Conflict(f"The district {slug} exists already.", code="district.taken")

        shown = as_operator(run)
        print(json.dumps({"district": slug, "id": shown}) if as_json else f"Created the district {slug} ({shown}).")

    @district.command("new-epoch")
    def new_epoch(slug: Annotated[str, typer.Argument(help="The district's short name.")]) -> None:
        """Makes readers of the change feed start again; run this after restoring from a copy."""

        async def run(engine: AsyncEngine, settings: Settings) -> None:
            district_id = await find_district(engine, slug)
            operator = system_principal(district_id, "operator")
            async with unit(engine, operator, settings.keyring, "district new-epoch") as work:
                await begin_epoch(work)

        as_operator(run)
        print(f"The change feed of {slug} was restarted: cursors issued before are refused.")

    @district.command("reminders")
    def reminders(
        slug: Annotated[str, typer.Argument(help="The district's short name.")],
        days: Annotated[list[str] | None, typer.Argument(help="Such as concern_unanswered=10; 0 means never.")] = None,
    ) -> None:
        """Shows or sets the number of instructional days after which something counts as overdue."""

        async def run(engine: AsyncEngine, settings: Settings) -> dict[str, int]:
            operator = system_principal(await find_district(engine, slug), "operator")
            async with unit(engine, operator, settings.keyring, "district reminders") as work:
                if days:
                    await publish_reminders(work, _days(days))
                return await reminder_days(work)

        for name, number in as_operator(run).items():
            print(f"{name:20} {number}")

    @client.command("create")
    def create_client(
        district: District,
        scope: Annotated[list[str], typer.Option(help="Scopes, repeated or space-separated; `all` for all.")],
        name: Annotated[str, typer.Option(help="The client's name.")] = "client",
        school: Annotated[list[str] | None, typer.Option(help="Only these schools: ids or external ids.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Creates a machine client and shows its secret once."""
        scopes = _scopes(scope)

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[str, str]:
            district_id = await find_district(engine, district)
            operator = system_principal(district_id, "operator")
            async with unit(engine, operator, settings.keyring, "client create") as work:
                schools = tuple([(await find_school(work, school_name, "/school")).id for school_name in school or ()])
                made = await register_client(work, NewClient(name, scopes, schools))
            return ids.format_id("client", made.client_id), made.secret

        client_id, secret = as_operator(run)
        if as_json:
            print(json.dumps({"client_id": client_id, "client_secret": secret, "scope": " ".join(scopes)}))
        else:
            print(f"client_id      {client_id}\nclient_secret  {secret}\nThe secret is not shown again.")

    @client.command("grant")
    def grant(
        client_id: str,
        district: District,
        scope: Annotated[list[str], typer.Option(help="Scopes, as for `client create`.")],
    ) -> None:
        """Grants a client access to a further district."""
        scopes = _scopes(scope)

        async def run(engine: AsyncEngine, settings: Settings) -> None:
            client = await find_client(engine, ids.parse_id("client", client_id))
            if client is None:
                raise NotFound("client")
            district_id = await find_district(engine, district)
            if any(grant.district_id == district_id for grant in client.grants):
                raise Conflict("The client has a grant in this district already.", code="client.granted")
            async with unit(
                engine, system_principal(district_id, "operator"), settings.keyring, "client grant"
            ) as work:
                await grant_client(work, client.client_id, NewClient(client.name, scopes))

        as_operator(run)
        print(f"Granted {client_id} the district {district}.")

    @client.command("rotate")
    def rotate(
        client_id: str,
        district: District,
        revoke_others: Annotated[bool, typer.Option(help="Revoke the other secrets at once.")] = False,
    ) -> None:
        """Gives a client a second secret; both are valid until the older one is revoked."""

        async def run(engine: AsyncEngine, settings: Settings) -> str:
            client = await find_client(engine, ids.parse_id("client", client_id))
            if client is None:
                raise NotFound("client")
            district_id = await find_district(engine, district)
            async with unit(
                engine, system_principal(district_id, "operator"), settings.keyring, "client rotate"
            ) as work:
                return await rotate_secret(work, client.client_id, revoke_others=revoke_others)

        print(f"client_secret  {as_operator(run)}\nThe secret is not shown again.")

    @client.command("scopes")
    def list_scopes() -> None:
        """Lists the scopes that a client can be granted."""
        for can in sorted(GRANTABLE):
            print(f"{can.value:20} {MEANING[can]}")
        print("area:<code>          Read and write records of a secured area, such as area:sel.")


def _days(given: list[str]) -> dict[str, int]:
    days = dict(text.partition("=")[::2] for text in given)
    if not all(number.isascii() and number.isdigit() for number in days.values()):
        raise AimlineError("Write it as concern_unanswered=10.", code="reminders.malformed")
    return {name: int(number) for name, number in days.items()}


def _scopes(given: list[str]) -> tuple[str, ...]:
    named = [scope for text in given for scope in text.replace(",", " ").split()]
    if "all" in named:
        named = [scope for scope in named if scope != "all"] + [can.value for can in GRANTABLE]
    if not named:
        raise AimlineError("Name at least one scope. See: aimline client scopes", code="scope.missing")
    return tuple(sorted(set(named)))
