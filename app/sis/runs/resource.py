"""Declares what both APIs show of the sync: sources, runs, and the rows that a run refused or changed.

They show no secret, and no value of a personal field.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, Text, any_, case, cast, func, literal_column, or_, select

from app.access.permission import Can
from app.access.work import Work
from app.resources.declare import AddedLink, Join, Link, Resource
from app.resources.fields import choice, computed, field, reference_of, stored
from app.resources.listing import Listing
from app.resources.members import Id, ValueMember
from app.resources.select import ResourceType
from app.resources.terms import DISTRICT
from app.resources.values import DayRanges, JsonList, JsonObject, Numbers
from app.roster.models import Enrollment, Person, Source
from app.roster.resource import StaffResource, StudentResource
from app.sis.engine.run import LENGTH
from app.sis.models import SisChange, SisPlannedChange, SisQuarantine, SisRun, SisSource
from app.sis.rules import RunState
from app.sis.runs.history import SyncStepValue, sync_histories
from app.sis.runs.plans.resource import PLANNED_FILTERS, PlannedChangeResource
from app.sis.runs.queries import KINDS_WITH_IDS, NON_STUDENT_KINDS
from app.sis.sources.address import hide_secrets, without_path

SILENT_SINCE = func.to_char(
    func.timezone(literal_column("'UTC'"), SisRun.leased_until - LENGTH), literal_column("'HH24:MI:SS'")
)
SENTENCE = case(
    (
        (SisRun.state == RunState.RUNNING) & (SisRun.leased_until <= func.now()),
        func.concat(
            "The process that runs this sync was last heard of at ",
            SILENT_SINCE,
            " UTC: it was killed, is frozen, or cannot reach the database. No other worker has claimed the sync yet:"
            " is one running?",
        ),
    ),
    else_=SisRun.sentence,
)
"""SQL for the sentence about a run.

