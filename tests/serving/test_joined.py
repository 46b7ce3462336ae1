"""Tests the transport that sends the head of a response (status and headers) in one message with the body."""

import asyncio

from app.serving.joined import JoinedWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Sent(asyncio.Transport):
    """A transport that stores the bytes of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: object) -> None:
        """Keeps these bytes as one message."""
        assert isinstance(data, bytes)
        self.sent.append(data)

    def writelines(self, list_of_data: object) -> None:
        """Keeps these bytes; each call counts as one message."""
        assert isinstance(list_of_data, tuple)
        self.sent.append(b"".join(list_of_data))

    def close(self) -> None:
        """Records that the transport was closed."""
        self.is_closed = True


async def test_a_head_and_its_body_leave_in_one_message() -> None:
    """The head and the body of a response are sent in one message. Two responses in a row give two messages."""
    sent = Sent()
    joined = JoinedWrites(sent, asyncio.get_running_loop())
    for _ in range(2):
        joined.write(HEAD)
        joined.write(b"{}")
    await asyncio.sleep(0)
    assert sent.sent == [HEAD + b"{}", HEAD + b"{}"]


async def test_a_head_without_a_body_does_not_wait() -> None:
    """If no body follows at once, the head of a response (status and headers) is sent alone.

    Closing the connection first sends the bytes that still wait.
    """
    sent = Sent()
    joined = JoinedWrites(sent, asyncio.get_running_loop())
    joined.write(HEAD)
    await asyncio.sleep(0)
    assert sent.sent == [HEAD]
    joined.write(b"data")
    joined.write(HEAD)
    joined.close()
    assert sent.sent == [HEAD, b"data", HEAD]
    assert sent.is_closed
