"""What a start finds about kills in the state directory, and how it goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from core.engine import Engine
from core.errors import LedgerDown
from core.latch import KillLatch, latched_scopes
from core.model.event import RunStarted
from core.model.halt import PastHalt, RearmAsked
from core.scopes import ALL
from core.watchdog.acts import take_report


class Found(NamedTuple):
    """The latches, the requests to re-arm and the watchdog's report, as they lay there."""

    halts: tuple[PastHalt, ...]
    rearms: tuple[RearmAsked, ...]
    watchdog: tuple[str, ...]

    @property
    def halted(self) -> str:
        """Why everything is halted; empty when it is not."""
        return next((halt.reason for halt in self.halts if halt.scope == ALL), "")


def find(state_dir: Path) -> Found:
    """Look at the state directory; nothing is changed."""
    halts, rearms = [], []
    for scope, state in latched_scopes(state_dir).items():
        halts.append(
            PastHalt(
                scope=scope,
                reason=state.reason or "halted",
                actor=state.actor,
                flattens=state.flattens,
                is_readable=state.since_ns is not None,
            )
        )
        request = KillLatch(state_dir, scope).rearm_request()
        if request is not None:
            rearms.append(RearmAsked(scope, request.reason, request.actor))
    return Found(tuple(halts), tuple(rearms), take_report(state_dir))


def go_on(engine: Engine, started: RunStarted) -> None:
    """Put the halts in force, carry out what was asked, resume what a kill began.

    Everything comes from the manifest, so that a replay of the run does the same.
    """
    context = engine.context
    engine.kills.take_over(started.halts)
    for line in started.watchdog:
        context.notify("warning", f"watchdog: {line}")
    rearmed = set()
    for asked in started.rearms:
        try:
            engine.rearm(asked.actor, asked.reason, asked.scope)
            rearmed.add(asked.scope)
        except (ValueError, LedgerDown) as error:
            context.notify("error", f"not re-armed: {error}")
    engine.kills.resume([halt for halt in started.halts if halt.scope not in rearmed])
