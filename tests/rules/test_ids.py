"""Tests the public identifiers: each shows the kind of its row."""

from app.core import ids


def test_each_kind_has_a_prefix_of_its_own() -> None:
    """Two kinds with one prefix would make `node(id)` read the wrong table: a term's id was one of a session."""
    assert len(set(ids.PREFIXES.values())) == len(ids.PREFIXES)
    for kind in ids.PREFIXES:
        row_id = ids.new_id()
        assert ids.parse_any_id(ids.format_id(kind, row_id)) == (kind, row_id)
