"""Defines the reasons for which something is on a person's list of tasks. Pure."""

from datetime import timedelta
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """The reasons for which something is on a person's list of tasks."""

    ACTION_DUE = "action_due"
    CHECK_OVERDUE = "check_overdue"
    CONCERN_UNANSWERED = "concern_unanswered"
    CONCERN_UNSERVED = "concern_unserved"
    DECISION_DUE = "decision_due"
    HYPOTHESIS_DUE = "hypothesis_due"


A_WEEK: Final = timedelta(days=6)
"""The default time from today to the last day on which a listed action item is due."""
