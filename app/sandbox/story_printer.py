"""Prints the steps of the demonstration in a terminal: headings, one line for each step, and a table of weeks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.table import Table

Answer = TypeVar("Answer")
PACE = 0.12  # seconds between two weeks on a terminal
BAR = 28
WORDS = {
    "insufficient_data": "[dim]too few scores[/]",
    "responding": "[green]responding[/]",
    "goal_met": "[green]goal met[/]",
    "off_track": "[red]off track[/]",
    "not_responding": "[bold red]not responding[/]",
}


class StepFailed(Exception):
    """Raised when a step did not give the expected result; the message states what happened instead."""


class Printer:
    """Prints each step of the demonstration when it ends, with the time that it took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.step = ""
        self._pace = PACE if console.is_terminal else 0.0

    def chapter(self, title: str) -> None:
        """Prints a heading."""
        self.console.print(f"\n[bold]{title}[/]")

    def run(self, step: str, run: Callable[[], Answer]) -> Answer:
        """Runs a step, prints it and returns its result; a failure is reported under the step's name."""
        self.step = step
        began = time.perf_counter()
        result = run()
        took = time.perf_counter() - began
        self.console.print(f"  [green]✓[/] {step} [dim]{took:.2f} s[/]", highlight=False)
        return result

    def mark_done(self) -> None:
        """Prints the current step as done, without its time.

        It is used for a step that was not run by `run`, such as a table of weeks.
        """
        self.console.print(f"  [green]✓[/] {self.step}", highlight=False)

    def print_line(self, text: str) -> None:
        """Prints a line beneath a step."""
        self.console.print(f"    [dim]{text}[/]", highlight=False)

    def weeks(self, title: str) -> "Weeks":
        """Returns a new table of weekly scores, to which a row is added whenever a score arrives."""
        return Weeks(self.console, title, self._pace)

    @contextmanager
    def progress(self, step: str, steps: int) -> Iterator[Callable[[], None]]:
        """Shows a step that has many parts as a progress bar.

        Yields the function that advances the bar by one part.
        """
        self.step = step
        began = time.perf_counter()
        with Progress(console=self.console, transient=True) as bar:
            task = bar.add_task(f"  {step}", total=steps)
            yield lambda: bar.advance(task)
        took = time.perf_counter() - began
        self.console.print(f"  [green]✓[/] {step} [dim]{took:.2f} s[/]", highlight=False)


class Weeks:
    """A table of the weekly scores, each with the value of the aimline and the verdict after the score."""

    def __init__(self, console: Console, title: str, pace: float) -> None:
        self._pace = pace
        self._console = console
        self.table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 2))
        for heading in ("week", "score", "aimline", "", "verdict"):
            self.table.add_column(heading, justify="right" if heading in ("week", "score", "aimline") else "left")

    def __enter__(self) -> "Weeks":
        # A terminal shows the table as it grows; a log gets it once, when it is complete.
        self._live = Live(self.table, console=self._console, auto_refresh=False, transient=False)
        self._live.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._live.__exit__(*raised)
        if not self._console.is_terminal:
            self._console.print()

    def add(self, week: int, score: float, aimline: float, state: str) -> None:
        """Adds a week to the table."""
        colour = "green" if score >= aimline else "red"
        length = max(1, round(score / 90 * BAR))
        bar = f"[{colour}]{'█' * min(length, BAR)}[/]"
        self.table.add_row(str(week), f"{score:.0f}", f"{aimline:.1f}", bar, WORDS.get(state, state))
        self._live.refresh()
        time.sleep(self._pace)
