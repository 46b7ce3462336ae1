"""Records events about core stalls, that is, grades whose share of students at the benchmark fell.

An event names the window and the school, but no person.
"""

from typing import Any

from app.access.work import Work
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import record


def emit_stall_event(work: Work, type_: EventType, stall: Any) -> None:
    """Records an event about a core stall (a grade whose share at the benchmark fell).

    `stall` is a row of the table, or a row that an SQL statement returned.
    """
    record(
        work,
        NewEvent(
            type=type_,
            subject_id=stall.id,
            subject_version=stall.version,
            ids={"screening_window": stall.window_id},
            school_ids=() if stall.school_id is None else (stall.school_id,),
            secured_area=stall.secured_area,
        ),
    )
