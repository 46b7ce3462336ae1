"""Creates a gradebook as a sync would have imported it.

Each text contains the district's canary, a word that no other district has.
"""

from datetime import date
from typing import Any
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.core.db import Base
from app.core.ids import new_id
from app.gradebook.models import AssessmentLineItem, AssessmentResult, Category, LineItem, Result, ScoreScale
from app.roster.models import PersonRole
from tests.town import Town

ON = date(2026, 9, 9)


async def grade(town: Town) -> dict[str, UUID]:
    """Adds a category, a scale, a line item of each class, results of amy, ben and cy, and an assessment.

    Returns their ids by name.
    """
    made: dict[str, UUID] = {}

    def row(name: str, model: type[Any], **values: Any) -> Base:
        made[name] = new_id()
        of: Base = model(district_id=town.district_id, id=made[name], **values)
        return of

    def scored(name: str, model: type[Any], student: str, school: int, **values: Any) -> Base:
        about = {"student_id": town.students[student], "school_ids": [town.schools[school]]}
        own = {"source_id": town.source_id, "sourced_id": name, "score_status": f"graded {town.canary}"}
        text = {"comment": f"Comment {town.canary}", "text_score": f"Text {town.canary}"}
        objective = [{"source": "case", "id": f"K.1 {town.canary}", "score": 3.0}]
        return row(name, model, **about, **own, **text, **values, score_date=ON, learning_objectives=objective)

    @needs(Can.SYNC_ROSTER)
    async def lay(work: Work, *rows: Base) -> None:
        for one in rows:
            work.db.add(one)
            await work.db.flush()

    async with town.house() as work:
        title, highest = f"Spelling {town.canary}", {"result_value_max": 20.0}
        await lay(
            work,
            row("category", Category, title=f"Tests {town.canary}", weight=40.0),
            row("scale", ScoreScale, title=title, class_id=town.classes[0], scale_values=[f"{{A {town.canary}:90}}"]),
        )
        for number, class_id in enumerate(town.classes, start=1):
            of = {"class_id": class_id, "category_id": made["category"], "score_scale_id": made["scale"]}
            await lay(work, row(f"line item {number}", LineItem, title=title, description=title, **of, **highest))
        for name, student, item, score in (
            ("result of amy", "amy", 1, 17.0),
            ("second result of amy", "amy", 1, 23.5),
            ("result of ben", "ben", 1, 9.0),
            ("result of cy", "cy", 2, None),
        ):
            at = {"line_item_id": made[f"line item {item}"], "score": score}
            await lay(work, scored(name, Result, student, item - 1, **at))
        await lay(work, row("assessment", AssessmentLineItem, title=title, **highest))
        for name, school in (("amy", 0), ("cy", 1)):
            at = {"assessment_line_item_id": made["assessment"], "score": 12.0, "score_percentile": 40.0}
            await lay(work, scored(f"assessment of {name}", AssessmentResult, name, school, **at))
        role = {"role": "student", "is_student": True, "source_id": town.source_id, "sourced_id": "role of amy"}
        where = {"person_id": town.students["amy"], "org_id": town.schools[0]}
        await lay(work, row("role", PersonRole, **role, **where))
    return made
