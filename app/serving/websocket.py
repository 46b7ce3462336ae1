"""Limits what a WebSocket connection may cost before and after its caller is known: the number and the rate of frames.

The library's parser reads all bytes that it is given before it hands over the frames. The parser is therefore given a
few kilobytes at a time, so that a flood of tiny frames is noticed after the first few kilobytes.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidMessage
from websockets.frames import Frame

from app.core.metrics import REFUSALS
from app.serving.refusal import answer

SLICE: Final = 4096
"""The largest number of bytes that the parser reads before the frames in these bytes are counted."""
FRAME_BURST: Final = 100
"""The number of frames that a caller may send at once. Each part of a split message is one frame."""
FRAMES_PER_SECOND: Final = 10.0
"""The number of frames that a caller may send each second in the long run."""


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket connection that is ended if its caller sends too many frames."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._allowance, self._counted_at = float(FRAME_BURST), self.loop.time()

    def data_received(self, data: bytes) -> None:
        """Parses the received bytes in slices, until the connection is closing."""
        for begin in range(0, len(data), SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[begin : begin + SLICE])
            if self.conn.handshake_exc is not None and not self.handshake_initiated:
                self._refuse_handshake()

    def handle_events(self) -> None:
        """Handles the frames that the parser has read, or ends the connection if there are too many."""
        now = self.loop.time()
        refilled = self._allowance + (now - self._counted_at) * FRAMES_PER_SECOND
        frames = sum(isinstance(event, Frame) for event in self.conn.events)
        self._allowance, self._counted_at = min(float(FRAME_BURST), refilled) - frames, now
        if self._allowance < 0:
            REFUSALS.labels("websocket.too_many_frames").inc()
            self.transport.abort()
            return
        super().handle_events()

    def _refuse_handshake(self) -> None:
        """Answers a WebSocket request that the library could not read. The library itself would send no answer."""
        self.handshake_complete = self.close_sent = True
        if isinstance(self.conn.handshake_exc, InvalidMessage):
            status, code, detail = 400, "http.malformed", "This is not a request for a WebSocket."
        else:
            detail = "A request for a WebSocket has at most 128 headers, each of at most 8,192 bytes."
            status, code = 431, "headers.too_large"
        REFUSALS.labels(code).inc()
        base_url = str(self.app_state.get("base_url", ""))
        self.transport.write(answer(status, code, detail, self.default_headers, base_url))
        self.transport.close()
