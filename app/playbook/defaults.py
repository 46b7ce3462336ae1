"""Defines the playbook that a new district starts with and may then change.

The percentiles and average weekly improvements in oral reading are from Hasbrouck and Tindal (2017), checked against a
reprint. The benchmark goals are from DIBELS 8th Edition, checked against the publisher's table. In grade 1, the weekly
improvement is counted from winter.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

AREAS: tuple[tuple[str, str, str | None, bool], ...] = (
    ("ela", "English language arts", None, False),
    ("ela.fluency", "Reading fluency", "ela", False),
    ("ela.comprehension", "Reading comprehension", "ela", False),
    ("math", "Mathematics", None, False),
    ("math.computation", "Computation", "math", False),
    ("behaviour", "Behaviour", None, False),
    ("attendance", "Attendance", None, False),
    ("sel", "Social-emotional learning", None, True),
)
"""The default areas, each as code, name, the parent area's code, and whether the area is secured."""

LEVELS: tuple[tuple[int, str], ...] = ((1, "Core"), (2, "Targeted"), (3, "Intensive"))

MEASURES: tuple[tuple[str, str, str, str, str, float | None, float, float], ...] = (
    ("orf", "Oral reading fluency", "ela.fluency", "words correct a minute", "up", 8.0, 0.0, 300.0),
    ("maze", "Maze comprehension", "ela.comprehension", "correct replacements", "up", 2.5, 0.0, 60.0),
    ("computation", "Mathematics computation", "math.computation", "digits correct", "up", 5.0, 0.0, 150.0),
    ("referrals", "Office discipline referrals", "behaviour", "referrals a week", "down", None, 0.0, 50.0),
    ("sel-screener", "Social-emotional screener", "sel", "points", "up", 3.0, 0.0, 100.0),
)
"""The default measures. The fields are code, name, area, unit, direction, standard error of measurement, lowest value
and highest value.
"""

SEMS: dict[str, tuple[tuple[float, str | None, float | None, float | None], ...]] = {
    "orf": ((3.5, None, None, 30.0), (5.0, "01", 30.0, None), (10.0, None, 120.0, None)),
}
"""The published standard errors of measurement by grade and range of score, keyed by measure code.

The fields are the SEM, the grade, the lowest baseline of the range and the baseline at which it ends.

* In 29 published single-case series, the scores of beginning readers scatter by 2.7 to 4.1 words around their own line.
* Christ and Silberglitt (2007, 8,200 students) give 5 to 9 words as the most likely SEM of oral reading, and 10 words
  as the median. It grows with the level of the scores. This project chose the limits between the ranges.
"""

COUNTS = frozenset({"referrals"})
"""The codes of the default measures that count incidents. The values of all other measures should grow along a line."""

HYPOTHESIS_KINDS: tuple[tuple[str, str], ...] = (
    ("skill", "A missing skill"),
    ("task", "The task does not fit"),
    ("environment", "The environment"),
    ("motivation", "Motivation"),
    ("attendance", "Attendance"),
    ("language", "The language of instruction"),
    ("health", "Health"),
)
"""The default kinds of hypotheses, each as code and name."""

INCIDENT_KINDS: tuple[tuple[str, str], ...] = (
    ("disruption", "Disruption"),
    ("defiance", "Defiance or disrespect"),
    ("inappropriate-language", "Inappropriate language"),
    ("physical-aggression", "Physical aggression"),
    ("bullying", "Bullying or harassment"),
    ("property", "Damage of property, or theft"),
    ("skipping", "Skipping class, or tardiness"),
    ("other", "Other"),
)
"""The default kinds of incidents, each as code and name."""

REMINDERS: dict[str, int] = {
    "concern_unanswered": 10,
    "concern_unserved": 10,
    "support_not_started": 7,
    "decision_overdue": 14,
    "score_overdue": 21,
}
"""The default reminders, each with the number of days of instruction after which it is due.

If the number is 0, the reminder is turned off.
"""

