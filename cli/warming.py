"""What a first run would compile, in steps small enough to show progress.

Each step runs the code that a run runs, on a moment of the simulated market.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

Step = Callable[[], None]


def _market() -> None:
    from core.sim.market import SimMarket, sim_instrument

    market = SimMarket(sim_instrument(), 1)
    for _ in range(200):
        market.step()
    market.take(1, 1, 10**9, market.next_ns)


def _run() -> None:
    """Replay nothing, run the simulated market for a moment: every kernel that is left."""
    from cli.options import RunOptions, Venue
    from cli.run import run_command

    with TemporaryDirectory() as folder:
        run_command(
            RunOptions(venues=(Venue.SIM,), headless=True, duration_s=0.5, state=Path(folder))
        )


def _venues() -> None:
    from core.feeds.ready import load_kernels

    for venue in ("binance", "coinbase"):
        load_kernels(venue)


STEPS: tuple[tuple[str, Step], ...] = (
    ("frames of venues", _venues),
    ("simulated market", _market),
    ("book, signals, forecasts, agent", _run),
)
