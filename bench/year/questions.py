"""Asks the questions that a school asks each month, and compares the answers with the true ones.

Each question is one REST request and one GraphQL query. The true answer comes from the data of the simulation.
"""

from __future__ import annotations

from typing import Any, Final

from bench.year.attention import needs_of
from bench.year.incidents import ask_about_incidents
from bench.year.notes import ask_about_notes
from bench.year.roster import GRADE, SPECIALIST, TEACHERS, external
from bench.year.stalls import ask_about_stalls
from bench.year.state import Year
from bench.year.truth import expected_items, is_active, is_unserved
from bench.year.windows import LASTS, SEASONS, level_of, levels_before, served_in_reading

SMALLEST: Final = 10
"""A number of fewer students is not published."""
LARGEST_RATE: Final = 1.6
"""The most weekly growth in words that the norms call realistic in the grade."""


def ask_all(year: Year) -> None:
    """Asks every question of `questions` and compares the answers."""
    with year.caller.counting("questions"):
        for team in year.teams:
            _what_is_on_the_agenda(year, team)
        _who_is_under_the_cut(year)
        _why_do_we_think_it_happens(year)
        for name in (TEACHERS[0], TEACHERS[2], SPECIALIST):
            _who_needs_something(year, name)
        _is_the_goal_realistic(year)
        _who_has_no_support(year)
        _how_many_at_which_level(year)
        _what_went_well(year)
        written, read, queried = ask_about_notes(year)
        _same(year, "the notes on the items of the agendas", written, rest=read, graphql=queried)
        recorded, read, queried = ask_about_incidents(year)
        _same(year, "which incidents there were", recorded, rest=read, graphql=queried)
        stalls, of_rest, of_graphql = ask_about_stalls(year)
        _same(year, "which grade fell behind as a whole", stalls, rest=of_rest, graphql=of_graphql)


def _same(year: Year, question: str, expected: object, **answers: object) -> None:
    for face, answer in answers.items():
        words = f"{question}, {face}: {_difference(answer, expected)}"
        year.require(answer == expected, words)


def _difference(answer: object, expected: object) -> str:
    if isinstance(answer, set) and isinstance(expected, set):
        return f"too much {sorted(answer - expected)[:3]}, missing {sorted(expected - answer)[:3]}"
    return f"{answer} instead of {expected}"


def _what_is_on_the_agenda(year: Year, name: str) -> None:
    team = year.teams[name]
    read = year.caller.get(f"/v1/teams/{team.id}/agenda")
    document = f'{{ agenda(teamId: "{team.id}") {{ items {{ kind subjectId text reasons {{ code }} }} hidden }} }}'
    queried = year.caller.query(document)["agenda"]
    _same(
        year,
        f"what is on the agenda of {team.name}",
        {(item.kind, item.subject, *sorted(item.codes)) for item in expected_items(year, team)},
        rest={
            (each["kind"], each["text"] or each["subject"], *sorted(reason["code"] for reason in each["reasons"]))
            for each in read["items"]
        },
        graphql={
            (
                each["kind"].lower(),
                each["text"] or each["subjectId"],
                *sorted(reason["code"] for reason in each["reasons"]),
            )
            for each in queried["items"]
        },
    )


def _who_is_under_the_cut(year: Year) -> None:
    """Compares the reports of a screening window with the truth.

    The reports list the students who need a support and have none, those who were not screened, and those with a better
    or worse level than before.
    """
    opened = max((week for week in SEASONS if week < year.week and week in year.screened), default=None)
    if opened is None:
        return
    team, window = year.teams["grade"].id, year.ids[f"window {opened}"]
    season, scores = SEASONS[opened], year.screened[opened]
    present = {name for name in year.student_ids if name not in year.roster.gone | year.roster.moved}
    levels = {name: level_of(season, value) for name, value in scores.items() if name in present}
    earlier = levels_before(year, opened)
    is_closed = year.week >= opened + LASTS
    served = year.served_at_close.get(opened, served_in_reading(year))
    right = {
        "unserved": {name for name, level in levels.items() if level > 1 and name not in served},
        "not_screened": present - levels.keys() - (year.away_at_close if is_closed else set()),
        "improved": {name for name, level in levels.items() if level < earlier.get(name, 0)},
        "declined": {name for name, level in levels.items() if level > earlier.get(name, 9)},
    }
    for show, expected in right.items():
        path = f"/v1/screening-windows/{window}/report"
        read = year.caller.get(path, show=show, team=team, limit=200)
        document = f'{{ screeningReport(windowId: "{window}", show: {show.upper()}, teamId: "{team}", first: 200)'
        queried = year.caller.query(document + " { results { studentId } } }")["screeningReport"]
        _same(
            year,
            f"who is {show} in the {season.name} window",
            expected,
            rest={year.names[each["student"]] for each in read["results"]},
            graphql={year.names[each["studentId"]] for each in queried["results"]},
        )


