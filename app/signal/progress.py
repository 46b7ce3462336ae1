"""Stores up to which change of the data signals were computed, and finds the students whose data changed later."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Date, DateTime, Integer, Text, Uuid, bindparam, select, text

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.clock import now
from app.roster.lookup import IdList
from app.signal.models import SignalProgress

OVERLAP: Final = timedelta(minutes=10)
"""The overlap of two computations: the second begins to read changes this long before the start of the first.

A transaction that changed data before the start of the first computation may have been committed after that start.
"""
MANY: Final = 20_000
"""The number of changed students above which the signals of all students are computed again."""
ZERO: Final = datetime(2020, 1, 1, tzinfo=UTC)
"""The instant from which times of changes are counted in seconds, so that they can be summed."""
READ_CHANGES: Final = """
WITH change AS (
    SELECT s.student_id, s.updated_at AS at FROM score AS s
    WHERE s.district_id = :district AND s.updated_at >= :since
    UNION ALL
    SELECT u.student_id, u.updated_at FROM support AS u WHERE u.district_id = :district AND u.updated_at >= :since
    UNION ALL
    SELECT u.student_id, u.last_verdict_at FROM support AS u
    WHERE u.district_id = :district AND u.last_verdict_at >= :since
    UNION ALL
    SELECT t.student_id, t.updated_at FROM attendance_record AS t
    WHERE t.district_id = :district AND t.updated_at >= :since
    UNION ALL
    SELECT i.student_id, i.updated_at FROM incident AS i
    WHERE i.district_id = :district AND i.updated_at >= :since
    UNION ALL
    SELECT g.student_id, g.updated_at FROM signal AS g
    WHERE g.district_id = :district AND g.updated_at >= :since AND g.kind = 'incidents' AND g.settled_at IS NOT NULL
    UNION ALL
    SELECT p.id, p.updated_at FROM person AS p
    WHERE p.district_id = :district AND p.is_student AND p.updated_at >= :since
    UNION ALL
    SELECT d.student_id, d.marked_at FROM signal_due AS d WHERE d.district_id = :district AND d.marked_at >= :since),
changed AS MATERIALIZED (
    SELECT c.student_id, sum(extract(epoch FROM c.at - :zero)) AS mark,
           sum(extract(epoch FROM c.at - :zero)) FILTER (WHERE c.at >= :until) AS kept
    FROM change AS c GROUP BY c.student_id),
saved AS (
    INSERT INTO signal_progress (district_id, full_on, until, digest, read_students, read_marks)
    SELECT CAST(:district AS uuid), CAST(:full_on AS date), CAST(:until AS timestamptz), CAST(:digest AS text),
           coalesce(array_agg(c.student_id), '{}'), coalesce(array_agg(c.kept), '{}')
    FROM changed AS c WHERE c.kept IS NOT NULL
    ON CONFLICT (district_id) DO UPDATE
    SET full_on = excluded.full_on, until = excluded.until, digest = excluded.digest,
        read_students = excluded.read_students, read_marks = excluded.read_marks)
SELECT b.student_id FROM (
    SELECT c.student_id, c.mark, NULL AS before FROM changed AS c
    UNION ALL
    SELECT r.student_id, NULL, r.mark
    FROM signal_progress AS g CROSS JOIN unnest(g.read_students, g.read_marks) AS r (student_id, mark)
    WHERE g.district_id = :district) AS b
GROUP BY b.student_id
HAVING max(b.mark) IS NOT NULL AND max(b.mark) IS DISTINCT FROM max(b.before)
LIMIT :most"""
"""Reads the students whose data have changed since the instant `since`, and saves the progress of the computation.

`since` lies before the start of the last computation, because a transaction that changed data before that start may
have been committed only after that start. Therefore, the last computation may already have included some changes after
`since`. It has saved, for each student, the sum of the times of these changes. If a student's sum is the same now, the
student is not returned again.

A signal about incidents that a team has answered is a change, because other signals about the same incidents lapse.
"""
MARK: Final = """
INSERT INTO signal_due (district_id, student_id, school_ids, marked_at)
SELECT :district, p.id, p.school_ids, CAST(:now AS timestamptz) FROM person AS p
WHERE p.district_id = :district AND p.id = ANY (:students)
ON CONFLICT (district_id, student_id) DO UPDATE SET marked_at = excluded.marked_at"""
"""Marks students, so that the next computation includes them."""
_READ_CHANGES: Final = text(READ_CHANGES).bindparams(
    bindparam("district", type_=Uuid),
    *(bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until", "zero")),
    bindparam("full_on", type_=Date),
    bindparam("digest", type_=Text),
    bindparam("most", type_=Integer),
)
_MARK: Final = text(MARK).bindparams(
    bindparam("district", type_=Uuid),
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("students", type_=IdList),
)


async def read_changes(work: Work, today: date, digest: str) -> Sequence[UUID] | None:
    """Returns the students whose signals must be computed now, or None for all students. Also saves the progress.

    All students are included in the first computation of a day, when the data of more than `MANY` students have
    changed, and when `digest` has changed. The digest covers everything that affects all students, such as the rules.
    """
    until = now() - OVERLAP
    progress = await work.db.scalar(select(SignalProgress).where(SignalProgress.district_id == work.district_id))
    since, most = until, 0
    if progress is not None and progress.until is not None and (progress.full_on, progress.digest) == (today, digest):
        since, most = progress.until, MANY + 1
    values = {"district": work.district_id, "since": since, "until": until, "zero": ZERO}
    values |= {"full_on": today, "digest": digest, "most": most}
    students = list(await work.db.scalars(_READ_CHANGES, values))
    return students if most and len(students) < most else None


@needs(Can.SYNC_ROSTER)
async def mark_due(work: Work, student_ids: Collection[UUID]) -> None:
    """Marks students whose results in the gradebook have changed.

    The next computation of signals includes these students.
    """
    if student_ids:
        values = {"district": work.district_id, "now": now(), "students": sorted(student_ids)}
        await work.db.execute(_MARK, values)
