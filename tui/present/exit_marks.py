"""Where the exits of the position on show lie: marks for the ladder, lines for the chart.

``S`` is the stop, ``T`` the target; an exit outside of what is drawn is told with its direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec

from core.snapshot import InstrumentView
from tui.present.line import Role, Span
from tui.present.scene import Scene

NO_MARK = Span(" ")


class ExitMark(msgspec.Struct, frozen=True):
    """One exit that has a price."""

    letter: str
    price: str
    role: Role

    @property
    def value(self) -> float:
        """The price, for drawing."""
        return float(self.price)

    def beyond(self, *, is_above: bool) -> str:
        """Return how it is told outside of what is drawn."""
        return f"{self.letter}{'↑' if is_above else '↓'}"


def exit_marks(scene: Scene) -> tuple[ExitMark, ...]:
    """Return stop and target of the position in the instrument on show; none while flat."""
    view = scene.view()
    if scene.snapshot is None or view is None:
        return ()
    held = (p for p in scene.snapshot.positions if p.instrument == view.name and p.lots)
    exits = next((position.exits for position in held), None)
    if exits is None:
        return ()
    found: tuple[tuple[str, str | None, Role], ...] = (
        ("S", exits.stop, "warn"),
        ("T", exits.target, "accent"),
    )
    return tuple(ExitMark(letter, price, role) for letter, price, role in found if price)


def mark_between(
    marks: Sequence[ExitMark], tick_size: str, low_ticks: int, high_ticks: int
) -> Span:
    """Return the mark of a ladder row that stands for ``low_ticks`` to ``high_ticks``."""
    for mark in marks:
        ticks = ticks_of(mark.price, tick_size)
        if ticks is not None and low_ticks <= ticks <= high_ticks:
            return Span(mark.letter, mark.role)
    return NO_MARK


def told_beyond(
    marks: Sequence[ExitMark], view: InstrumentView, low_ticks: int, high_ticks: int
) -> str:
    """Return the exits that lie outside of a ladder's prices, such as ``T↑ S↓``."""
    words = []
    for mark in marks:
        ticks = ticks_of(mark.price, view.tick_size)
        if ticks is not None and not low_ticks <= ticks <= high_ticks:
            words.append(mark.beyond(is_above=ticks > high_ticks))
    return " ".join(words)


def ticks_of(price: str, tick_size: str) -> int | None:
    """Return a price in ticks, None for text that is no price on the grid."""
    try:
        ticks = Decimal(price) / Decimal(tick_size)
        return int(ticks) if ticks == int(ticks) else None
    except (InvalidOperation, ValueError, OverflowError):
        return None