RULES: dict[str, dict[str, object]] = {
    "*": {"rule": "monitor", "parameters": {"far_percent": 10}},
    "referrals": {"rule": "level-change", "parameters": {}},
}
"""The default decision rules, keyed by measure code; `*` applies to all other measures.

Measures that count incidents have another rule, because counts do not grow along a line.
"""

HASBROUCK_TINDAL = "Hasbrouck and Tindal (2017), national norms"
DIBELS = "DIBELS 8th Edition, benchmark goals of July 2020"
FUCHS = "Fuchs and others (1993), as later authors cite it; not checked against the article"
CHECKED_ON = date(2026, 11, 28)
SEASONS = ("fall", "winter", "spring")

Percentiles = tuple[float, float, float, float, float]

_PERCENTILES: dict[str, tuple[Percentiles | None, Percentiles, Percentiles]] = {
    "01": (None, (97, 59, 29, 16, 9), (116, 91, 60, 34, 18)),
    "02": ((111, 84, 50, 36, 23), (131, 109, 84, 59, 35), (148, 124, 100, 72, 43)),
    "03": ((134, 104, 83, 59, 40), (161, 137, 97, 79, 62), (166, 139, 112, 91, 63)),
    "04": ((153, 125, 94, 75, 60), (168, 143, 120, 95, 71), (184, 160, 133, 105, 83)),
    "05": ((179, 153, 121, 87, 64), (183, 160, 133, 109, 84), (195, 169, 146, 119, 102)),
    "06": ((185, 159, 132, 112, 89), (195, 166, 145, 116, 91), (204, 173, 146, 122, 91)),
}
"""The 90th, 75th, 50th, 25th and 10th percentile in fall, winter and spring, by grade."""
_TYPICAL_GROWTH = {"01": 1.9, "02": 1.6, "03": 0.9, "04": 1.2, "05": 0.8, "06": 0.3}
"""The average weekly improvement at the 50th percentile, by grade."""
_REALISTIC_GROWTH = {"01": 2.0, "02": 1.5, "03": 1.0, "04": 0.85, "05": 0.5, "06": 0.3}
_BENCHMARKS = {"01": (10, 21, 39), "02": (49, 78, 94), "03": (73, 105, 114)}
_RISK_CUTS = {"01": (5, 10, 26), "02": (29, 59, 77), "03": (55, 85, 96)}


@dataclass(frozen=True, slots=True)
class PublishedBenchmark:
    """Published figures of one measure, such as percentiles. `measure` is the measure's code.

    The fields are those of the model `Benchmark`.
    """

    measure: str
    grade: str
    season: str | None
    citation: str
    checked_on: date | None
    p90: float | None = None
    p75: float | None = None
    p50: float | None = None
    p25: float | None = None
    p10: float | None = None
    benchmark_goal: float | None = None
    risk_cut: float | None = None
    typical_growth: float | None = None
    realistic_growth: float | None = None


def published_benchmarks() -> Iterator[PublishedBenchmark]:
    """Yields the published norms and benchmarks of the default measures."""
    for grade, by_season in _PERCENTILES.items():
        for season, percentiles in zip(SEASONS, by_season, strict=True):
            if percentiles is not None:
                yield PublishedBenchmark("orf", grade, season, HASBROUCK_TINDAL, CHECKED_ON, *map(float, percentiles))
        growth = _TYPICAL_GROWTH[grade]
        yield PublishedBenchmark("orf", grade, None, HASBROUCK_TINDAL, CHECKED_ON, typical_growth=growth)
    for grade, realistic in _REALISTIC_GROWTH.items():
        yield PublishedBenchmark("orf", grade, None, FUCHS, None, realistic_growth=realistic)
    for grade, goals in _BENCHMARKS.items():
        for season, goal, cut in zip(SEASONS, goals, _RISK_CUTS[grade], strict=True):
            yield PublishedBenchmark(
                "orf", grade, season, DIBELS, CHECKED_ON, benchmark_goal=float(goal), risk_cut=float(cut)
            )
