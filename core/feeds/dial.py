"""The one place that opens a network socket: the attempt, its limits and what a refusal means."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, InvalidURI, WebSocketException

from core.clock import NS_PER_S, Clock
from core.errors import Failed
from core.feeds.frames import MAX_FRAME_BYTES, FrameConnection
from core.feeds.http import HTTP_S, SLOW_DOWN, silence_s
from core.feeds.line import Line
from core.feeds.products import is_loopback
from core.feeds.times import printable

_OPEN_S, _CLOSE_S, _PING_S = 10.0, 2.0, 10.0
_FATAL_STATUS = frozenset({400, 401, 403, 404, 410, 451})


async def dial(url: str, line: Line, clock: Clock, opened: Callable[[], None]) -> None:
    """Run one connection from the attempt to its end; the line knows why it ended.

    ``opened`` is called once the socket is open. Errors: ``Failed`` where trying again cannot
    help; what the line raises.
    """
    try:
        async with (
            connect(
                url,
                create_connection=FrameConnection,
                max_size=MAX_FRAME_BYTES,
                compression=None,
                open_timeout=_OPEN_S,
                close_timeout=_CLOSE_S,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                proxy=None if is_loopback(url) else True,
            ) as socket,
            httpx.AsyncClient(timeout=HTTP_S, trust_env=not is_loopback(url)) as client,
        ):
            assert isinstance(socket, FrameConnection)
            opened()
            await line.use(socket, client, url)
    except InvalidURI as error:
        raise Failed(f"{printable(url)}: was not a socket address") from error
    except InvalidStatus as error:
        line.finish(*_judge(url, error, clock))
    except ssl.SSLCertVerificationError as error:
        raise Failed(f"{printable(url)}: certificate refused ({error.verify_message})") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        verb = "cannot connect" if line.opened_ns is None else "connection lost"
        line.finish(f"{verb} ({printable(str(error)) or type(error).__name__})")


def _judge(url: str, error: InvalidStatus, clock: Clock) -> tuple[str, int]:
    """Return why the handshake failed and when to try again, 0 for when it pleases us.

    Errors: ``Failed`` where trying again cannot help.
    """
    status = error.response.status_code
    if status in _FATAL_STATUS:
        hint = "; the venue does not serve this region" if status == 451 else ""
        raise Failed(f"{printable(url)}: the venue refused the connection (HTTP {status}{hint})")
    reason = f"the venue refused the connection (HTTP {status})"
    if status not in SLOW_DOWN or "Retry-After" not in error.response.headers:
        return reason, 0
    wait_s = silence_s(error.response.headers["Retry-After"])
    return f"{reason[:-1]}, it asks for {wait_s} s)", clock.now_ns() + wait_s * NS_PER_S
