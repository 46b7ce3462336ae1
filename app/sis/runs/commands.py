"""Declares the commands of the sync: on sources, on runs, and on the rows that a run refused.

Each command calls a service of this package, and returns the row that both APIs show.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core import ids
from app.core.address import Allowed
from app.core.inputs import About, AtMost, ChangesOf, FromProcess
from app.core.text import Text
from app.core.violations import Unread, known_values, partial_input
from app.resources.command import Body, Command
from app.resources.values import Value, item
from app.sis.kinds import BY_NAME
from app.sis.models import SisRun
from app.sis.runs import approval, pull, quarantine
from app.sis.runs.queries import run as find_run
from app.sis.runs.rekey import MAX_GIVEN
from app.sis.runs.resource import RunResource, SourceResource
from app.sis.sources import service as sources
from app.sis.sources.settings import MAX_SCHOOLS, SourceSettings

SourceName = Annotated[
    str, Text(max=63), About("The name by which people and external ids refer to the source.", "sis")
]
AllowedNetworks = Annotated[Allowed, FromProcess("sis_allowed")]
Settable = Annotated[Mapping[str, Any], ChangesOf(SourceSettings, frozenset({"kind"}))]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A request to sync a source."""

    source: Annotated[str, Text(max=64), About("A source's id.", "src_01jq4n6d9zf3vbs0x5k2m7e8ta")]
    mode: Annotated[
        Literal["full", "delta"] | None,
        About("By default, the source's schedule for full runs decides.", "full"),
    ] = None
    dry: Annotated[bool, About("Whether to plan and report only, and write nothing.", False)] = False


@dataclass(frozen=True, slots=True)
class RekeyPair:
    """A person's two sourcedIds: the former one, and the one under which the held run would create the person again."""

    old: Annotated[str, Text(min=1, max=1000), About("The former sourcedId.", "4711")]
    new: Annotated[str, Text(min=1, max=1000), About("The new sourcedId.", "u-4711")]


@dataclass(frozen=True, slots=True)
class NewRekey:
    """A request to find the new sourcedIds of people whom a run that waits for approval would remove.

    They are found by a field that is equal in the old and the new row, such as the e-mail address, or are given as
    pairs.
    """

    match: Annotated[
        Literal["identifier", "email", "likely"] | None,
        About(
            "The field whose value a removed and a created person share with nobody else; or `likely`, for the "
            "pairs in the report's `rekeys`, also of an applied run that set them aside.",
            "identifier",
        ),
    ] = None
    map: Annotated[
        tuple[RekeyPair, ...] | None,
        AtMost(MAX_GIVEN),
        About(
            "Pairs of old and new sourcedIds. Pairs that do not fit the held run are ignored; an id may occur once on"
            " each side.",
            [{"old": "4711", "new": "u-4711"}],
        ),
    ] = None


class AcknowledgedValue(Value):
    """The number of acknowledged rows."""

    acknowledged: int = item("Rows that were not acknowledged before.", 3, get=int)


@needs(Can.MANAGE_SOURCES)
async def register_source(
    work: Work, name: SourceName, new: SourceSettings, allowed: AllowedNetworks
) -> sources.ConfiguredSource:
    """Registers a source; raises the errors of `sources.register_source`."""
    values = known_values(new)
    if "limits" in values:
        values["limits"] = _whole(values["limits"])
    if "rollover" in values:
        values["rollover"] = _whole_rollover(values["rollover"])
    whole = partial_input(SourceSettings, values)
    return await sources.register_source(work, name, whole, allowed)


@needs(Can.MANAGE_SOURCES)
async def change_source(
    work: Work, source_id: UUID, changes: Settable, allowed: AllowedNetworks
) -> sources.ConfiguredSource:
    """Changes the given fields of a source; raises the errors of `sources.change_source`."""
    values = dict(changes)
    with suppress(Unread):
        values |= {"limits": _whole(values["limits"])} if "limits" in values else {}
    with suppress(Unread):
        values |= {"rollover": _whole_rollover(values["rollover"])} if "rollover" in values else {}
    return await sources.change_source(work, source_id, values, allowed)


