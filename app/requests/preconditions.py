"""Checks that a row still has the version that the caller has read, so that no caller overwrites an unseen change.

The row is checked when the command loads it. It is locked and checked again when the command is about to write it,
because another command may have changed it in between. A row has a version if its table has a column for it.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import event, select
from sqlalchemy.orm import Session, object_mapper

from app.access.work import Work
from app.core.errors import Malformed, PreconditionFailed, Violation

ANY_VERSION = None
"""The value that stands for all versions, used when a caller requires only that the row exists."""


@dataclass
class ExpectedVersion:
    """The versions of one row that a caller accepts. The row is identified by its id or its code."""

    subject: UUID | str
    versions: frozenset[int] | None
    pointer: str
    _is_seen: bool = field(default=False, init=False)
    _is_locked: bool = field(default=False, init=False)

    async def watch(self, work: Work) -> None:
        """Starts to check the version of the row.

        If the command then loads or writes the row in a version that the caller does not accept, `PreconditionFailed`
        is raised.
        """
        await work.run_step(partial(self._listen, work, event.listen))

    @asynccontextmanager
    async def held(self, work: Work) -> AsyncIterator[None]:
        """Checks the version of the row as long as the `async with` block runs (see `watch`).

        At the end, raises `Malformed` if the block has not loaded the row, or if the table of the row has no versions.
        """
        await self.watch(work)
        try:
            yield
        finally:
            await work.run_step(partial(self._listen, work, event.remove))
        self.require_seen()

    def require_seen(self) -> None:
        """Raises `Malformed` if the command has not loaded the row, or if the table of the row has no versions."""
        if not self._is_seen:
            detail = "What this operation changes has no version. Send it without one."
            raise Malformed([Violation(self.pointer, "version.unsupported", detail)])

    async def _listen(self, work: Work, add_or_remove: Callable[[Session, str, Callable[..., None]], None]) -> None:
        add_or_remove(work.db.sync_session, "loaded_as_persistent", self._loaded)
        add_or_remove(work.db.sync_session, "before_flush", self._about_to_write)

    def _loaded(self, _session: Session, row: Any) -> None:
        if self._is_subject(row):
            self._check(row.version)

    def _about_to_write(self, session: Session, *_rest: Any) -> None:
        for row in () if self._is_locked else session.dirty:
            if not self._is_subject(row):
                continue
            table = object_mapper(row).columns
            query = select(table["version"]).where(table["district_id"] == row.district_id, table["id"] == row.id)
            self._check(session.execute(query.with_for_update(key_share=True)).scalar_one())
            self._is_locked = True  # Later writes are this command's own.

    def _is_subject(self, row: Any) -> bool:
        key = "id" if isinstance(self.subject, UUID) else "code"
        return hasattr(row, "version") and getattr(row, key, None) == self.subject

    def _check(self, version: int) -> None:
        self._is_seen = True
        if self.versions is not ANY_VERSION and version not in self.versions:
            raise PreconditionFailed
