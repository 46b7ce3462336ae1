"""Runs a command for every item of a request, in one of three modes.

By default each item succeeds or fails by itself. In the mode `atomic`, all items are written or none. In the mode
`dry_run`, nothing is written, and the results show what would have been written.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.access.work import Work
from app.core.errors import MAX_VIOLATIONS, AimlineError, Conflict, Forbidden, Gone, Invalid, NotFound, Violation
from app.core.plural import noun_of
from app.core.violations import Unread, known_values
from app.requests.malformed import merged

MAX_NAME_LENGTH = 300
"""The length of the longest text that can be the id or the external id of a row."""


class ItemOutcome(StrEnum):
    """What a command did with one item of a request."""

    RECORDED = "recorded"
    AMENDED = "amended"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    NOT_APPLIED = "not_applied"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A malformed item of a request, for example with a text in place of a number.

    The pointers of its violations begin at the item. `partial` is the command's input with the valid values only, or
    None if no value is valid.
    """

    violations: tuple[Violation, ...]
    partial: Any = None


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result for one item: its outcome, and the row or the violations."""

    outcome: str
    row: Any = None
    violations: tuple[Violation, ...] = ()


RunItems = Callable[[Sequence[Any], Sequence[int]], Awaitable[list[ItemResult]]]
"""A function that runs a command for several items, and returns the result of each item.

