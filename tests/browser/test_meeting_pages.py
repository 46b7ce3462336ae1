"""Tests the page of a recap in a browser: nothing is wider than the window or the paper, and no name is cut."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from app.agenda.pages.recap import NamedPerson, Recap, RecapAction, RecapItem
from app.agenda.reading import AgendaReason
from app.attention.names import NO_NAMES
from app.core.ids import new_id
from app.meeting.models import Meeting
from app.rest.meeting_pages import recap_page
from tests.browser.chromium import Page, browser, program

WIDTHS = (1280, 640, 360)
"""The widths of a large and of a small screen, and between them about that of the text on paper, in pixels."""
LONG_WORD = "Donaudampfschifffahrtsgesellschaftskapitaensmuetze" * 3
CUT_WORDS = """[...document.querySelectorAll('td+td')].flatMap(cell => {
    const text = cell.firstChild, cut = [];
    for (const word of (text ? text.data : '').matchAll(/\\S+/g)) {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (range.getClientRects().length > 1) cut.push(word[0]);
    }
    return cut;
})"""
"""The words of the table's columns with people and days that are on more than one line."""


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Yields a page of a browser."""
    program()
    async with browser(tmp_path, "aimline.test") as page:
        yield page


def recap() -> Recap:
    """Returns a recap with long words, and with action items that name people."""
    item_id, student = new_id(), NamedPerson(new_id(), "Sefina Notrealgaard")
    meeting = Meeting(starts_at=datetime(2026, 12, 1, 14, tzinfo=UTC), minutes=45, place="Room 12")
    day = date(2026, 12, 1)
    item = RecapItem(
        *(item_id, "own", (AgendaReason("own", ()),), "discussed", "agenda_item", item_id, student, day),
        *(LONG_WORD, LONG_WORD, None, None, NO_NAMES),
    )
    owner, task = NamedPerson(new_id(), "Aiko Blankaleh"), "Order the passages for all four classes. " * 3
    actions = tuple(
        RecapAction(new_id(), item_id, text, student, owner, date(2026, 12, 8), "open") for text in (task, LONG_WORD)
    )
    return Recap(meeting, "Grade 3", "America/Chicago", (owner,), (item,), actions, 2)


@pytest.mark.long
@pytest.mark.parametrize("width", WIDTHS)
async def test_a_recap_fits_and_cuts_no_name(page: Page, width: int) -> None:
    """On every screen, and on paper, a recap is not wider than the window, and its table cuts neither names nor days,
    even if another cell of the row has a text without spaces.
    """
    html = "".join(recap_page(recap())).encode()
    await page.open(f"data:text/html;base64,{base64.b64encode(html).decode()}", width)
    await page.wait_for("document.readyState == 'complete' && document.querySelectorAll('td').length == 8")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert await page.evaluate(CUT_WORDS) == []
