"""The sheet: a modal rectangle of plain text. Root of the small screens over the desk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static
from typing_extensions import override

from tui.present.text import clean, to_ascii

Result = TypeVar("Result")


class Sheet(ModalScreen[Result | None], Generic[Result]):
    """A modal with a title, lines of plain text, and what a subclass adds.

    Text is cleaned and never parsed as markup.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "close")]

    def __init__(
        self, title: str, lines: Sequence[str], hint: str = "esc closes", *, danger: bool = False
    ) -> None:
        super().__init__()
        self._sheet_title = clean(title)
        self._lines = [clean(line) for line in lines]
        self._hint = clean(hint)
        self._danger = danger

    @override
    def compose(self) -> ComposeResult:
        """Lay out title, text, the subclass's widgets and the hint."""
        is_ascii = bool(getattr(self.app, "ascii_only", False))
        turn = to_ascii if is_ascii else str
        sheet = VerticalScroll(classes="sheet danger" if self._danger else "sheet")
        sheet.border_title = Text(turn(self._sheet_title)).markup
        with sheet:
            yield Static(Text(turn("\n".join(self._lines))), classes="text", markup=False)
            yield from self.more()
            yield Static(Text(turn(self._hint)), classes="hint", markup=False)

    def show_lines(self, lines: Sequence[str]) -> None:
        """Put other lines in the place of the text."""
        self._lines = [clean(line) for line in lines]
        turn = to_ascii if bool(getattr(self.app, "ascii_only", False)) else str
        self.query_one(".text", Static).update(Text(turn("\n".join(self._lines))))

    def more(self) -> Sequence[Widget]:
        """Return the widgets between text and hint."""
        return ()
