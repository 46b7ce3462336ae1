"""Handles scores that are grades in words, such as `B+` or `85%`: they are stored as the score as text."""

# ruff: noqa: S608  # only our own names are formatted into statements; values are bound

from dataclasses import replace

from app.core.plural import pluralize
from app.sis.engine.intake.meanings import is_grade_sql
from app.sis.engine.stage import Stage
from app.sis.kinds import Kind
from app.sis.port import Delivery


def with_text_scores(delivery: Delivery) -> Delivery:
    """Returns a delivery whose header has the column textScore if it has the column score.

    A source without this column, such as one of OneRoster 1.1, may send grades in words, such as `B+`, as scores.
    """
    if "score" not in delivery.header or "textScore" in delivery.header:
        return delivery
    header, composed = (*delivery.header, "textScore"), (*delivery.composed, "textScore")
    return replace(delivery, header=header, composed=composed)


async def note_grades(stage: Stage, kind: Kind, delivery: Delivery) -> None:
    """Notes in the report how many rows have a grade in words as the score. They are staged, because it is no number.

    The search in the raw rows takes long, so it is left out if no staged row can be one of them.
    """
    staged = f"(SELECT * FROM {stage.delivered(kind.name)} AS w WHERE w.score IS NULL AND w.text_score IS NOT NULL)"
    if not await stage.rows(f"SELECT FROM {staged} AS s WHERE s.fault IS NULL LIMIT 1"):
        return
    score = f"r.c{delivery.header.index('score') + 1}"
    rows = await stage.count(
        f"""SELECT count(*) FROM {staged} AS s JOIN {stage.raw(kind.name)} AS r ON r.row_number = s.row_number
            WHERE s.fault IS NULL AND NOT s.gone AND {is_grade_sql(score)}"""
    )
    if rows:
        have = pluralize(rows, "row has a score that is a grade in words", "rows have scores that are grades in words")
        stage.notes.append(f"{delivery.file}: {have} and no number, such as B+ or 85%: read as the score as text.")
