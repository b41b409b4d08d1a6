"""``reconcile``: compare with the broker now, and say what to do about a difference."""

from __future__ import annotations

from pathlib import Path

from cli.exit import DONE, plain, tell
from core.control import Ack, AnyCommand, Compare, GetSnapshot, Picture, ResolveDifference, request
from core.errors import Failed, UserError
from core.model.difference import Remedy
from core.state import StateDir, resolve_state_dir

ACTOR = "human:trader"
DIFFERENT = 1


def reconcile_command(state_dir: Path | None, given: dict[Remedy, str | None], reason: str) -> int:
    """Resolve the one difference that is ``given``, or none; print what differs then.

    Returns 1 while something differs. Errors: ``UserError`` for two at once or no reason;
    ``Failed`` when the engine refuses; ``TryAgain`` without an engine.
    """
    state = StateDir(resolve_state_dir(state_dir))
    named = [(remedy, key) for remedy, key in given.items() if key is not None]
    if len(named) > 1:
        raise UserError("name one difference at a time")
    if named and not reason.strip():
        raise UserError("resolving a difference needs --reason")
    _ask(state, Compare())
    for remedy, key in named:
        tell(_ask(state, ResolveDifference(key=key, remedy=remedy, reason=reason, actor=ACTOR)))
    reply = request(state.path, GetSnapshot())
    if not isinstance(reply, Picture):
        raise Failed(f"the engine gave no snapshot: {reply.text}")
    differences = reply.snapshot.risk.differences
    for each in differences:
        print(plain(each.text))
    if not differences:
        print("the broker agrees with us")
    return DIFFERENT if differences else DONE


def _ask(state: StateDir, command: AnyCommand) -> str:
    reply = request(state.path, command)
    if not isinstance(reply, Ack) or not reply.ok:
        raise Failed(f"the engine said: {getattr(reply, 'text', 'no answer')}")
    return reply.text