Its arguments are the items, and the positions of the items in the request.
"""


class _Undo(Exception):
    """Raised to roll back what the items of a request have written."""


async def run_bulk(
    work: Work,
    run: RunItems,
    items: Sequence[Any],
    at: str,
    *,
    most: int,
    atomic: bool = False,
    dry_run: bool = False,
) -> list[ItemResult]:
    """Runs a command for the items that are not `Malformed`, and returns a result for each of `items`, in order.

    * `run` runs the command for a list of items. `at` is the JSON pointer of `items` in the request.
    * With `atomic`, nothing is written if one item is refused.
    * With `dry_run`, nothing is written at all. The outcomes are those that the request would have without `dry_run`.
    * A result has no row if nothing was written. The results together list at most `MAX_VIOLATIONS` violations, which
      `limit_violations` chooses.

    Raises `Invalid` if there are no items, or more than `most`.
    """
    if not 1 <= len(items) <= most:
        name = at.removeprefix("/")
        raise Invalid([Violation(at, f"{name}.count", f"Send 1 to {most} {noun_of(name)} at once.")])
    positions = [position for position, item in enumerate(items) if not isinstance(item, Malformed)]
    results = {
        position: ItemResult(ItemOutcome.REFUSED, violations=_placed(item.violations, f"{at}/{position}"))
        for position, item in enumerate(items)
        if isinstance(item, Malformed)
    }
    results |= await _with_violations_of_run(work, run, items, results)
    is_undone = False
    try:
        async with work.savepoint():
            if positions:
                done = await run([items[position] for position in positions], positions)
                results |= dict(zip(positions, done, strict=True))
            has_refusal = any(result.outcome == ItemOutcome.REFUSED for result in results.values())
            if dry_run or (atomic and has_refusal):
                raise _Undo
    except _Undo:
        is_undone = True
    ordered = limit_violations([results[position] for position in range(len(items))], at)
    if not is_undone:
        return ordered
    has_refusal = any(result.outcome == ItemOutcome.REFUSED for result in ordered)
    return [_without_row(result, not_applied=atomic and has_refusal) for result in ordered]


async def _with_violations_of_run(
    work: Work, run: RunItems, items: Sequence[Any], results: Mapping[int, ItemResult]
) -> dict[int, ItemResult]:
    """Returns the results of malformed items, with the violations that the command finds in their valid values.

    To find these violations, the command is run with the valid values, and what it writes is rolled back.
    """
    positions = [position for position, item in enumerate(items) if isinstance(item, Malformed) and item.partial]
    results_of_run: list[ItemResult] = []
    if positions:
        with suppress(_Undo, AimlineError):
            async with work.savepoint():
                results_of_run = await run([items[position].partial for position in positions], positions)
                raise _Undo
    return {
        position: replace(results[position], violations=merged(results[position].violations, result.violations))
        for position, result in zip(positions, results_of_run, strict=bool(results_of_run))
    }


async def run_each(
    work: Work,
    command: Callable[[Any], Awaitable[Any]],
    items: Sequence[Any],
    positions: Sequence[int],
    at: str,
    lock: Callable[[Work], Awaitable[None]],
    row_kind: str | None = None,
) -> list[ItemResult]:
    """Runs a command once for each item. Each run has its own savepoint, so that a refusal undoes only one item.

    If all items belong to one row, such as a support, `row_kind` is its kind. If this row does not exist, `NotFound` is
    raised for the whole request, and no item gets a result.

    First, `lock` locks the students of all items, which are named in `Work.named_subjects`. This happens before the
    first savepoint: PostgreSQL releases the locks that were taken in the savepoint of a refused item, and the next item
    would have to lock all students again.
    """
    work.named_subjects |= frozenset(name for item in items for name in _texts(item) if len(name) <= MAX_NAME_LENGTH)
    await lock(work)
    results: list[ItemResult] = []
    for item, position in zip(items, positions, strict=True):
        pointer = f"{at}/{position}"
        try:
            async with work.savepoint():
                results.append(ItemResult(ItemOutcome.RECORDED, await command(item)))
        except Invalid as error:
            results.append(ItemResult(ItemOutcome.REFUSED, violations=_placed(error.violations, pointer)))
        except Unread:
            results.append(ItemResult(ItemOutcome.REFUSED))
        except (NotFound, Conflict, Gone, Forbidden) as error:
            if error.code == "permission.missing" or (isinstance(error, NotFound) and error.kind == row_kind):
                raise
            results.append(ItemResult(ItemOutcome.REFUSED, violations=(_of_item(error, pointer),)))
    return results


def result_of(record: Callable[[], ItemResult]) -> ItemResult:
    """Calls `record`, which writes one item, and returns the item's result.

    If `record` refuses the item, the refusal becomes the result, and other items can still be written. `record` must
    refuse before it changes a row, with pointers that begin at the top of the request's body.
    """
    try:
        return record()
    except Invalid as error:
        return ItemResult(ItemOutcome.REFUSED, violations=tuple(error.violations))
    except Unread:
        return ItemResult(ItemOutcome.REFUSED)


def amend_row(row: Any, content: Mapping[str, Any], written: set[UUID], repeated: Violation) -> ItemResult:
    """Gives a stored row the values of an item, and returns the item's result.

    `written` has the ids of the rows that the request has written so far; a changed row is added to it. Raises
    `Invalid` with `repeated` if an earlier item of the request wrote other values to this row.
    """
    changed = {name: value for name, value in content.items() if getattr(row, name) != value}
    if not changed:
        return ItemResult(ItemOutcome.UNCHANGED, row)
    if row.id in written:
        raise Invalid([repeated])
    for name, value in changed.items():
        setattr(row, name, value)
    row.version += 1
    written.add(row.id)
    return ItemResult(ItemOutcome.AMENDED, row)


def limit_violations(results: Sequence[ItemResult], at: str) -> list[ItemResult]:
    """Returns the results with at most `MAX_VIOLATIONS` violations in all, so that the size of the response is limited.

    The first violation of every item has precedence over the item's other violations, so that as many items as possible
    show why they were refused. If violations are left out, a final violation with the pointer `at` is added, which
    states how many were left out.
    """
    omitted = sum(len(result.violations) for result in results) - MAX_VIOLATIONS
    if omitted <= 0:
        return list(results)
    places = ((rank > 0, item) for item, result in enumerate(results) for rank in range(len(result.violations)))
    counts = Counter(item for _, item in sorted(places)[:MAX_VIOLATIONS])
    limited = [replace(result, violations=result.violations[: counts[item]]) for item, result in enumerate(results)]
    last = max(counts)
    more = Violation(at, "violations.more", f"And {omitted} more.")
    limited[last] = replace(limited[last], violations=(*limited[last].violations, more))
    return limited


def _placed(violations: Sequence[Violation], pointer: str) -> tuple[Violation, ...]:
    """Returns the violations of an item, with pointers that begin at the top of the request's body.

    `pointer` is the pointer of the item itself.
    """
    return tuple(replace(each, pointer=f"{pointer}{each.pointer}") for each in violations)


def _of_item(error: AimlineError, pointer: str) -> Violation:
    return Violation(pointer, error.code, error.detail)


def _without_row(result: ItemResult, *, not_applied: bool) -> ItemResult:
    if not_applied and result.outcome != ItemOutcome.REFUSED:
        return ItemResult(ItemOutcome.NOT_APPLIED)
    return ItemResult(result.outcome, violations=result.violations)


def _texts(value: Any) -> Iterator[str]:
    """Yields every text in an input, at any depth."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for each in known_values(value).values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
