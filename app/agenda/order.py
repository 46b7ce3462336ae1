"""Publishes the order of agendas, which is part of the playbook."""

from collections.abc import Sequence
from typing import Annotated

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.rules import DEFAULT_ORDER, AgendaItemKind, violations_of_order
from app.core.errors import Invalid
from app.core.inputs import About, AtMost, Choices
from app.playbook.models import PlaybookVersion
from app.playbook.service import publish_agenda_order


@needs(Can.PUBLISH_PLAYBOOK)
async def order_agendas(
    work: Work,
    kinds: Annotated[
        Sequence[AgendaItemKind],
        AtMost(len(DEFAULT_ORDER), least=1),
        Choices(AgendaItemKind),
        About("The kinds of items in their order. Others come after these.", ("unserved", "new_concern")),
    ],
) -> PlaybookVersion:
    """Publishes the next version of the playbook, with this order of agendas. Open meetings keep theirs."""
    if violations := violations_of_order(kinds):
        raise Invalid(violations)
    return await publish_agenda_order(work, [str(kind) for kind in kinds])
