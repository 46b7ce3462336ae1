"""Renders the recap and the agenda of a meeting as pages to read and to print.

A page loads nothing and runs no script. `Markup.format` escapes every value that it puts into a page.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import Response
from markupsafe import Markup

from app.agenda.pages.recap import OUTCOMES, NamedPerson, Recap, RecapAction, RecapItem
from app.agenda.pages.sheet import AgendaSheet
from app.agenda.pages.topics import topic_of
from app.agenda.reading import AgendaEntry
from app.agenda.rules import AgendaItemKind, AgendaItemState
from app.decision.rules import DecisionKind
from app.meeting.models import Meeting
from app.rest import meeting_words as words
from app.rest.chart import PICTURE_HEADERS

HTML: Final = "text/html"
STYLE: Final = Markup(
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1.5rem 1rem;overflow-wrap:anywhere}"
    "h1{font-size:1.6rem;line-height:1.2;margin:0 0 .25rem}h2{font-size:1.2rem;margin:2rem 0 .5rem}"
    "h3{font-size:1rem;margin:0;white-space:pre-wrap}footer{margin-top:2rem}"
    "p,ul{margin:.25rem 0}.soft{opacity:.75}.text{white-space:pre-wrap}"
    "article{border:1px solid;border-color:color-mix(in srgb,currentColor 25%,transparent);border-radius:.5rem;"
    "padding:.75rem 1rem;margin:.75rem 0;break-inside:avoid}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:start;vertical-align:top;padding:.4rem .75rem .4rem 0;"
    "border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)}tr{break-inside:avoid}"
    "td+td{overflow-wrap:break-word}"
    "@media(max-width:32rem){thead{position:absolute;clip-path:inset(50%)}tr{display:block;padding:.5rem 0}"
    "td{display:block;border:0;padding:0}td:empty{display:none}td::before{content:attr(data-name) ': ';font-weight:600}"
    "tr{border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)}}"
    "@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:10.5pt}h2{break-after:avoid}"
    "@page{margin:18mm}}"
)
BEGIN: Final = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
    "<style>{style}</style></head><body><header><p class=soft>{title}</p><h1 dir=auto>{team}</h1>{head}</header><main>"
)
END: Final = Markup(
    "</main><footer><p class=soft>Confidential: this page is about students.</p></footer></body></html>"
)
NOT_SHOWN: Final = "A student"
"""What a page shows in place of a name that the caller may not read."""
SEVERAL: Final = 3
"""The smallest number of students with the same text that are shown as one item."""


@dataclass(frozen=True, slots=True)
class _Card:
    """An item of a page: its heading and its lines. The heading of an item about a student is the student's name."""

    heading: str
    lines: tuple[Markup, ...]
    student_id: UUID | None


async def page_response(parts: Iterable[Markup]) -> Response:
    """Returns a page with headers that forbid storing it, and forbid the page to load or run anything.

    A thread renders the parts of the page, because a page with long minutes takes a while.
    """
    page = await asyncio.to_thread(lambda: b"".join(part.encode() for part in parts))
    return Response(page, media_type=HTML, headers=PICTURE_HEADERS)


def recap_page(recap: Recap) -> Iterator[Markup]:
    """Yields the parts of a page with the recap of a meeting."""
    present = [person.name or "A person" for person in recap.present]
    head = [_when(recap.meeting, recap.zone)]
    if present:
        head.append(Markup("<p dir=auto>Present: {}</p>").format(", ".join(present)))
    yield _begin("Recap", recap.team_name, head)
    for state in OUTCOMES:
        items = recap.of_state(state)
        yield from _section(words.OUTCOMES[state], _articles(_recap_item(item) for item in items))
    yield from _section("Who does what by when", _actions(recap.action_items))
    yield from _unseen(recap.hidden, is_empty=not recap.items and not recap.action_items)
    yield END


def agenda_page(sheet: AgendaSheet) -> Iterator[Markup]:
    """Yields the parts of a page with the agenda of a meeting."""
    agenda = sheet.agenda
    head = [Markup("<p>The next meeting is not scheduled yet.</p>")]
    if agenda.meeting is not None:
        head = [_when(agenda.meeting, sheet.zone)]
    yield _begin("Agenda", sheet.team_name, head)
    cards = (_agenda_item(sheet, entry, _student(sheet, entry)) for entry in agenda.entries)
    yield from _section("What we talk about", _articles(cards))
    yield from _unseen(agenda.hidden, is_empty=not agenda.entries)
    yield END


def _begin(title: str, team: str, head: Iterable[Markup]) -> Markup:
    return BEGIN.format(title=title, style=STYLE, team=team, head=Markup("").join(head))


def _section(title: str, parts: Iterable[Markup]) -> Iterator[Markup]:
    """Yields a section with a heading; yields nothing if the section has no parts."""
    is_empty = True
    for part in parts:
        if is_empty:
            yield Markup("<section><h2>{}</h2>").format(title)
            is_empty = False
        yield part
    if not is_empty:
        yield Markup("</section>")


