"""Defines the commands `aimline worker`, `aimline migrate` and `aimline key`."""

from typing import Annotated

import typer

from app.cli.migrate import migrate as bring_up_to_date
from app.core.crypto import generate_key
from app.serving.start import uncollected
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds `aimline worker`, `aimline migrate` and `aimline key` to the command line."""
    key = typer.Typer(help="Key-encryption keys.", no_args_is_help=True)
    app.add_typer(key, name="key")

    @app.command()
    def worker() -> None:
        """Delivers webhooks and runs due jobs."""
        with uncollected():
            from app.worker import main

        Settings().check_networks()
        main()

    @app.command()
    def migrate(
        reset_roles: Annotated[bool, typer.Option(help="Reset the passwords of the roles api and worker.")] = False,
        citus: Annotated[bool, typer.Option(help="Distribute the tables by district.")] = False,
    ) -> None:
        """Creates the roles `api` and `worker`, and migrates the schema."""
        bring_up_to_date(Settings(), reset_roles=reset_roles, citus=citus)

    @key.command("new")
    def new(name: Annotated[str, typer.Option(help="The key's id; random without it.")] = "") -> None:
        """Prints a new line for a key file; the file's first key encrypts, and every key decrypts."""
        print(generate_key(name))
