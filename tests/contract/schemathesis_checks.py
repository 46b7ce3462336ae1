"""Checks for schemathesis, which loads this module: what the contract allows is refused for explained reasons only."""

import re
from typing import Any

import schemathesis

EXPLAINED = {
    r".+\.unknown|.+\.not_member|unknown_rule|handover\.nobody": "which rows, fields and names there are",
    r".+\.state|concern\.closed|team\.not_.+": "in which state a row is",
    r"date\..+|.+\.in_the_future|.+\.(begins_on|ends_on|goal_on|review_on|taken_on|held_on)": "which day it is",
    r"phase\..+|goal\..+|break\..+|review\..+": "which days, goals and breaks a plan has already",
    r"id\.kind|id\.malformed|version\.unsupported": "of which kinds the rows are",
    r"support\..+|group\..+|decision\..+|measure\..+|session\..+|score\..+|benchmark.*\..+": "which inputs go together",
    r"team\..+|setting\..+|consumer\..+|rule\..+|parameter\..+|mapping\..+|note\..+": "which inputs go together",
    r"url\..+|address\..+|endpoint\..+|event\..+": "which addresses and events an endpoint may have",
    r"cursor\..+|rekey\..+|run\..+|quarantine\..+|area\..+|level\..+": "which rows a list or a run has",
    r"shape\.too_(large|small)": "the whole numbers that PostgreSQL stores",
}
"""Patterns of codes of refusals that a JSON schema cannot say, with what decides them."""
REFUSED = {400, 422}


@schemathesis.check
def a_refusal_is_explained(_context: Any, response: Any, case: Any) -> None:
    """Fails for a request that is valid by the contract and that is refused for a reason that a schema could say."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in REFUSED:
        return
    if case.operation.label == "POST /oauth/token":
        return  # what it grants is the client's, which no schema knows
    problem = response.json()
    codes = {each["code"] for each in problem["violations"]} or {problem["code"]}
    unexplained = [code for code in sorted(codes) if not any(re.fullmatch(known, code) for known in EXPLAINED)]
    assert not unexplained, f"valid by the contract, and refused: {unexplained}"
