"""Tests the recap of a closed meeting and the pages of meetings: complete, escaped, and limited to what the caller
sees.
"""

from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

from fastapi import FastAPI

from app.core import ids
from app.core.clock import now, today_in
from tests.faces.graphql_face import query_data
from tests.faces.rest_town import CLIENT_SCOPES, Caller, caller
from tests.rooms.agenda_town import agenda_of, done, meeting_of, meeting_team, opened, raised
from tests.rooms.team_town import named
from tests.town import TIME_ZONE, Town

HOSTILE = '<script>alert(1)</script> & "so\' on"'
VOID = {"meta"}


class Page(HTMLParser):
    """Reads an HTML page with the standard library's parser: its tags, its text, and whether every tag is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """Returns the visible text of the page."""
        return " ".join(self.words)


async def page_of(asks: Caller, path: str) -> Page:
    """Returns a page of a meeting.

    Checks that all tags are closed, that there are no scripts, links or images, and that no cache may store the page.
    """
    answer = await asks.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = Page(answer.text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "form", "a"} & set(page.tags)
    assert not {name for name in page.attributes if name.startswith("on") or name in ("src", "href", "style")}
    return page


async def closed_meeting(asks: Caller, town: Town) -> tuple[str, str]:
    """Holds a meeting with an item for each outcome and an action item. Returns the ids of the team and the meeting."""
    team = await meeting_team(town)
    await raised(asks, town, "amy")
    await raised(asks, town, "ben")
    await done(asks, "agenda-items", team=team, text=HOSTILE)
    meeting = await opened(asks, team)
    first, second, own = (item["item"] for item in (await agenda_of(asks, team))["items"])
    due_on = str((now() + timedelta(days=14)).date())
    owner = named("person", town.staff["teacher"])
    agreed: dict[str, Any] = {"text": f"Call the family. {HOSTILE}", "owner": owner, "due_on": due_on}
    await done(asks, f"agenda-items/{first}/action-items", **agreed)
    await done(asks, f"agenda-items/{first}/discuss", minutes=f"She reads at home. {HOSTILE}")
    await done(asks, f"agenda-items/{second}/drop", because="He has moved.")
    await done(asks, f"agenda-items/{own}/carry")
    await done(asks, f"meetings/{meeting['id']}/close")
    return team, meeting["id"]


async def test_a_recap_says_what_became_of_each_item(app: FastAPI, north: Town) -> None:
    """A recap has the outcome of each item with its reason, and the action items with owner and day, over both APIs."""
    asks = caller(app, north)
    team, meeting = await closed_meeting(asks, north)
    recap = (await asks.get(f"/v1/meetings/{meeting}/recap")).json()
    assert (recap["team"], recap["hidden"], recap["suspended"]) == (team, 0, [])
    (discussed,), (carried,), (dropped,) = recap["discussed"], recap["carried"], recap["dropped"]
    assert discussed["minutes"] == f"She reads at home. {HOSTILE}"
    assert (carried["text"], carried["student"]) == (HOSTILE, None)
    assert dropped["dropped_because"] == "He has moved."
    assert discussed["student"]["id"] == named("student", north.students["amy"])
    assert discussed["student"]["name"]
    (reason,) = discussed["reasons"]
    assert (reason["code"], reason["records"]) == ("new_concern", [discussed["subject"]])
    assert (discussed["area_name"], dropped["area_name"], carried["area_name"]) == (*["Reading fluency"] * 2, None)
    (action,) = recap["action_items"]
    assert (action["item"], action["student"]) == (discussed["item"], discussed["student"])
    assert action["owner"]["id"] == named("person", north.staff["teacher"])
    document = (
        f'{{ recap(meetingId: "{meeting}") {{ teamName hidden discussed {{ itemId state minutes student {{ id name }} '
        "areaName intervention measureNames action coreStall { grade } reasons { code recordIds } decision { id } } "
        "carried { text } dropped { droppedBecause } actionItems { id owner { id name } dueOn } } }"
    )
    shown = (await query_data(north, document))["recap"]
    assert shown["discussed"][0] | {"decision": None} == {
        "itemId": discussed["item"],
        "state": "DISCUSSED",
        "minutes": discussed["minutes"],
        "student": discussed["student"],
        "areaName": "Reading fluency",
        "intervention": None,
        "measureNames": [],
        "action": None,
        "coreStall": None,
        "reasons": [{"code": "new_concern", "recordIds": reason["records"]}],
        "decision": None,
    }
    assert (shown["carried"], shown["dropped"]) == ([{"text": HOSTILE}], [{"droppedBecause": "He has moved."}])
    assert shown["actionItems"] == [{"id": action["id"], "owner": action["owner"], "dueOn": action["due_on"]}]


async def test_a_recap_names_the_decision(app: FastAPI, north: Town) -> None:
    """A decision that a team made about an item is in the recap, as data and as a sentence."""
    asks = caller(app, north)
    team = await meeting_team(north)
    await raised(asks, north, "amy")
    meeting = await opened(asks, team)
    (item,) = (await agenda_of(asks, team))["items"]
    body = {"student": item["student"], "kind": "refer", "note": "To the specialist."}
    decision = await done(asks, "decisions", **body)
    await done(asks, f"agenda-items/{item['item']}/discuss", decision=decision["id"])
    await done(asks, f"meetings/{meeting['id']}/close")
    (discussed,) = (await asks.get(f"/v1/meetings/{meeting['id']}/recap")).json()["discussed"]
    assert discussed["decision"] == {
        "id": decision["id"],
        "kind": "refer",
        "decided_on": decision["decided_on"],
        "note": "To the specialist.",
    }
    page = await page_of(asks, f"/v1/meetings/{meeting['id']}/recap.html")
    assert "Refer" in page.text
    assert "To the specialist." in page.text


async def test_the_page_of_a_recap_runs_nothing(app: FastAPI, north: Town) -> None:
    """The page of a recap shows all text that people wrote as plain text. It loads nothing, and no cache stores it."""
    asks = caller(app, north)
    _, meeting = await closed_meeting(asks, north)
    page = await page_of(asks, f"/v1/meetings/{meeting}/recap.html")
    for words in ("What we discussed", "Carried to the next meeting", "Dropped", "Who does what by when", HOSTILE):
        assert words in page.text
    assert "He has moved." in page.text


async def test_only_a_closed_meeting_has_a_recap(app: FastAPI, north: Town) -> None:
    """A recap is refused for a meeting that is not closed. The error names the meeting's state."""
    asks = caller(app, north)
    team = await meeting_team(north)
    meeting = (await meeting_of(asks, team))["id"]

    async def refusal() -> tuple[int, str]:
        answers = [await asks.get(f"/v1/meetings/{meeting}/{name}") for name in ("recap", "recap.html")]
        ((status, code),) = {(answer.status_code, answer.json()["code"]) for answer in answers}
        return status, code

    assert await refusal() == (409, "meeting.scheduled")
    await done(asks, f"meetings/{meeting}/open")
    assert await refusal() == (409, "meeting.open")
    meeting = (await meeting_of(asks, team))["id"]
    await done(asks, f"meetings/{meeting}/cancel", because="Snow.")
    assert await refusal() == (409, "meeting.cancelled")
    meeting = ids.format_id("meeting", ids.new_id())
    assert (await refusal())[0] == 404


