"""Tests the public identifiers: each shows the kind of its row."""

from app.core import ids


def test_each_kind_has_a_prefix_of_its_own() -> None:
    """Each kind has its own prefix, because otherwise `node(id)` would read the wrong table."""
    assert len(set(ids.PREFIXES.values())) == len(ids.PREFIXES)
    for kind in ids.PREFIXES:
        row_id = ids.new_id()
        assert ids.parse_any_id(ids.format_id(kind, row_id)) == (kind, row_id)
