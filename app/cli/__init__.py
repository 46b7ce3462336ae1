"""The command line. Each command says in one sentence what went wrong, and exits as DESIGN's table says."""

import sys

import typer

from app.cli import contracts, operate, process
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

INTERNAL, USAGE = 1, 2


def main() -> None:
    """Runs the command; a refusal is a sentence on standard error, never a stack trace."""
    try:
        app()
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
