"""A source without an engine: made snapshots out, commands noted."""

from __future__ import annotations

import asyncio

import msgspec

from core.clock import ManualClock
from core.config import ScreenSettings
from core.control import Ack, AnyCommand
from core.ports import Latch
from core.snapshot import Snapshot
from tests.tui.snapshots import NOW_NS
from tui.app import TapewrightApp
from tui.source import EngineLost


class FakeSource:
    """Returns ``snapshot`` with a new number at each pull; ``lost`` makes it not answer."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self.snapshot = snapshot
        self.lost = "" if snapshot is not None else "no engine runs here"
        self.sent: list[AnyCommand] = []
        self.ack = Ack(ok=True, text="done")
        self.pulls = 0
        self.hold: asyncio.Event | None = None
        """While set and not done, commands do not end."""
        self.closed = False

    async def pull(self) -> Snapshot:
        self.pulls += 1
        if self.lost or self.snapshot is None:
            raise EngineLost(self.lost)
        return msgspec.structs.replace(self.snapshot, number=self.pulls)

    async def send(self, command: AnyCommand) -> Ack:
        self.sent.append(command)
        if self.hold is not None:
            await self.hold.wait()
        if self.lost:
            raise EngineLost(self.lost)
        return self.ack

    async def close(self) -> None:
        self.closed = True

    def kinds(self) -> list[str]:
        return [type(command).__name__ for command in self.sent]


class Rig:
    """An app over a fake source and a clock that stands still until moved."""

    def __init__(
        self,
        snapshot: Snapshot | None,
        *,
        owns_engine: bool = False,
        settings: ScreenSettings | None = None,
        min_labels: int | None = 100,
        latch: Latch | None = None,
    ) -> None:
        self.source = FakeSource(snapshot)
        self.clock = ManualClock(NOW_NS)
        self.app = TapewrightApp(
            self.source, settings or ScreenSettings(hz=1), self.clock,
            owns_engine=owns_engine, min_labels=min_labels, latch=latch, stopwatch=lambda: 0,
        )  # fmt: skip

    def wait(self, ms: int) -> None:
        """Let time pass on the clock."""
        self.clock.move_to(self.clock.now_ns() + ms * 1_000_000)


def screen_text(app: TapewrightApp) -> str:
    """Return what the compositor would put on the terminal, one line a row."""
    width, height = app.size
    rows = []
    for strip in app.screen._compositor.render_strips()[:height]:
        rows.append("".join(segment.text for segment in strip))
    del width
    return "\n".join(rows) + "\n"
