"""The pane: draws lines made elsewhere, and repaints only the rows that changed.

A line-API widget: it knows no markets, only spans, roles and a palette. A presenter is called
once a frame with the scene and the pane's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from typing_extensions import override

from tui.present.line import Line, Role
from tui.present.scene import Scene
from tui.present.text import clean, to_ascii

Presenter = Callable[[Scene, int, int], tuple[Line, ...]]
"""Scene, width and height in cells -> exactly ``height`` lines of exactly ``width`` cells."""


class Pane(Widget):
    """A rectangle of lines."""

    ALLOW_SELECT = False
    can_focus = False

    class Focused(Message):
        """A pane with rows got the focus."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.pane = name

    def __init__(
        self,
        name: str,
        presenter: Presenter,
        styles: Mapping[Role, Style],
        *,
        ascii_only: bool = False,
        focusable: bool = False,
    ) -> None:
        super().__init__(id=name)
        self._presenter = presenter
        self._styles_of_roles = styles
        self._grounded: dict[Role, Style] = {}
        self._ascii_only = ascii_only
        self._scene: Scene | None = None
        self._lines: tuple[Line, ...] = ()
        self._strips: list[Strip] = []
        self._shape = (0, 0)
        self.can_focus = focusable

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines on show."""
        return self._lines

    def show(self, scene: Scene) -> None:
        """Draw the scene; a hidden pane only remembers it."""
        self._scene = scene
        width, height = self.size
        if not self.display or width <= 0 or height <= 0:
            return
        lines = self._presenter(scene, width, height)
        if self._shape != (width, height) or len(lines) != len(self._lines):
            self._shape, self._lines = (width, height), lines
            self._strips = [self._strip(line) for line in lines]
            self.refresh()
            return
        changed = [y for y, line in enumerate(lines) if line != self._lines[y]]
        for y in changed:
            self._strips[y] = self._strip(lines[y])
        self._lines = lines
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def _strip(self, line: Line) -> Strip:
        """Return one line as a strip: the last gate before the terminal, clean and exact."""
        segments = []
        for text, role in line:
            safe = clean(text)
            if self._ascii_only:
                safe = to_ascii(safe)
            segments.append(Segment(safe, self._style(role)))
        return Strip(segments).adjust_cell_length(self._shape[0])

    def _style(self, role: Role) -> Style:
        """Return the role's style on this pane's ground; Textual paints none under strips."""
        style = self._grounded.get(role)
        if style is None:
            ground = Style(bgcolor=self.background_colors[1].rich_color)
            style = self._grounded[role] = ground + self._styles_of_roles[role]
        return style

    @override
    def render_line(self, y: int) -> Strip:
        """Return line ``y``; blank beyond what was presented."""
        if y < len(self._strips) and self._shape[0] == self.size.width:
            return self._strips[y]
        return Strip.blank(self.size.width, self._style("text"))

    def on_resize(self, event: events.Resize) -> None:
        """Present the last scene at the new size."""
        del event
        if self._scene is not None:
            self.show(self._scene)

    def on_show(self) -> None:
        """Present what was remembered while hidden."""
        if self._scene is not None:
            self.show(self._scene)

    def on_focus(self) -> None:
        """Tell the screen which pane has the focus."""
        self.post_message(self.Focused(self.id or ""))
