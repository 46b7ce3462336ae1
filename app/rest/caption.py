"""Writes the heading and the description of a support's chart; neither contains a name."""

from app.response.chart import Picture
from app.response.rules.wording import CANNOT, MAJORITY, TOO_FEW
from app.rest.plot import format_day, format_number

CAPTIONS = {
    "insufficient_data": ("quiet", "Too few scores to say", "Too few scores"),
    "responding": ("good", "Responding", "Responding"),
    "goal_met": ("good", "Goal met", "Goal met"),
    "uncertain": ("watch", "Not clear yet", "Not clear yet"),
    "off_track": ("alert", "Off track: at the present rate the goal will be missed", "Off track"),
    "not_responding": ("alert", "Not responding", "Not responding"),
    "under_delivered": ("watch", "The support was not delivered as planned", "Not delivered as planned"),
}
"""The colour class, the full heading and the short heading for each state of a verdict, except `below_pace`, which has
the label of the verdict as its heading.
"""


def heading_for(picture: Picture) -> tuple[str, str, str]:
    """Returns the colour class, the full heading and the short heading of a chart."""
    verdict = picture.verdict
    if verdict is None:
        return "quiet", "Not judged yet", "Not judged yet"
    lasting_reasons = {reason["code"] for reason in verdict.because}.difference(TOO_FEW)
    if verdict.state == "insufficient_data" and lasting_reasons:
        return "quiet", CANNOT, CANNOT
    if verdict.state == "below_pace":
        return "watch", verdict.label, verdict.label
    kind, words, short = CAPTIONS.get(verdict.state, ("quiet", verdict.state, verdict.state))
    keeps_pace = verdict.on_pace is None or verdict.on_pace >= MAJORITY
    if verdict.state == "responding" and not keeps_pace:
        return "quiet", verdict.label, verdict.label
    if verdict.state == "off_track" and verdict.on_pace is not None and keeps_pace:
        return kind, verdict.label, verdict.label
    if verdict.kind == "never":
        return kind, "Not responding so far", "Not responding"
    if verdict.kind == "stopped":
        since = f" about {format_day(picture.change.monday)}" if picture.change else ""
        return kind, f"Stopped responding{since}", f"Stopped{since}"
    return kind, words, short


def describe(picture: Picture) -> str:
    """Returns a description of the chart in words, for a screen reader."""
    scores = [point for point in picture.points if point.kind == "score"]
    current = picture.stretches[-1]
    sentences = [picture.verdict.sentence] if picture.verdict else []
    sentences.append(
        f"Phase {current.number} of {len(picture.stretches)}: from a baseline of {format_number(current.baseline)} "
        f"to a goal of {format_number(current.goal)} by {format_day(current.goal_on)} {current.goal_on.year}."
    )
    if scores:
        recent = ", ".join(format_number(point.value) for point in scores[-10:])
        intro = "The last ten" if len(scores) > 10 else "The"
        sentences.append(f"{len(scores)} scores since the support began. {intro} scores, oldest first: {recent}.")
    else:
        sentences.append("No score since the support began.")
    if picture.missed:
        sentences.append(f"Weeks without a score: {len(picture.missed)}.")
    return " ".join(sentences)
