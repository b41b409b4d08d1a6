"""Leaving a screen that owns its engine while something is open: say what, ask once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui.screens.sheet import Sheet


class LeaveScreen(Sheet[bool]):
    """Returns True to stop the engine and leave; esc and ``n`` stay."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "leave"),
        ("n", "dismiss(None)", "stay"),
    ]

    def __init__(self, open_words: Sequence[str], *, is_lost: bool = False) -> None:
        first = "Leaving stops the engine. Still open:"
        last = "Nobody watches them while the engine is stopped. F12 closes them now."
        hint = "y stops the engine and leaves · n or esc stays"
        if is_lost:
            first = "The engine does not answer. Open when it last did:"
            last = "Nobody watches them now. A new start here reads them from the ledger."
            hint = "y leaves · n or esc stays"
        lines = [first, "", *(f"  {words}" for words in open_words), "", last]
        super().__init__("LEAVE?", lines, hint, danger=True)
