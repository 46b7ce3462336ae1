"""Owns what a support's picture says in words: its heading and its description. Names nobody and escapes nothing."""

from app.response.chart import Picture
from app.rest.plot import day, plain

SAID = {
    "insufficient_data": ("quiet", "Too few scores to say", "Too few scores"),
    "responding": ("good", "Responding", "Responding"),
    "below_pace": ("watch", "Growing, below the pace that the goal needs", "Growing, below pace"),
    "goal_met": ("good", "Goal met", "Goal met"),
    "uncertain": ("watch", "Not clear yet", "Not clear yet"),
    "not_responding": ("alert", "Not responding", "Not responding"),
    "under_delivered": ("watch", "The support was not delivered as planned", "Not delivered as planned"),
}
"""How each state of a verdict looks, and what the heading says, at length and where there is little room."""

TOO_FEW = ("too_few_scores", "too_few_weeks", "too_early", "no_instructional_week")
"""Reasons that more scores will mend; a measure without a standard error is told apart from them."""


def headline_of(picture: Picture) -> tuple[str, str, str]:
    """How the verdict looks, and what the heading says: at length, and where there is little room."""
    verdict = picture.verdict
    if verdict is None:
        return "quiet", "Not judged yet", "Not judged yet"
    other = {reason["code"] for reason in verdict.because}.difference(TOO_FEW)
    if verdict.state == "insufficient_data" and other:
        return "quiet", "Cannot be judged", "Cannot be judged"
    kind, words, short = SAID.get(verdict.state, ("quiet", verdict.state, verdict.state))
    if verdict.kind == "never":
        return kind, "Not responding from the start", "Not responding"
    if verdict.kind == "stopped":
        since = f" about {day(picture.change.monday)}" if picture.change else ""
        return kind, f"Stopped responding{since}", f"Stopped{since}"
    return kind, words, short


def description_of(picture: Picture) -> str:
    """The picture in words, for who hears it."""
    scores = [point for point in picture.points if point.kind == "score"]
    now = picture.stretches[-1]
    said = [picture.verdict.sentence] if picture.verdict else []
    said.append(
        f"Phase {now.number} of {len(picture.stretches)}: from a baseline of {plain(now.baseline)} "
        f"to a goal of {plain(now.goal)} by {day(now.goal_on)} {now.goal_on.year}."
    )
    if scores:
        told = ", ".join(plain(point.value) for point in scores[-10:])
        last = "The last ten" if len(scores) > 10 else "The"
        said.append(f"{len(scores)} scores since the support began. {last} scores, oldest first: {told}.")
    else:
        said.append("No score since the support began.")
    if picture.missed:
        said.append(f"Weeks without a score: {len(picture.missed)}.")
    return " ".join(said)
