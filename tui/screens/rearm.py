"""Re-arming asks for a reason in words; it goes to the ledger under the trader's name."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widget import Widget
from textual.widgets import Input
from typing_extensions import override

from tui.screens.sheet import Sheet

REASON_MAX = 200
REASON_MIN = 3


class RearmScreen(Sheet[str]):
    """Returns the reason, or None when the trader thought better of it."""

    def __init__(self, halt_reason: str) -> None:
        super().__init__(
            "RE-ARM TRADING",
            [
                f"Halted: {halt_reason or 'no reason recorded'}",
                "",
                "New orders will be allowed again. Why is that right now?",
            ],
            f"enter re-arms · at least {REASON_MIN} letters · esc leaves it halted",
            danger=True,
        )

    @override
    def more(self) -> Sequence[Widget]:
        """Ask for the reason."""
        return (Input(placeholder="reason, for the ledger", max_length=REASON_MAX, id="reason"),)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Return the reason; too short a one stays here."""
        event.stop()
        reason = event.value.strip()
        if len(reason) < REASON_MIN:
            self.app.bell()
            event.input.placeholder = f"at least {REASON_MIN} letters are needed"
            return
        self.dismiss(reason)
