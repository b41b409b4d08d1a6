"""An event loop whose time is virtual: it runs as fast as the machine does and waits for nothing.

Real sockets of one process on the loopback: what one end has written, the other can read at once.
So when no socket is ready nothing is on its way, and time can jump to the next timer. Every
time-out, back-off and ping of the program under test keeps its real length.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from core.clock import NS_PER_S

_T = TypeVar("_T")
_LOOKS = 3
"""Looks at the sockets before time may jump: a kernel may deliver a moment late."""


class _Selector(selectors.DefaultSelector):
    """Never waits: where a real one would, it moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        for _ in range(1 if timeout == 0 else _LOOKS):
            ready = super().select(0)
            if ready:
                return ready
        if timeout is None:
            # No timer at all: only another thread or a signal could wake this loop.
            return super().select(None)
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Give it to ``asyncio.Runner(loop_factory=VirtualLoop)``."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., _T], *args: Any
    ) -> asyncio.Future[_T]:
        """Do it at once: a thread would take time that this loop does not see."""
        future: asyncio.Future[_T] = self.create_future()
        future.set_result(func(*args))
        return future


class VirtualClock:
    """The loop's time as a ``Clock``."""

    def __init__(self, start_ns: int, loop: VirtualLoop) -> None:
        self._start_ns = start_ns
        self._loop = loop

    def now_ns(self) -> int:
        return self._start_ns + round(self._loop.time() * NS_PER_S)


def run_virtual(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine on a fresh virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
