"""Turns a verdict into bytes, so that tests can compare every part of two verdicts."""

import orjson

from app.response.rules.verdict import Verdict


def canonical_bytes(verdict: Verdict) -> bytes:
    """Returns the verdict as JSON with sorted keys: equal input, rule and version give equal bytes."""
    return orjson.dumps(verdict.as_json(), option=orjson.OPT_SORT_KEYS)
