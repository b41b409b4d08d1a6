"""Moving or canceling a stop or a target: one typed word, checked by the engine."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widget import Widget
from textual.widgets import Input
from typing_extensions import override

from core.model.exits import ExitKind
from core.snapshot import PositionView
from tui.present.positions import UNKNOWN, distance
from tui.present.text import money
from tui.screens.sheet import Sheet

VALUE_MAX = 24


class ExitScreen(Sheet[str]):
    """Returns what was typed, or None when the exit is left as it is."""

    def __init__(self, kind: ExitKind, position: PositionView) -> None:
        side = "LONG" if position.lots > 0 else "SHORT"
        exits = position.exits
        now, bps = None, None
        if exits is not None:
            is_stop = kind is ExitKind.STOP
            now = exits.stop if is_stop else exits.target
            bps = exits.stop_bps if is_stop else exits.target_bps
        even = " · even: at the entry price" if kind is ExitKind.STOP else ""
        lines = [
            f"{position.instrument} {side} {position.qty.lstrip('-')} "
            f"@ {money(position.average_price)}, mark {position.mark or UNKNOWN}",
            f"The {kind.value} is {'off' if now is None else f'{now} ({distance(bps)})'}.",
            "",
            f"a price · off: cancel it · auto: as [exits] says{even}",
        ]
        if kind is ExitKind.STOP:
            lines.append("Without a stop only the target, the time stop and you close it.")
        hint = "enter sets it · esc leaves it as it is"
        super().__init__(f"{kind.value.upper()} {position.instrument}", lines, hint)
        self._now = now or ""

    @override
    def more(self) -> Sequence[Widget]:
        """Ask for the value, with what stands now to edit."""
        return (Input(self._now, placeholder="price, off, auto", max_length=VALUE_MAX, id="value"),)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Return the value; nothing typed leaves the exit as it is."""
        event.stop()
        value = event.value.strip()
        self.dismiss(value if value and value != self._now else None)