If the lease of a running run has ended, the sentence says since when the worker has not renewed the lease.
"""


async def _shown_urls(_: Work, keys: Sequence[tuple[str]]) -> list[str]:
    """Returns the addresses of sources without secrets, as remote callers may see them.

    Of a local file, only the name is shown. The function needs no permission of its own: it is called with the
    addresses of sources that the caller may see, and shows less of them. It must not require the permission to read
    runs, because clients that only register sources use it too.
    """
    return [without_path(hide_secrets(url)) for (url,) in keys]


class SourceResource(
    Resource[SisSource],
    kind="source",
    requires=Can.READ_SYNC,
    joins=(Join(Source, Source.id == SisSource.id),),
    name="SisSource",
    get="sis_source",
    node=False,
):
    """A source that the district syncs from, with its settings and state."""

    name: str = field(Source.name, "The name by which people and external ids refer to the source.", "sis")
    kind: str = field(
        Source.kind, "`oneroster-1.1`, `oneroster-1.2`, `oneroster-csv` or `scores-csv`.", "oneroster-1.2"
    )
    url: str = computed(_shown_urls, (SisSource.url,), "The address, without secrets in it.")
    gradebook_url: str | None = field(
        SisSource.gradebook_url, "The address of its gradebook service.", "https://sis.example/gradebook"
    )
    token_url: str | None = field(
        SisSource.token_url, "Where access tokens are issued.", "https://sis.example/oauth/token"
    )
    auth: str | None = field(SisSource.auth, "The method of authentication at the source.", "oauth2-basic")
    client_id: str | None = field(SisSource.client_id, "The client id at the source.", "aimline")
    scopes: list[str] = field(SisSource.scopes, "The scopes that are requested.", ["roster-core.readonly"])
    page_size: int | None = field(SisSource.page_size, "The rows of a page; null for the source's own.", 1000)
    concurrency: int = field(SisSource.concurrency, "The number of concurrent requests.", 5)
    left_out: list[str] = field(
        SisSource.left_out, "The OneRoster collections that are not requested from the source.", ["demographics"]
    )
    schools: list[str] = field(
        SisSource.schools, "The sourcedIds of the schools to which it is restricted; empty for all.", ["school-1"]
    )
    excluded_users: list[str] = field(SisSource.excluded_users, "The sourcedIds of users who are not synced.", ["4711"])
    limits: Numbers = stored(SisSource.limits, "Limits of the guard that differ from the defaults.")
    rollover: JsonObject | None = stored(SisSource.rollover, "The days on which the school year changes.")
    mapping: JsonObject = stored(SisSource.mapping, "Which results become scores, and of which measure.")
    cron: str | None = field(
        SisSource.cron, "A cron expression of five fields, in the district's time zone.", "0 2 * * *"
    )
    jitter_minutes: int = field(
        SisSource.jitter_minutes, "The number of minutes over which the starts of sources are spread.", 30
    )
    freeze: DayRanges = stored(SisSource.frozen, "The first and last days of periods without runs.")
    full_cron: str | None = field(
        SisSource.full_cron, "The cron expression of the runs that must be full ones.", "0 3 * * 6"
    )
    overlap_hours: int = field(SisSource.overlap_hours, "How far back a delta reaches.", 24)
    pull_minutes: int = field(
        SisSource.pull_minutes, "How long a OneRoster service may be read before the run fails.", 360
    )
    pull_gb: int = field(SisSource.pull_gb, "How much of a delivery may be on the disk at a time.", 20)
    due: datetime | None = field(SisSource.due, "When the schedule next starts a run.")
    pulled_until: datetime | None = field(
        SisSource.pulled_until, "The instant up to which the source's changes are known."
    )
    full_at: datetime | None = field(SisSource.full_at, "The instant as of which a full delivery was last applied.")
    paused_at: datetime | None = field(SisSource.paused_at, "When the schedule was paused.")
    created_at: datetime = field(SisSource.created_at, "When the source was registered.")
    findings: JsonObject | None = stored(SisSource.findings, "The findings of the last check: ready, sentences, facts.")
    version: int = field(SisSource.version, "The number of changes; the ETag.", 1)


class RunResource(
    Resource[SisRun],
    kind="run",
    requires=Can.READ_SYNC,
    joins=(Join(Source, Source.id == SisRun.source_id),),
    name="SyncRun",
    get="sync_run",
    node=False,
):
    """One sync of a source, with its changes or the reason why it changed nothing."""

    source: str = field(Source.name, "The name of the source.", "sis")
    state: RunState = choice(SisRun.state, "The state; `skipped` if there was nothing new.")
    mode: str | None = field(
        SisRun.mode,
        "`full` or `delta`, once known; `rekey` for a map of sourcedIds, `scores` for a file of scores.",
        "full",
    )
    asked_by: str | None = field(
        SisRun.asked_by, "The person or client that requested the run; `schedule` for a scheduled run.", "schedule"
    )
    sentence: str = field(SENTENCE, "The run's result in one sentence.", "3 students came, nothing was removed.")
    began_at: datetime = field(SisRun.began_at, "When it began.")
    ended_at: datetime | None = field(SisRun.ended_at, "When it ended.")
    plan: str | None = field(
        SisRun.plan["digest"].as_string(),
        "The digest of the plan that waits for approval, which an approval names.",
        "0123456789abcdef",
        rest=None,
    )
    held_because: JsonObject = stored(SisRun.held_because, "The guard's reasons, one sentence each.", rest=None)
    counts: JsonObject = stored(SisRun.counts, "Numbers of rows, by kind.")
    warnings: JsonList = stored(SisRun.warnings, "Sentences about irregularities that a person should look at.")
    listed: int = field(SisRun.listed, "The number of planned changes that are listed; 0 where there is no list.", 27)


class QuarantinedResource(Resource[SisQuarantine], requires=Can.READ_SYNC, name="QuarantinedRow"):
    """A row that was refused: its place and the reason, never its content."""

    id: str = field(
        cast(SisQuarantine.id, Text), "The row's own id in the quarantine.", "01995f2e-7c2a-7b6e-9d52-5c6f0f1d2a3b"
    )
    file: str = field(SisQuarantine.file, "The file, or the endpoint.", "users.csv")
    row: int = field(SisQuarantine.row_number, "The row's number; the header is row 1.", 17)
    code: str = field(SisQuarantine.code, "A stable code.", "email.malformed")
    sourced_id: str | None = field(SisQuarantine.sourced_id, "The row's id in the source, if it has one.", "4711")
    acknowledged: bool = field(
        SisQuarantine.acknowledged, "Whether a person has acknowledged it, which holds until it changes."
    )
    # This is the last use of the function, because the name hides it from this line on.
    field: str = field(SisQuarantine.field, "The field.", "email")


VISIBLE_ENROLLMENT = (
    select(Enrollment.id).where(Enrollment.district_id == DISTRICT, Enrollment.id == SisChange.row_id).scalar_subquery()
)
"""SQL for the id of the enrollment that was changed, or null if the caller may not see this enrollment.

