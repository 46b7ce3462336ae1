"""Owns the port: what a source gives to the sync, and the errors with which it refuses. No SQL, no policy."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from app.core.errors import AimlineError, Conflict

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and of how much; 0 of 0 where that is not known."""


class SourceRefused(AimlineError):
    """The source cannot be read whole, or says what this version does not take. Nothing was changed."""

    code = "sis.source_refused"


class SourceInconsistent(AimlineError):
    """What was planned and what was done differ: the source or the roster changed meanwhile."""

    code = "sis.source_inconsistent"


class NothingNew(AimlineError):
    """The source has nothing that was not taken before. Nothing was changed, and nothing is wrong."""

    code = "sis.nothing_new"


class AlreadyRunning(Conflict):
    """Another sync of this district has not ended."""

    code = "sis.already_running"


class Superseded(Conflict):
    """The run is another's now, or was ended: whoever carried it out so far applies nothing of it."""

    code = "run.superseded"


class RosterBusy(SourceInconsistent):
    """People whom the sync changes were locked by others for as long as it may wait."""

    code = "run.roster_busy"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One kind as a source delivers it: CSV, UTF-8, RFC 4180, without a byte order mark.

    `complete` says that a known row which is not here is gone. `header` holds the columns' names in the file's
    order. `read` opens the bytes anew at each call, the header first, and raises `SourceRefused` when they end
    too soon. `stated` are columns without which a row cannot be taken, whatever its kind: in a delta of CSV, the
    status and when the row changed. `made` are the last columns of the header: `read` does not give them, they are
    put together from the `asides`, files that add to the rows of this one.
    """

    kind: str
    file: str
    complete: bool
    header: tuple[str, ...]
    size: int
    read: Callable[[], Iterator[bytes]]
    required_columns: tuple[str, ...] = ()
    composed: tuple[str, ...] = ()
    supplements: tuple["Delivery", ...] = ()


class OpenedSource(Protocol):
    """A source of roster records."""

    @property
    def deliveries(self) -> Mapping[str, Delivery]:
        """By kind: org, academic_session, course, class, person, enrollment, demographics; those that came."""

    @property
    def not_taken(self) -> tuple[str, ...]:
        """Files that came and that this version does not take."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd and could be taken all the same, in sentences."""


Opener = Callable[[], AbstractAsyncContextManager[OpenedSource]]
"""Fetches everything that a run needs, to files of its own where it comes over a network, before any transaction."""
