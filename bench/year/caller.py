"""Sends the requests of a simulated year and counts them by purpose."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from app.sandbox.story_printer import StepFailed

ANSWER_SECONDS = 60.0


class Caller:
    """A client of the district. Each request is counted under the purpose that `counting` names."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=ANSWER_SECONDS, trust_env=False)
        answer = self._http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(client_id, client_secret)
        )
        self._http.headers["Authorization"] = f"Bearer {_expected(answer)['access_token']}"
        self.calls: Counter[str] = Counter()
        self._purpose = "preparing"

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    @contextmanager
    def counting(self, purpose: str) -> Iterator[None]:
        """Counts the requests within the block under this purpose."""
        before, self._purpose = self._purpose, purpose
        try:
            yield
        finally:
            self._purpose = before

    def ask(
        self, method: str, path: str, *, act_for: str | None = None, content_type: str | None = None, **options: Any
    ) -> httpx.Response:
        """Sends a request that may be refused, and returns the response."""
        given = {"Aimline-Act-For": act_for, "Content-Type": content_type}
        headers = {name: value for name, value in given.items() if value}
        self.calls[self._purpose] += 1
        return self._http.request(method, path, headers=headers, **options)

    def get(self, path: str, *, act_for: str | None = None, **parameters: Any) -> Any:
        """Sends a GET request, and returns the JSON of the answer."""
        return _expected(self.ask("GET", path, act_for=act_for, params=parameters))

    def all(self, path: str, **parameters: Any) -> Iterator[Any]:
        """Yields the items of a list, page by page."""
        while True:
            page = self.get(path, limit=200, **parameters)
            yield from page["items"]
            if page["next"] is None:
                return
            parameters["after"] = page["next"]

    def post(self, path: str, body: Any, *, act_for: str | None = None) -> Any:
        """Returns the JSON of a command's answer, or None if it has none."""
        return _expected(self.ask("POST", path, act_for=act_for, json=body))

    def query(self, document: str, *, act_for: str | None = None) -> Any:
        """Returns the data of a GraphQL query, which must have no errors."""
        answer = self.post("/graphql", {"query": document}, act_for=act_for)
        if answer.get("errors"):
            raise StepFailed(f"GraphQL: {answer['errors'][0]['message']}")
        return answer["data"]

    def upload(self, path: str, content: bytes) -> Any:
        """Sends a zip, and returns the JSON of the answer."""
        return _expected(self.ask("POST", path, content=content, content_type="application/zip"))

    def wait_for_run(self, run: str, seconds: float = 60.0) -> dict[str, Any]:
        """Returns a sync run once it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            read: dict[str, Any] = self.get(f"/v1/sync-runs/{run}")
            if read["state"] not in ("pending", "running", "approved"):
                return read
            if time.monotonic() > deadline:
                raise StepFailed(f"the sync is {read['state']} after {seconds:.0f} s")
            time.sleep(0.05)


def _expected(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    place = f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}"
    try:
        problem = answer.json()
    except ValueError:
        raise StepFailed(place) from None
    violations = "; ".join(f"{each['pointer']}: {each['detail']}" for each in problem.get("violations", ()))
    raise StepFailed(f"{place}: {problem.get('code')} {violations or problem.get('detail')}")
