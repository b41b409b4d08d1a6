"""The part of the snapshot that tells of attached exits, of positions and of proposals."""

from __future__ import annotations

from fractions import Fraction

from core.clock import NS_PER_S
from core.engine import Engine
from core.exits import exits_for
from core.model.decision import Action, Proposal
from core.snapshot import ExitsView


def exits_view(engine: Engine, name: str) -> ExitsView | None:
    """Return the exits of a position; None while it is flat."""
    held = engine.exits.held.get(name)
    if held is None:
        return None
    desk, exits = engine.by_name[name], held.exits
    blind = engine.exits.why_blind(desk)
    seen: int | None = None
    if desk.is_live and not engine.context.hold_back:
        bid, _, ask, *_ = desk.feed.book.touch()
        seen = bid if exits.sign > 0 else ask
    left_s = None if exits.due_ns is None else (exits.due_ns - engine.context.now_ns) / NS_PER_S
    text = desk.instrument.price_shown
    return ExitsView(
        stop=None if exits.stop_ticks is None else text(exits.stop_ticks),
        target=None if exits.target_ticks is None else text(exits.target_ticks),
        left_s=left_s,
        stop_bps=_distance_bps(seen, exits.stop_ticks),
        target_bps=_distance_bps(seen, exits.target_ticks),
        by_hand=tuple(kind.value for kind in exits.by_hand),
        blind=blind,
    )


def _distance_bps(seen: int | None, level: int | None) -> float | None:
    """Return how far the level lies from the price that would touch it; above it is positive."""
    return None if seen is None or level is None else (level - seen) / seen * 10_000


def doing(engine: Engine, name: str) -> str:
    """Return what is being done with a position by itself; empty for nothing."""
    if name in engine.positions.reversing:
        return "reversing"
    return "closing" if name in engine.execution.closing else ""


def adding_words(engine: Engine, proposal: Proposal) -> str:
    """Return what becomes of the exits when an entry is added; empty of any other proposal."""
    is_held = proposal.instrument in engine.exits.held
    if proposal.action is Action.EXIT or not is_held:
        return ""
    return "move with the mean price; time stays"


def planned_exits(engine: Engine, proposal: Proposal) -> ExitsView | None:
    """Return the exits of a first entry that fills at its limit; None for any other proposal.

    The fills set them: a better price moves them with it.
    """
    if proposal.action is Action.EXIT or proposal.instrument in engine.exits.held:
        return None
    settings, instrument = engine.exits.settings, engine.by_name[proposal.instrument].instrument
    sign, limit = proposal.side.sign, proposal.limit_ticks
    exits = exits_for(sign, Fraction(limit), engine.context.now_ns, settings)
    stop, target = exits.stop_ticks, exits.target_ticks
    return ExitsView(
        stop=None if stop is None else instrument.price_shown(stop),
        target=None if target is None else instrument.price_shown(target),
        left_s=settings.time_stop_s or None,
        stop_bps=None if stop is None else -sign * settings.stop_bps,
        target_bps=None if target is None else sign * settings.take_profit_bps,
    )
