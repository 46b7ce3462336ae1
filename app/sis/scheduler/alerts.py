"""Reports to people, by e-mail and chat, that a run was held for approval, has failed, or is missing.

Never sends a student's data. A notice is a row that is created in the transaction that changes the run's state. A
worker sends it as a job, with several attempts. For each channel, the recipients that the district has set get the
notice; if it has set none, the recipients in the server's settings get it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast
from uuid import UUID

import structlog
from sqlalchemy import Table, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from app.access.models import District
from app.access.permission import Can
from app.access.principal import system_principal
from app.access.work import Work, needs, unit
from app.core import ids
from app.core.address import PUBLIC_ONLY, Allowed, validate_url
from app.core.alerting import MailServer, NotSent, is_mail_address, post_to_chat, send_mail
from app.core.clock import now
from app.core.crypto import Keyring
from app.core.errors import Invalid, Violation
from app.core.fault_report import FaultSummary
from app.core.jobs import ClaimedJob, JobOutcome, JobTable, RetryPolicy, claim, save_outcomes
from app.core.log import job_context
from app.roster.models import Source
from app.sis.models import SisNotice, SisRecipients, SisRun
from app.sis.rules import NoticeState, RunState
from app.sis.sources.address import hide_secrets

RETRIES: Final = RetryPolicy(attempts=6, first=timedelta(seconds=30), longest=timedelta(hours=2))
AT_ONCE: Final = 20  # notices of one district that are claimed together
NOTICES: Final = JobTable(cast(Table, SisNotice.__table__), None, None, AT_ONCE, timedelta(minutes=3))
SEALED_AS: Final = "sync_recipients.chat"
MAX_EMAILS: Final = 20
OVERDUE: Final = "overdue"
SENTENCES: Final[Mapping[str, str]] = {
    RunState.HELD: "is held: the data is as it was until somebody answers.",
    RunState.FAILED: "has failed: the data is as it was.",
    RunState.FAILED_TO_APPLY: "could not apply an approved plan: the data is as it was until somebody answers.",
    OVERDUE: "has not run for 26 hours.",
}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recipients:
    """Where the notices of a district are sent: to e-mail addresses and to a chat.

    No e-mails are sent if `emails` is empty, and nothing is sent to a chat if `chat_url` is None.
    """

    emails: tuple[str, ...] = ()
    chat_url: str | None = None


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """The mail server of notices, the default recipients, and the networks in which chat servers may be.

    The default recipients get the notices of districts that have named no recipients.
    """

    server: MailServer | None = None
    default: Recipients = Recipients()
    allowed: Allowed = PUBLIC_ONLY


@dataclass(frozen=True, slots=True)
class _Notice:
    """A claimed notice with its text and recipients."""

    job: ClaimedJob
    channel: str
    subject: str
    text: str
    recipients: Recipients


@needs(Can.SYNC_ROSTER)
async def save_recipients(
    work: Work, emails: tuple[str, ...] | None, chat_url: str | None, allowed: Allowed
) -> Recipients:
    """Sets the recipients of the district's notices. None keeps what is set, and an empty value deletes it.

    Raises `Invalid` with every violation.
    """
    current = await load_recipients(work)
    violations = []
    for place, address in enumerate(emails or ()):
        if not is_mail_address(address):
            detail = "An e-mail address is name@host, without umlauts or other letters beyond ASCII."
            violations.append(Violation(f"/emails/{place}", "email.malformed", detail))
    if emails is not None and len(emails) > MAX_EMAILS:
        violations.append(Violation("/emails", "emails.too_many", f"At most {MAX_EMAILS} addresses."))
    if chat_url:
        try:
            chat_url = validate_url(chat_url, allowed, "/chat_url")
        except Invalid as error:
            violations += error.violations
    if violations:
        raise Invalid(violations)
    new = Recipients(
        current.emails if emails is None else emails, current.chat_url if chat_url is None else chat_url or None
    )
    sealed = new.chat_url and work.keyring.seal(new.chat_url.encode(), SEALED_AS, work.district_id, work.district_id)
    values = {"emails": list(new.emails), "chat_url_sealed": sealed, "changed_at": now()}
    await work.db.execute(
        upsert(SisRecipients)
        .values(district_id=work.district_id, **values)
        .on_conflict_do_update(index_elements=["district_id"], set_=values)
    )
    return new


@needs(Can.SYNC_ROSTER)
async def load_recipients(work: Work) -> Recipients:
    """Returns the recipients that the district has set itself, without the operator's default recipients."""
    row = await work.db.scalar(select(SisRecipients).where(SisRecipients.district_id == work.district_id))
    if row is None:
        return Recipients()
    sealed = row.chat_url_sealed
    opened = work.keyring.open(sealed, SEALED_AS, work.district_id, work.district_id).decode() if sealed else None
    return Recipients(tuple(row.emails), opened)


