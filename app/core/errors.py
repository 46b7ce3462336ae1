"""Defines the errors that a caller can receive, with stable codes; each API maps them to its own error format.

No message contains a submitted value, because a name or a birth date must not reach a log through an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_VIOLATIONS: Final = 100
"""The largest number of violations that one response lists; its detail states how many more there are."""

MAX_POINTER: Final = 100
"""The largest number of characters of a pointer."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One problem in the input, with its place (a JSON Pointer, RFC 6901), a stable code and a sentence.

    A pointer longer than `MAX_POINTER` is cut, because the caller may send an unknown field name of any length.
    `figures` are named numbers that a program needs to correct the input, such as a proposed goal.
    """

    pointer: str
    code: str
    detail: str
    figures: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if len(self.pointer) > MAX_POINTER:
            object.__setattr__(self, "pointer", f"{self.pointer[: MAX_POINTER - 1]}…")


def with_more(detail: str, more: int) -> str:
    """Returns `detail` with a further sentence: how many violations are listed, and how many (`more`) are left out.

    If `more` is 0, returns `detail` unchanged.
    """
    return f"{detail} The first {MAX_VIOLATIONS} are listed, and {more} more are not." if more > 0 else detail


class AimlineError(Exception):
    """Base class of the errors that a caller receives, each with a stable `code` and a sentence."""

    code = "internal"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class NotFound(AimlineError):
    """Raised when a row does not exist or the caller may not see it; the caller cannot distinguish the two."""

    code = "not_found"

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no such {kind.replace('_', ' ')}.")
        self.kind = kind


class Forbidden(AimlineError):
    """Raised when the caller can see the row but lacks the permission for the action."""

    code = "forbidden"


class Unauthenticated(AimlineError):
    """Raised when a request has no credentials, or credentials that could not be verified."""

    code = "unauthenticated"


class Conflict(AimlineError):
    """Raised when the row's state does not allow the action."""

    code = "conflict"


class Invalid(AimlineError):
    """Raised when the input is invalid; lists all violations."""

    code = "invalid"

    def __init__(
        self,
        violations: Sequence[Violation],
        *,
        code: str | None = None,
        detail: str = "The request has invalid values.",
    ) -> None:
        super().__init__(detail, code=code)
        self.violations = tuple(violations)


OUT_OF_RANGE = Violation("", "value.out_of_range", "A date or a number is out of range.")


class Malformed(Invalid):
    """Raised when a part of the request, such as a parameter or a cursor, has a form that no operation accepts."""

    code = "malformed"


class AnswerTooLarge(AimlineError):
    """Raised when the rows that a request asks for have more text than a response may have."""

    code = "answer.too_large"

    def __init__(self) -> None:
        super().__init__("The answer would be too long; ask for fewer rows or fields at a time.")


class PreconditionFailed(AimlineError):
    """Raised when the row has changed since the version that the caller read."""

    code = "version.mismatch"

    def __init__(self) -> None:
        super().__init__("This row has changed since the version that you named. Nothing was changed. Read it again.")


class PreconditionRequired(AimlineError):
    """Raised when a request for a change does not state which version the caller read.

    Without the version, the request could overwrite somebody else's change.
    """

    code = "version.required"

    def __init__(self) -> None:
        super().__init__("Name the version that you have read, so that you overwrite nobody's change.")


class Gone(AimlineError):
    """Raised when the requested data existed and is no longer kept."""

    code = "gone"


class Busy(AimlineError):
    """Raised when the caller has reached its limit of work in progress; the request may succeed later."""

    code = "busy"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 30) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Throttled(AimlineError):
    """Raised when a caller has sent too many requests. The caller may try again after `retry_after` seconds."""

    code = "rate.limited"

    def __init__(self, detail: str, retry_after: int, *, code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class Overloaded(Throttled):
    """Raised when all callers together send more requests than the process can handle."""

    code = "overloaded"


class Unavailable(AimlineError):
    """Raised when the database, or a lock in it, is not available now.

    Nothing was changed; the same request may succeed after `retry_after` seconds.
    """

    code = "database.unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: int = 2) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after


class OutcomeUnknown(AimlineError):
    """Raised when the connection was lost during the commit, so that it is unknown whether the change was made.

    There is no `retry_after`, because a client that repeats the request automatically could apply the change twice.
    """

    code = "outcome.unknown"

    def __init__(self) -> None:
        super().__init__(
            "The connection to the database was lost while the change was being committed: it was made as a whole or "
            "not at all. Read what it would have changed, or the change feed (GET /v1/events), before you repeat it. A "
            "request with an idempotency key can be sent again with the same key."
        )


class StorageFull(AimlineError):
    """Raised when a disk is full. Nothing was changed."""

    code = "storage.full"


class Misuse(RuntimeError):
    """Raised when our own code uses an internal interface wrongly; it is never the caller's fault."""