def _why_do_we_think_it_happens(year: Year) -> None:
    read = year.caller.get("/v1/hypotheses", limit=200)["items"]
    document = "{ hypotheses(first: 200) { edges { node { id state support { id } } } } }"
    queried = [edge["node"] for edge in year.caller.query(document)["hypotheses"]["edges"]]
    _same(
        year,
        "why it happens, and what tested it",
        {(each.id, each.state, each.record.id) for each in year.hypotheses},
        rest={(each["id"], each["state"], each["support"]) for each in read},
        graphql={(each["id"], each["state"].lower(), each["support"]["id"]) for each in queried},
    )


def _who_needs_something(year: Year, name: str) -> None:
    if name in year.roster.gone:
        return
    read = year.caller.get("/v1/me/attention", act_for=external(name), limit=200)["items"]
    fields = "reason since actionItemId supportId concernId hypothesisId"
    document = f"{{ attention(first: 200) {{ items {{ {fields} }} }} }}"
    queried = year.caller.query(document, act_for=external(name))["attention"]["items"]
    _same(
        year,
        f"what needs something from {name}",
        needs_of(year, name),
        rest={
            (
                each["reason"],
                each["hypothesis"] or each["action_item"] or each["concern"] or each["support"],
                "" if each["hypothesis"] else each["since"],
            )
            for each in read
        },
        graphql={
            (
                each["reason"].lower(),
                each["hypothesisId"] or each["actionItemId"] or each["concernId"] or each["supportId"],
                "" if each["hypothesisId"] else each["since"],
            )
            for each in queried
        },
    )


def _is_the_goal_realistic(year: Year) -> None:
    """Reads, for each support in reading fluency, the highest growth that the norms call realistic.

    Also checks that each goal is marked as realistic, or as confirmed if it requires more growth.
    """
    read = year.caller.get("/v1/supports", area="ela.fluency", state="active", limit=200)["items"]
    document = (
        '{ supports(first: 200, area: "ela.fluency", state: ACTIVE) '
        "{ edges { node { id phases { requiredRate realisticRate rateCheck } } } } }"
    )
    queried = [edge["node"] for edge in year.caller.query(document)["supports"]["edges"]]
    readers = {each.id for each in year.present() if is_active(year, each) and each.child.plan.area == "ela.fluency"}
    phases = {each["id"]: each["phases"][-1] for each in read}
    by_query = {each["id"]: each["phases"][-1] for each in queried}
    _same(
        year,
        "is the goal realistic",
        {(each, LARGEST_RATE) for each in readers},
        rest={(each, phase["realistic_rate"]) for each, phase in phases.items()},
        graphql={(each, phase["realisticRate"]) for each, phase in by_query.items()},
    )
    for phase in phases.values():
        is_realistic = phase["required_rate"] <= LARGEST_RATE + 0.05
        right = "realistic" if is_realistic else "confirmed"
        words = f"a goal of {phase['required_rate']:.3f} a week is {phase['rate_check']}"
        year.require(phase["rate_check"] == right or abs(phase["required_rate"] - LARGEST_RATE) < 0.05, words)


