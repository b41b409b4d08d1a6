"""Processor time of one frame of the desk, with made snapshots and no engine.

Every frame changes the book, the bars, the signals, the P&L and the countdown, as a busy market
would. Measures this process from snapshot to bytes for the terminal: building lines, composing,
encoding. Prints one JSON object.

    python -m bench.bench_screen [--frames 200] [--size 160x45]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

import msgspec
from rich.console import RenderableType
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from core.clock import SystemClock
from core.config import ScreenSettings
from core.control import Ack, AnyCommand
from core.snapshot import Snapshot
from tests.tui import snapshots as made
from tui.app import TapewrightApp

WARM_FRAMES = 20
BUDGET_MS = 25.0


class BusySource:
    """A market that changes with every step."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._n = 0
        self.newest = self.step()

    def step(self) -> Snapshot:
        self._n += 1
        n = self._n
        view = made.instrument(
            mid_ticks=10_012 + (n * 7 % 11) - 5,
            phase=n,
            signals=tuple(
                msgspec.structs.replace(s, value=((n * 31 + i * 17) % 200 - 100) / 100)
                for i, s in enumerate(made.SHARES)
            ),
            forecasts=(made.forecast(1, 0.5 + (n % 20 - 10) / 200), made.forecast(5, 0.55)),
        )
        self.newest = made.normal(
            number=n,
            instruments=(view,),
            proposals=(made.proposal(left_ms=10_000 - n * 100 % 10_000),),
            pnl=msgspec.structs.replace(made.PNL, total=f"{n % 90 / 7:.4f}"),
            made_ns=self._clock.now_ns(),
        )
        return self.newest

    async def pull(self) -> Snapshot:
        return self.newest

    async def send(self, command: AnyCommand) -> Ack:
        return Ack(ok=True, text=str(command))

    async def close(self) -> None:
        return None


class MeasuredApp(TapewrightApp):
    """Encodes each update for the terminal as the real driver would, and counts it."""

    written = 0

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if isinstance(renderable, CompositorUpdate):
            self.written += len(renderable.render_segments(self.console).encode())
        super()._display(screen, renderable)


async def measure(width: int, height: int, frames: int) -> dict[str, object]:
    clock = SystemClock()
    source = BusySource(clock)
    app = MeasuredApp(source, ScreenSettings(hz=1), clock)
    costs: list[float] = []
    written = 0
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        for frame in range(frames + WARM_FRAMES):
            if frame == WARM_FRAMES:
                written = app.written
            app.state.receive(source.step(), clock.now_ns())
            started = time.process_time_ns()
            app.draw()
            await pilot.pause()
            if frame >= WARM_FRAMES:
                costs.append((time.process_time_ns() - started) / 1e6)
        written = app.written - written
    costs.sort()
    return {
        "size": f"{width}x{height}",
        "frames": frames,
        "ms_mean": round(statistics.fmean(costs), 2),
        "ms_p50": round(costs[len(costs) // 2], 2),
        "ms_p99": round(costs[int(len(costs) * 0.99)], 2),
        "kib_per_frame": round(written / frames / 1024, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--size", action="append", help="like 160x45; may be repeated")
    options = parser.parse_args()
    results = []
    for size in options.size or ["80x24", "120x40", "160x45", "200x60"]:
        width, height = map(int, size.split("x"))
        results.append(asyncio.run(measure(width, height, options.frames)))
    print(json.dumps({"budget_ms_160x45": BUDGET_MS, "results": results}, indent=2))


if __name__ == "__main__":
    main()