def _when(meeting: Meeting, zone: str) -> Markup:
    time = words.write_time(meeting.starts_at.astimezone(ZoneInfo(zone)), meeting.minutes)
    place = "" if meeting.place is None else Markup("<p dir=auto>{}</p>").format(meeting.place)
    return Markup("<p>{}</p>{}").format(time, place)


def _recap_item(item: RecapItem) -> _Card:
    codes = (reason.code for reason in item.reasons)
    lines = [_reason(item.kind, codes, item.since), *_texts(item.minutes)]
    if item.dropped_because is not None:
        lines.append(_labelled("Because", item.dropped_because))
    if item.decision is not None:
        decided = words.DECISIONS[DecisionKind(item.decision.kind)]
        lines.append(_labelled("Decision", decided))
        lines.extend(_texts(item.decision.note))
    return _card(item.student, item.text or topic_of(item.names), item.kind, lines)


def _agenda_item(sheet: AgendaSheet, entry: AgendaEntry, student: NamedPerson | None) -> _Card:
    codes = (reason.code for reason in entry.reasons)
    lines = [_reason(entry.kind, codes, entry.since), *_texts(entry.minutes)]
    if entry.times_carried:
        times = "once" if entry.times_carried == 1 else f"{entry.times_carried} times"
        lines.append(Markup("<p class=soft>Carried {} before</p>").format(times))
    if entry.state != AgendaItemState.OPEN:
        lines.append(_labelled("State", words.STATES[AgendaItemState(entry.state)]))
    if entry.dropped_because is not None:
        lines.append(_labelled("Because", entry.dropped_because))
    return _card(student, entry.text or sheet.topics.get(entry.subject_id), entry.kind, lines)


def _actions(actions: Sequence[RecapAction]) -> Iterator[Markup]:
    """Yields the parts of a table of action items; yields nothing if there are none."""
    if not actions:
        return
    cell = Markup('<td data-name="{}" dir=auto>{}</td>')
    yield Markup("<table><thead><tr><th>What</th><th>Who</th><th>By</th><th>About</th></tr></thead><tbody>")
    for action in actions:
        yield Markup("<tr>{}{}{}{}</tr>").format(
            cell.format("What", action.text),
            cell.format("Who", action.owner.name or "A member of the team"),
            cell.format("By", words.write_day(action.due_on)),
            Markup("<td></td>") if action.student is None else cell.format("About", action.student.name or NOT_SHOWN),
        )
    yield Markup("</tbody></table>")


def _student(sheet: AgendaSheet, entry: AgendaEntry) -> NamedPerson | None:
    return None if entry.student_id is None else NamedPerson(entry.student_id, entry.student_name)


def _reason(kind: str, codes: Iterable[str], since: date) -> Markup:
    return Markup("<p class=soft>{}</p>").format(words.write_reason(kind, codes, since))


def _texts(*texts: str | None) -> list[Markup]:
    return [Markup("<p class=text dir=auto>{}</p>").format(text) for text in texts if text is not None]


def _labelled(label: str, text: str) -> Markup:
    return Markup("<p class=text dir=auto><b>{}:</b> {}</p>").format(label, text)


def _card(student: NamedPerson | None, topic: str | None, kind: str, lines: Iterable[Markup]) -> _Card:
    """Returns an item of a page. Its heading is the name of its student, or else its topic, or else its kind."""
    if student is None:
        return _Card(topic or words.KINDS[AgendaItemKind(kind)], tuple(lines), None)
    return _Card(student.name or NOT_SHOWN, (*_texts(topic), *lines), student.person_id)


def _articles(cards: Iterable[_Card]) -> Iterator[Markup]:
    """Yields the items of a page. Items about students are combined into one if their text is the same.

    Such items have the same kind and day, so they are near each other. A student with several such items is named and
    counted once.
    """
    article = Markup("<article><h3 dir=auto>{}</h3>{}</article>")
    groups: dict[object, list[_Card]] = {}
    for place, card in enumerate(cards):
        groups.setdefault(place if card.student_id is None else card.lines, []).append(card)
    for group in groups.values():
        lines = group[0].lines
        headings = list({card.student_id: card.heading for card in group}.values())
        if len(headings) >= SEVERAL:
            names = [] if set(headings) == {NOT_SHOWN} else _texts(", ".join(headings))
            yield article.format(f"{len(headings)} students", Markup("").join([*names, *lines]))
        else:
            for heading in headings:
                yield article.format(heading, Markup("").join(lines))


def _unseen(hidden: int, *, is_empty: bool) -> list[Markup]:
    """Returns a sentence with the number of items that the reader may not see, or nothing if there are none.

    For a page without any item, returns a sentence that says so.
    """
    if hidden:
        return [Markup("<p>{}</p>").format(words.count_items(hidden))]
    return [Markup("<p>There is nothing on it.</p>")] if is_empty else []
