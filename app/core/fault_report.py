"""Describes an error for a log by its class, its SQLSTATE and its places in the code, never by its message.

A message may contain personal data: PostgreSQL's DETAIL quotes the values of a key, and a pydantic error quotes the
value of a field.
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from app.core.faults import cause_of, sqlstate_of

MAX_PLACES = 12
MAX_LIBRARY_FRAMES = 3
"""The number of innermost library frames that are reported; frames of our own code are all reported."""
MAX_CAUSES = 3
OWN_FOLDERS = ("app/", "migrations/", "tests/")
AROUND_EACH_MESSAGE = "app/core/bound.py"
"""The file through which every message to the server passes; the place that matters is its caller."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class FaultSummary:
    """An error as it is stored in a job's row: its class and SQLSTATE, and the innermost place in our code."""

    error: str | None = None
    place: str | None = None


NO_FAULT = FaultSummary()


def summarize_fault(error: BaseException) -> FaultSummary:
    """Returns the class, SQLSTATE and place of an error, without its message.

    The class is, for example, `DeadlockDetectedError 40P01`. If a library has wrapped the driver's error, it is the
    class of the driver's error.
    """
    innermost, state = error, sqlstate_of(error)
    for _ in range(MAX_CAUSES):
        cause = cause_of(innermost)
        if cause is None or sqlstate_of(cause) != state or not state:
            break
        innermost = cause
    places = [
        place
        for place in _places(error.__traceback__)
        if place.startswith(OWN_FOLDERS) and not place.startswith(AROUND_EACH_MESSAGE)
    ]
    name = type(innermost).__name__
    return FaultSummary(f"{name} {state}" if state else name, places[-1] if places else None)


def describe_fault(error: BaseException) -> dict[str, Any]:
    """Returns the classes, SQLSTATEs and places (file:line function) of an error and its causes, without messages."""
    described: dict[str, Any] = _describe(error)
    causes: list[dict[str, Any]] = []
    cause = cause_of(error)
    while cause is not None and len(causes) < MAX_CAUSES:
        causes.append(_describe(cause))
        cause = cause_of(cause)
    return described | ({"causes": causes} if causes else {})


def _describe(error: BaseException) -> dict[str, Any]:
    state = sqlstate_of(error)
    return {
        "kind": type(error).__name__,
        **({"sqlstate": state} if state else {}),
        "places": _places(error.__traceback__)[-MAX_PLACES:],
    }


def _places(trace: TracebackType | None) -> list[str]:
    places: list[tuple[bool, str]] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        file = short_path(code.co_filename)
        places.append((file.startswith(OWN_FOLDERS), f"{file}:{trace.tb_lineno} {code.co_qualname}"))
        trace = trace.tb_next
    innermost = len(places) - MAX_LIBRARY_FRAMES
    return [place for number, (ours, place) in enumerate(places) if ours or number >= innermost]


def short_path(filename: str) -> str:
    """Returns a file's path relative to the repository, or to `site-packages` for a file of a library.

    For any other file, returns only the file's name. Logs therefore show no folder of the machine.
    """
    path = Path(filename)
    if "site-packages" in path.parts:
        return "/".join(path.parts[path.parts.index("site-packages") + 1 :])
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
