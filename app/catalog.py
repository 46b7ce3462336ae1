"""Lists every resource of the API with its links to other resources, its lists and its commands.

It serves newcomers as a table of contents.
"""

from app.action import resource as action
from app.agenda import resource as agenda
from app.calendar import resource as calendar
from app.concern import resource as concern
from app.decision import resource as decision
from app.evidence import resource as evidence
from app.evidence.attendance import resource as attendance
from app.evidence.screening import resource as screening
from app.gradebook import resource as gradebook
from app.group import resource as group
from app.hypothesis import resource as hypothesis
from app.incident import resource as incident
from app.intervention import resource as intervention
from app.meeting import resource as meeting
from app.note import resource as note
from app.playbook import resource as playbook
from app.playbook.hypotheses import resource as hypothesis_kinds
from app.playbook.structure import resource as structure
from app.resources.catalog import Catalog
from app.response import commands as judging
from app.response import resource as response
from app.response.administration import commands as administration
from app.roster import resource as roster
from app.roster import schools
from app.signal import core_stalls
from app.signal import resource as signal
from app.signal import rule_resource as signal_rules
from app.sis.runs import commands as syncing
from app.sis.runs import resource as sis
from app.sis.runs.plans import resource as plans
from app.support import delivery
from app.support import resource as support
from app.team import resource as team
from app.webhooks import commands as sending
from app.webhooks import resource as webhooks

CATALOG = Catalog(
    (
        *(schools, roster, team, action, gradebook, playbook, structure, hypothesis_kinds, intervention),
        *(evidence, attendance, incident, screening, concern, delivery, support, response, judging),
        *(
            administration,
            decision,
            group,
            note,
            hypothesis,
            signal_rules,
            signal,
            core_stalls,
            meeting,
            calendar,
            agenda,
        ),
        *(plans, sis, syncing, webhooks, sending),
    )
)
