"""Looks up the norms and benchmarks in force. Checks no permission, because the calling commands have done so."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.playbook.benchmarks.rules import RealisticGrowth, realistic_growth
from app.playbook.models import Benchmark, Measure


async def benchmarks_in_force(work: Work, measure_id: UUID | None = None) -> list[Benchmark]:
    """Returns the norms and benchmarks in force, of one measure or of all."""
    query = select(Benchmark).where(Benchmark.district_id == work.district_id, Benchmark.until_version.is_(None))
    if measure_id is not None:
        query = query.where(Benchmark.measure_id == measure_id)
    return list(await work.db.scalars(query.order_by(Benchmark.id)))


async def growth_norm(work: Work, measure: Measure, grades: Sequence[str]) -> RealisticGrowth | None:
    """Returns the growth that the norms in force call realistic for a measure and a student of these grades, or None.

    Only growth measures have norms of growth.
    """
    if measure.kind != "growth" or not grades:
        return None
    return realistic_growth(await benchmarks_in_force(work, measure.id), grades)
