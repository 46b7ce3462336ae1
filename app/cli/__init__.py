"""The command line. Each command reports an error in one sentence, and exits with one of the documented exit codes."""

import logging
import os
import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

import structlog
import typer

from app.cli.examples import add_examples
from app.core.errors import AimlineError, Invalid
from app.serving.start import uncollected


class Command(NamedTuple):
    """An entry of the command line: the name of the module that defines a command, and the command's help text.

    The help text is repeated here, so that the overview of all commands can be shown without loading their modules.
    """

    module: str
    help: str


COMMANDS = {
    "serve": Command("serve", "Serves REST and GraphQL."),
    "worker": Command("process", "Delivers webhooks and runs due jobs."),
    "migrate": Command("process", "Creates the roles `api` and `worker`, and migrates the schema."),
    "schema": Command(
        "schema", "Compares the database's schema with the one of this version; exits with 1 if they differ."
    ),
    "backup": Command("backup", "Writes a backup of the whole database into a folder, and verifies it."),
    "restore": Command("backup", "Restores a backup into an empty database, and verifies it."),
    "key": Command("process", "Key-encryption keys."),
    "district": Command("operate", "Districts."),
    "client": Command("client", "Machine clients."),
    "token": Command("token", "Access tokens."),
    "sis": Command("sis", "The sources that a district syncs from."),
    "sync": Command("runs", "Syncs the roster from the district's SIS."),
    "judge": Command(
        "judge", "Judges series: JSON Lines on standard input, verdicts as JSON Lines on standard output."
    ),
    "calibrate": Command(
        "calibrate",
        "Estimates each measure's growth, its noise and the differences between its forms, from last year's scores.",
    ),
    "doctor": Command(
        "doctor", "Finds records whose schools differ from their student's, and teams whose list of students is wrong."
    ),
    "explain": Command(
        "explain",
        "Shows how a read would be carried out: its SQL, PostgreSQL's plan, its scopes, and what it would disclose.",
    ),
    "scaffold": Command(
        "scaffold", "For developers: writes the files of a new resource type about students into the working directory."
    ),
    "contracts": Command("contracts", "Writes openapi/rest.json, openapi/schema.graphql and openapi/events.json."),
    "sandbox": Command("sandbox", "A synthetic district of people who do not exist."),
}
"""The commands, keyed by name. Only the module of the requested command is loaded, so that the command starts
quickly.
"""
INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
DATABASES = ("AIMLINE_DATABASE_URL", "AIMLINE_WORKER_DATABASE_URL")
LONG_RUNNING = {"serve", "worker"}
"""The commands that run processes, which configure their own logs."""
USE_PLAYGROUND = {"schema", "backup", "district", "client", "token", "sis", "sync", "calibrate", "doctor", "explain"}
"""The commands that use a running playground if the environment variables name no database.

The other commands need no database, or are meant only for an installation whose database is in the environment
variables.
"""
OUTDATED_SCHEMA = ("42P01", "42703", "42883", "3F000")
"""The SQLSTATEs for a missing table, column, function or schema, which mean that a migration was not run."""


def command_line(command: str | None = None) -> typer.Typer:
    """Returns the Typer application with the given command only, or with all commands if none is given."""
    app = _empty()
    modules = [entry.module for entry in ([COMMANDS[command]] if command in COMMANDS else COMMANDS.values())]
    with uncollected():
        for module in dict.fromkeys(modules):
            import_module(f"app.cli.{module}").add_to(app)
    add_examples(app)
    return app


def overview() -> typer.Typer:
    """Returns a Typer application that only lists the commands with their help texts."""
    app = _empty()
    for name, command in COMMANDS.items():
        app.command(name, help=command.help)(lambda: None)
    return app


def _empty() -> typer.Typer:
    app = typer.Typer(
        name="aimline",
        help="Supports the cycle concern → support → response → decision of a school district.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)  # this empty callback keeps a single command callable by its name
    return app


def main() -> None:
    """Runs the requested command; an error is reported by a sentence on standard error, never by a stack trace."""
    if not set(sys.argv[1:2]) & LONG_RUNNING:
        # A command prints its result; informational log lines are for long-running processes only.
        quiet = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        _use_playground(sys.argv[1:])
        arguments, is_completion = sys.argv[1:2], "_AIMLINE_COMPLETE" in os.environ
        app = command_line(*arguments) if is_completion or set(arguments) & set(COMMANDS) else overview()
        app(prog_name="aimline")
    except Invalid as error:
        for violation in error.violations:
            print(violation.detail, file=sys.stderr)
        sys.exit(USAGE)
    except AimlineError as error:
        print(error.detail, file=sys.stderr)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:  # a stack trace does not help on a command line
        _refuse(error)


def _use_playground(arguments: list[str]) -> None:
    """Sets missing environment variables to the values of a running playground.

    Names the folder of the playground on standard error. Does nothing if the environment names a database already, or
    if the command does not use a playground.
    """
    names_database = any(os.environ.get(name) for name in DATABASES)
    if names_database or not set(arguments[:1]) & USE_PLAYGROUND or "--help" in arguments:
        return
    from app.sandbox.discovery import VARIABLE, running_playground

    playground = running_playground()
    if playground is not None:
        folder, settings = playground
        os.environ.update({name: value for name, value in settings.items() if not os.environ.get(name)})
        print(f"Using the playground in {folder}.", file=sys.stderr)
    elif named_folder := os.environ.get(VARIABLE):
        print(f"No playground of this user runs in {named_folder}.", file=sys.stderr)


def _refuse(error: Exception) -> NoReturn:
    """Reports an unexpected error and exits.

    The message of an unknown error is not shown, because it may contain submitted values.
    """
    # Imported here to start quickly. If one of these errors was raised, its module is loaded already.
    from asyncpg import PostgresError
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    from app.core.crypto import KeyFault
    from app.core.db import UnfitServer
    from app.core.disk_space import is_database_full, is_full
    from app.core.faults import sqlstate_of, why_no_connection

    if isinstance(error, ValidationError):
        for violation in error.errors():
            print(
                f"AIMLINE_{'_'.join(str(part) for part in violation['loc']).upper()}: {violation['msg']}.",
                file=sys.stderr,
            )
        sys.exit(USAGE)
    if isinstance(error, KeyFault | UnfitServer):
        print(error, file=sys.stderr)
        sys.exit(INTERNAL)
    if os.environ.get("AIMLINE_DEBUG"):
        raise error
    if isinstance(error, DBAPIError | PostgresError) and sqlstate_of(error) in OUTDATED_SCHEMA:
        sentence = "The schema is not up to date. Run: aimline migrate"
    elif is_database_full(error):
        sentence = "The disk of the PostgreSQL server is full. Free some space there."
    elif is_full(error):
        sentence = "A disk of this machine is full. Free some space."
    elif (reason := why_no_connection(error)) is not None:
        sentence = reason
    elif isinstance(error, DBAPIError | PostgresError) and (state := sqlstate_of(error)):
        sentence = f"PostgreSQL refused a statement (SQLSTATE {state}). Its log shows which one, and why."
    elif isinstance(error, OSError | DBAPIError):
        sentence = f"The database did not answer as expected ({type(error).__name__}). Is it running?"
    else:
        sentence = f"An internal error occurred ({type(error).__name__}). AIMLINE_DEBUG=1 shows where."
    print(sentence, file=sys.stderr)
    sys.exit(INTERNAL)
