"""Records of a connection that does not serve yet, kept until it does.

A capture tells the story of one connection at a time (``capture/1``): while a second connection
warms up, only the serving one is recorded. At the handover the second one's story follows in
one piece, so that a replay builds the same books from it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

HELD_BYTES_MAX = 64 * 1024 * 1024
"""Warming up takes seconds; a venue's largest snapshot is 5 MB."""


class FrameRecorder(Protocol):
    """Takes what a socket sees; ``core.feeds.recorder.CaptureWriter`` is the real one."""

    @property
    def wants_connection(self) -> bool:
        """True if a new connection would let it go on, in a new file."""

    def opened(self, ns: int, url: str) -> None: ...
    def sent(self, ns: int, text: str) -> None: ...
    def received(self, ns: int, data: bytes) -> None: ...
    def fetched(self, ns: int, url: str, body: bytes) -> None: ...
    def closed(self, ns: int, why: str) -> None: ...


class _Held(msgspec.Struct, frozen=True, gc=False):
    kind: str
    data: bytes = b""
    text: str = ""
    """Text that was sent, address that was asked, or why it was closed."""


class HeldRecords:
    """A recorder that keeps what it is given, up to ``HELD_BYTES_MAX``."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self._records: list[_Held] = []

    wants_connection = False

    @property
    def is_full(self) -> bool:
        """True if something was lost: the story is not whole any more."""
        return self.n_bytes > HELD_BYTES_MAX

    def opened(self, ns: int, url: str) -> None:  # noqa: ARG002 (role)
        self._hold(_Held("open", text=url))

    def sent(self, ns: int, text: str) -> None:  # noqa: ARG002 (role)
        self._hold(_Held("send", text=text))

    def received(self, ns: int, data: bytes) -> None:  # noqa: ARG002 (role)
        self._hold(_Held("recv", data))

    def fetched(self, ns: int, url: str, body: bytes) -> None:  # noqa: ARG002 (role)
        self._hold(_Held("http", body, url))

    def closed(self, ns: int, why: str) -> None:  # noqa: ARG002 (role)
        self._hold(_Held("close", text=why))

    def tell(self, recorder: FrameRecorder, now_ns: int) -> None:
        """Give everything to ``recorder`` as of ``now_ns``, in order.

        All at one time, because a capture's time never goes back, and because this is when the
        run took these frames into its books.
        """
        for each in self._records:
            match each.kind:
                case "open":
                    recorder.opened(now_ns, each.text)
                case "send":
                    recorder.sent(now_ns, each.text)
                case "recv":
                    recorder.received(now_ns, each.data)
                case "http":
                    recorder.fetched(now_ns, each.text, each.data)
                case _:
                    recorder.closed(now_ns, each.text)
        self._records.clear()

    def _hold(self, record: _Held) -> None:
        self.n_bytes += len(record.data) + len(record.text)
        if not self.is_full:
            self._records.append(record)
