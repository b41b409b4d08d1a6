"""``kill``, ``rearm`` and ``stop``: the commands that must work when little else does.

A kill that no engine answers writes the latch itself. A re-arm never removes the latch behind an
engine's back: a running engine does it, or the next one does, after the ledger has the reason.
"""

from __future__ import annotations

from pathlib import Path

from cli.exit import DONE, tell
from core.clock import SystemClock
from core.control import Ack, AnyCommand, KillAll, Rearm, Stop, request
from core.errors import Failed, TryAgain, UserError
from core.latch import KillLatch
from core.state import EngineLock, StateDir, resolve_state_dir, running_engine

ACTOR = "human:trader"
KILL_TIMEOUT_S = 2.0
"""How long a kill waits for an engine before it writes the latch itself."""
REARM_COMMAND = "rearm"


def kill_command(state_dir: Path | None, reason: str) -> int:
    """Halt all trading and say how that was done.

    Errors: ``Failed`` when the halt is not durable, or an engine is there and did not answer.
    """
    state = StateDir(resolve_state_dir(state_dir))
    reason = reason.strip() or "no reason given"
    try:
        answer = _ask(state, KillAll(reason=reason, actor=ACTOR), KILL_TIMEOUT_S)
    except TryAgain as error:
        return _kill_without_engine(state, reason, str(error))
    if not answer.ok:
        is_durable = KillLatch(state.path).trip(reason, ACTOR, SystemClock().now_ns())
        raise Failed(f"the engine said: {answer.text}; {_latch_written(state, is_durable)}")
    tell(answer.text)
    return DONE


def _kill_without_engine(state: StateDir, reason: str, why: str) -> int:
    state.create()
    is_durable = KillLatch(state.path).trip(reason, ACTOR, SystemClock().now_ns())
    written = _latch_written(state, is_durable)
    engine = running_engine(state)
    if engine is not None:
        raise Failed(
            f"the engine did not answer: {engine}; {written}; "
            f"if it still trades, end it with: kill -9 {engine.pid}"
        )
    if not is_durable:
        raise Failed(f"{why}; {written}")
    tell(f"{why}; {written}: an engine that starts on this directory starts halted")
    return DONE


def _latch_written(state: StateDir, is_durable: bool) -> str:
    path = KillLatch(state.path).path
    return f"the latch {path} is written" if is_durable else f"{path} could NOT be written"


def rearm_command(state_dir: Path | None, reason: str) -> int:
    """Open the latch through the running engine, or leave the request to the next one.

    Errors: ``UserError`` without a reason; ``Failed`` when the engine refuses; ``TryAgain`` when
    an engine is there and does not answer.
    """
    if not reason.strip():
        raise UserError("--reason was empty; say why trading may go on")
    state = StateDir(resolve_state_dir(state_dir))
    try:
        answer = _ask(state, Rearm(reason=reason.strip(), actor=ACTOR))
    except TryAgain:
        return _rearm_without_engine(state, reason.strip())
    return _report(answer)


def _rearm_without_engine(state: StateDir, reason: str) -> int:
    latch = KillLatch(state.path)
    if not latch.read().is_halted:
        tell(f"not halted: there is no latch at {latch.path}")
        return DONE
    now_ns = SystemClock().now_ns()
    # With the lock, no engine can start between our look and our writing.
    with EngineLock(state, venue="none", command=REARM_COMMAND, started_ns=now_ns):
        latch.request_rearm(reason, ACTOR, now_ns)
    tell("no engine runs: the next start writes the reason to the ledger, then re-arms")
    return DONE


def stop_command(state_dir: Path | None) -> int:
    """Ask the engine to end. Errors: ``TryAgain`` without an engine; ``Failed`` if it refuses."""
    return _report(_ask(StateDir(resolve_state_dir(state_dir)), Stop()))


def _ask(state: StateDir, command: AnyCommand, timeout_s: float = 5.0) -> Ack:
    reply = request(state.path, command, timeout_s)
    if not isinstance(reply, Ack):
        raise Failed("the engine answered with a picture where a word was due")
    return reply


def _report(answer: Ack) -> int:
    if not answer.ok:
        raise Failed(answer.text)
    tell(answer.text)
    return DONE