def _whole_rollover(rollover: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if rollover is None or not rollover.get("limits"):
        return rollover
    return {**rollover, "limits": _whole(rollover["limits"])}


def _whole(limits: Mapping[str, float]) -> Mapping[str, float]:
    """Converts limits such as 5.0 to integers, because some limits are numbers of rows."""
    return {name: int(limit) if limit == int(limit) else limit for name, limit in limits.items()}


@needs(Can.RUN_SYNC, Can.READ_SYNC)
async def ask_for_sync(work: Work, new: NewRun) -> SisRun:
    """Requests a sync of a source; raises the errors of `pull.request_run`."""
    source_id = ids.parse_id("source", new.source, "/source")
    return await pull.request_run(work, source_id, new.mode, dry=new.dry, pointer="/source")


@needs(Can.APPROVE_SYNC, Can.READ_SYNC)
async def approve_sync_run(
    work: Work,
    run_id: UUID,
    plan: Annotated[
        str,
        Text(max=64),
        About(
            "The `plan` of the report that was read; the approval is refused if the plan has changed since.",
            "0123456789abcdef",
        ),
    ],
    without_removals: Annotated[bool, About("Whether removals are left out of the plan.", False)] = False,
    schools: Annotated[
        list[str] | None,
        Text(max=200),
        AtMost(MAX_SCHOOLS),
        About(
            "The only schools whose changes are applied: ids, or external ids `sis:<source>:<sourcedId>`. A row that "
            "concerns several schools is applied if all of them are named. The rest comes again with the next run.",
            ["org_01jq4n6d9zf3vbs0x5k2m7e8tc"],
        ),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        Text(max=40),
        AtMost(len(BY_NAME)),
        About("The only kinds of rows that are applied, as in `counts`.", ["person"]),
    ] = None,
) -> SisRun:
    """Approves a run that waits for approval (a held run); raises the errors of `approval.approve`."""
    await approval.approve(work, run_id, plan, without_removals, schools, kinds)
    return (await find_run(work, run_id)).run


@needs(Can.APPROVE_SYNC, Can.READ_SYNC)
async def discard_sync_run(work: Work, run_id: UUID) -> SisRun:
    """Discards a run that waits for approval (a held run); raises the errors of `approval.discard`."""
    await approval.discard(work, run_id)
    return (await find_run(work, run_id)).run


@needs(Can.APPROVE_SYNC, Can.READ_SYNC)
async def rekey_sync_run(work: Work, run_id: UUID, new: NewRekey) -> SisRun:
    """Requests a run that plans new sourcedIds for people; raises the errors of `pull.request_rekey`."""
    pairs = None if new.map is None else [(pair.old, pair.new) for pair in new.map]
    return await pull.request_rekey(work, run_id, new.match, pairs)


@needs(Can.APPROVE_SYNC)
async def acknowledge_quarantine(
    work: Work,
    run_id: UUID,
    rows: Annotated[
        tuple[UUID, ...] | None,
        AtMost(1000),
        About("The ids of the rows; without them, all rows of the run.", ["01995f2e-7c2a-7b6e-9d52-5c6f0f1d2a3b"]),
    ] = None,
    same_person: Annotated[
        bool,
        About(
            "Whether these rows, with the code `sourcedId.reused`, are about the same people as before: the next run "
            "imports them.",
            False,
        ),
    ] = False,
) -> int:
    """Acknowledges refused rows; raises the errors of `quarantine.acknowledge_rows`."""
    return await quarantine.acknowledge_rows(work, run_id, rows, same_person)


_SETTINGS = attrgetter("settings")

COMMANDS = (
    Command(
        "register_source",
        register_source,
        SourceResource,
        "Registers a source. Nothing is fetched yet.",
        "POST /sis-sources",
        status=201,
        body=Body(
            "NewSource",
            "A source to be registered. Files and folders of the server can be named on its command line only.",
        ),
        row=_SETTINGS,
    ),
    Command(
        "change_source",
        change_source,
        SourceResource,
        "Changes the given fields of a source. A change of the host requires the secret again.",
        "PATCH /sis-sources/{source}",
        body=Body(
            "SourceChanges",
            "Changes of a source; other fields keep their values. A change of the host requires the secret again.",
        ),
        row=_SETTINGS,
    ),
    Command(
        "pause_source",
        sources.pause_source,
        SourceResource,
        "Pauses a source, so that its schedule starts no runs. Its rows and its history stay.",
        "POST /sis-sources/{source}/pause",
        row=_SETTINGS,
    ),
    Command(
        "resume_source",
        sources.resume_source,
        SourceResource,
        "Resumes a paused source, so that its schedule applies again.",
        "POST /sis-sources/{source}/resume",
        row=_SETTINGS,
    ),
    Command(
        "look_at_source",
        sources.request_inspection,
        SourceResource,
        "Requests that the worker checks the source; the result appears in `findings` shortly afterwards.",
        "POST /sis-sources/{source}/doctor",
        status=202,
        row=_SETTINGS,
    ),
    Command(
        "ask_for_sync",
        ask_for_sync,
        RunResource,
        "Requests a sync of a source, which the worker runs; refused while another run of the source is pending.",
        "POST /sync-runs",
        status=202,
    ),
    Command(
        "approve_sync_run",
        approve_sync_run,
        RunResource,
        "Approves a held run, or one that failed to apply; it is applied shortly afterwards, unless the roster has "
        "changed.",
        "POST /sync-runs/{run}/approve",
        body=Body(
            "Approval",
            "The approval of a plan that somebody has read, for all of it or without its removals.",
        ),
    ),
    Command(
        "discard_sync_run",
        discard_sync_run,
        RunResource,
        "Discards a held run, or one that failed to apply; the roster stays as it is.",
        "POST /sync-runs/{run}/discard",
    ),
    Command(
        "undo_sync_run",
        pull.request_undo,
        RunResource,
        "Requests that an applied run be undone, as a separate run; refused if a later run changed the same rows.",
        "POST /sync-runs/{run}/undo",
        status=202,
    ),
    Command(
        "rekey_sync_run",
        rekey_sync_run,
        RunResource,
        "Requests a map of new sourcedIds for the people of a held run; the worker plans it as a separate run.",
        "POST /sync-runs/{run}/rekey",
        status=202,
    ),
    Command(
        "acknowledge_quarantine",
        acknowledge_quarantine,
        None,
        "Acknowledges refused rows: later runs do not count them until their content or their fault changes. With"
        " `same_person`, later runs import them.",
        "POST /sync-runs/{run}/quarantine/acknowledge",
        value=AcknowledgedValue,
        answer="AcknowledgedRows",
        body=Body("Acknowledgement", "The rows in quarantine that are acknowledged."),
    ),
)
