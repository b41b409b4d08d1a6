"""Where the broker says other than we: one difference, and the trader's word about it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.widget import Widget
from textual.widgets import Input
from typing_extensions import override

from core.snapshot import DifferenceView
from tui.screens.rearm import REASON_MAX, REASON_MIN
from tui.screens.sheet import Sheet


class DifferenceScreen(Sheet[tuple[str, str]]):
    """Returns the remedy and the reason, or None when the trader leaves it as it is."""

    def __init__(self, difference: DifferenceView, count: int) -> None:
        self._remedies = difference.remedies
        words = " or ".join(difference.remedies) or "a restart alone"
        super().__init__(
            f"THE BROKER DIFFERS, {count} in all",
            [
                difference.text,
                "",
                "Nothing new is traded until the two agree.",
                f"What is to be done? Type {words}, then why.",
            ],
            f"enter does it · the reason has at least {REASON_MIN} letters · esc leaves it",
            danger=True,
        )

    @override
    def more(self) -> Sequence[Widget]:
        """Ask for remedy and reason, where there is a remedy."""
        if not self._remedies:
            return ()
        shown = f"{self._remedies[0]} because ..."
        return (Input(placeholder=shown, max_length=REASON_MAX, id="remedy"),)

    def on_mount(self) -> None:
        """Type at once."""
        for field in self.query(Input):
            field.focus()

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Return remedy and reason; what is neither stays here."""
        event.stop()
        remedy, _, reason = event.value.strip().partition(" ")
        if remedy.lower() not in self._remedies or len(reason.strip()) < REASON_MIN:
            self.app.bell()
            event.input.placeholder = f"{' or '.join(self._remedies)}, then the reason"
            return
        self.dismiss((remedy.lower(), reason.strip()))
