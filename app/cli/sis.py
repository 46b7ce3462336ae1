"""Defines `aimline sis`, which creates, shows, changes, pauses and checks the SIS sources that a district syncs from.

A secret is read from a file, never from the command line, which other users of the machine can see. This file exceeds
250 lines because every setting is an option of two commands.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import orjson
import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.directory import find_district
from app.access.principal import system_principal
from app.access.work import Work, unit
from app.cli.operate import AsJson, District, as_operator
from app.cli.output import printable
from app.cli.scope_options import ExcludeUsers, Schools, UnusableOption, read_schools, read_users
from app.core.address import Allowed
from app.core.errors import AimlineError, Invalid
from app.core.plural import pluralize
from app.maintenance.history import erase_earlier_values
from app.settings import Settings
from app.sis.runs import queries
from app.sis.scheduler.retention import erase_person, find_person_id
from app.sis.sources import service as sources
from app.sis.sources.address import hide_secrets
from app.sis.sources.settings import SourceSettings as Fit

Answer = TypeVar("Answer")
USAGE, REFUSED = 2, 5
Name = Annotated[str, typer.Argument(metavar="NAME", help="The source's name.")]
Url = Annotated[str | None, typer.Option(help="The OneRoster base; of CSV https, file:, a path or upload:.")]
GradebookUrl = Annotated[str | None, typer.Option(help="The gradebook's base, where it is another.")]
TokenUrl = Annotated[str | None, typer.Option(help="The OAuth 2 token endpoint, where it is not beside the base.")]
Auth = Annotated[str | None, typer.Option(help="oauth2-basic, oauth2-body, oauth1 or oauth1-sha1.")]
ClientId = Annotated[str | None, typer.Option(help="The client's id at the source.")]
SecretFile = Annotated[Path | None, typer.Option(help="A file with the client's secret; - reads it from stdin.")]
Scope = Annotated[list[str] | None, typer.Option(help="A scope to ask for; may be repeated.")]
PageSize = Annotated[int | None, typer.Option(help="Rows asked for in a page.")]
Concurrency = Annotated[int | None, typer.Option(help="Requests at once: 5 without it.")]
LeaveOut = Annotated[list[str] | None, typer.Option(help="A collection that is not asked for; may be repeated.")]

Limit = Annotated[list[str] | None, typer.Option(metavar="NAME=N", help="A limit of the guard, such as removed=0.2.")]
Rollover = Annotated[str | None, typer.Option(metavar="FIRST..LAST", help="Days on which the school year turns over.")]
RolloverLimit = Annotated[list[str] | None, typer.Option(metavar="NAME=N", help="A limit on those days.")]
Mapping = Annotated[Path | None, typer.Option(help="A JSON file: which results become scores of which measure.")]
Schedule = Annotated[str | None, typer.Option(metavar="CRON", help="When it runs, in the district's time zone.")]
Jitter = Annotated[int | None, typer.Option(help="Minutes over which sources are spread: 30 without it.")]
Freeze = Annotated[list[str] | None, typer.Option(metavar="FIRST..LAST", help="Days on which no run begins.")]
Full = Annotated[
    str | None,
    typer.Option("--full-schedule", metavar="CRON", help="The cron expression of the runs that must be full ones."),
]
Overlap = Annotated[int | None, typer.Option(help="Hours by which a delta reaches back: 24 without it.")]
PullMinutes = Annotated[int | None, typer.Option(help="How long it may be read before that fails: 360 without it.")]
PullGb = Annotated[int | None, typer.Option(help="GB of it that may lie on the disk: 20 without it.")]


def add_to(app: typer.Typer) -> None:
    """Adds `aimline sis` to the command line."""
    sis = typer.Typer(help="The sources that a district syncs from.", no_args_is_help=True)
    app.add_typer(sis, name="sis")
    _add(sis)
    _set(sis)
    _show(sis)
    _forget(sis)
    _alerts(sis)


def _add(sis: typer.Typer) -> None:
    @sis.command("add")
    def add(
        district: District,
        name: Annotated[str, typer.Option(help="A unique name for the source, which is also used in ids.")],
        kind: Annotated[str, typer.Option(help="oneroster-1.1, oneroster-1.2, oneroster-csv or scores-csv.")],
        url: Annotated[str, typer.Option(help="The base of a OneRoster service, or a zip or folder of CSV files.")],
        gradebook_url: GradebookUrl = None,
        token_url: TokenUrl = None,
        auth: Auth = None,
        client_id: ClientId = None,
        client_secret_file: SecretFile = None,
        scope: Scope = None,
        page_size: PageSize = None,
        concurrency: Concurrency = None,
        leave_out: LeaveOut = None,
        schools: Schools = None,
        exclude_users: ExcludeUsers = None,
        limit: Limit = None,
        rollover: Rollover = None,
        rollover_limit: RolloverLimit = None,
        mapping: Mapping = None,
        schedule: Schedule = None,
        jitter: Jitter = None,
        freeze: Freeze = None,
        full_schedule: Full = None,
        overlap: Overlap = None,
        pull_minutes: PullMinutes = None,
        pull_gb: PullGb = None,
        as_json: AsJson = False,
    ) -> None:
        """Creates a source. Nothing is fetched yet: see `aimline sis doctor`, then `aimline sync run`."""
        new = Fit(kind=kind, **_given(locals()))
        _print(
            _run(district, lambda work, allowed: sources.register_source(work, name, new, allowed, local=True)), as_json
        )


def _set(sis: typer.Typer) -> None:
    @sis.command("set")
    def set_(
        name: Name,
        district: District,
        url: Url = None,
        gradebook_url: GradebookUrl = None,
        token_url: TokenUrl = None,
        auth: Auth = None,
        client_id: ClientId = None,
        client_secret_file: SecretFile = None,
        scope: Scope = None,
        page_size: PageSize = None,
        concurrency: Concurrency = None,
        leave_out: LeaveOut = None,
        schools: Schools = None,
        exclude_users: ExcludeUsers = None,
        limit: Limit = None,
        rollover: Rollover = None,
        rollover_limit: RolloverLimit = None,
        mapping: Mapping = None,
        schedule: Schedule = None,
        jitter: Jitter = None,
        freeze: Freeze = None,
        full_schedule: Full = None,
        overlap: Overlap = None,
        pull_minutes: PullMinutes = None,
        pull_gb: PullGb = None,
        as_json: AsJson = False,
    ) -> None:
        """Changes only the given settings; an empty value ("") clears an optional setting."""
        changes = _given(locals())
        if not changes:
            _refuse("Name a setting to change, such as --schedule '0 2 * * *'.")

        async def change(work: Work, allowed: Allowed) -> sources.ConfiguredSource:
            configured = await sources.load_source_by_name(work, name)
            return await sources.change_source(work, configured.source.id, changes, allowed, local=True)

        _print(_run(district, change), as_json)


def _show(sis: typer.Typer) -> None:
    @sis.command("list")
    def list_(district: District, as_json: AsJson = False) -> None:
        """Lists the district's sources."""
        configured_sources = _run(district, lambda work, _: queries.all_sources(work))
        if as_json:
            print(orjson.dumps([sources.render_source(configured) for configured in configured_sources]).decode())
        for configured in () if as_json else configured_sources:
            row = configured.settings
            when = "paused" if row.paused_at else f"next {row.due:%Y-%m-%d %H:%M} UTC" if row.due else "no schedule"
            print(f"{configured.source.name:20} {configured.source.kind:14} {when:26} {hide_secrets(row.url)}")
        if not configured_sources and not as_json:
            print("There is no source yet. Create one with: aimline sis add")

    @sis.command("show")
    def show(name: Name, district: District, as_json: AsJson = False) -> None:
        """Shows a source's settings, but never its secret."""
        _print(_run(district, lambda work, _: sources.load_source_by_name(work, name)), as_json)

    @sis.command("doctor")
    def doctor(name: Name, district: District, as_json: AsJson = False) -> None:
        """Checks a source: signs in, reads every collection and exits with the same code as a run. Writes nothing."""
        # Imported here, because it loads many modules that the other commands do not need.
        from app.sis.runs.pull import inspect_source

        async def operation(engine: AsyncEngine, settings: Settings) -> dict[str, Any]:
            allowed = settings.sis_allowed
            district_id = await find_district(engine, district)
            async with unit(engine, system_principal(district_id, "operator"), settings.keyring, "sis") as work:
                source_id = (await sources.load_source_by_name(work, name)).source.id
            return await inspect_source(engine, settings.keyring, district_id, source_id, allowed)

        findings = _or_refuse(lambda: as_operator(operation))
        print(orjson.dumps(findings).decode() if as_json else "\n".join(map(printable, findings["sentences"])))
        raise typer.Exit(findings["exit_code"] if findings["ready"] else REFUSED)

    @sis.command("pause")
    @sis.command("remove", help="Does the same as pause; the source's rows and history stay.")
    def pause(name: Name, district: District, as_json: AsJson = False) -> None:
        """Stops the scheduled runs of a source. What was imported from it stays, and so does its history."""

        async def operation(work: Work, _: Allowed) -> sources.ConfiguredSource:
            return await sources.pause_source(work, (await sources.load_source_by_name(work, name)).source.id)

        _print(_run(district, operation), as_json)

    @sis.command("resume")
    def resume(name: Name, district: District, as_json: AsJson = False) -> None:
        """Resumes the schedule of a source."""

        async def operation(work: Work, _: Allowed) -> sources.ConfiguredSource:
            return await sources.resume_source(work, (await sources.load_source_by_name(work, name)).source.id)

        _print(_run(district, operation), as_json)


