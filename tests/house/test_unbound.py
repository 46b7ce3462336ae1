"""Tests that no check of an input reads a name that a failed earlier check has left unbound.

Such a read raises `UnboundLocalError`, and the caller gets a 500.
"""

import ast

from tests.house.unbound import find_unbound_reads, unbound_reads

PLANTED = """
async def plan(work, new):
    violations = Violations()
    first = None
    with violations:
        team = await locate_team(work, new.team)
        with violations:
            owner = await locate_owner(work, team.id)
    with violations:
        first = team.id
    if new.day:
        violations.add(check(owner))
    violations.add(team.id for team in new.teams)
    with violations:
        first = check(first)
    violations.refuse()
    return team, owner, first
"""


def test_no_check_reads_what_another_check_may_not_have_bound() -> None:
    """No name that is bound in a `with violations:` block is read after the block and before the violations are
    refused.
    """
    assert unbound_reads() == {}


def test_a_planted_read_is_found() -> None:
    """The search finds two planted reads of names that may be unbound, and reports no other read.

    One of the two reads is in a later block, and the other is between two blocks.
    """
    assert list(find_unbound_reads(ast.parse(PLANTED))) == [("team", 10), ("owner", 12)]