async def test_secured_items_and_names_are_withheld(app: FastAPI, north: Town) -> None:
    """A caller without access to a secured area sees only the number of hidden items.

    A caller who may not read the roster sees no name.
    """
    asks, other = caller(app, north), caller(app, north, CLIENT_SCOPES - {"area:sel", "roster:read"})
    team = await meeting_team(north)
    await raised(asks, north, "amy", "sel")
    await raised(asks, north, "ben")
    meeting = (await opened(asks, team))["id"]
    (secured,) = [
        one
        for one in (await agenda_of(asks, team))["items"]
        if one["student"] == named("student", north.students["amy"])
    ]
    await done(asks, f"agenda-items/{secured['item']}/discuss", minutes="A secret of the area.")
    await done(asks, f"meetings/{meeting}/close", carry_rest=True)
    whole, part = [(await one.get(f"/v1/meetings/{meeting}/recap")).json() for one in (asks, other)]
    assert (len(whole["discussed"]), whole["hidden"]) == (1, 0)
    assert (part["discussed"], part["hidden"]) == ([], 1)
    assert part["carried"][0]["student"] == {"id": named("student", north.students["ben"]), "name": None}
    for path in (f"meetings/{meeting}/recap.html", f"teams/{team}/agenda.html?meeting={meeting}"):
        page = await page_of(other, f"/v1/{path}")
        assert "1 item that you may not see" in page.text
        assert "A student" in page.text
        for name in (whole["carried"][0]["student"]["name"], "A secret of the area."):
            assert name not in page.text


