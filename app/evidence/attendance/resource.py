"""Declares the public shape of attendance records, with the commands on them."""

from datetime import date, datetime
from operator import attrgetter

from app.access.permission import Can
from app.evidence.attendance import service
from app.evidence.attendance.models import AttendanceRecord
from app.evidence.attendance.rules import MAX_BATCH, AttendanceStatus
from app.resources.command import Body, Command
from app.resources.declare import Link, Resource
from app.resources.fields import choice, field, one
from app.resources.listing import Filter, Listing
from app.resources.members import One
from app.roster.filters import by_school, by_student
from app.roster.models import Person
from app.roster.resource import StaffResource, StudentResource
from app.roster.schools import ClassResource


class AttendanceRecordResource(
    Resource[AttendanceRecord],
    kind="attendance_record",
    requires=Can.READ_ATTENDANCE,
    about=AttendanceRecord.student_id,
    visible=AttendanceRecord.removed_at.is_(None),
    name="AttendanceRecord",
    get="attendance_record",
):
    """The attendance of a student on a day, or in one period or class of that day."""

    student: One[StudentResource] = one(AttendanceRecord.student_id, StudentResource, "The student.")
    day: date = field(AttendanceRecord.day, "The day.")
    period: str | None = field(AttendanceRecord.period, "The period of the day; null for the whole day.", "3")
    school_class: One[ClassResource] | None = one(
        AttendanceRecord.class_id, ClassResource, "The class; null for the whole day."
    )
    status: AttendanceStatus = choice(AttendanceRecord.status, "Whether the student was there.")
    excused: bool = field(AttendanceRecord.excused, "Whether an absence or a delay is excused.")
    minutes_missed: int | None = field(AttendanceRecord.minutes_missed, "The minutes that were missed, if known.", 25)
    recorded_by: One[StaffResource] | None = one(
        AttendanceRecord.recorded_by, StaffResource, "The person who recorded it, if a person did."
    )
    external_id: str | None = field(AttendanceRecord.external_id, "The sender's own id.", "att-2026-09-28-4711")
    recorded_at: datetime = field(AttendanceRecord.recorded_at, "When it was recorded.")
    version: int = field(AttendanceRecord.version, "The number of changes; the ETag.", 1)


LINKS = (
    Link(
        StudentResource,
        "attendance",
        AttendanceRecordResource,
        AttendanceRecord.student_id == Person.id,
        "The student's attendance, by day.",
        order=(AttendanceRecord.day, AttendanceRecord.id),
        paged=True,
    ),
)

LISTINGS = (
    Listing(
        "attendance_records",
        AttendanceRecordResource,
        "Attendance records in the order in which they were recorded.",
        filters=(
            by_student(AttendanceRecord.student_id),
            by_school(AttendanceRecord),
            Filter(
                "since",
                date,
                lambda day: AttendanceRecord.day >= day,
                "Only records of this day or later.",
                date(2026, 9, 1),
            ),
            Filter(
                "until",
                date,
                lambda day: AttendanceRecord.day <= day,
                "Only records of this day or before.",
                date(2026, 12, 18),
            ),
        ),
        schools=AttendanceRecord,
        changed_at=AttendanceRecord.updated_at,
    ),
)

COMMANDS = (
    Command(
        "record_attendance",
        service.record_attendance,
        AttendanceRecordResource,
        "Records attendance, each record independently: an invalid one is refused alone.",
        "POST /attendance-records/bulk",
        bulk=MAX_BATCH,
        items="attendance",
        row=attrgetter("row"),
        body=Body("NewAttendance", "Up to 500 attendance records."),
    ),
    Command(
        "remove_attendance",
        service.remove_attendance,
        AttendanceRecordResource,
        "Removes an attendance record that was recorded by mistake. The same record, sent again, restores it.",
        "POST /attendance-records/{attendance_record}/remove",
        body=Body("AttendanceRemoval", "The reason for the removal of an attendance record."),
        more="Sending the record again under the same key restores it.",
    ),
)
