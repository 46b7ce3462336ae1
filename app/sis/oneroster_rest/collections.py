"""Defines the collections of OneRoster, the order in which they are read, and the classes for what was read.

Sends no request.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from app.sis.kinds import KINDS, MAY_BE_LEFT_OUT
from app.sis.oneroster_rest.spool import Spool
from app.sis.oneroster_rest.walk import Walk
from app.sis.port import Delivery


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection of OneRoster, such as `users`. `kind` is the kind of record that its rows are.

    `instead` names other collections that together contain the same rows. They are read if the source does not have
    this collection.
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

A collection is read before the collections to which its rows refer. If a row is read, the row to which it refers is
therefore read too, even if the source adds these two rows during the pull.
"""

FORBIDDEN: Final = (401, 403)
IN_12_ONLY: Final = frozenset({"scoreScales", "assessmentLineItems", "assessmentResults"})


@dataclass(slots=True)
class PulledCollection:
    """What was read of a collection: its rows, or the HTTP status with which the source refused to send them."""

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


@dataclass(slots=True)
class RestSource:
    """The data that were read from a source over REST, as an `OpenedSource`.

    * `mode`: `full` if a delta was requested but the source could only be read in full, otherwise None.
    * `failed`: the kinds of the optional collections that could not be read.
    * `absent`: the kinds of the collections that the source does not have.
    * `forbidden`: the kinds of the collections that the source refuses to this client.
    * `partial`: the names of the collections that may lack some rows.
    """

    deliveries: Mapping[str, Delivery]
    warnings: tuple[str, ...]
    not_taken: tuple[str, ...] = ()
    as_of: datetime | None = None
    mode: str | None = None
    failed: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    partial: tuple[str, ...] = ()


def to_source(
    collections: Sequence[Collection], pulled_by_name: Mapping[str, PulledCollection], notes: list[str], is_delta: bool
) -> RestSource:
    """Combines what was read of all collections into one source, and returns it.

    The warnings of the source are `notes`, and a sentence about each collection that is missing or has gaps.
    """
    deliveries: dict[str, Delivery] = {}
    failed: set[str] = set()
    partial: list[str] = []
    absent: dict[int | None, list[Collection]] = {}
    sentences = list(notes)
    for collection in collections:
        pulled = pulled_by_name[collection.name]
        if pulled.failed is not None:
            failed.add(collection.kind)
            sentences.append(failed_sentence(collection.name, pulled.failed))
            continue
        if pulled.spool is None:
            absent.setdefault(pulled.absent, []).append(collection)
            continue
        if not pulled.whole:
            partial.append(collection.name)
            why = reason_of_gap(pulled)
            sentences.append(f"The source's pages of {collection.name} {why}: missing rows are not removed.")
        if pulled.instead:
            sentences.append(
                f"The source has no {collection.name}: they are read from {' and '.join(collection.instead)}."
            )
        complete = not is_delta and pulled.whole
        deliveries[collection.kind] = pulled.spool.delivery(complete=complete)
        if pulled.roles is not None:
            deliveries["role"] = pulled.roles.delivery(complete=complete, within="person")
    for status, missing in absent.items():
        why = "does not let us read" if status in FORBIDDEN else "has no"
        names = ", ".join(collection.name for collection in missing)
        sentences.append(f"The source {why} {names} ({status}): left out.")
    return RestSource(
        {kind.name: deliveries[kind.name] for kind in KINDS if kind.name in deliveries},
        tuple(sentences),
        failed=frozenset(failed),
        absent=_kinds(missing for status, missing in absent.items() if status not in FORBIDDEN),
        forbidden=_kinds(missing for status, missing in absent.items() if status in FORBIDDEN),
        partial=tuple(partial),
    )


def _kinds(groups: Iterable[Sequence[Collection]]) -> frozenset[str]:
    return frozenset(collection.kind for group in groups for collection in group)


def missing_sentence(collection: Collection, status: int) -> str:
    if status in FORBIDDEN:
        return (
            f"The source does not let us read {collection.name} ({status}), without which there is no roster: ask its "
            "vendor to grant it, or check the source's scopes."
        )
    return (
        f"The source has no {collection.name} ({status}), without which there is no roster: check its url. "
        "`aimline sis doctor` looks for the right one."
    )


def reason_of_gap(pulled: PulledCollection) -> str:
    """Returns the end of the sentence "The source's pages of …", such as "have no fixed order".

    The text says why rows of the collection may be missing.
    """
    if pulled.disordered:
        return "have no fixed order"
    for walk in pulled.walks:
        if walk.refused is not None:
            return f"are refused from row {walk.offset + 1:,} on ({walk.refused})"
        if walk.has_gap:
            return f"are empty at row {walk.offset + 1:,}, although rows follow"
        if walk.promised and (walk.total is None or walk.offset >= walk.total):
            return "end, although the last one announces another"
    return "end before the reported total"


def failed_sentence(name: str, detail: str) -> str:
    """Returns a sentence for the report: an optional collection could not be read, because of `detail`."""
    sentence = f"{detail} What is known of {name} stays as it is."
    if name in MAY_BE_LEFT_OUT:
        sentence += f" To go on without it: aimline sis set NAME --district DISTRICT --leave-out {name}"
    return sentence
