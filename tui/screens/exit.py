"""Moving or canceling a stop, a target or a time stop: one typed word, checked by the engine."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widget import Widget
from textual.widgets import Input
from typing_extensions import override

from core.model.exits import ExitKind
from core.snapshot import ExitsView, PositionView
from tui.present.positions import UNKNOWN, distance
from tui.present.text import money
from tui.screens.sheet import Sheet

VALUE_MAX = 24


_NAMES = {ExitKind.STOP: "stop", ExitKind.TARGET: "target", ExitKind.TIME: "time stop"}
_ALLOWED = {
    ExitKind.STOP: "a price · off: cancel it · auto: as [exits] says · even: at the entry price",
    ExitKind.TARGET: "a price · off: cancel it · auto: as [exits] says",
    ExitKind.TIME: "seconds from now · off: cancel it · auto: as [exits] says",
}


def _standing(kind: ExitKind, exits: ExitsView | None) -> tuple[str, str]:
    """Return what stands now, to edit, and the same in words.

    A time stop is not offered to be edited: the seconds that are left pass while one types.
    """
    if exits is None:
        return "", "off"
    if kind is ExitKind.TIME:
        left_s = exits.left_s
        return "", "off" if left_s is None else f"due in {max(0.0, left_s):.0f} s"
    is_stop = kind is ExitKind.STOP
    now, bps = (exits.stop, exits.stop_bps) if is_stop else (exits.target, exits.target_bps)
    return now or "", "off" if now is None else f"{now} ({distance(bps)})"


class ExitScreen(Sheet[str]):
    """Returns what was typed, or None when the exit is left as it is."""

    def __init__(self, kind: ExitKind, position: PositionView) -> None:
        side = "LONG" if position.lots > 0 else "SHORT"
        now, told = _standing(kind, position.exits)
        lines = [
            f"{position.instrument} {side} {position.qty.lstrip('-')} "
            f"@ {money(position.average_price)}, mark {position.mark or UNKNOWN}",
            f"The {_NAMES[kind]} is {told}.",
            "",
            _ALLOWED[kind],
        ]
        if kind is ExitKind.STOP:
            lines.append("Without a stop only the target, the time stop and you close it.")
        hint = "enter sets it · esc leaves it as it is"
        super().__init__(f"{_NAMES[kind].upper()} {position.instrument}", lines, hint)
        self._now = now
        self._asks = "seconds, off, auto" if kind is ExitKind.TIME else "price, off, auto"

    @override
    def more(self) -> Sequence[Widget]:
        """Ask for the value, with what stands now to edit."""
        return (Input(self._now, placeholder=self._asks, max_length=VALUE_MAX, id="value"),)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Return the value; nothing typed leaves the exit as it is."""
        event.stop()
        value = event.value.strip()
        self.dismiss(value if value and value != self._now else None)
