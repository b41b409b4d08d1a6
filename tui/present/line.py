"""Lines of styled text: what every present function returns and the pane widget draws.

A span names a role, never a colour: the palette decides. A panel becomes exactly
``height`` lines of exactly ``width`` cells in ``compose_panel``, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from tui.present.text import clean, fit, width_of

Role = Literal[
    "text", "strong", "dim", "faint", "title", "focus", "accent",
    "up", "down", "up_strong", "down_strong", "up_bar", "down_bar", "up_tag", "down_tag",
    "warn", "error", "alarm", "caution", "ok", "stale", "selected", "key",
    "sim", "paper", "live", "band",
]  # fmt: skip


class Span(NamedTuple):
    """Text in one role."""

    text: str
    role: Role = "text"


Line = tuple[Span, ...]


class Panel(msgspec.Struct, frozen=True):
    """What one pane shows, before it is cut to size."""

    title: str
    lines: Sequence[Line]
    note: str = ""
    """Right end of the title line: an age, a count."""
    doubt: str = ""
    """Why nothing here may be believed now; not empty turns the pane grey and shows it."""


def line_width(line: Iterable[Span]) -> int:
    """Return the width of a line in cells."""
    return sum(width_of(span.text) for span in line)


def cut(line: Iterable[Span], width: int) -> Line:
    """Return the line in exactly ``width`` cells: padded with blanks, or cut with ``…``."""
    spans: list[Span] = []
    left = width
    for text, role in line:
        safe = clean(text)
        size = width_of(safe)
        if size > left:
            if left > 0:
                spans.append(Span(fit(safe, left), role))
            return tuple(spans)
        if size:
            spans.append(Span(safe, role))
            left -= size
    if left > 0:
        spans.append(Span(" " * left, "text"))
    return tuple(spans)


def spread_out(left: Line, right: Line, width: int) -> Line:
    """Return ``left`` and ``right`` at the two ends of ``width`` cells; ``left`` gives way."""
    right = cut(right, min(line_width(right), width))
    space = width - line_width(right)
    return (*cut(left, space), *right)


def compose_panel(panel: Panel, width: int, height: int, *, focused: bool) -> tuple[Line, ...]:
    """Return exactly ``height`` lines of ``width`` cells: the title rule, then the body."""
    if width <= 0 or height <= 0:
        return ()
    body = [cut(line, width) for line in panel.lines[: height - 1]]
    if panel.doubt:
        body = [tuple(Span(span.text, _grey(span.role)) for span in line) for line in body]
    body += [(Span(" " * width),)] * (height - 1 - len(body))
    return (_title(panel, width, focused=focused), *body)


def _grey(role: Role) -> Role:
    return "faint" if role in {"faint", "up_bar", "down_bar"} else "stale"


def _title(panel: Panel, width: int, *, focused: bool) -> Line:
    note = panel.doubt or panel.note
    right: Line = (Span(f" {note} ", "warn" if panel.doubt else "dim"), Span("─", "faint"))
    if not note:
        right = (Span("─", "faint"),)
    mark = Span("▸ ", "focus") if focused else Span("─ ", "faint")
    name = Span(panel.title, "focus" if focused else "title")
    head: Line = (mark, name, Span(" ", "faint"))
    rule = max(0, width - line_width(head) - line_width(right))
    return spread_out((*head, Span("─" * rule, "faint")), right, width)


def line_text(line: Iterable[Span]) -> str:
    """Return the characters of a line."""
    return "".join(span.text for span in line)
