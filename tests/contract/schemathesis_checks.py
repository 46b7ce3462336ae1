"""Provides checks for schemathesis, which loads this module.

The service may refuse a request that the contract permits, but only for a reason that a JSON schema cannot state.
"""

import re
from typing import Any

import schemathesis

COULD_BE_SAID = re.compile(r"shape\..+|.+\.(malformed|key_malformed|range|empty|limit|code|name)")
"""The codes of refusals of one value alone, which a JSON schema can say."""
EXPLAINED = {
    "measure.range": "two inputs go together",
    "consumer.name": "a name in the path of operations that do not create it",
    "area.code": "of which characters a code consists is said in words, so that both APIs name the same violation",
    "id.malformed": "a reference may be a code, an id or an external id, by the kind of the row",
    "url.malformed": "which addresses may be reached is the operator's setting",
    "shape.too_large": "the whole numbers that PostgreSQL stores",
    "shape.too_small": "as too_large",
}
"""Codes that look so, and what decides them all the same."""
REFUSED = {400, 422}


@schemathesis.check
def a_refusal_is_explained(_context: Any, response: Any, case: Any) -> None:
    """Fails if a request that the contract allows is refused for a reason that a JSON schema could have stated."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in REFUSED:
        return
    if case.operation.label == "POST /oauth/token":
        return  # what it grants is the client's, which no schema knows
    problem = response.json()
    codes = {each["code"] for each in problem["violations"]} or {problem["code"]}
    unexplained = sorted(code for code in codes if COULD_BE_SAID.fullmatch(code) and code not in EXPLAINED)
    assert not unexplained, f"valid by the contract, and refused: {unexplained}"
