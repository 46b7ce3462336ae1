"""`aimline judge`: judges series from standard input, offline. It opens no database and keeps nothing."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import orjson
import typer

from app.response.aimline import UnjudgeableSeries
from app.response.rules.line import OfflineSeries, read_line
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.offline import Options, batch_of, judge_cohort
from app.response.rules.rates import GRID

BAD_LINES = 3
BOM = b"\xef\xbb\xbf"
"""What some programs write before the first line of a text."""


class RuleName(StrEnum):
    """The rules by the names that a playbook uses."""

    MONITOR = "monitor"
    FOUR_POINT = "four-point"
    THREE_POINT = "three-point"
    TREND = "trend"
    THEIL_SEN = "theil-sen"
    MEDIAN = "median"
    DUAL_DISCREPANCY = "dual-discrepancy"
    SLOPE_INTERVAL = "slope-interval"
    EB_SLOPE = "eb-slope"


def add_to(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def judge(
        rule: Annotated[RuleName, typer.Option(help="The rule to judge by.")] = RuleName.MONITOR,
        far: Annotated[
            float | None,
            typer.Option(
                min=GRID[0], max=GRID[-1], help="Stated false-alarm rate; without it the rule as the field uses it."
            ),
        ] = None,
        every_week: Annotated[bool, typer.Option("--every-week", help="A line for each week.")] = False,
        no_form_adjustment: Annotated[
            bool, typer.Option("--no-form-adjustment", help="Leave each passage's difficulty in the scores.")
        ] = False,
        adaptive: Annotated[
            bool, typer.Option("--adaptive", help="Say how many scores would help next week, 0 to 3.")
        ] = False,
        calibrate: Annotated[
            bool,
            typer.Option("--calibrate", help="Read all lines first, and set the monitor by what their scores say."),
        ] = False,
        calibration: Annotated[
            Path | None,
            typer.Option(help="A calibration's JSON: read, or with --calibrate written.", dir_okay=False),
        ] = None,
    ) -> None:
        """Judges series: JSON Lines on standard input, verdicts as JSON Lines on standard output.

        Lines of one cohort stand together. A bad line is named on standard error; the others are judged, and the
        exit code is 3.
        """
        options = Options(rule.value, far, every_week, not no_form_adjustment, adaptive)
        source: Iterable[bytes] = sys.stdin.buffer
        if calibrate:
            source = list(source)
            options = replace(options, calibration=calibrated(source))
            if calibration is not None:
                calibration.write_bytes(orjson.dumps(options.calibration.as_json(), option=orjson.OPT_INDENT_2))
        elif calibration is not None:
            options = replace(options, calibration=read_calibration(calibration))
        if not judge_stream(source, sys.stdout.buffer, options):
            raise typer.Exit(BAD_LINES)


def calibrated(source: Iterable[bytes]) -> Calibration:
    """What the scores of all good lines say; bad ones are told of when they are judged. One measure, one grade."""
    # Only who calibrates pays for it: the first line of a plain run is judged at once.
    from app.response.rules.calibrate.district import calibrate_batch

    lines = []
    for text in source:
        with suppress(orjson.JSONDecodeError, UnjudgeableSeries):
            lines.append(read_line(orjson.loads(text.removeprefix(BOM))))
    found = calibrate_batch(batch_of(lines))
    used = f"{found.series} series with {found.scores} scores"
    if found.prior == PUBLISHED.prior:
        print(f"Too little to calibrate on ({used}): the published defaults hold.", file=sys.stderr)
    else:
        print(f"Calibrated on {used}.", file=sys.stderr)
    return found


def read_calibration(file: Path) -> Calibration:
    """Raises typer.BadParameter with what is wrong."""
    try:
        return Calibration.from_json(orjson.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError) as wrong:
        raise typer.BadParameter(f"This is no calibration that --calibrate wrote: {wrong}") from None


def judge_stream(source: Iterable[bytes], out: BinaryIO, options: Options) -> bool:
    """Judges cohort by cohort, each as soon as it is read; False if a line was bad."""
    faults = Faults()
    for lines in _cohorts(source, options, faults):
        for answer in judge_cohort(lines, options):
            out.write(orjson.dumps(answer) + b"\n")
        out.flush()
    return not faults.number


class Faults:
    """The bad lines: told at once by number and what is wrong, never with what the line holds."""

    def __init__(self) -> None:
        self.number = 0

    def tell(self, line: int, sentence: str) -> None:
        self.number += 1
        print(f"line {line}: {sentence}", file=sys.stderr)


def _cohorts(source: Iterable[bytes], options: Options, faults: Faults) -> Iterator[list[OfflineSeries]]:
    """The lines by cohort, one cohort in memory at a time; one without is a cohort of its own, judged at once."""
    held: dict[str, OfflineSeries] = {}
    cohort: str | None = None
    closed: set[str | None] = set()
    for number, given in enumerate(source, 1):
        text = given.removeprefix(BOM) if number == 1 else given
        if not text.strip():
            continue
        try:
            line = read_line(orjson.loads(text), every_week=options.every_week)
        except orjson.JSONDecodeError:
            faults.tell(number, "This is no JSON object; give one series a line.")
            continue
        except UnjudgeableSeries as unfit:
            faults.tell(number, unfit.sentence)
            continue
        if held and line.cohort != cohort:
            yield list(held.values())
            held = {}
            closed.add(cohort)
        cohort = line.cohort
        if cohort is None:
            yield [line]
        elif cohort in closed:
            faults.tell(number, "Its cohort came before; let lines of one cohort stand together.")
        elif line.id in held:
            faults.tell(number, "Another line of this cohort has the same id.")
        else:
            held[line.id] = line
    if held:
        yield list(held.values())
