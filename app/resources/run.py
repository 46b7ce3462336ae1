"""Runs a selection: executes its statement, logs the disclosures, and adds the values that Python computes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.access.permission import MEANING, Can
from app.access.work import Work, needs
from app.core.errors import AimlineError, AnswerTooLarge, Forbidden, Invalid, Malformed, Violation
from app.core.text import camel
from app.core.turns import Turns
from app.core.violations import ReadViolations
from app.resources.catalog import Catalog
from app.resources.compile.cursors import Places, open_pages
from app.resources.compile.explain import Explanation, disclosed_kinds, open_explanations, plan_of
from app.resources.compile.plan import MAX_BYTES, Plan, Plans, RootPlan
from app.resources.compile.roots import permissions_of_list
from app.resources.compile.structure import values
from app.resources.compile.tokens import POSITIONS, TOO_MANY_ROWS, VALUES, render
from app.resources.complete import complete_values
from app.resources.listing import Filter, Flag, Listing, violations_of_adult
from app.resources.select import ListRoot, Path, Root, Style

PLANS = Plans()


@dataclass(frozen=True, slots=True)
class ReadError:
    """An error that explains why a value of the response is null. `path` is the place of the value in the response."""

    path: Path
    error: AimlineError


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one list or row at the top of a selection.

    It has the JSON text, the errors, the cursor of the next page, and the number of rows.
    """

    text: bytes
    errors: tuple[ReadError, ...] = ()
    next: str | None = None
    rows: int = 0


NULL = b"null"
LONG_TEXT = 200_000
"""The number of bytes from which a text is rendered in a thread, because this takes longer than a few milliseconds."""


async def read(work: Work, catalog: Catalog, roots: Sequence[Root], style: Style) -> list[Answer]:
    """Reads the lists and rows at the top of a selection (its roots) with one statement. Returns an `Answer` for each.

    Adds to the disclosure log the students whom the responses show. If the caller may not read a root, or a cursor in
    it is invalid, the response to this root is null with an error. The other roots are still read.
    """
    opened: list[Places | AimlineError] = []
    turns = Turns()
    for root in roots:
        await turns.give()
        try:
            opened.append(open_root(work, catalog, root, style))
        except Invalid as error:
            opened.append(error)
    good = tuple(root for root, places in zip(roots, opened, strict=True) if isinstance(places, Places))
    plan = await PLANS.plan(catalog, good, work.principal, style)
    places = [result for result in opened if isinstance(result, Places)]
    texts = await _fetch(work, catalog, plan, good, places)
    answers: list[Answer] = []
    planned = iter(zip(good, plan.roots, places, texts, strict=True))
    for result in opened:
        if isinstance(result, AimlineError):
            answers.append(Answer(NULL, (ReadError((), result),)))
        else:
            answers.append(await _answer(work, plan, style, turns, *next(planned)))
        await turns.give()
    return answers


def open_root(work: Work, catalog: Catalog, root: Root, style: Style) -> Places:
    """Returns the decrypted cursors of a root.

    Raises `Malformed` or `Invalid` with all violations: invalid cursors and limits, and filters that
    `violations_of_adult` does not allow.
    """
    violations = ReadViolations()
    with violations:
        _check_adult(work, catalog, root, style)
    with violations:
        places = open_pages(work, catalog, root)
    violations.refuse()
    return places


def _check_adult(work: Work, catalog: Catalog, root: Root, style: Style) -> None:
    """Raises `Invalid` if `violations_of_adult` does not allow the filters of a list."""
    if not isinstance(root, ListRoot) or (listing := catalog.listings.get(root.listing)) is None:
        return
    violations = []
    for name, violation in violations_of_adult(listing, root.filters, root.sort, work.principal.person_id):
        criterion = listing.filter_named(name)
        shown = name if criterion is None else criterion.shown_as(style.face)
        violations.append(replace(violation, pointer=f"/{camel(shown) if style.face == 'graphql' else shown}"))
    if violations:
        raise Invalid(violations)


async def resolve_filters(
    work: Work,
    criteria: Mapping[str, Filter[Any] | Flag],
    texts: Mapping[str, Any],
    *,
    pointers: bool,
    listing: Listing | None = None,
) -> dict[str, Any]:
    """Returns the resolved values of a list's filters. For example, an external id is resolved to a row id.

    The values are keyed by the filters' attribute `name`.

    * `criteria` are the list's filters and flags, keyed by their names in the API, as `Listing.by_face` returns them.
    * `texts` has the values as the caller wrote them, keyed by the filters' names in the API.
    * `listing`, if given, is the list whose permissions are checked before any row is looked up. Raises `Forbidden` if
      a permission is missing.

    Raises `Malformed` for names that are not filters. For rows that do not exist, raises `Invalid` with each of them,
    at `/<name>`; with `pointers=False`, raises `NotFound` for the first.
    """
    if unknown := texts.keys() - criteria.keys():
        raise Malformed([Violation(f"/{name}", "filter.unknown", "There is no such filter.") for name in unknown])
    for can in () if listing is None else permissions_of_list(listing, texts):
        if not work.principal.may(can):
            raise forbidden(can)
    resolved: dict[str, Any] = {}
    violations = ReadViolations()
    for name, value in texts.items():
        criterion = criteria[name]
        if value is not None and isinstance(criterion, Filter) and criterion.resolve is not None:
            with violations:
                resolved[criterion.name] = await criterion.resolve(work, value, f"/{name}" if pointers else None)
        elif value is not None:
            resolved[criterion.name] = value
    violations.refuse()
    return resolved


