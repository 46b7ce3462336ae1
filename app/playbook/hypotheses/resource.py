"""Declares the public shape of the kinds of hypotheses."""

from operator import attrgetter

from app.access.permission import Can
from app.events.catalogue import PLAYBOOK_PUBLISHED
from app.playbook.hypotheses import service
from app.playbook.models import HypothesisKind
from app.resources.command import Command
from app.resources.declare import Resource
from app.resources.fields import field
from app.resources.listing import Flag, Listing


class HypothesisKindResource(
    Resource[HypothesisKind], kind="hypothesis_kind", requires=Can.READ_PLAYBOOK, name="HypothesisKind"
):
    """A kind of cause that teams suspect, such as a missing skill.

    To change a kind, a new row is published in the next version of the playbook.
    """

    code: str = field(HypothesisKind.code, "The code by which hypotheses name it.", "skill")
    name: str = field(HypothesisKind.name, "The name.", "A missing skill")
    from_version: int = field(
        HypothesisKind.from_version, "The number of the first version of the playbook that has it.", 1
    )
    until_version: int | None = field(
        HypothesisKind.until_version, "The number of the first version that does not have it any more.", 4
    )


LISTINGS = (
    Listing(
        "hypothesis_kinds",
        HypothesisKindResource,
        "The kinds of hypotheses in the order in which they were added, those of earlier versions included.",
        flags=(Flag("in_force", "Only those of the version in force.", on=HypothesisKind.until_version.is_(None)),),
        changed_at=HypothesisKind.updated_at,
    ),
)

COMMANDS = (
    Command(
        "publish_hypothesis_kind",
        service.publish_hypothesis_kind,
        HypothesisKindResource,
        "Publishes a kind of hypothesis in the next version of the playbook. It replaces one of the same code.",
        "POST /hypothesis-kinds",
        emits=(PLAYBOOK_PUBLISHED,),
        status=201,
        row=attrgetter("row"),
        created=attrgetter("is_new"),
        more="200 if the kind in force has this name already.",
    ),
    Command(
        "retire_hypothesis_kind",
        service.retire_hypothesis_kind,
        None,
        "Publishes the next version of the playbook without this kind. Hypotheses of this kind keep it.",
        "DELETE /hypothesis-kinds/{hypothesis_kind}",
        emits=(PLAYBOOK_PUBLISHED,),
        status=204,
    ),
)
