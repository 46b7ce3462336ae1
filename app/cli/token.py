"""Defines `aimline token`, an operator's command that ends access tokens before they expire."""

import json
import sys
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.authenticate import Tokens
from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.service import client_of_district, revoke_tokens
from app.access.work import unit
from app.cli.client import SECONDS
from app.cli.operate import AsJson, as_operator
from app.core import ids
from app.core.errors import AimlineError, Unauthenticated
from app.settings import Settings

EXCLUSIVE = "Give either a token on standard input, or --client and --district for all tokens of a client."


def add_to(app: typer.Typer) -> None:
    """Adds `aimline token` to the command line."""
    token = typer.Typer(help="Access tokens.", no_args_is_help=True)
    app.add_typer(token, name="token")

    @token.callback()
    def _token() -> None:
        """Makes `aimline token` a group of commands. Does nothing itself."""

    @token.command("revoke")
    def revoke(
        client: Annotated[str, typer.Option(help="All tokens of this client …", metavar="CLIENT")] = "",
        district: Annotated[str, typer.Option(help="… in the district with this short name.")] = "",
        as_json: AsJson = False,
    ) -> None:
        """Revokes one token, read from standard input, or all tokens that a client has in a district.

        The revocation is effective within 60 seconds on every process. The client can still get a new token; to end its
        access, use `aimline client revoke`.
        """
        if bool(client) != bool(district):
            raise AimlineError(EXCLUSIVE, code="token.which")
        # A token on the command line would be visible in the list of processes.
        text = "" if client else sys.stdin.read().strip().removeprefix("Bearer ").strip()
        if not client and not text:
            raise AimlineError(EXCLUSIVE, code="token.which")

        async def run(engine: AsyncEngine, settings: Settings) -> tuple[UUID, UUID | None]:
            if client:
                district_id, client_id, token_id = (
                    await find_district(engine, district),
                    ids.parse_id("client", client),
                    None,
                )
            else:
                district_id, client_id, token_id = _verified(settings, text)
            operator = system_principal(district_id, "operator")
            async with unit(engine, operator, settings.keyring, "token revoke") as work:
                await client_of_district(work, client_id)
                await revoke_tokens(work, client_id, token_id)
            return client_id, token_id

        client_id, token_id = as_operator(run)
        public_id = ids.format_id("client", client_id)
        record = {"client_id": public_id, "token_id": token_id and str(token_id), "effective_within_seconds": SECONDS}
        subject = "This token" if token_id else "Every token issued until now"
        print(json.dumps(record) if as_json else f"{subject} of {public_id} ends within {SECONDS} seconds.")


def _verified(settings: Settings, text: str) -> tuple[UUID, UUID, UUID]:
    """Returns three ids: those of a token's district, of its client, and of the token itself.

    Raises `AimlineError` if the token is invalid or has expired.
    """
    try:
        token = Tokens(settings.keyring, settings.base_url, settings.token_seconds).verify(text)
    except Unauthenticated:
        detail = "This is no valid token of this installation (by AIMLINE_BASE_URL and its keys), or it has expired."
        raise AimlineError(detail, code="token.invalid") from None
    return token.district_id, token.client_id, token.token_id
