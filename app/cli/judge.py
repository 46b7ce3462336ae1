"""Defines `aimline judge`, which judges series of scores from standard input without a database."""

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
from app.response.rules.choose import RULES
from app.response.rules.monitor.calibration import PUBLISHED, Calibration
from app.response.rules.monitor.rates import GRID
from app.response.rules.offline.judge import Options, batch_of, judge_cohort
from app.response.rules.offline.line import OfflineSeries, read_line

BAD_LINES = 3
BOM = b"\xef\xbb\xbf"
"""The byte order mark that some programs write at the beginning of a text."""


RuleName = StrEnum("RuleName", {name.upper(): name for name in RULES})  # type: ignore[misc]  # made at run time
"""The names of the decision rules, as a playbook uses them."""


def add_to(app: typer.Typer) -> None:
    """Adds `aimline judge` to the command line."""

    @app.command()
    def judge(
        rule: Annotated[RuleName, typer.Option(help="The rule to judge by.")] = RuleName("monitor"),
        far: Annotated[
            float | None,
            typer.Option(
                min=GRID[0], max=GRID[-1], help="Stated false-alarm rate; without it, the rule as commonly used."
            ),
        ] = None,
        every_week: Annotated[bool, typer.Option("--every-week", help="Print a line for each week.")] = False,
        no_form_adjustment: Annotated[
            bool, typer.Option("--no-form-adjustment", help="Leave each passage's difficulty in the scores.")
        ] = False,
        adaptive: Annotated[
            bool, typer.Option("--adaptive", help="Print how many scores would help next week, 0 to 3.")
        ] = False,
        calibrate: Annotated[
            bool,
            typer.Option("--calibrate", help="Read all lines first, and calibrate the monitor by their scores."),
        ] = False,
        calibration: Annotated[
            Path | None,
            typer.Option(help="A calibration's JSON file, which is read, or written with --calibrate.", dir_okay=False),
        ] = None,
    ) -> None:
        """Judges series: JSON Lines on standard input, verdicts as JSON Lines on standard output.

        The series of a cohort are judged together, so their lines must be adjacent. Invalid lines are reported on
        standard error and skipped; the exit code is then 3. docs/response.md describes the rules.
        """
        if far is not None and RULES[rule.value].thresholds is None:
            raise typer.BadParameter(f"The rule {rule.value} has no table of rates; leave out --far.")
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
    """Returns a calibration computed from the scores in all valid lines of the input.

    All lines must be of the same measure and grade.
    """
    # Imported only for a calibration, so that other runs start faster.
    from app.response.rules.calibrate.district import calibrate_batch

    lines = []
    for text in source:
        with suppress(orjson.JSONDecodeError, UnjudgeableSeries):
            lines.append(read_line(orjson.loads(text.removeprefix(BOM))))
    calibration = calibrate_batch(batch_of(lines))
    used = f"{calibration.series} series with {calibration.scores} scores"
    if calibration.prior == PUBLISHED.prior:
        print(f"Too little data to calibrate ({used}): the published defaults are used.", file=sys.stderr)
    else:
        print(f"Calibrated on {used}.", file=sys.stderr)
    return calibration


def read_calibration(file: Path) -> Calibration:
    """Returns the calibration in a file; raises `typer.BadParameter` if it is invalid."""
    try:
        return Calibration.from_json(orjson.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise typer.BadParameter(f"This is not a calibration written by --calibrate: {error}") from None


def judge_stream(source: Iterable[bytes], out: BinaryIO, options: Options) -> bool:
    """Judges the series of `source`, writes the verdicts to `out`, and returns False if a line was invalid.

    The series of one cohort are judged together, as soon as the cohort is read.
    """
    faults = Faults()
    for lines in _cohorts(source, options, faults):
        for answer in judge_cohort(lines, options):
            out.write(orjson.dumps(answer) + b"\n")
        out.flush()
    return not faults.number


class Faults:
    """Reports invalid lines as they are read, by line number and problem, but never with the line's content."""

    def __init__(self) -> None:
        self.number = 0

    def report(self, line: int, sentence: str) -> None:
        self.number += 1
        print(f"line {line}: {sentence}", file=sys.stderr)


def _cohorts(source: Iterable[bytes], options: Options, faults: Faults) -> Iterator[list[OfflineSeries]]:
    """Yields the series of one cohort (series that are judged together) at a time.

    So only one cohort is in memory. A series that names no cohort is yielded alone.
    """
    lines_by_id: dict[str, OfflineSeries] = {}
    cohort: str | None = None
    closed: set[str | None] = set()
    for number, raw_line in enumerate(source, 1):
        text = raw_line.removeprefix(BOM) if number == 1 else raw_line
        if not text.strip():
            continue
        try:
            line = read_line(orjson.loads(text), every_week=options.every_week)
        except orjson.JSONDecodeError:
            faults.report(number, "This is not a JSON object. Give one series per line.")
            continue
        except UnjudgeableSeries as error:
            faults.report(number, error.sentence)
            continue
        if lines_by_id and line.cohort != cohort:
            yield list(lines_by_id.values())
            lines_by_id = {}
            closed.add(cohort)
        cohort = line.cohort
        if cohort is None:
            yield [line]
        elif cohort in closed:
            faults.report(number, "Its cohort has ended before. Put the lines of one cohort together.")
        elif line.id in lines_by_id:
            faults.report(number, "Another line of this cohort has the same id.")
        else:
            lines_by_id[line.id] = line
    if lines_by_id:
        yield list(lines_by_id.values())
