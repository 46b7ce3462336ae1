"""Defines `aimline schema`, which compares the database's schema with the one that this version of Aimline expects.

The expected lines are in `migrations/schema.txt`, whose first line gives the revision. `aimline schema --write`
generates this file from an empty database, and a test compares it with the result of the migrations.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import asyncpg
import orjson
import typer
from alembic.script import ScriptDirectory

from app.cli.migrate import EXPECTED, expected_schema, migrate, schema_differences
from app.core.crypto import generate_key
from app.core.db import connect
from app.core.embedded import EmbeddedPostgres
from app.core.schema_lines import describe_schema
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds `aimline schema` to the command line."""

    @app.command()
    def schema(
        write: Annotated[
            bool, typer.Option(help="For developers: write migrations/schema.txt from an empty database.")
        ] = False,
        as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    ) -> None:
        """Compares the database's schema with the one of this version; exits with 1 if they differ."""
        if write:
            EXPECTED.write_text(generate_schema())
            print("migrations/schema.txt")
            return
        settings = Settings()
        deviations = asyncio.run(schema_differences(settings))
        if as_json:
            print(orjson.dumps({"revision": expected_schema()[0], "differences": deviations}).decode())
        elif deviations:
            print("\n".join(deviations))
        else:
            print(f"The schema is the one of version {expected_schema()[0]}.")
        if deviations:
            print("The schema differs from the one of its version.", file=sys.stderr)
            raise typer.Exit(1)


def generate_schema() -> str:
    """Runs the migrations in an empty embedded database, and returns the text that describes the resulting schema."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), settings={"fsync": "off"}) as server:
        settings = Settings(
            database_url=server.url(), api_database_url="", worker_database_url="", key=generate_key("schema")
        )
        migrate(settings, check=False)
        return asyncio.run(_text_of(settings))


async def _text_of(settings: Settings) -> str:
    owner = await connect(settings.url_of("owner"), "owner")
    try:
        return await schema_text(owner, {role: settings.role_name(role) for role in ("api", "worker")})
    finally:
        await owner.close()


async def schema_text(connection: asyncpg.Connection, roles: Mapping[str, str]) -> str:
    """Returns the text that `migrations/schema.txt` must have, generated from a migrated database."""
    head = ScriptDirectory(str(EXPECTED.parent)).get_current_head()
    return "\n".join([f"revision {head}", *await describe_schema(connection, roles)]) + "\n"