def _who_has_no_support(year: Year) -> None:
    read = year.caller.get("/v1/concerns", unserved="true", sort="unserved", limit=200)["items"]
    fields = "id unservedSince unserved { days }"
    document = f'{{ concerns(first: 200, unserved: true, sort: "unserved") {{ edges {{ node {{ {fields} }} }} }} }}'
    queried = [edge["node"] for edge in year.caller.query(document)["concerns"]["edges"]]
    _same(
        year,
        "which accepted concerns have no support, since when",
        {
            (each.id, str(each.unserved_since), year.days_of_school(each.unserved_since))
            for each in year.concerns.values()
            if is_unserved(year, each) and each.unserved_since is not None
        },
        rest={(each["id"], each["unserved_since"], each["unserved_days"]) for each in read},
        graphql={(each["id"], each["unservedSince"], each["unserved"]["days"]) for each in queried},
    )
    days = [each["unserved_since"] for each in read]
    year.require(days == sorted(days), "those who wait longest for a support are not first")


def _how_many_at_which_level(year: Year) -> None:
    """Reads the number of students by level and compares it with the truth.

    A number under 10 must be withheld, together with numbers from which it could be computed.
    """
    read = year.caller.get("/v1/reports/provision")
    document = "{ provisionReport { levels { grade level students } daysToSession { students } withheld } }"
    queried = year.caller.query(document)["provisionReport"]
    present = [name for name in year.student_ids if name not in year.roster.gone]
    by_level: dict[int, int] = {}
    for name in present:
        levels = [each.level for each in year.supports if each.student == name and is_active(year, each)]
        level = max(levels, default=1)
        by_level[level] = by_level.get(level, 0) + 1
    is_withheld = any(0 < number < SMALLEST for number in by_level.values())
    expected = {(grade, level, number) for grade in ("", GRADE) for level, number in by_level.items()}
    shown = {(each["grade"] or "", each["level"], each["students"]) for each in read["levels"]}
    by_query = {(each["grade"] or "", each["level"], each["students"]) for each in queried["levels"]}
    _same(year, "how many are at which level, in GraphQL", shown, graphql=by_query)
    year.require(shown <= expected, f"the students by level: {shown - expected}, not {expected}")
    year.require(is_withheld or shown == expected, f"the students by level: {shown}, not {expected}")
    year.require(all(number >= SMALLEST for _, _, number in shown), "a number under 10 is published")
    year.require(not is_withheld or read["withheld"], "that a number is withheld is not said")
    accepted = len([each for each in year.signals.values() if each.state == "accepted" and each.concern])
    year.require(accepted >= SMALLEST or not read["days_to_session"], "days are published about fewer than 10")


def _what_went_well(year: Year) -> None:
    """Compares an answer of the product with the truth: which supports have met their goal, and which students are
    ready for less support (`ready_to_fade`). Each API answers both in one request.
    """
    read = year.caller.get("/v1/supports", went_well="true", expand="student.signals", limit=200)["items"]
    document = (
        "{ supports(first: 200, wentWell: true) "
        "{ edges { node { id verdict { state } student { signals { id kind state } } } } } }"
    )
    queried = [edge["node"] for edge in year.caller.query(document)["supports"]["edges"]]
    _same(
        year,
        "who met the goal",
        {each.id for each in year.supports if is_active(year, each) and each.state_of_verdict == "goal_met"},
        rest={each["id"] for each in read if each["verdict"]["state"] == "goal_met"},
        graphql={each["id"] for each in queried if each["verdict"]["state"] == "GOAL_MET"},
    )
    of_rest = [signal for each in read for signal in each["student_expanded"]["signals"]]
    of_graphql = [signal for each in queried for signal in each["student"]["signals"]]
    _same(
        year,
        "who is ready to fade",
        {each.id for each in year.signals.values() if each.state == "suggested" and each.key.kind == "ready_to_fade"},
        rest={each["id"] for each in of_rest if _suggests_fading(each)},
        graphql={each["id"] for each in of_graphql if _suggests_fading(each)},
    )


def _suggests_fading(signal: dict[str, Any]) -> bool:
    """Returns whether a signal suggests fading a support, and nobody has answered it."""
    return (signal["kind"].lower(), signal["state"].lower()) == ("ready_to_fade", "suggested")
