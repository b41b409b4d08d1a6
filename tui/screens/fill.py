"""One fill with its whole rationale, and its story from the ledger as soon as that is read."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable

from core.errors import TapewrightError
from core.snapshot import FillView
from tui.present.costs import cost_rows
from tui.screens.sheet import Sheet

TellStory = Callable[[int], list[str]]
"""Returns the story of the fill at a ledger seq, as lines of plain text.

Errors: ``TapewrightError`` saying why there is none.
"""
_WIDTH = 68
"""Cells of text in a sheet, the scroll bar left out."""


class FillScreen(Sheet[None]):
    """Why this was traded, in full."""

    def __init__(self, fill: FillView, tell_story: TellStory | None = None) -> None:
        self._fill, self._tell_story = fill, tell_story
        rows = [
            ("ledger seq", str(fill.seq)),
            ("time", fill.time),
            ("instrument", fill.instrument),
            ("fill", f"{fill.side} {fill.qty} @ {fill.price}"),
            ("fee", fill.fee),
            ("realized", fill.realized),
            *cost_rows(fill.cost),
        ]
        lines = [f"{name:<12} {value}" for name, value in rows]
        rationale = fill.rationale or "no rationale recorded"
        self._at_once = [*lines, "", *textwrap.wrap(rationale, 70)]
        super().__init__("FILL", self._at_once, "esc closes · arrows scroll")

    def on_mount(self) -> None:
        """Fetch the story; the fill is shown meanwhile."""
        if self._tell_story is not None:
            self.run_worker(self._add_story(self._tell_story), group="story")

    async def _add_story(self, tell_story: TellStory) -> None:
        self.show_lines([*self._at_once, "", "reading the ledger ..."])
        try:
            # In a thread: it reads a file, and the kill key must not wait for a disk.
            told = await asyncio.to_thread(tell_story, self._fill.seq)
        except TapewrightError as error:
            told = [f"The ledger does not tell more: {error}"]
        self.show_lines([*self._at_once, "", *wrapped(told)])


def wrapped(lines: list[str]) -> list[str]:
    """Return lines cut to the width of a sheet, each part as far in as its line."""
    out = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()))
        parts = textwrap.wrap(
            line.strip(), _WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
        )
        out += parts or [""]
    return out
