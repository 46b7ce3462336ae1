"""Owns the sources of a district in REST: shapes and routes, no rule. A secret goes in and never comes out."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.core import ids
from app.rest.door import After, House, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.route import Route
from app.sis.runs import queries
from app.sis.sources import service as sources
from app.sis.sources.settings import SourceSettings as StoredSettings
from app.sis.sources.settings import without_path

router = APIRouter(prefix="/v1", tags=["sync"], route_class=Route)
Limits = Annotated[dict[str, float], Field(max_length=20)]
Mapping = Annotated[dict[str, Any], Field(max_length=100)]
Days = Annotated[list[str], Field(max_length=2)]
Cron = Field(default=None, max_length=200, description="Five fields, in the district's time zone.")


class Rollover(Input):
    """The days on which a school year turns over, both included, and the guard's limits on them."""

    begins_on: str = Field(max_length=10)
    ends_on: str = Field(max_length=10)
    limits: dict[str, float] | None = Field(
        default=None, max_length=20, description="Without it: removed, changed and lost at 1."
    )


class SourceSettings(Input):
    """What can be set of a source beside its addresses."""

    gradebook_url: str | None = Field(default=None, max_length=2048)
    token_url: str | None = Field(default=None, max_length=2048)
    auth: Literal["oauth2-basic", "oauth2-body", "oauth1", "oauth1-sha1"] | None = None
    client_id: str | None = Field(default=None, max_length=500)
    client_secret: str | None = Field(default=None, max_length=500, description="Sealed; never read back.")
    scopes: list[str] = Field(default=[], max_length=50)
    page_size: int | None = None
    concurrency: int = Field(default=5, description="Requests at once.")
    left_out: list[str] = Field(default=[], max_length=50, description="Collections that are not asked for.")
    limits: dict[str, float] = Field(
        default={}, max_length=20, description="Limits of the guard that differ from the house's."
    )
    rollover: Rollover | None = None
    mapping: dict[str, Any] = Field(
        default={}, max_length=100, description="Which results become scores, of which measure."
    )
    cron: str | None = Cron
    jitter_minutes: int = Field(default=30, description="Over so many minutes sources are spread.")
    freeze: list[Days] = Field(default=[], max_length=100, description="First and last days without a run.")
    full_cron: str | None = Field(default=None, max_length=200, description="When a run must be a full one.")
    overlap_hours: int = Field(default=24, description="How far a delta reaches back.")
    pull_minutes: int = Field(default=360, description="How long a OneRoster service may be read, before it fails.")
    pull_gb: int = Field(default=20, description="What may lie on the disk of it meanwhile.")


class NewSource(SourceSettings):
    """A source to be made. Files and folders of the server are named on its command line only."""

    name: str = Field(max_length=63, description="By which people, and external ids, know it.")
    kind: Literal["oneroster-1.1", "oneroster-1.2", "oneroster-csv"]
    url: str = Field(max_length=2048)


class SourceChanges(SourceSettings):
    """What is changed; what is not named stays. Who moves a source to another host gives its secret anew."""

    url: str = Field(default="", max_length=2048)


class SisSource(Shape):
    """A source and how it stands."""

    id: str
    name: str
    kind: str
    url: str
    gradebook_url: str | None
    token_url: str | None
    auth: str | None
    client_id: str | None
    scopes: list[str]
    page_size: int | None
    concurrency: int
    left_out: list[str]
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
    due: datetime | None = Field(description="When the schedule next asks for a run.")
    pulled_until: datetime | None = Field(description="What it has is known up to then.")
    full_at: datetime | None = Field(description="As of then a whole delivery was last applied.")
    paused_at: datetime | None
    created_at: datetime
    findings: dict[str, Any] | None = Field(description="What the last look found: ready, sentences, facts.")
    version: int


@router.get("/sis-sources", operation_id="list_sources", **asks(queries.sources))
async def list_sources(
    work: Opened, request: Request, response: Response, after: After = None, limit: Limit = None
) -> Items[SisSource]:
    """The sources that the district syncs from, oldest first."""
    page = await queries.sources(work, place(work, "sis-sources", {}, after, limit))
    items, then = paged(request, response, page, _source)
    return Items(items=items, next=then)


@router.post("/sis-sources", status_code=201, operation_id="register_source", **asks(sources.register_source))
async def register_source(work: Opened, request: Request, new: NewSource) -> SisSource:
    """Makes a source. Nothing is fetched yet."""
    house: House = request.app.state.house
    given = new.model_dump(exclude_unset=True, exclude={"name"})
    return _source(await sources.register_source(work, new.name, StoredSettings(**_fit(given)), house.sis_allowed))


@router.get("/sis-sources/{source}", operation_id="get_source", **asks(sources.load_source))
async def get_source(work: Opened, source: str) -> SisSource:
    """One source."""
    return _source(await sources.load_source(work, row_id("source", source)))


@router.patch("/sis-sources/{source}", operation_id="change_source", **asks(sources.change_source))
async def change_source(work: Opened, request: Request, source: str, changes: SourceChanges) -> SisSource:
    """Changes what is named of a source."""
    house: House = request.app.state.house
    given = _fit(changes.model_dump(exclude_unset=True))
    return _source(await sources.change_source(work, row_id("source", source), given, house.sis_allowed))


@router.post("/sis-sources/{source}/pause", operation_id="pause_source", **asks(sources.pause_source))
async def pause_source(work: Opened, source: str) -> SisSource:
    """No run of it begins by itself any more; its rows and its history stay."""
    return _source(await sources.pause_source(work, row_id("source", source)))


@router.post("/sis-sources/{source}/resume", operation_id="resume_source", **asks(sources.resume_source))
async def resume_source(work: Opened, source: str) -> SisSource:
    """Its schedule holds again."""
    return _source(await sources.resume_source(work, row_id("source", source)))


@router.post(
    "/sis-sources/{source}/doctor", status_code=202, operation_id="look_at_source", **asks(sources.request_inspection)
)
async def look_at_source(work: Opened, response: Response, source: str) -> SisSource:
    """Asks the worker what the source is like; shortly after, `findings` says it. No roster row is written."""
    found = await sources.request_inspection(work, row_id("source", source))
    response.headers["Location"] = f"/v1/sis-sources/{ids.show('source', found.source.id)}"
    return _source(found)


def _fit(given: dict[str, Any]) -> dict[str, Any]:
    """Lists as the room takes them; whole numbers among the limits are whole."""
    for name in ("scopes", "left_out", "freeze"):
        if name in given:
            given[name] = tuple(tuple(one) if isinstance(one, list) else one for one in given[name])
    for holder in (given, given.get("rollover") or {}):
        if holder.get("limits"):
            holder["limits"] = {name: int(n) if n == int(n) else n for name, n in holder["limits"].items()}
    return given


def _source(found: sources.ConfiguredSource) -> SisSource:
    told = sources.render_source(found)
    told["url"] = without_path(told["url"])
    return SisSource(**{**told, "freeze": [[str(day) for day in pair] for pair in told["freeze"]]})
