"""The command line. Each command says in one sentence what went wrong, and exits as DESIGN's table says."""

import logging
import os
import sys
from importlib import import_module
from typing import NamedTuple, NoReturn

import structlog
import typer

from app.core.errors import AimlineError, Invalid


class Command(NamedTuple):
    """Where a command is, and what it is for: its own first line, so that the overview need not load it."""

    module: str
    help: str


COMMANDS = {
    "serve": Command("serve", "Serves REST and GraphQL."),
    "worker": Command("process", "Delivers webhooks and runs what is due."),
    "migrate": Command("process", "Makes the run-time roles and brings the schema up to date."),
    "schema": Command(
        "schema", "Compares the database's schema with what this version makes; exit 1 where they differ."
    ),
    "backup": Command("backup", "Writes a backup of the whole database into a folder, and verifies it."),
    "restore": Command("backup", "Restores a backup into an empty database, and verifies it."),
    "key": Command("process", "Key-encryption keys."),
    "district": Command("operate", "Districts."),
    "client": Command("operate", "Machine clients."),
    "sis": Command("sis", "The sources that a district syncs from."),
    "sync": Command("runs", "Bring the roster from the district's SIS."),
    "judge": Command(
        "judge", "Judges series: JSON Lines on standard input, verdicts as JSON Lines on standard output."
    ),
    "calibrate": Command(
        "calibrate",
        "Estimates growth, noise and forms of each measure from the district's own scores of the last year.",
    ),
    "doctor": Command(
        "doctor", "Finds records that are in other schools than their student, and with --repair puts them right."
    ),
    "contracts": Command("contracts", "Writes openapi/rest.json, openapi/schema.graphql and openapi/events.json."),
    "sandbox": Command("sandbox", "A synthetic district of people who do not exist."),
}
"""Only the module of the command that is given is loaded, so that it begins at once."""
INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
LOGS = {"serve", "worker"}
"""Commands that are processes, and lay their log themselves."""
BEHIND = ("42P01", "42703", "42883", "3F000")
"""SQLSTATEs of a table, column, function or schema that is not there."""


def command_line(command: str | None = None) -> typer.Typer:
    """The command line with one of its commands, or with all."""
    app = _empty()
    modules = [one.module for one in ([COMMANDS[command]] if command in COMMANDS else COMMANDS.values())]
    for module in dict.fromkeys(modules):
        import_module(f"app.cli.{module}").add_to(app)
    return app


def overview() -> typer.Typer:
    """The command line with what each command is for, and nothing behind it."""
    app = _empty()
    for name, command in COMMANDS.items():
        app.command(name, help=command.help)(lambda: None)
    return app


def _empty() -> typer.Typer:
    app = typer.Typer(
        name="aimline",
        help="Keeps the loop concern → support → response → decision for a school district.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)  # one command alone is still called by its name
    return app


def main() -> None:
    """Runs the command; a refusal is a sentence on standard error, never a stack trace."""
    if not set(sys.argv[1:2]) & LOGS:
        # What a command prints is its answer: the log of what happens beneath is the processes' own.
        quiet = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        given, completes = sys.argv[1:2], "_AIMLINE_COMPLETE" in os.environ
        app = command_line(*given) if completes or set(given) & set(COMMANDS) else overview()
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
    except Exception as error:  # nobody on a command line is helped by a stack trace
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    """Says what broke. Never an unknown error's message itself: it may hold what somebody submitted."""
    # What these come from is loaded already where one is raised, and not where none is.
    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError, ProgrammingError

    from app.core.crypto import KeyFault
    from app.core.db import UnfitServer
    from app.core.disk_space import is_database_full, is_full
    from app.core.faults import why_no_connection

    if isinstance(error, ValidationError):
        for one in error.errors():
            print(f"AIMLINE_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}.", file=sys.stderr)
        sys.exit(USAGE)
    if isinstance(error, KeyFault | UnfitServer):
        print(error, file=sys.stderr)
        sys.exit(INTERNAL)
    if os.environ.get("AIMLINE_DEBUG"):
        raise error
    if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", "") in BEHIND:
        said = "The schema is not up to date. Run: aimline migrate"
    elif is_database_full(error):
        said = "The disk of the PostgreSQL server is full: make room there."
    elif is_full(error):
        said = "A disk of this machine is full: make room there."
    elif (reason := why_no_connection(error)) is not None:
        said = reason
    elif isinstance(error, OSError | DBAPIError):
        said = f"The database did not answer as it should ({type(error).__name__}). Is it running?"
    else:
        said = f"Something broke on our side ({type(error).__name__}). AIMLINE_DEBUG=1 shows where."
    print(said, file=sys.stderr)
    sys.exit(INTERNAL)