def shown(recipients: Recipients) -> dict[str, Any]:
    """Returns recipients as plain values to show.

    Only the scheme and the host of a chat's address are shown, because its path is a secret.
    """
    parts = hide_secrets(recipients.chat_url).split("/", 3) if recipients.chat_url else None
    return {"emails": list(recipients.emails), "chat_url": parts and "/".join([*parts[:3], "..."])}


async def send_notices(settings: AlertSettings, engine: AsyncEngine, keyring: Keyring, district_id: UUID) -> int:
    """Sends the notices of a district that are due. Returns the number of notices that it tried to send."""
    principal = system_principal(district_id, "sync")
    async with unit(engine, principal, keyring, "sync notices") as work:
        notices = await _claim_notices(work, settings)
    outcomes = []
    for notice in notices:
        with job_context("sync notice", district_id, notice.job.id):
            outcomes.append(await _attempt(notice, settings))
    async with unit(engine, principal, keyring, "sync notices") as work:
        await _save(work, outcomes)
    return len(notices)


@needs(Can.SYNC_ROSTER)
async def _save(work: Work, outcomes: list[JobOutcome]) -> None:
    if outcomes:
        await save_outcomes(work.db, NOTICES, work.district_id, outcomes)


@needs(Can.SYNC_ROSTER)
async def _claim_notices(work: Work, settings: AlertSettings) -> list[_Notice]:
    jobs = await claim(work.db, NOTICES, work.district_id, AT_ONCE)
    if not jobs:
        return []
    own = await load_recipients(work)
    recipients = Recipients(own.emails or settings.default.emails, own.chat_url or settings.default.chat_url)
    slug = await work.db.scalar(select(District.slug).where(District.district_id == work.district_id))
    names = {
        row.id: row.name
        for row in await work.db.execute(select(Source.id, Source.name).where(Source.district_id == work.district_id))
    }
    runs = {
        row.id: list(row.held_because) if row.held_because else [row.sentence]
        for row in await work.db.execute(
            select(SisRun.id, SisRun.held_because, SisRun.sentence).where(
                SisRun.district_id == work.district_id, SisRun.id.in_([job.row["run_id"] for job in jobs])
            )
        )
    }
    return [_render(job, str(slug), names, runs, recipients) for job in jobs]


def _render(
    job: ClaimedJob,
    slug: str,
    names: Mapping[UUID, str],
    runs: Mapping[UUID, list[str]],
    recipients: Recipients,
) -> _Notice:
    """Returns the notice with its text.

    If the run is held, the text has the reasons, which contain no data except numbers. Otherwise it has the run's own
    sentence, which contains no value of a row.
    """
    source, run_id, kind = names[job.row["source_id"]], job.row["run_id"], job.row["kind"]
    subject = f"Aimline, {slug}: the sync of {source} {SENTENCES[kind].partition(':')[0].rstrip('.')}"
    lines = [f"District {slug}: the sync of {source} {SENTENCES[kind]}"]
    if run_id is not None:
        lines += runs.get(run_id, [])
    if run_id is None:
        lines.append(f"Look at it: aimline sync status --district {slug}")
    else:
        lines.append(f"Read its report: aimline sync report {ids.format_id('run', run_id)} --district {slug}")
    return _Notice(job, job.row["channel"], subject, "\n".join(lines), recipients)


async def _attempt(notice: _Notice, settings: AlertSettings) -> JobOutcome:
    """Tries to send one notice, and returns the outcome.

    The outcome is `skipped` if there is no recipient or no mail server.
    """
    try:
        if notice.channel == "email":
            if settings.server is None or not notice.recipients.emails:
                return JobOutcome(notice.job, NoticeState.SKIPPED)
            await send_mail(settings.server, notice.recipients.emails, notice.subject, notice.text + "\n")
        else:
            if notice.recipients.chat_url is None:
                return JobOutcome(notice.job, NoticeState.SKIPPED)
            await post_to_chat(notice.recipients.chat_url, settings.allowed, notice.text)
    except NotSent as error:
        wait, fault = RETRIES.wait_after(notice.job.attempts), FaultSummary(str(error), notice.channel)
        log.error("notices.failed" if wait is None else "notices.retried", channel=notice.channel, kind=str(error))
        return JobOutcome(notice.job, NoticeState.FAILED if wait is None else NoticeState.PENDING, wait, fault)
    log.info("notices.sent", channel=notice.channel)
    return JobOutcome(notice.job, NoticeState.SENT)
