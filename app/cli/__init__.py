"""The command line. Each command says in one sentence what went wrong, and exits as DESIGN's table says."""

import logging
import os
import sys

import structlog
import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, ProgrammingError

from app.cli import calibrate, contracts, judge, operate, process, runs, sandbox, sis
from app.cli.sync import sync_app
from app.core.crypto import KeyFault
from app.core.db import UnfitServer
from app.core.errors import AimlineError, Invalid

app = typer.Typer(
    name="aimline",
    help="Keeps the loop concern → support → response → decision for a school district.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
process.add_to(app)
operate.add_to(app)
contracts.add_to(app)
sandbox.add_to(app)
judge.add_to(app)
calibrate.add_to(app)
sis.add_to(app)
runs.add_to(sync_app)
app.add_typer(sync_app, name="sync")

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130
LOGS = {"serve", "worker"}
"""Commands that are processes, and lay their log themselves."""
BEHIND = ("42P01", "42703", "42883", "3F000")
"""SQLSTATEs of a table, column, function or schema that is not there."""


def main() -> None:
    """Runs the command; a refusal is a sentence on standard error, never a stack trace."""
    if not set(sys.argv[1:2]) & LOGS:
        # What a command prints is its answer: the log of what happens beneath is the processes' own.
        quiet = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        app(prog_name="aimline")
    except Invalid as error:
        for violation in error.violations:
            print(violation.detail, file=sys.stderr)
        sys.exit(USAGE)
    except AimlineError as error:
        print(error.detail, file=sys.stderr)
        sys.exit(USAGE)
    except (KeyFault, UnfitServer) as error:
        print(error, file=sys.stderr)
        sys.exit(INTERNAL)
    except ValidationError as error:
        for one in error.errors():
            print(f"AIMLINE_{'_'.join(str(part) for part in one['loc']).upper()}: {one['msg']}.", file=sys.stderr)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # nobody on a command line is helped by a stack trace
        if os.environ.get("AIMLINE_DEBUG"):
            raise
        print(_what_broke(error), file=sys.stderr)
        sys.exit(INTERNAL)


def _what_broke(error: Exception) -> str:
    # Never the message itself: it may hold what somebody submitted.
    if isinstance(error, ProgrammingError) and getattr(error.orig, "sqlstate", "") in BEHIND:
        return "The schema is not up to date. Run: aimline migrate"
    if isinstance(error, OSError | DBAPIError):
        return f"The database did not answer as it should ({type(error).__name__}). Is it running?"
    return f"Something broke on our side ({type(error).__name__}). AIMLINE_DEBUG=1 shows where."