An EXISTS is not used, because PostgreSQL may compute an EXISTS by reading all enrollments.
"""


class SyncChangeResource(
    Resource[SisChange],
    requires=Can.READ_SYNC,
    joins=(Join(Person, (Person.id == SisChange.row_id) & (SisChange.kind == "person"), outer=True),),
    about=case((Person.is_student, Person.id)),
    discloses="sync",
    visible=or_(
        SisChange.kind == any_(cast(list(NON_STUDENT_KINDS), ARRAY(Text))),
        Person.id.is_not(None),
        (SisChange.kind == "enrollment") & VISIBLE_ENROLLMENT.is_not(None),
    ),
    name="SyncChange",
):
    """A row that a run changed, without its earlier values."""

    id: str = field(cast(SisChange.id, Text), "The number of the change.", "01995f2e-7c2a-7b6e-9d52-5c6f0f1d2a3b")
    kind: str = field(SisChange.kind, "The kind of row.", "person")
    row: Id | None = reference_of(
        SisChange.row_id,
        case((Person.is_student, "student"), else_=SisChange.kind),
        ("student", "person", "enrollment", *KINDS_WITH_IDS),
        "The row's id, where the API shows rows of its kind.",
    )
    action: str = field(
        SisChange.action, "update, restore, remove (marked as deleted), absent (no longer sent) or rekey.", "update"
    )


def _history(of: ResourceType, description: str) -> AddedLink:
    member = ValueMember(
        "sync_history",
        description,
        rest=None,
        shape=SyncStepValue,
        compute=sync_histories,
        keys=(Person.id,),
        many=True,
        assumed=20,
        requires=(Can.READ_SYNC,),
    )
    return AddedLink(of, member)


LINKS = (
    _history(StudentResource, "Everything that syncs did to the student and the student's enrollments, newest first."),
    _history(StaffResource, "Everything that syncs did to the person and the person's enrollments, newest first."),
    Link(
        RunResource,
        "planned_changes",
        PlannedChangeResource,
        SisPlannedChange.run_id == SisRun.id,
        "What a held or dry run would change, row by row: new sourcedIds, fields, values before and after.",
        order=(SisPlannedChange.id,),
        paged=True,
        filters=PLANNED_FILTERS,
    ),
    Link(
        RunResource,
        "quarantine",
        QuarantinedResource,
        SisQuarantine.run_id == SisRun.id,
        "The rows that the run refused.",
        order=(SisQuarantine.id,),
        paged=True,
    ),
    Link(
        RunResource,
        "changes",
        SyncChangeResource,
        SisChange.run_id == SisRun.id,
        "The rows, of those that the caller may see, that the run changed, removed or restored.",
        order=(SisChange.id,),
        paged=True,
    ),
)

LISTINGS = (
    Listing(
        "sis_sources",
        SourceResource,
        "The sources that the district syncs from, oldest first.",
        changed_at=SisSource.updated_at,
    ),
    Listing(
        "sync_runs",
        RunResource,
        "The district's sync runs, newest first.",
        descending=True,
        changed_at=SisRun.updated_at,
    ),
)
