"""A dangerous command, with exactly what it does: y sends it, anything else does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from tui.screens.sheet import Sheet


class ConfirmScreen(Sheet[bool]):
    """Returns True to send; esc and ``n`` send nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("y", "dismiss(True)", "send"),
        ("n", "dismiss(None)", "keep"),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__(title, lines, "y sends it · n or esc sends nothing", danger=True)
