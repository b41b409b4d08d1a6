"""``kill``, ``rearm`` and ``stop``: the commands that must work when little else does.

A kill that no engine answers writes the latch itself. A re-arm never removes the latch behind an
engine's back: a running engine does it, or the next one does, after the ledger has the reason.
"""

from __future__ import annotations

from pathlib import Path

from cli.exit import DONE, tell
from core import scopes
from core.clock import SystemClock
from core.control import Ack, AnyCommand, Kill, KillAll, Rearm, Stop, request
from core.errors import Failed, TryAgain, UserError
from core.latch import KillLatch
from core.state import EngineLock, StateDir, resolve_state_dir, running_engine

ACTOR = "human:trader"
KILL_TIMEOUT_S = 2.0
"""How long a kill waits for an engine before it writes the latch itself."""
REARM_COMMAND = "rearm"


def scope_of(*, instrument: str | None, order: str | None, strategy: bool) -> str:
    """Return the scope that the options name; all without any. Errors: ``UserError`` for two."""
    if sum((instrument is not None, order is not None, strategy)) > 1:
        raise UserError("--instrument, --order and --strategy: name one, or none for everything")
    if instrument is not None:
        return scopes.of_instrument(instrument)
    if order is not None:
        return scopes.of_order(order)
    return scopes.STRATEGY if strategy else scopes.ALL


def kill_command(state_dir: Path | None, reason: str, scope: str = scopes.ALL) -> int:
    """Kill ``scope`` and say how that was done.

    Errors: ``UserError`` for a scope that cannot be; ``Failed`` when the halt is not durable, the
    engine refuses, or it is there and did not answer; ``TryAgain`` for an order without an engine.
    """
    state = StateDir(resolve_state_dir(state_dir))
    reason = reason.strip() or "no reason given"
    kill: AnyCommand = KillAll(reason=reason, actor=ACTOR)
    if scope != scopes.ALL:
        try:
            scopes.parse(scope)
        except ValueError as error:
            raise UserError(str(error)) from error
        kill = Kill(scope=scope, reason=reason, actor=ACTOR)
    try:
        answer = _ask(state, kill, KILL_TIMEOUT_S)
    except TryAgain as error:
        return _kill_without_engine(state, scope, reason, error)
    if not answer.ok:
        written = f"; {_write_latch(state, scope, reason)[1]}" if scope == scopes.ALL else ""
        raise Failed(f"the engine said: {answer.text}{written}")
    tell(answer.text)
    return DONE


def _kill_without_engine(state: StateDir, scope: str, reason: str, why: TryAgain) -> int:
    if scopes.parse(scope).kind == "order":
        raise why
    state.create()
    is_durable, written = _write_latch(state, scope, reason)
    engine = running_engine(state)
    if engine is not None:
        more = "" if scope == scopes.ALL else "; to stop it now: tapewright kill"
        raise Failed(
            f"the engine did not answer: {engine}; {written}{more}; "
            f"if it still trades, end it with: kill -9 {engine.pid}"
        )
    if not is_durable:
        raise Failed(f"{why}; {written}")
    what = "" if scope == scopes.ALL else f", for {scopes.words(scope)}"
    tell(f"{why}; {written}: an engine that starts on this directory starts halted{what}")
    return DONE


def _write_latch(state: StateDir, scope: str, reason: str) -> tuple[bool, str]:
    """Latch, and return whether that is durable, and the same in words."""
    latch = KillLatch(state.path, scope)
    flattens = scope != scopes.STRATEGY
    if latch.trip(reason, ACTOR, SystemClock().now_ns(), flattens=flattens):
        return True, f"the latch {latch.path} is written"
    return False, f"{latch.path} could NOT be written"


def rearm_command(state_dir: Path | None, reason: str, scope: str = scopes.ALL) -> int:
    """Open the latch of ``scope`` through the running engine, or leave that to the next one.

    Errors: ``UserError`` without a reason; ``Failed`` when the engine refuses; ``TryAgain`` when
    an engine is there and does not answer.
    """
    if not reason.strip():
        raise UserError("--reason was empty; say why trading may go on")
    state = StateDir(resolve_state_dir(state_dir))
    try:
        answer = _ask(state, Rearm(reason=reason.strip(), actor=ACTOR, scope=scope))
    except TryAgain:
        return _rearm_without_engine(state, reason.strip(), scope)
    return _report(answer)


def _rearm_without_engine(state: StateDir, reason: str, scope: str) -> int:
    latch = KillLatch(state.path, scope)
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
