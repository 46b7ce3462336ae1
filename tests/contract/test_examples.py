"""Tests that each operation with a body has an example in the contract; `tests/house/test_story.py` sends these
examples.
"""

import json

from tests.contract.tools import CONTRACTS


def test_every_body_has_an_example() -> None:
    """Each operation with a body of JSON has an example of it."""
    contract = json.loads((CONTRACTS / "rest.json").read_text())
    assert [
        operation["operationId"]
        for methods in contract["paths"].values()
        for operation in methods.values()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/json" and "example" not in content
    ] == []
