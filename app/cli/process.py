"""`aimline worker`, `migrate`, `key`: the processes and what they stand on."""

from typing import Annotated

import typer

from app.cli.migrate import migrate as bring_up_to_date
from app.core.crypto import generate_key
from app.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Adds these commands."""
    key = typer.Typer(help="Key-encryption keys.", no_args_is_help=True)
    app.add_typer(key, name="key")

    @app.command()
    def worker() -> None:
        """Delivers webhooks and runs what is due."""
        from app.worker import main

        Settings().check_networks()
        main()

    @app.command()
    def migrate(
        reset_roles: Annotated[bool, typer.Option(help="Set the passwords of the roles api and worker anew.")] = False,
        citus: Annotated[bool, typer.Option(help="Distribute the tables of an empty database by district.")] = False,
    ) -> None:
        """Makes the run-time roles and brings the schema up to date."""
        bring_up_to_date(Settings(), reset_roles=reset_roles, citus=citus)

    @key.command("new")
    def new(name: Annotated[str, typer.Option(help="The key's id; random without it.")] = "") -> None:
        """Prints a fresh line for a key file; the first line of the file wraps, every line unwraps."""
        print(generate_key(name))
