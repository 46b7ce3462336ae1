"""Tests that signals are accepted, dismissed and merged, one by one and many at once."""

from datetime import timedelta
from typing import Any

from fastapi import FastAPI

from tests.faces.rest_town import Caller, caller
from tests.rooms.test_screening_report import screened
from tests.rooms.test_screening_windows import scheduled, window
from tests.rooms.test_signals import NOW, TODAY, computed, published
from tests.town import Town


async def suggested(asks: Caller, town: Town) -> dict[str, dict[str, Any]]:
    """Suggests signals about amy and ben, and returns the signals, keyed by the student's name."""
    await scheduled(asks, window(*NOW))
    await screened(asks, town, str(TODAY), amy=50.0, ben=40.0)
    await published(asks)
    return await computed(asks, town)


async def suggested_twice(asks: Caller, town: Town) -> list[dict[str, Any]]:
    """Suggests two signals about amy, one in each of two windows, and one signal about ben.

    Returns amy's two signals, then ben's signal.
    """
    past = (str(TODAY - timedelta(days=20)), str(TODAY - timedelta(days=6)))
    await scheduled(asks, window(*past))
    await screened(asks, town, past[0], amy=30.0)
    await suggested(asks, town)
    by_student: dict[str, list[dict[str, Any]]] = {}
    for signal in await asks.items("/v1/signals", state="suggested"):
        by_student.setdefault(signal["student"], []).append(signal)
    return [signal for rows in sorted(by_student.values(), key=len, reverse=True) for signal in rows]


async def test_many_signals_are_accepted_and_each_has_a_result(app: FastAPI, north: Town) -> None:
    """Many signals can be accepted in one request, and each has a result.

    A signal that was dismissed before is refused, and the others are accepted.
    """
    asks = caller(app, north)
    signals = await suggested(asks, north)
    await asks.post(f"/v1/signals/{signals['ben']['id']}/dismiss", {"because": "Ill."})
    items = [{"signal": signals[name]["id"]} for name in ("amy", "ben")] + [{"signal": "sig_no"}]
    tried = (await asks.post("/v1/signals/accept", {"signals": items, "dry_run": True})).json()["results"]
    assert [one["outcome"] for one in tried] == ["recorded", "refused", "refused"]
    none = (await asks.post("/v1/signals/accept", {"signals": items, "atomic": True})).json()["results"]
    assert [one["outcome"] for one in none] == ["not_applied", "refused", "refused"]
    assert await asks.items("/v1/concerns") == []
    results = (await asks.post("/v1/signals/accept", {"signals": items})).json()["results"]
    assert [one["outcome"] for one in results] == ["recorded", "refused", "refused"]
    assert [one["violations"][0]["pointer"] for one in results[1:]] == ["/signals/1", "/signals/2/signal"]
    assert results[1]["violations"][0]["code"] == "signal.settled"
    (concern,) = await asks.items("/v1/concerns", state="accepted")
    assert (results[0]["signal"]["state"], results[0]["signal"]["concern"]) == ("accepted", concern["id"])


async def test_many_signals_are_dismissed_each_with_its_reason(app: FastAPI, north: Town) -> None:
    """Each of many signals is dismissed with a reason of its own."""
    asks = caller(app, north)
    signals = await suggested(asks, north)
    items: list[dict[str, Any]] = [{"signal": signals["amy"]["id"], "because": "Ill."}]
    answer = await asks.post("/v1/signals/dismiss", {"signals": [*items, {"signal": signals["ben"]["id"]}]})
    first, second = answer.json()["results"]
    assert (first["outcome"], second["outcome"]) == ("recorded", "refused")
    assert second["violations"][0]["pointer"] == "/signals/1/because"
    assert first["signal"]["settled_because"] == "Ill."
    mutation = """mutation ($id: ID!) { dismissSignals(input: {signals: [{signal: $id, because: "Moved."}]}) {
        results { outcome signal { state settledBecause } problems { code } } problems { code } } }"""
    sent = {"query": mutation, "variables": {"id": signals["ben"]["id"]}}
    data = (await asks.post("/graphql", sent)).json()["data"]["dismissSignals"]
    assert data["results"][0]["signal"] == {"state": "DISMISSED", "settledBecause": "Moved."}


async def test_many_signals_are_merged_each_into_its_own(app: FastAPI, north: Town) -> None:
    """A team can merge many signals in one request, for example after a screening by two measures.

    Each signal gets a result. If two signals are to be merged into each other, the second merge is refused.
    """
    asks = caller(app, north)
    first, second, of_ben = await suggested_twice(asks, north)
    pairs = ((first, second), (second, first), (of_ben, second))
    items = [{"signal": one["id"], "into": into["id"]} for one, into in pairs]
    results = (await asks.post("/v1/signals/merge", {"signals": items})).json()["results"]
    assert [one["outcome"] for one in results] == ["recorded", "refused", "refused"]
    problems = [(one["pointer"], one["code"]) for result in results[1:] for one in result["violations"]]
    assert problems == [("/signals/1", "signal.settled"), ("/signals/2/into", "signal.unknown")]
    merged = results[0]["signal"]
    assert (merged["state"], merged["merged_into"]) == ("merged", second["id"])
    mutation = """mutation ($one: ID!, $into: ID!) { mergeSignals(input: {signals: [{signal: $one, into: $into}]}) {
        results { outcome problems { code pointer } } problems { code } } }"""
    sent = {"query": mutation, "variables": {"one": of_ben["id"], "into": of_ben["id"]}}
    data = (await asks.post("/graphql", sent)).json()["data"]["mergeSignals"]
    assert [one["code"] for one in data["results"][0]["problems"]] == ["signal.unknown"]


async def test_a_signal_is_merged_into_another_one_about_the_same_student(app: FastAPI, north: Town) -> None:
    """A signal can be merged only into another one about the same student, so that no second concern is raised."""
    asks = caller(app, north)
    first, second, of_ben = await suggested_twice(asks, north)
    path = f"/v1/signals/{first['id']}/merge"
    for into in (of_ben["id"], first["id"], "sig_no"):
        refused = await asks.post(path, {"into": into})
        assert (refused.status_code, refused.json()["violations"][0]["pointer"]) == (422, "/into")
    merged = (await asks.post(path, {"into": second["id"]})).json()
    assert (merged["state"], merged["merged_into"]) == ("merged", second["id"])
    assert (await asks.get(f"/v1/signals/{second['id']}")).json()["state"] == "suggested"
    again = await asks.post(path, {"into": second["id"]})
    assert (again.status_code, again.json()["code"]) == (409, "signal.settled")
    into_merged = await asks.post(f"/v1/signals/{second['id']}/merge", {"into": first["id"]})
    assert (into_merged.status_code, into_merged.json()["code"]) == (409, "signal.settled")
    # The same evidence is not suggested again while it is merged.
    assert len(await computed(asks, north)) == 2
