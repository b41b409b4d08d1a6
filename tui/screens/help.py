"""The help sheet: every key of the registry with what it does."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from textual.binding import BindingType

from tui.actions import help_rows
from tui.screens.sheet import Sheet

_TEXT_WIDTH = 54


class HelpScreen(Sheet[None]):
    """All keys; closes with esc, ``?`` or ``q``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("question_mark,f1,q", "dismiss(None)", "close"),
    ]

    def __init__(self) -> None:
        super().__init__("KEYS", help_lines(), "esc closes · arrows scroll · F12 works here too")


def help_lines() -> list[str]:
    """Return the help text, one group after the other, wrapped under its keys."""
    lines: list[str] = []
    last = ""
    for group, key, text in help_rows():
        if group != last:
            lines += ["", group.upper()] if lines else [group.upper()]
            last = group
        first, *rest = textwrap.wrap(text, _TEXT_WIDTH)
        lines.append(f"  {key:<10} {first}")
        lines += [f"  {'':<10} {line}" for line in rest]
    return lines