async def test_an_agenda_is_printed_before_the_meeting(app: FastAPI, north: Town) -> None:
    """The agenda can be printed before there is a meeting. It has the items that members added, escaped."""
    asks = caller(app, north)
    team = await meeting_team(north)
    empty = await page_of(asks, f"/v1/teams/{team}/agenda.html")
    assert "not scheduled yet" in empty.text
    assert "There is nothing on it." in empty.text
    await raised(asks, north, "amy")
    await done(asks, "agenda-items", team=team, text=HOSTILE)
    await meeting_of(asks, team, place=HOSTILE)
    page = await page_of(asks, f"/v1/teams/{team}/agenda.html")
    assert "A new concern" in page.text
    assert page.text.count(HOSTILE) == 2


async def test_a_page_says_what_was_agreed_to_those_who_may_read_it(app: FastAPI, north: Town) -> None:
    """The pages of a meeting show the text of an agreed action only to those who may read action items."""
    asks = caller(app, north)
    team = await meeting_team(north)
    owner, text = named("person", north.staff["teacher"]), "Call the family about the new plan."
    student = named("student", north.students["amy"])
    agreed = {"team": team, "text": text, "owner": owner, "due_on": str(today_in(TIME_ZONE)), "student": student}
    await done(asks, "action-items", **agreed)
    assert text in (await page_of(asks, f"/v1/teams/{team}/agenda.html")).text
    reader = caller(app, north, CLIENT_SCOPES - {"action:read"})
    page = await page_of(reader, f"/v1/teams/{team}/agenda.html")
    assert text not in page.text
    assert "What we agreed is due" in page.text


async def test_pages_say_which_of_two_supports_an_item_is_about(app: FastAPI, north: Town) -> None:
    """If a student has two supports, the pages of a meeting state which support an item is about.

    An item about a concern states its area.
    """
    asks = caller(app, north)
    team = await meeting_team(north)
    student = named("student", north.students["amy"])
    for area, intervention in (("ela.fluency", "Repeated reading"), ("attendance", "A call each morning")):
        days = {"starts_on": str(today_in(TIME_ZONE) - timedelta(days=7)), "review_on": str(today_in(TIME_ZONE))}
        plan = {"area": area, "intervention": intervention, "level": 2, "sessions_per_week": 3}
        await done(asks, "supports", student=student, minutes_per_session=20, **plan, **days)
    await raised(asks, north, "ben", "math.computation")
    meeting = await opened(asks, team)
    page = await page_of(asks, f"/v1/teams/{team}/agenda.html")
    for words in (": Repeated reading", ": A call each morning", "Computation"):
        assert words in page.text, page.text
    hidden = caller(app, north, CLIENT_SCOPES - {"support:read"})
    assert "Repeated reading" not in (await page_of(hidden, f"/v1/teams/{team}/agenda.html")).text
    await done(asks, f"meetings/{meeting['id']}/close", carry_rest=True)
    recap = await page_of(asks, f"/v1/meetings/{meeting['id']}/recap.html")
    assert ": A call each morning" in recap.text
