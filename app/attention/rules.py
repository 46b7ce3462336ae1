"""Defines the reasons why a student, or an action item, needs something from a person. Pure."""

from datetime import timedelta
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why something is listed."""

    ACTION_DUE = "action_due"
    CHECK_OVERDUE = "check_overdue"
    CONCERN_UNANSWERED = "concern_unanswered"
    CONCERN_UNSERVED = "concern_unserved"
    DECISION_DUE = "decision_due"
    HYPOTHESIS_DUE = "hypothesis_due"


A_WEEK: Final = timedelta(days=6)
"""From today to the last day of the days that are looked ahead, if the caller names none."""
