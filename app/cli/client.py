"""Defines `aimline client`, an operator's commands for machine clients and their access to districts."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_client, find_district
from app.access.permission import GRANTABLE, MEANING
from app.access.principal import system_principal
from app.access.service import (
    DistrictClient,
    NewClient,
    client_of_district,
    clients_of_district,
    grant_client,
    register_client,
    revoke_client,
    rotate_secret,
)
from app.access.work import Work, unit
from app.calendar.service import revoke_links_of_client
from app.cli.operate import AsJson, District, as_operator
from app.cli.output import print_record, print_table
from app.core import ids
from app.core.errors import AimlineError, Conflict, NotFound
from app.requests.origins import origins_of, set_origins
from app.roster.queries import find_school
from app.settings import Settings

ClientId = Annotated[str, typer.Argument(help="The client's id, such as cli_….", metavar="CLIENT")]
Scopes = Annotated[list[str], typer.Option(help="Scopes, repeated or space-separated; `all` for all.")]
Origin = Annotated[
    list[str] | None,
    typer.Option(help="Origin of web pages that may call, such as https://app.example.org; repeated."),
]
OF_AREA = "Read and write records of a secured area, such as area:sel."
SECONDS = 60
"""The seconds after which every process has applied a revocation."""


def add_to(app: typer.Typer) -> None:
    """Adds `aimline client` to the command line."""
    client = typer.Typer(help="Machine clients.", no_args_is_help=True)
    app.add_typer(client, name="client")

    @client.command("create")
    def create_client(
        district: District,
        scope: Scopes,
        name: Annotated[str, typer.Option(help="The client's name.")] = "client",
        school: Annotated[list[str] | None, typer.Option(help="Only these schools: ids or external ids.")] = None,
        origin: Origin = None,
        as_json: AsJson = False,
    ) -> None:
        """Creates a machine client and shows its secret once."""
        scopes = _scopes(scope)

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[str, str]:
            async with _work(engine, settings, district, "client create") as work:
                schools = tuple([(await find_school(work, name_, "/school")).id for name_ in school or ()])
                created = await register_client(work, NewClient(name, scopes, schools))
                await set_origins(work, created.client_id, origin or ())
            return ids.format_id("client", created.client_id), created.secret

        client_id, secret = as_operator(run)
        if as_json:
            print(json.dumps({"client_id": client_id, "client_secret": secret, "scope": " ".join(scopes)}))
        else:
            print(f"client_id      {client_id}\nclient_secret  {secret}\nThe secret is not shown again.")

    @client.command("list")
    def list_clients(district: District, as_json: AsJson = False) -> None:
        """Lists the clients that have, or had, access to a district."""

        async def run(engine: AsyncEngine, settings: Settings) -> list[DistrictClient]:
            async with _work(engine, settings, district, "client list") as work:
                return list(await clients_of_district(work))

        clients = as_operator(run)
        if as_json:
            print(json.dumps({"clients": [_shown(client) for client in clients]}))
            return
        rows = [
            (
                ids.format_id("client", client.client_id),
                f"{client.granted_at:%Y-%m-%d}",
                "access" if client.revoked_at is None else f"revoked {client.revoked_at:%Y-%m-%d}",
                len(client.scopes),
                client.name,
            )
            for client in clients
        ]
        print_table(("ID", "GRANTED", "STATE", "SCOPES", "NAME"), rows, empty="No client has access to this district.")

    @client.command("show")
    def show_client(client_id: ClientId, district: District, as_json: AsJson = False) -> None:
        """Shows a client's access to a district: its scopes, schools and number of valid secrets."""
        parsed_id = ids.parse_id("client", client_id)

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[DistrictClient, tuple[str, ...]]:
            async with _work(engine, settings, district, "client show") as work:
                return await client_of_district(work, parsed_id), await origins_of(work, parsed_id)

        client, origins = as_operator(run)
        print_record(_shown(client) | {"origins": list(origins)}, as_json=as_json)

    @client.command("origins")
    def origins(client_id: ClientId, district: District, origin: Origin = None, as_json: AsJson = False) -> None:
        """Replaces the origins of the web pages that may use a client's tokens; without --origin, removes all origins.

        The change takes effect within 60 seconds on every process.
        """
        parsed_id = ids.parse_id("client", client_id)

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[str, ...]:
            async with _work(engine, settings, district, "client origins") as work:
                await set_origins(work, parsed_id, origin or ())
                return await origins_of(work, parsed_id)

        registered = as_operator(run)
        record = {"client_id": client_id, "origins": list(registered), "effective_within_seconds": SECONDS}
        print(
            json.dumps(record) if as_json else f"{client_id} may be used by {', '.join(registered) or 'no web page'}."
        )

    @client.command("grant")
    def grant(client_id: ClientId, district: District, scope: Scopes, as_json: AsJson = False) -> None:
        """Grants a client access to an additional district, or renews an access that was revoked."""
        scopes, parsed_id = _scopes(scope), ids.parse_id("client", client_id)

        async def run(engine: AsyncEngine, settings: Settings) -> None:
            client = await find_client(engine, parsed_id)
            if client is None:
                raise NotFound("client")
            district_id = await find_district(engine, district)
            if any(grant.district_id == district_id for grant in client.grants):
                raise Conflict("The client has a grant in this district already.", code="client.granted")
            async with _work(engine, settings, district, "client grant") as work:
                await grant_client(work, client.client_id, NewClient(client.name, scopes))

        as_operator(run)
        granted = {"client_id": client_id, "district": district, "scope": " ".join(scopes)}
        print(json.dumps(granted) if as_json else f"Granted {client_id} the district {district}.")

    @client.command("rotate")
    def rotate(
        client_id: ClientId,
        district: District,
        revoke_others: Annotated[bool, typer.Option(help="Revoke the other secrets at once.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Gives a client of a district a second secret. The older secret stays valid until it is revoked."""
        parsed_id = ids.parse_id("client", client_id)

        async def run(engine: AsyncEngine, settings: Settings) -> str:
            async with _work(engine, settings, district, "client rotate") as work:
                return await rotate_secret(work, parsed_id, revoke_others=revoke_others)

        secret = as_operator(run)
        record = {"client_id": client_id, "client_secret": secret}
        print(json.dumps(record) if as_json else f"client_secret  {secret}\nThe secret is not shown again.")

    @client.command("revoke")
    def revoke(client_id: ClientId, district: District, as_json: AsJson = False) -> None:
        """Ends a client's access to a district, and revokes its tokens, within 60 seconds on every process."""
        parsed_id = ids.parse_id("client", client_id)

        async def run(engine: AsyncEngine, settings: Settings) -> None:
            async with _work(engine, settings, district, "client revoke") as work:
                await revoke_client(work, parsed_id)
                await revoke_links_of_client(work, parsed_id)

        as_operator(run)
        record = {"client_id": client_id, "district": district, "revoked": True, "effective_within_seconds": SECONDS}
        sentence = f"{client_id} gets no more tokens for {district}; those that it has end within {SECONDS} seconds."
        print(json.dumps(record) if as_json else sentence)

    @client.command("scopes")
    def list_scopes(as_json: AsJson = False) -> None:
        """Lists the scopes that a client can be granted."""
        meanings = {can.value: MEANING[can] for can in sorted(GRANTABLE)} | {"area:<code>": OF_AREA}
        if as_json:
            print(json.dumps(meanings))
            return
        for scope, meaning in meanings.items():
            print(f"{scope:20} {meaning}")


@asynccontextmanager
async def _work(engine: AsyncEngine, settings: Settings, district: str, operation: str) -> AsyncIterator[Work]:
    """Opens the operator's unit of work in the district with this short name."""
    operator = system_principal(await find_district(engine, district), "operator")
    async with unit(engine, operator, settings.keyring, operation) as work:
        yield work


def _shown(client: DistrictClient) -> dict[str, object]:
    """Returns those fields of a client that the command line shows, which never include a secret."""
    return {
        "client_id": ids.format_id("client", client.client_id),
        "name": client.name,
        "scopes": list(client.scopes),
        "schools": [ids.format_id("org", school) for school in client.school_ids],
        "granted_at": client.granted_at.isoformat(timespec="seconds"),
        "revoked_at": None if client.revoked_at is None else client.revoked_at.isoformat(timespec="seconds"),
        "valid_secrets": client.secrets,
    }


def _scopes(given: list[str]) -> tuple[str, ...]:
    scopes = [scope for text in given for scope in text.replace(",", " ").split()]
    if "all" in scopes:
        scopes = [scope for scope in scopes if scope != "all"] + [can.value for can in GRANTABLE]
    if not scopes:
        raise AimlineError("Name at least one scope. See: aimline client scopes", code="scope.missing")
    return tuple(sorted(set(scopes)))
