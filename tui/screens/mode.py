"""Choosing the mode: observe, confirm, auto; one letter each, no default that trades."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from core.model.decision import Mode
from tui.screens.sheet import Sheet

_MEANING = {
    Mode.OBSERVE: "nothing is proposed; exits of what is held still act",
    Mode.CONFIRM: "a proposal is sent when you press y; no answer rejects",
    Mode.AUTO: "a proposal that passes every limit is sent by itself",
}


class ModeScreen(Sheet[Mode]):
    """Returns the mode chosen, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("o", "choose('observe')", "observe"),
        ("c", "choose('confirm')", "confirm"),
        ("a", "choose('auto')", "auto"),
    ]

    def __init__(self, current: str, account: str) -> None:
        lines = [f"Account {account}. Now: {current}.", ""]
        for mode, meaning in _MEANING.items():
            mark = "●" if mode.value == current else "○"
            lines.append(f"  {mark} {mode.value[0]}  {mode.value:<8} {meaning}")
        super().__init__("MODE", lines, "o c a choose · esc keeps it", danger=account == "LIVE")

    def action_choose(self, name: str) -> None:
        """Return the mode named."""
        self.dismiss(Mode(name))
