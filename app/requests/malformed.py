"""Finds all violations of a request that has malformed inputs.

For example, a request has a text in place of a number, and names an unknown student. The command is run with the
well-formed inputs, here with the student, and what it writes is rolled back. The caller then learns of both faults at
once.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy.exc import StatementError

from app.access.work import Work
from app.core.errors import AimlineError, Invalid, Violation
from app.core.faults import fault_of
from app.core.violations import Unread


class Misshapen(Invalid):
    """Raised if some inputs are malformed, such as a text in place of a number.

    Contains the violations of the malformed inputs, and also the violations that the command finds in the other inputs.
    """

    code = "shape"

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(violations)
        self.detail = "The request does not have the expected shape."


class _Undo(Exception):
    """Raised to roll back what the command has written."""


async def all_violations(
    work: Work, shape: Sequence[Violation], run: Callable[[], Awaitable[Any]]
) -> tuple[Violation, ...]:
    """Returns the violations in `shape`, followed by the violations that the command finds in the other inputs.

    `shape` has the violations of malformed inputs, such as a text in place of a number. `run` runs the command with the
    well-formed inputs. What the command writes is rolled back.
    """
    try:
        async with work.savepoint():
            await run()
            raise _Undo
    except Invalid as error:
        return merged(shape, error.violations)
    except (AimlineError, Unread, OverflowError, _Undo):
        return tuple(shape)
    except (TypeError, StatementError) as error:  # A parameter without a value reached a function or a statement.
        if fault_of(error) is not None:
            raise  # A lost connection or a deadlock: the request is run again.
        return tuple(shape)


def merged(shape: Sequence[Violation], of_command: Sequence[Violation]) -> tuple[Violation, ...]:
    """Returns the violations in `shape`, followed by violations from `of_command`.

    `shape` has the violations of malformed inputs, such as a text in place of a number. `of_command` has the violations
    that the command has found. One of them is left out if its input, or the object that contains this input, already
    has a violation in `shape`.
    """
    refused = tuple(violation.pointer for violation in shape)
    others = (each for each in of_command if not any(_is_within(each.pointer, pointer) for pointer in refused))
    return (*shape, *others)


def _is_within(pointer: str, other: str) -> bool:
    return pointer == other or pointer.startswith(f"{other}/")
