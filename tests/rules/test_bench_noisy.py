"""Tests that the measurement of a district's delay under another's load fails if the delay exceeds the limit."""

import pytest

from bench.noisy.__main__ import Figures, report

ALONE = [0.01] * 100
LONGEST = 0.05


@pytest.mark.parametrize(("beside", "code"), [(0.059, 0), (0.061, 1)])
def test_a_delay_over_the_limit_fails_the_measurement(
    capsys: pytest.CaptureFixture[str], beside: float, code: int
) -> None:
    """The exit code is 1 if B's p95 exceeds its own p95 alone plus the time of A's longest request, in any API."""
    within = Figures(ALONE, LONGEST, ALONE, ALONE, 10)
    figures = {"REST": within, "GraphQL": Figures(ALONE, LONGEST, [beside] * 100, ALONE, 10)}
    assert report(figures) == code
    printed = capsys.readouterr().out
    assert "| GraphQL | 10.0 | 10.0 | 50.0 | 60.0 |" in printed
    assert ("exceeds its limit over GraphQL" in printed) == bool(code)
