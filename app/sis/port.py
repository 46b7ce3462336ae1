"""Defines what the sync engine expects of a source, whatever its format, and the errors that both sides raise.

Contains no SQL and decides nothing about the roster.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from app.core.errors import AimlineError, Conflict
from app.sis.kinds import MAY_BE_LEFT_OUT

Progress = Callable[[str, int, int], None]
"""A callback that reports progress: the name of the step, the amount done, and the total amount.

If the total is unknown, both amounts are 0.
"""


class SourceRefused(AimlineError):
    """Raised if the source cannot be read completely, or sends something that this version does not support.

    The roster is unchanged.
    """

    code = "sis.source_refused"


def leave_out_hint(file: str) -> str:
    """Returns a sentence, after a blank, that names the option to sync without this CSV file.

    Returns an empty text if no sync is possible without the file, such as `users.csv`.
    """
    name = file.removesuffix(".csv")
    return f" To go on without {file}: --leave-out {name}." if name in MAY_BE_LEFT_OUT else ""


class CollectionRefused(SourceRefused):
    """Raised if one collection cannot be read although the source as a whole answers."""


class CollectionBusy(CollectionRefused):
    """Raised if the source still answers 429 (too many requests) when a run can wait no longer."""


class SourceInconsistent(AimlineError):
    """Raised if the applied changes differ from the plan, because the source or the roster changed meanwhile."""

    code = "sis.source_inconsistent"


class NothingNew(AimlineError):
    """Raised if the source has only data that was imported before. Nothing was changed. This is not a fault."""

    code = "sis.nothing_new"


class AlreadyRunning(Conflict):
    """Raised if another sync of this district is still running."""

    code = "sis.already_running"


class Superseded(Conflict):
    """Raised if another worker has taken over the run, or if the run was ended.

    The worker that gets this error must not apply any part of the run.
    """

    code = "run.superseded"


class RosterBusy(SourceInconsistent):
    """Raised if other transactions keep rows of people locked for longer than a sync may wait."""

    code = "run.roster_busy"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The rows of one kind of record as a source delivers them: CSV, UTF-8, RFC 4180, without a byte order mark.

    * `complete`: whether the delivery has all rows of the kind. If it does, known rows that it lacks are removed.
    * `header`: the names of the columns in the order of the file.
    * `read`: each call reads the bytes again from the header on. Raises `SourceRefused` if the bytes end too soon.
    * `required_columns`: columns that must have a value in every row, whatever the kind. In a CSV delta these are the
      status and the time of the change.
    * `supplements`: files that add values to the rows of this delivery.
    * `composed`: the columns that the engine computes from the supplements. They come last in the header, and `read`
      does not return them.
    * `owner`: the column that locates a row whose sourcedId is empty, such as the student of a score.
    * `nameless`: the number of columns at the end of the header that have no name. A row may lack their cells.
    * `has_empty_rows`: whether rows that have only empty cells, and footers at the end, are ignored. Spreadsheets and
      databases write such rows below a table. Over REST, a row has only empty cells if it could not be read, so no row
      is ignored.
    * `within`: the name of another kind of record if each of these rows comes inside a row of that kind (the outer
      row), otherwise empty. For example, roles come inside people. An outer row that was delivered contains all of its
      inner rows.
    """

    kind: str
    file: str
    complete: bool
    header: tuple[str, ...]
    size: int
    read: Callable[[], Iterator[bytes]]
    required_columns: tuple[str, ...] = ()
    composed: tuple[str, ...] = ()
    owner: str = ""
    nameless: int = 0
    has_empty_rows: bool = False
    within: str = ""
    supplements: tuple["Delivery", ...] = ()


class OpenedSource(Protocol):
    """A source that is open for reading: its deliveries, and facts about the source for the report."""

    @property
    def deliveries(self) -> Mapping[str, Delivery]:
        """Returns a delivery for each kind of record of the source. The key is the kind, such as org or person."""

    @property
    def not_taken(self) -> tuple[str, ...]:
        """Returns the names of the delivered files that this version does not import."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Returns sentences about irregularities that did not prevent the import."""


Opener = Callable[[], AbstractAsyncContextManager[OpenedSource]]
"""A function that opens a source. The function fetches everything that the run needs before it yields the source.

No transaction is open meanwhile. Data that comes over the network goes to temporary files.
"""
