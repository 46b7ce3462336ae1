"""`aimline serve`, `worker`, `migrate`, `key`: the processes and what they stand on."""

import asyncio
from typing import Annotated

import typer
import uvicorn

from app.cli.migrate import migrate as bring_up_to_date
from app.core.crypto import fresh_key
from app.core.db import check_server
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    key = typer.Typer(help="Key-encryption keys.", no_args_is_help=True)
    app.add_typer(key, name="key")

    @app.command()
    def serve(
        host: str = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
        workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ) -> None:
        """Serves REST and GraphQL."""
        settings = Settings()
        settings.check_networks()
        asyncio.run(check_server(settings.url_of("api"), "api"))
        uvicorn.run(
            "app.main:create",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            access_log=False,
            log_level="warning",
            server_header=False,
        )

    @app.command()
    def worker() -> None:
        """Delivers webhooks and runs what is due."""
        from app.worker import main

        Settings().check_networks()
        main()

    @app.command()
    def migrate(
        reset_roles: Annotated[bool, typer.Option(help="Set the passwords of the roles api and worker anew.")] = False,
    ) -> None:
        """Makes the run-time roles and brings the schema up to date."""
        bring_up_to_date(Settings(), reset_roles=reset_roles)

    @key.command("new")
    def new(name: Annotated[str, typer.Option(help="The key's id; random without it.")] = "") -> None:
        """Prints a fresh line for a key file; the first line of the file wraps, every line unwraps."""
        print(fresh_key(name))
