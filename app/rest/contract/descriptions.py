"""Adds the descriptions of properties and parameters that mean the same wherever they occur."""

from typing import Any


def describe_properties(document: dict[str, Any]) -> None:
    """Adds a description to every property and parameter that has none."""
