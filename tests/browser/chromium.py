"""Drives a headless Chromium over its DevTools protocol, and records every request of its page."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root, where Chromium's own sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
NOWHERE = asyncio.subprocess.DEVNULL
START_LIMIT, WAIT_LIMIT = 60.0, 60.0


class Page:
    """The page of a browser, with its requests and the messages of its console."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the browser's debugging protocol, and returns its result."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(self._answers[number], WAIT_LIMIT)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    async def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        """Opens an address in a window of this size in pixels."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression, awaited if it is a promise."""
        result = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    async def wait_for(self, expression: str) -> Any:
        """Waits until an expression is true, and returns its value. Fails with the page's text if it never is."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_LIMIT
        while not (value := await self.evaluate(expression)):
            if loop.time() > deadline:
                shown = await self.evaluate("document.body ? document.body.innerText.slice(0, 2000) : ''")
                raise AssertionError(f"never true: {expression}\nconsole: {self.complaints}\npage: {shown}")
            await asyncio.sleep(0.1)
        return value

    async def click(self, selector: str) -> None:
        """Clicks the first element that matches, once it is there."""
        await self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def type_into(self, selector: str, text: str) -> None:
        """Inserts a text into a field, as if a person had typed it."""
        await self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.call("Input.insertText", text=text)

    async def picture(self) -> bytes:
        """Returns a picture of the window as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])

    async def close(self) -> None:
        """Stops reading the browser's events."""
        self._reader.cancel()
        with suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                self._answers.pop(event["id"]).set_result(event)
            elif event["method"] == "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            elif event["method"] == "Runtime.exceptionThrown":
                details = event["params"]["exceptionDetails"]
                self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
            elif event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                self.complaints.append(str(event["params"]["entry"]["text"]))


def program() -> str:
    """Returns the path of the browser's program; skips the test if there is none."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("There is no Chromium on this machine; `apt-get install chromium` provides one.")


@asynccontextmanager
async def browser(folder: Path, host: str) -> AsyncIterator[Page]:
    """Runs a browser with an empty profile; `host` resolves to loopback, and no other host resolves."""
    rules = f"--host-resolver-rules=MAP {host} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    command = [program(), *FLAGS, rules, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    surroundings = {**os.environ, "HOME": str(folder)}
    process = await asyncio.create_subprocess_exec(
        *command, env=surroundings, start_new_session=True, stdout=NOWHERE, stderr=NOWHERE
    )
    try:
        port = await _port(folder / "profile" / "DevToolsActivePort", process)
        async with aiohttp.ClientSession(trust_env=False) as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                (target,) = (one for one in await answer.json(content_type=None) if one["type"] == "page")
            async with http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                try:
                    yield page
                finally:
                    await page.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_LIMIT
    while process.returncode is None and loop.time() < deadline:
        with suppress(FileNotFoundError, IndexError, ValueError):
            return int((await asyncio.to_thread(file.read_text)).splitlines()[0])
        await asyncio.sleep(0.05)
    pytest.skip("Chromium does not start on this machine.")
