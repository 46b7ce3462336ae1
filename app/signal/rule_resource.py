"""Declares what both APIs show of signal rules, with the commands on them."""

from datetime import datetime

from app.access.permission import Can
from app.playbook.resource import AreaResource, MeasureResource
from app.resources.command import Command
from app.resources.declare import Resource
from app.resources.fields import choice, field, one, stored
from app.resources.listing import Flag, Listing
from app.resources.members import One
from app.resources.values import Value, WholeNumbers, item
from app.roster.resource import StaffResource
from app.signal import rulebook
from app.signal.models import SignalRule
from app.signal.rules import SignalKind


class SignalRuleResource(
    Resource[SignalRule], kind="signal_rule", requires=Can.READ_PLAYBOOK, name="SignalRule", get="signal_rule"
):
    """A version of a rule that suggests signals. To change a rule, its next version is published."""

    code: str = field(SignalRule.code, "The code, by which the rule is known.", "under-cut")
    number: int = field(SignalRule.number, "The number of the version of this rule.", 1)
    kind: SignalKind = choice(SignalRule.kind, "What the rule looks at.")
    parameters: WholeNumbers = stored(SignalRule.parameters, "The parameters, by name.")
    area: One[AreaResource] | None = one(
        SignalRule.area_id, AreaResource, "The area of its signals; null where it follows from the data."
    )
    measure: One[MeasureResource] | None = one(
        SignalRule.measure_id,
        MeasureResource,
        "The only measure that it looks at, of a rule about screening or the core.",
    )
    incident_kinds: list[str] = field(
        SignalRule.incident_kinds,
        "The codes of the only kinds of incidents that it counts, of a rule about incidents; empty if it counts all.",
        ["disruption"],
    )
    published_by: One[StaffResource] | None = one(
        SignalRule.published_by, StaffResource, "The person who published it, if a person did."
    )
    published_at: datetime = field(SignalRule.published_at, "When it was published.")
    retired_at: datetime | None = field(
        SignalRule.retired_at, "When it was retired, or followed by the next version; null while it is in force."
    )


class SignalRulePreviewValue(Value):
    """For how many students, or grades, a rule would suggest something now.

    Counts only those that the caller may see.
    """

    students: int = item("The number of students.", 12)
    grades: int = item("The number of grades, of a school or of the district, of a rule about the core.", 0)


LISTINGS = (
    Listing(
        "signal_rules",
        SignalRuleResource,
        "Signal rules in the order in which they were published, earlier versions included.",
        flags=(Flag("in_force", "Only those in force.", on=SignalRule.retired_at.is_(None)),),
        changed_at=SignalRule.updated_at,
    ),
)

COMMANDS = (
    Command(
        "publish_signal_rule",
        rulebook.publish_signal_rule,
        SignalRuleResource,
        "Publishes a signal rule, or the next version of one, which retires the version before. Its signals "
        "are computed shortly.",
        "POST /signal-rules",
        status=201,
    ),
    Command(
        "preview_signal_rule",
        rulebook.preview_signal_rule,
        None,
        "Counts the students, or the grades, that a signal rule would suggest now. Returns no names and saves nothing.",
        "POST /signal-rules/preview",
        value=SignalRulePreviewValue,
    ),
    Command(
        "retire_signal_rule",
        rulebook.retire_signal_rule,
        SignalRuleResource,
        "Retires a signal rule. Its signals that are still suggested lapse, unless another rule sees the same.",
        "POST /signal-rules/{signal_rule}/retire",
    ),
)
