"""The feed sheet: states, causes, counts, sockets, recordings; it goes on while one looks."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

from core.feed_words import NAME_CELLS, feed_lines
from core.snapshot import Snapshot
from tui.screens.sheet import Sheet

RENEW_S = 0.5
_WIDTH = 68
"""Cells of text in a sheet, the scroll bar left out."""


class FeedScreen(Sheet[None]):
    """All that is known of the feeds; ``newest`` gives the newest snapshot."""

    def __init__(self, newest: Callable[[], Snapshot | None]) -> None:
        self._newest = newest
        super().__init__("FEEDS", self._wrapped(), "esc closes · arrows scroll · renewed by itself")

    def on_mount(self) -> None:
        """Go on telling while the sheet is open."""
        self.set_interval(RENEW_S, self.renew)

    def renew(self) -> None:
        """Tell the newest."""
        self.show_lines(self._wrapped())

    def _wrapped(self) -> list[str]:
        indent = " " * (NAME_CELLS + 1)
        return [
            part
            for line in feed_lines(self._newest())
            for part in (textwrap.wrap(line, _WIDTH, subsequent_indent=indent) or [""])
        ]
