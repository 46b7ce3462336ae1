"""Serves the SIS sources of a district in REST; their secrets can be written but never read."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.rest.door import After, Limit, OpenWork, Services, requires, row_id
from app.rest.pages import NOT_NAMED, Changes, Input, Items, Shape, page_keyset, to_page
from app.rest.route import Route
from app.sis.runs import queries
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings as StoredSettings
from app.sis.sources.settings import without_path

router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)
Limits = Annotated[dict[str, float], Field(max_length=20)]
Mapping = Annotated[dict[str, Any], Field(max_length=100)]
Days = Annotated[list[str], Field(max_length=2)]
Cron = Field(default=None, max_length=200, description="A cron expression of five fields, in the district's time zone.")


class Rollover(Input):
    """The period in which the school year changes, from its first to its last day, and the guard's limits in this
    period.
    """

    begins_on: str = Field(max_length=10)
    ends_on: str = Field(max_length=10)
    limits: dict[str, float] | None = Field(
        default=None, max_length=20, description="By default, the limits removed, changed and lost are 1."
    )


class SourceSettings(Input):
    """The settings of a source in addition to its addresses."""

    gradebook_url: str | None = Field(default=None, max_length=2048)
    token_url: str | None = Field(default=None, max_length=2048)
    auth: Literal["oauth2-basic", "oauth2-body", "oauth1", "oauth1-sha1"] | None = None
    client_id: str | None = Field(default=None, max_length=500)
    client_secret: str | None = Field(
        default=None, max_length=500, description="The credential; it is stored encrypted and never returned."
    )
    scopes: list[str] = Field(default=[], max_length=50)
    page_size: int | None = None
    concurrency: int = Field(default=5, description="The number of concurrent requests.")
    left_out: list[str] = Field(default=[], max_length=50, description="Collections that are not requested.")
    schools: list[str] = Field(
        default=[],
        max_length=1000,
        description="The sourcedIds of the schools to which it is restricted; empty for all. What is known of other "
        "schools stays as it is.",
    )
    excluded_users: list[str] = Field(
        default=[],
        max_length=20_000,
        description="The sourcedIds of users who are not synced. What is known of them stays as it is.",
    )
    limits: dict[str, float] = Field(
        default={}, max_length=20, description="Limits of the guard that differ from the defaults."
    )
    rollover: Rollover | None = None
    mapping: dict[str, Any] = Field(
        default={}, max_length=100, description="Which results become scores, and of which measure."
    )
    cron: str | None = Cron
    jitter_minutes: int = Field(
        default=30, description="The number of minutes over which the starts of sources are spread."
    )
    freeze: list[Days] = Field(
        default=[], max_length=100, description="The first and last days of periods without runs."
    )
    full_cron: str | None = Field(default=None, max_length=200, description="When a run must be a full one.")
    overlap_hours: int = Field(default=24, description="How far back a delta reaches.")
    pull_minutes: int = Field(default=360, description="How long a OneRoster service may be read before the run fails.")
    pull_gb: int = Field(default=20, description="How much of a delivery may be on the disk at a time.")


class NewSource(SourceSettings):
    """A source to register. Files and folders on the server can be named only on the server's command line."""

    name: str = Field(max_length=63, description="The name by which people and external ids refer to the source.")
    kind: Literal["oneroster-1.1", "oneroster-1.2", "oneroster-csv", "scores-csv"]
    url: str = Field(max_length=2048)


class SourceChanges(Changes, SourceSettings):
    """Changes of a source; other fields stay unchanged. A change of the host requires the secret again."""

    url: str = Field(default=NOT_NAMED, max_length=2048)


