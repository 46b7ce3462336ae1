"""Defines the collections of OneRoster, their order, and the result of reading one. Sends no request."""

from dataclasses import dataclass, field
from typing import Final

from app.sis.kinds import MAY_BE_LEFT_OUT
from app.sis.oneroster_rest.spool import Spool
from app.sis.oneroster_rest.walk import Walk


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of OneRoster, with the kind of its rows.

    `instead` names other collections that together contain the same rows. They are read if the source lacks this one.
    """

    name: str
    kind: str
    optional: bool = False
    instead: tuple[str, ...] = ()


COLLECTIONS: Final = (
    Collection("results", "result", optional=True),
    Collection("assessmentResults", "assessment_result", optional=True),
    Collection("enrollments", "enrollment"),
    Collection("demographics", "demographics", optional=True),
    Collection("assessmentLineItems", "assessment_line_item", optional=True),
    Collection("lineItems", "line_item", optional=True),
    Collection("scoreScales", "score_scale", optional=True),
    Collection("categories", "category", optional=True),
    Collection("users", "person", instead=("students", "teachers")),
    Collection("classes", "class"),
    Collection("courses", "course", optional=True),
    Collection("academicSessions", "academic_session", instead=("terms", "gradingPeriods")),
    Collection("orgs", "org", instead=("schools",)),
)
"""The collections in the order in which they are read.

A collection whose rows refer to another collection is read before it. The row to which a reference leads is then read
too, even if both rows are added during the pull.
"""

IN_12_ONLY: Final = frozenset({"scoreScales", "assessmentLineItems", "assessmentResults"})


@dataclass(slots=True)
class PulledCollection:
    """The result of reading a collection: its rows, or the HTTP status with which the source refused to send them."""

    spool: Spool | None = None
    roles: Spool | None = None
    whole: bool = True
    disordered: bool = False
    promised: bool = False
    walks: list[Walk] = field(default_factory=list)
    fingerprint: tuple[int, ...] = ()
    order: int = 0
    revision: str | None = None
    absent: int | None = None
    failed: str | None = None
    instead: bool = False

    def close(self) -> None:
        """Deletes the collection's rows from disk."""
        for spool in (self.spool, self.roles):
            if spool is not None:
                spool.close()


def missing_sentence(collection: Collection, status: int) -> str:
    if status in (401, 403):
        return (
            f"The source does not let us read {collection.name} ({status}), without which there is no roster: ask its "
            "vendor to grant it, or check the source's scopes."
        )
    return (
        f"The source has no {collection.name} ({status}), without which there is no roster: check its url. "
        "`aimline sis doctor` looks for the right one."
    )


def failed_sentence(name: str, detail: str) -> str:
    """Returns a sentence for the report which says that an optional collection could not be read. `detail` is the
    reason.
    """
    sentence = f"{detail} What is known of {name} stays as it is."
    if name in MAY_BE_LEFT_OUT:
        sentence += f" To go on without it: aimline sis set NAME --district DISTRICT --leave-out {name}"
    return sentence
