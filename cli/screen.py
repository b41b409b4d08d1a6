"""Start an engine in its own process, wait for it, put the screen on it, stop it afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core.config import Settings
from core.control import GetSnapshot, Stop, request
from core.errors import Failed, TryAgain, UserError
from core.state import StateDir, running_engine

POLL_S = 0.05
START_S_MAX = 180.0
"""The first start compiles kernels; after this long something is wrong."""
STOP_S_MAX = 15.0
PATIENCE_S = 1.5
"""A start longer than this says what it is doing."""
LOG_NAME = "engine.log"
SCREEN_EXPECTED = "TAPEWRIGHT_SCREEN_EXPECTED"
"""Set in the environment of the engine: a screen is about to look, even if the tape is short."""


def run_with_screen(words: list[str], state_dir: Path, settings: Settings) -> int:
    """Run ``tapewright WORDS`` as the engine's process with a screen here; return the exit code."""
    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise UserError("no terminal here for the screen; add --headless to run without one")
    state = StateDir(state_dir).create()
    log = state.logs / LOG_NAME
    with log.open("ab") as out:
        offset = out.tell()
        engine = subprocess.Popen(  # noqa: S603 (our own program, no shell)
            [sys.executable, "-m", "cli.main", *words, "--headless", "--state", str(state_dir)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, SCREEN_EXPECTED: "1"},
            # Its own session: Ctrl-C and a closed terminal reach the screen, not the orders.
            start_new_session=True,
        )
    try:
        code = _wait_for(engine, state)
        if code is not None:
            sys.stderr.write(_tail(log, offset))
            return code
        from tui.app import run_screen

        return run_screen(
            state_dir, settings.screen, owns_engine=True, min_labels=settings.blend.min_labels,
            tell_story=story_of(state_dir),
        )  # fmt: skip
    finally:
        _end(engine, state_dir)


def story_of(state_dir: Path) -> Callable[[int], list[str]]:
    """Return what tells the story of the event at a ledger seq; the ledger loads when asked."""

    def tell(seq: int) -> list[str]:
        from ledger.explain import explain

        return explain(state_dir, str(seq))

    return tell


def _wait_for(engine: subprocess.Popen[bytes], state: StateDir) -> int | None:
    """Wait until the engine answers; return its exit code if it ended instead.

    Only the engine that holds the lock counts: where another one runs, ours is refused, and a
    screen that took that one for its own would stop it on leaving.
    """
    start = time.monotonic()
    told = False
    while time.monotonic() - start < START_S_MAX:
        code = engine.poll()
        if code is not None:
            return code or 1
        holder = running_engine(state)
        if holder is not None and holder.pid == engine.pid and _answers(state):
            return None
        if not told and time.monotonic() - start > PATIENCE_S:
            told = True
            print("tapewright: starting the engine ...", file=sys.stderr)
        time.sleep(POLL_S)
    raise TryAgain(f"the engine did not answer within {START_S_MAX:.0f} s; see its log")


def _answers(state: StateDir) -> bool:
    try:
        request(state.path, GetSnapshot(), timeout_s=2.0)
    except TryAgain:
        return False
    return True


def _tail(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read(64 * 1024).decode("utf-8", "replace")


def _end(engine: subprocess.Popen[bytes], state_dir: Path) -> None:
    """Stop an engine that still runs: ask, then SIGTERM.

    Errors: ``Failed`` naming the engine that does neither; its orders are for the trader to judge.
    """
    if engine.poll() is not None:
        return
    try:
        request(state_dir, Stop("the screen was closed"), timeout_s=2.0)
        engine.wait(STOP_S_MAX)
    except (TryAgain, subprocess.TimeoutExpired):
        engine.terminate()
        try:
            engine.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired as error:
            raise Failed(
                f"the engine does not end (pid {engine.pid}); if it hangs: kill -9 {engine.pid}"
            ) from error
