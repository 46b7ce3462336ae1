"""Takes the values of a resource's fields and references from a stored row, for the response to a command."""

from typing import Any

from sqlalchemy.orm import InstrumentedAttribute

from app.core import ids
from app.core.errors import Misuse
from app.resources.declare import declaration
from app.resources.members import FieldMember, Member, OneMember, ReferenceMember, ValueMember
from app.resources.select import ResourceType
from app.resources.values import is_json


def is_stored(member: Member, resource: ResourceType) -> bool:
    """Returns whether the value of a member (such as a field or a reference) is in a column of the stored row."""
    is_plain = isinstance(member, FieldMember | ReferenceMember | OneMember)
    is_object = isinstance(member, ValueMember) and is_json(member.shape)
    expression = getattr(member, "expression", None)
    if not (is_plain or is_object) or not isinstance(expression, InstrumentedAttribute):
        return False
    return expression.class_ is declaration(resource).model and not getattr(member, "kinds", ())


def stored_value(member: Member, row: Any) -> Any:
    """Returns the value of a member (such as a field or a reference) in a stored row."""
    expression = getattr(member, "expression", None)
    if not isinstance(expression, InstrumentedAttribute):
        raise Misuse(f"{member.name} is not in the stored row.")
    value = getattr(row, expression.key)
    kind = None
    if isinstance(member, ReferenceMember):
        kind = getattr(row, member.kind_expression.key) if member.kinds else member.kind
    elif isinstance(member, OneMember):
        kind = declaration(member.target).kind
    if kind is None or value is None:
        return value
    return [ids.format_id(kind, item) for item in value] if isinstance(value, list) else ids.format_id(kind, value)
