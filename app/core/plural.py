"""Writes numbers with their nouns."""


def pluralize(count: int, singular: str, plural: str) -> str:
    """Returns a number with its noun in the singular or plural, such as `1 change` or `2 changes`."""
    return f"{count:,} {singular if count == 1 else plural}"
