"""Builds the events about groups. They name the group and its school, and no student."""

from app.events.catalogue import EventType, NewEvent
from app.group.models import Group


def group_event(type_: EventType, group: Group) -> NewEvent:
    """Returns an event about a group."""
    return NewEvent(
        type=type_,
        subject_id=group.id,
        subject_version=group.version,
        ids={"school": group.school_id},
        school_ids=(group.school_id,),
        secured_area=group.secured_area,
    )
