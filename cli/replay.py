"""``tapewright replay``: a capture through the engine that trades live."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from cli.engine import EngineProcess, run_process
from cli.options import ReplayOptions, Speed
from cli.printing import hand_out
from cli.rig import Rig, RunSink
from cli.wiring import RunPlan, open_ledger, wire
from core.brokers.paper import PaperBroker
from core.clock import SystemClock
from core.config import Settings, load_settings
from core.errors import Failed
from core.feeds.capture import CaptureReader, read_capture
from core.feeds.registry import protocol_for
from core.feeds.summary import summary
from core.model.decision import Mode
from core.model.event import RunStarted
from core.replay import run_replay
from core.state import EngineLock, StateDir, resolve_state_dir
from ledger.rows import History

REPLAY_DIR = "replay"
"""Below the user's state directory: a replay never writes into the ledger of live trading."""


def replay_command(options: ReplayOptions) -> int:
    """Replay one capture; return the exit code."""
    settings = load_settings(options.config)
    reader = read_capture(options.capture)
    if not options.headless:
        from cli.screen import run_with_screen

        return run_with_screen(_words(options), _replay_state(options), settings)
    state = StateDir(_replay_state(options)).create()
    clock = SystemClock()
    lock = EngineLock(state, venue=reader.meta.venue, command="replay", started_ns=clock.now_ns())
    with lock:
        seen = _replay(options, settings, reader, state, clock)
    if options.summary is not None:
        hand_out(seen, options.summary)
        if options.summary != "-":
            print(f"summary written to {options.summary}", file=sys.stderr)
    if reader.was_cut:
        raise Failed(f"{reader.cut_text()}; what came before was replayed")
    return 0


def _replay_state(options: ReplayOptions) -> Path:
    if options.state is not None:
        return resolve_state_dir(options.state)
    return resolve_state_dir(None) / REPLAY_DIR


def _words(options: ReplayOptions) -> list[str]:
    """Return the command line that starts the same replay for a screen, without its state."""
    speed = options.speed or Speed.REAL
    mode = options.mode or Mode.CONFIRM
    words = ["replay", str(options.capture), "--speed", speed.value, "--mode", mode.value]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    if options.config is not None:
        words += ["--config", str(options.config)]
    if options.summary is not None:
        words += ["--summary", options.summary]
    return words


def _replay(
    options: ReplayOptions,
    settings: Settings,
    reader: CaptureReader,
    state: StateDir,
    clock: SystemClock,
) -> dict[str, object]:
    writer, history = open_ledger(state)
    plan = replay_plan(
        reader,
        state,
        settings,
        mode=options.mode or Mode.OBSERVE,
        seed=settings.run.seed if options.seed is None else options.seed,
    )
    rig = replay_rig(plan, reader, writer, history, clock.now_ns())
    process = EngineProcess(rig, state, clock, settings.metrics.port)
    speed = options.speed or Speed.MAX
    feed = run_replay(
        rig.session, reader, clock, None if speed is Speed.MAX else float(speed.value)
    )
    body = process.run(feed, ends_with_feed=True, is_live=False)
    run_process(process, body, clock)
    return summary(rig.session.inner)


def replay_plan(
    reader: CaptureReader, state: StateDir, settings: Settings, *, mode: Mode, seed: int
) -> RunPlan:
    """Return the plan of a run over one capture; reads the file once for its digest."""
    return RunPlan(
        state=state,
        settings=settings,
        mode=mode,
        seed=seed,
        source=f"sha256:{_digest(reader.path)}",
        source_name=f"replay {reader.path.name}",
        capture=reader.path,
    )


def replay_rig(
    plan: RunPlan,
    reader: CaptureReader,
    writer: RunSink,
    history: History,
    wall_ns: int,
    recorded: RunStarted | None = None,
) -> Rig:
    """Wire the engine that trades live to a capture and the paper broker.

    Errors: ``CaptureError`` if the first record cannot be read.
    """
    meta, settings = reader.meta, plan.settings
    protocol = protocol_for(meta.venue, list(meta.instruments), settings)
    broker = PaperBroker(protocol.instruments, settings)
    first = next(iter(reader), None)
    start_ns = first.ns if first else 0
    return wire(plan, protocol, broker, writer, history, start_ns, wall_ns, recorded=recorded)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