class SisSource(Shape):
    """A source with its settings and state."""

    id: str
    name: str
    kind: str
    url: str = Field(
        description="The address. `...` stands for each value of its query, which may be a secret; a change that sends "
        "it so keeps the values."
    )
    gradebook_url: str | None
    token_url: str | None
    auth: str | None
    client_id: str | None
    scopes: list[str]
    page_size: int | None
    concurrency: int
    left_out: list[str]
    schools: list[str]
    excluded_users: list[str]
    limits: dict[str, float]
    rollover: dict[str, Any] | None
    mapping: dict[str, Any]
    cron: str | None
    jitter_minutes: int
    freeze: list[list[str]]
    full_cron: str | None
    overlap_hours: int
    pull_minutes: int
    pull_gb: int
    due: datetime | None = Field(description="When the schedule next starts a run.")
    pulled_until: datetime | None = Field(description="The instant up to which the source's changes are known.")
    full_at: datetime | None = Field(description="The instant as of which a full delivery was last applied.")
    paused_at: datetime | None
    created_at: datetime
    findings: dict[str, Any] | None = Field(description="The findings of the last check: ready, sentences, facts.")
    version: int


@router.get("/sis-sources", operation_id="list_sources", **requires(queries.sources))
async def list_sources(
    work: OpenWork, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[SisSource]:
    """Lists the sources that the district syncs from, oldest first."""
    page = await queries.sources(work, page_keyset(work, "sis-sources", {}, after, limit))
    items, next_cursor = to_page(request, response, page, _source)
    return Items(items=items, next=next_cursor)


@router.post("/sis-sources", status_code=201, operation_id="register_source", **requires(sources.register_source))
async def register_source(work: OpenWork, request: Request, new: NewSource) -> SisSource:
    """Registers a source. Nothing is fetched yet."""
    services: Services = request.app.state.services
    values = new.model_dump(exclude_unset=True, exclude={"name"})
    return _source(
        await sources.register_source(work, new.name, StoredSettings(**_convert_values(values)), services.sis_allowed)
    )


@router.get("/sis-sources/{source}", operation_id="get_source", **requires(sources.load_source))
async def get_source(work: OpenWork, source: str) -> SisSource:
    """Returns one source."""
    return _source(await sources.load_source(work, row_id("source", source)))


@router.patch("/sis-sources/{source}", operation_id="change_source", **requires(sources.change_source))
async def change_source(work: OpenWork, request: Request, source: str, changes: SourceChanges) -> SisSource:
    """Changes the given fields of a source."""
    services: Services = request.app.state.services
    values = _convert_values(changes.model_dump(exclude_unset=True))
    return _source(await sources.change_source(work, row_id("source", source), values, services.sis_allowed))


@router.post("/sis-sources/{source}/pause", operation_id="pause_source", **requires(sources.pause_source))
async def pause_source(work: OpenWork, source: str) -> SisSource:
    """Pauses a source, so that its schedule starts no runs. Its rows and its history stay."""
    return _source(await sources.pause_source(work, row_id("source", source)))


@router.post("/sis-sources/{source}/resume", operation_id="resume_source", **requires(sources.resume_source))
async def resume_source(work: OpenWork, source: str) -> SisSource:
    """Resumes a paused source, so that its schedule applies again."""
    return _source(await sources.resume_source(work, row_id("source", source)))


@router.post(
    "/sis-sources/{source}/doctor",
    status_code=202,
    operation_id="look_at_source",
    **requires(sources.request_inspection),
)
async def look_at_source(work: OpenWork, response: Response, source: str) -> SisSource:
    """Requests that the worker checks the source; the result appears in `findings` shortly afterwards.

    No roster row is written.
    """
    configured = await sources.request_inspection(work, row_id("source", source))
    response.headers["Location"] = f"/v1/sis-sources/{ids.format_id('source', configured.source.id)}"
    return _source(configured)


def _convert_values(values: dict[str, Any]) -> dict[str, Any]:
    """Converts values to the types of the settings: lists to tuples, integral limits to integers."""
    for name in ("scopes", "left_out", "schools", "excluded_users", "freeze"):
        if name in values:
            values[name] = tuple(tuple(item) if isinstance(item, list) else item for item in values[name])
    for holder in (values, values.get("rollover") or {}):
        if holder.get("limits"):
            holder["limits"] = {name: int(n) if n == int(n) else n for name, n in holder["limits"].items()}
    return values


def _source(source: sources.ConfiguredSource) -> SisSource:
    fields = sources.render_source(source)
    fields["url"] = without_path(fields["url"])
    return SisSource(**{**fields, "freeze": [[str(day) for day in pair] for pair in fields["freeze"]]})
