"""Defines the playbook that a new district starts with and may then change."""

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

* Beginning readers of 29 published single-case series scatter by 2.7 to 4.1 words round their own line.
* The SEM of oral reading is most likely 5 to 9 words, 10 at the median, and grows with the level (Christ and
  Silberglitt, 2007, 8,200 students). The limits between the ranges are this project's.
"""

COUNTS = frozenset({"referrals"})
"""The codes of the default measures that count incidents. The values of all other measures should grow along a line."""

REMINDERS: dict[str, int] = {
    "concern_unanswered": 10,
    "support_not_started": 7,
    "decision_overdue": 14,
    "score_overdue": 21,
}
"""The default reminders: for each kind, the number of days of instruction after which it is due. 0 turns a reminder
off.
"""

RULES: dict[str, dict[str, object]] = {
    "*": {"rule": "monitor", "parameters": {"far_percent": 10}},
    "referrals": {"rule": "level-change", "parameters": {}},
}
"""The default decision rules, keyed by measure code; `*` applies to all other measures.

Measures that count incidents have another rule, because counts do not grow along a line.
"""
