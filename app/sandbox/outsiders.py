"""Provides the outside parties of the demonstration: operator's command line, vendor's client and webhook receiver."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

from app.sandbox.story_printer import StepFailed

ANSWER_LIMIT = 20.0


def aimline(*arguments: str, fine: tuple[int, ...] = (0,)) -> str:
    """Runs the command line as an operator would and returns its output.

    Raises `StepFailed` with the last line of the output if the exit code is not one of `fine`.
    """
    finished = subprocess.run(  # runs our own program with our own arguments
        [sys.executable, "-m", "app", *arguments], capture_output=True, text=True, check=False
    )
    if finished.returncode not in fine:
        output = (finished.stderr or finished.stdout).strip().splitlines()
        last = _sentence(output[-1]) if output else "it printed nothing"
        raise StepFailed(f"aimline {arguments[0]} ended with {finished.returncode}: {last}")
    return finished.stdout


def _sentence(line: str) -> str:
    try:
        return str(json.loads(line)["sentence"])
    except (ValueError, KeyError, TypeError):
        return line


class Vendor:
    """A SIS vendor's API client, which has a token and sends requests with it."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self.client_id, self.client_secret = client_id, client_secret
        self._http = httpx.Client(base_url=base_url, timeout=ANSWER_LIMIT, trust_env=False)
        self.token = self._token(client_id, client_secret)
        self._http.headers["Authorization"] = f"Bearer {self.token}"

    def _token(self, client_id: str, client_secret: str) -> str:
        answer = self._http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(client_id, client_secret)
        )
        return str(_expected(answer)["access_token"])

    def get(self, path: str, *, act_for: str | None = None, **parameters: Any) -> Any:
        """Sends a GET request and returns the JSON of the response."""
        return _expected(self._http.get(path, params=parameters, headers=_for(act_for)))

    def all(self, path: str, **parameters: Any) -> Iterator[Any]:
        """Yields the items of a list, which it requests page by page."""
        while True:
            page = self.get(path, limit=200, **parameters)
            yield from page["items"]
            if page["next"] is None:
                return
            parameters["after"] = page["next"]

    def picture(self, path: str) -> str:
        """Sends a GET request and returns the SVG of the response."""
        answer = self._http.get(path)
        if answer.headers.get("content-type") != "image/svg+xml":
            raise StepFailed(f"GET {path} answered {answer.status_code}, and with no SVG")
        return answer.text

    def post(self, path: str, body: Any, *, act_for: str | None = None) -> Any:
        """Sends a POST request and returns the JSON of the response."""
        return _expected(self._http.post(path, json=body, headers=_for(act_for)))

    def ask(self, path: str, body: Any, *, act_for: str | None = None) -> httpx.Response:
        """Sends a POST request that may be refused, and returns the response."""
        return self._http.post(path, json=body, headers=_for(act_for))

    def graphql(self, query: str, **variables: Any) -> Any:
        """Runs a GraphQL operation and returns its data; raises `StepFailed` if it has errors."""
        result = _expected(self._http.post("/graphql", json={"query": query, "variables": variables}))
        if result.get("errors"):
            raise StepFailed(f"GraphQL answered with the error {result['errors'][0]['message']!r}")
        return result["data"]


class Receiver:
    """A webhook receiver in a separate process, which verifies every signature."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="aimline-receiver-")
        self._secret = Path(self._folder.name) / "secret"
        self._secret.touch(mode=0o600)

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "app.sandbox.receiver", "--port", "0", "--until-stdin-closes"]
        self._process = subprocess.Popen(  # runs our own program with our own arguments
            [*command, "--secret-file", str(self._secret)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101  # the process was started with a pipe
        self.url = self._process.stdout.readline().strip()
        if not self.url.startswith("http"):
            raise StepFailed("the receiver did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)  # closes the pipes to the receiver, which then ends
        self._folder.cleanup()

    def set_secret(self, secret: str) -> None:
        """Gives the receiver the endpoint's secret."""
        self._secret.write_text(secret + "\n")

    def received(self) -> list[dict[str, Any]]:
        """Returns the deliveries so far, in the order of their arrival."""
        with httpx.Client(timeout=ANSWER_LIMIT, trust_env=False) as http:
            return list(http.get(f"{self.url}received", params={"after": 0}).json())

    def wait_for(self, type_: str, seconds: float = 10.0) -> dict[str, Any]:
        """Waits for a delivery of an event of this type, and returns the first such delivery."""
        received = 0
        with httpx.Client(timeout=seconds + 5, trust_env=False) as http:
            while True:
                parameters = {"after": received, "wait": seconds}
                deliveries = json.loads(http.get(f"{self.url}received", params=parameters).text)
                if not deliveries:
                    raise StepFailed(f"no webhook {type_} arrived within {seconds:.0f} s")
                for delivery in deliveries:
                    if (delivery.get("body") or {}).get("type") == type_:
                        return dict(delivery)
                received += len(deliveries)


def _for(person: str | None) -> dict[str, str]:
    return {"Aimline-Act-For": person} if person else {}


def _expected(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        problem = answer.json()
        message = problem.get("detail") or problem.get("error_description") or problem
        if problem.get("violations"):
            message = "; ".join(f"{violation['pointer']}: {violation['detail']}" for violation in problem["violations"])
    except ValueError:
        message = "no JSON"
    raise StepFailed(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}: {message}")
