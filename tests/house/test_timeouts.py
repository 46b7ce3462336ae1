"""Tests that no database session waits endlessly, and that the client and the server each notice a lost connection."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack

import pytest
import structlog
from sqlalchemy import text

from app.access.directory import NOBODY
from app.core.db import open_engine, set_binding
from app.core.errors import Unavailable
from app.core.library_log import PlainHandler
from app.core.log import log_context
from app.core.timeouts import IDLE, INTERVAL, PROBES, Timeouts, keep_alive
from app.core.writer_share import WriterShare
from app.settings import Settings

LIMITS = Timeouts(lock=1.5, statement=7, idle=8)
SECRET = "Zq7SubmittedValue"


async def test_a_session_has_the_limits_of_its_engine(settings: Settings) -> None:
    """Every connection of an engine has the engine's time limits as soon as it is opened."""
    engine = open_engine(settings.url_of("api"), name="tests limits", timeouts=LIMITS)
    try:
        async with engine.connect() as connection:
            await set_binding(connection, NOBODY)
            values = [
                await connection.scalar(text(f"SELECT current_setting('{name}')")) for name in LIMITS.of_sessions()
            ]
    finally:
        await engine.dispose()
    assert values == ["1500ms", "7s", "8s"]


def test_each_process_has_limits_by_default() -> None:
    """By default every process has timeouts, and those of a sync are longer than those of a request."""
    requests, syncs = Settings().timeouts, Settings().sync_timeouts
    assert min(requests.lock, requests.statement, requests.idle, requests.connect) > 0
    assert (syncs.lock, syncs.statement, syncs.idle) > (requests.lock, requests.statement, requests.idle)
    assert requests.server_settings()["tcp_keepalives_idle"] == str(IDLE)


async def test_our_side_of_a_connection_asks_whether_the_other_is_there() -> None:
    """Keep-alive is set on TCP connections, so that a lost peer is noticed; Unix sockets do not have it."""
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        keep_alive(writer.transport)
        sock = writer.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = vars(socket)
        idle = names.get("TCP_KEEPIDLE") or names["TCP_KEEPALIVE"]
        assert sock.getsockopt(socket.IPPROTO_TCP, idle) == IDLE
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == INTERVAL
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == PROBES
        writer.close()


async def test_writers_leave_connections_to_reads() -> None:
    """Writers use fifteen of twenty connections; the next writer waits and is refused, and a read does not wait."""
    share = WriterShare(20, wait=0.01)
    async with AsyncExitStack() as stack:
        for _ in range(share.most):
            await stack.enter_async_context(share.turn())
        with pytest.raises(Unavailable) as refused:
            async with share.turn():
                raise AssertionError("A sixteenth writer was let in.")
        assert refused.value.code == "database.busy"
        async with share.turn(writes=False):
            assert share.most == 15
    async with share.turn():
        pass


@pytest.mark.parametrize("connections", [2, 3, 8, 400])
def test_there_is_always_a_connection_for_each(connections: int) -> None:
    """The smallest pool still has one connection for a writer and one for a read."""
    assert 1 <= WriterShare(connections, wait=1).most < connections


def test_what_a_library_logs_shows_no_value() -> None:
    """A log record of a library shows its place in the code, but neither arguments nor an exception's message."""
    logger = logging.Logger("asyncio")
    logger.addHandler(PlainHandler())
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        with log_context(trace_id="abc"):
            try:
                raise ValueError(SECRET)
            except ValueError:
                logger.exception("It broke over %s.\n%s", SECRET, SECRET)
            logging.Logger("other").debug(SECRET)
    (line,) = logs
    assert SECRET not in str(line)
    assert (line["message"], line["kind"], line["trace_id"]) == ("It broke over %s.", "ValueError", "abc")
    assert line["place"].startswith("tests/house/test_timeouts.py:")