def _forget(sis: typer.Typer) -> None:
    @sis.command("forget")
    def forget(
        person: Annotated[str, typer.Argument(metavar="PERSON", help="An id, or sis:<source>:<sourcedId>.")],
        district: District,
    ) -> None:
        """Erases a person from the values before changes: by syncs, and of scores, sessions and notes.

        A sync that changed this person can no longer be undone.
        """

        async def operation(work: Work, _: Allowed) -> int:
            row = await find_person_id(work, person)
            return await erase_person(work, row) + await erase_earlier_values(work, row)

        print(f"{pluralize(_run(district, operation), 'row is', 'rows are')} no longer kept as before.")


def _alerts(sis: typer.Typer) -> None:
    @sis.command("alerts")
    def alerts(
        district: District,
        email: Annotated[list[str] | None, typer.Option(help='An address; may be repeated. "" clears them.')] = None,
        chat_url_file: Annotated[
            str | None, typer.Option(metavar="FILE", help='A file with the webhook of a chat. "" clears it.')
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Shows or sets who is notified of held, failed and missing runs; the default is in the server's settings."""
        # Imported here, because it loads many modules that the other commands do not need.
        from app.sis.scheduler.alerts import load_recipients, save_recipients, shown

        async def go(engine: AsyncEngine, settings: Settings) -> dict[str, Any]:
            district_id = await find_district(engine, district)
            async with unit(engine, system_principal(district_id, "operator"), settings.keyring, "sis") as work:
                if email is None and chat_url_file is None:
                    return shown(await load_recipients(work))
                emails = None if email is None else tuple(filter(None, email))
                chat_url = _secret(Path(chat_url_file)) if chat_url_file else chat_url_file
                return shown(await save_recipients(work, emails, chat_url, settings.webhook_allowed))

        values = _or_refuse(lambda: as_operator(go))
        texts = {"emails": ", ".join(values["emails"]), "chat_url": values["chat_url"]}
        lines = (f"{name:16} {text or 'none'}" for name, text in texts.items())
        print(orjson.dumps(values).decode() if as_json else "\n".join(lines))


def _run(district: str, do: Callable[[Work, Allowed], Awaitable[Answer]]) -> Answer:
    """Calls `do` with a unit of work of the operator in the district, and returns its result.

    For an invalid input, prints one sentence per violation and exits.
    """

    async def operation(engine: AsyncEngine, settings: Settings) -> Answer:
        allowed = settings.sis_allowed
        district_id = await find_district(engine, district)
        async with unit(engine, system_principal(district_id, "operator"), settings.keyring, "sis") as work:
            return await do(work, allowed)

    return _or_refuse(lambda: as_operator(operation))


def _or_refuse(run: Callable[[], Answer]) -> Answer:
    try:
        return run()
    except Invalid as error:
        _refuse(*(f"{violation.pointer.lstrip('/')}: {violation.detail}" for violation in error.violations))
    except AimlineError as error:
        _refuse(error.detail)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that were given, converted to source settings."""
    settings_given = {
        "scopes": options["scope"] and tuple(item for text in options["scope"] for item in text.split()),
        "left_out": options["leave_out"] and tuple(item for item in options["leave_out"] if item),
        "schools": options["schools"] and read_schools(options["schools"]),
        "excluded_users": options["exclude_users"] and _users(options["exclude_users"]),
        "limits": options["limit"] and _numbers(options["limit"]),
        "freeze": options["freeze"] and tuple(_days(item) for item in options["freeze"] if item),
        "cron": options["schedule"],
        "jitter_minutes": options["jitter"],
        "full_cron": options["full_schedule"],
        "overlap_hours": options["overlap"],
        "client_secret": options["client_secret_file"] and _secret(options["client_secret_file"]),
        "mapping": options["mapping"] and _json(options["mapping"]),
        **{name: options[name] for name in ("url", "gradebook_url", "token_url", "auth", "client_id")},
        **{name: options[name] for name in ("page_size", "concurrency", "pull_minutes", "pull_gb")},
    }
    if settings_given["excluded_users"] == "":
        settings_given["excluded_users"] = ()
    settings = {name: value if value != "" else None for name, value in settings_given.items() if value is not None}
    if options["rollover"] == "":
        settings["rollover"] = None
    elif options["rollover"]:
        first, last = _days(options["rollover"])
        limits = {"limits": _numbers(options["rollover_limit"])} if options["rollover_limit"] else {}
        settings["rollover"] = {"begins_on": first, "ends_on": last, **limits}
    elif options["rollover_limit"]:
        _refuse("Name the days of the rollover as well: --rollover FIRST..LAST")
    return settings


def _users(file: str) -> tuple[str, ...]:
    try:
        return read_users(file)
    except UnusableOption as error:
        _refuse(str(error))


def _numbers(limits: list[str]) -> dict[str, float]:
    limits_by_name: dict[str, float] = {}
    for limit in filter(None, limits):
        name, _, text = limit.partition("=")
        try:
            limits_by_name[name] = int(text) if text.isdigit() else float(text)
        except ValueError:
            _refuse(f"{limit!r} is not a limit such as removed=0.2 or removed_rows=50.")
    return limits_by_name


def _days(text: str) -> tuple[str, str]:
    first, _, last = text.partition("..")
    return first.strip(), (last or first).strip()


def _secret(file: Path) -> str:
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        _refuse(f"The file with the secret cannot be read ({type(error).__name__}).")


def _json(file: Path) -> Any:
    try:
        return orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        _refuse(f"{file.name} cannot be read as JSON ({type(error).__name__}).")


def _print(configured: sources.ConfiguredSource, as_json: bool) -> None:
    values = sources.render_source(configured)
    if as_json:
        print(orjson.dumps(values).decode())
        return
    for name, value in values.items():
        if value not in (None, [], (), {}):
            print(f"{name:16} {value if isinstance(value, str | int) else orjson.dumps(value).decode()}")


def _refuse(*sentences: str) -> NoReturn:
    for sentence in sentences:
        print(sentence, file=sys.stderr)
    raise typer.Exit(USAGE)