async def _fetch(
    work: Work, catalog: Catalog, plan: Plan, roots: Sequence[Root], places: Sequence[Places]
) -> list[bytes | None]:
    """Runs the statement. Returns the text of each root (list or row), or None if the caller may not read the root."""
    if not plan.sql:
        return [None for _ in roots]
    principal = work.principal
    caller_values: dict[str, Any] = {
        **plan.constants,
        "district": principal.district_id,
        "client": principal.client_id,
        "person": principal.person_id,
        "reach": principal.reach.value,
        "schools": list(principal.schools),
        "students": list(principal.students),
        "opens": sorted(principal.opens),
    }
    for root, root_plan, opened in zip(roots, plan.roots, places, strict=True):
        named_values = dict(values(root)) | opened.values
        caller_values |= {name: named_values.get(path) for path, name in root_plan.binds.items()}
    parameters = tuple(caller_values[name] for name in plan.parameters)
    if (explanations := open_explanations()) is not None:
        text = await needs(*plan.requires)(plan_of)(work, plan.sql, parameters)
        explanations.append(Explanation(plan.sql, parameters, text, plan.requires, disclosed_kinds(catalog, roots)))
        return [None if root.denied is not None else NULL for root in plan.roots]
    size, *columns = await needs(*plan.requires)(_execute)(work, plan.sql, parameters)
    if size > MAX_BYTES:
        raise AnswerTooLarge
    remaining = iter(columns)
    return [None if root.denied is not None else next(remaining) or NULL for root in plan.roots]


async def _execute(work: Work, sql: str, parameters: tuple[Any, ...]) -> Sequence[Any]:
    (row,) = await work.run(sql, parameters)
    values: Sequence[Any] = row
    return values


async def _answer(
    work: Work, plan: Plan, style: Style, turns: Turns, root: Root, planned: RootPlan, places: Places, raw: bytes | None
) -> Answer:
    if planned.denied is not None or raw is None:
        return Answer(NULL, (ReadError((), forbidden(planned.denied)),))
    rendered = render(raw) if len(raw) < LONG_TEXT else await asyncio.to_thread(render, raw)
    if (match := TOO_MANY_ROWS.search(rendered.text)) is not None:
        link = planned.links[int(match.group(1))]
        detail = f"More than {link.most} rows of {link.name} belong to one row. Read them from their own list."
        return Answer(NULL, (ReadError((), Invalid([Violation("", "link.too_long", detail)])),))
    work.disclosed.students |= rendered.students
    work.disclosed.kinds |= {plan.records[place] for place in rendered.records}
    text = rendered.text
    failures: list[tuple[Path, AimlineError]] = []
    if planned.values:
        text, failures = await complete_values(work, planned.values, dict(values(root)), style, text, VALUES)
    if planned.cursors:
        text = await _with_cursors(text, planned, places, turns)
    patterns = [(path, forbidden(can)) for path, can in planned.refused] + failures
    patterns += [(path, places.foreign()) for path in planned.moved]
    return Answer(text, tuple(_errors(text, patterns)), places.following, rendered.rows)


async def _with_cursors(text: bytes, planned: RootPlan, places: Places, turns: Turns) -> bytes:
    """Returns the text with encrypted cursors in place of the marked positions. There may be ten thousand of them."""
    pieces: list[bytes] = []
    end = 0
    for match in POSITIONS.finditer(text):
        pieces += (text[end : match.start()], places.seal(planned.cursors, int(match.group(1)), match.group(2)))
        end = match.end()
        await turns.give()
    return b"".join([*pieces, text[end:]])


def _errors(text: bytes, patterns: Sequence[tuple[Path, AimlineError]]) -> list[ReadError]:
    """Returns an error for each null in the response whose path matches one of the patterns.

    Each pattern is a pair: a path, in which `*` stands for every index of an array, and the error for the nulls at this
    path.
    """
    if not patterns:
        return []
    answer = orjson.loads(text)
    return [ReadError(path, error) for pattern, error in patterns for path in _places(answer, pattern, ())]


def _places(value: Any, pattern: Path, path: Path) -> list[Path]:
    if not pattern:
        return [path] if value is None else []
    if value is None:
        return []
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return [place_ for place, element in enumerate(value) for place_ in _places(element, rest, (*path, place))]
    return _places(value[head], rest, (*path, head))


def forbidden(can: Can | None) -> Forbidden:
    if can is None:
        return Forbidden("This is not permitted.", code="permission.missing")
    detail = f"This requires the permission {can.value}. {MEANING.get(can, '')}".strip()
    return Forbidden(detail, code="permission.missing")
