"""``tapewright run``: the engine alone, or a screen that starts and owns its engine."""

from __future__ import annotations

import msgspec

from cli.options import RunOptions
from cli.venues import venues_of
from core.clock import Clock, SystemClock
from core.config import Settings, StrategySettings, load_settings
from core.state import EngineLock, StateDir, resolve_state_dir

PRACTICE = StrategySettings(threshold=0.02, min_edge_bps=-1000.0)
"""What the simulated market is traded with; see ``settings_for``."""


def run_command(options: RunOptions) -> int:
    """Run until asked to stop; return the exit code."""
    settings = settings_for(options)
    state_dir = resolve_state_dir(options.state)
    if not options.headless:
        from cli.screen import run_with_screen

        return run_with_screen(_words(options), state_dir, settings)
    state = StateDir(state_dir).create()
    clock = SystemClock()
    venue = "+".join(venues_of(settings.run))
    with EngineLock(state, venue=venue, command="run", started_ns=clock.now_ns()):
        _start(options, settings, state, clock)
    return 0


def _start(options: RunOptions, settings: Settings, state: StateDir, clock: Clock) -> None:
    if settings.run.venue == "sim":
        from cli.run_sim import start_sim

        start_sim(settings, state, clock, options.duration_s)
    else:
        from cli.run_live import start_live

        start_live(settings, state, clock, options.duration_s, options.endpoint)


def settings_for(options: RunOptions) -> Settings:
    """Return the settings with what the command line overrides.

    On the simulated market with ``[sim] practice`` an idea need not pay its cost: a taker has no
    edge there (docs/simulated-market.md), and every proposal shows what it would cost.
    """
    settings = load_settings(options.config)
    given = {
        "venue": options.venues[0].value if options.venues else None,
        "more_venues": tuple(each.value for each in options.venues[1:]) if options.venues else None,
        "symbols": options.symbols,
        "mode": options.mode.value if options.mode else None,
        "seed": options.seed,
    }
    run = msgspec.structs.replace(
        settings.run, **{key: value for key, value in given.items() if value is not None}
    )
    # A capture of the simulated market holds what its seed can make again.
    record = settings.feed.record and run.venue != "sim"
    feed = msgspec.structs.replace(
        settings.feed, record=record if options.record is None else options.record
    )
    strategy = settings.strategy
    if run.venue == "sim" and settings.sim.practice:
        strategy = msgspec.structs.replace(
            strategy,
            threshold=min(strategy.threshold, PRACTICE.threshold),
            min_edge_bps=min(strategy.min_edge_bps, PRACTICE.min_edge_bps),
        )
    return msgspec.structs.replace(settings, run=run, feed=feed, strategy=strategy)


def _words(options: RunOptions) -> list[str]:
    """Return the command line that starts the same run, without state and screen."""
    words = ["run"]
    values = {
        "--mode": options.mode,
        "--duration": options.duration_s,
        "--seed": options.seed,
        "--config": options.config,
        "--endpoint": options.endpoint,
    }
    for name, value in values.items():
        if value is not None:
            words += [name, str(value)]
    for venue in options.venues or ():
        words += ["--venue", venue]
    for symbol in options.symbols or ():
        words += ["--symbol", symbol]
    if options.record is not None:
        words.append("--record" if options.record else "--no-record")
    return words
