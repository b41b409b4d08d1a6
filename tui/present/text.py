"""The one sanitiser and the one ruler: what may be drawn, and how wide it is.

Feed, venue and file text is untrusted. Nothing here parses markup. ``clean`` keeps one
character for one character, so a width measured after it is the width on the terminal.
"""

from __future__ import annotations

import textwrap
import unicodedata
from decimal import Decimal
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

REPLACEMENT = "\ufffd"
_ASCII = str.maketrans(
    {
        **dict.fromkeys("█▉▊▋▐▓", "#"),
        **dict.fromkeys("▌▍▀▄", "="),
        **dict.fromkeys("▎▏▕▁▂", "."),
        **dict.fromkeys("▃▅", "-"),
        **dict.fromkeys("▆▇", "+"),
        **dict.fromkeys("─━╌┄┈░", "-"),
        **dict.fromkeys("│┃╎┊┆╽╿", "|"),
        **dict.fromkeys("╭╮╰╯├┤┼┬┴", "+"),
        **dict.fromkeys("▲↑△", "^"),
        **dict.fromkeys("▼↓▽", "v"),
        **dict.fromkeys("▸▶→❯", ">"),
        **dict.fromkeys("◂◀←", "<"),
        **dict.fromkeys("●◆■", "*"),
        **dict.fromkeys("○◇□", "o"),
        "╵": "'",
        "╷": ".",
        "−": "-",
        "·": ".",
        "┘": "+",
        "…": "~",
        "µ": "u",
        "×": "x",
        "≤": "<",
        "≥": ">",
        "≈": "~",
        "±": "~",
    }
)


@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    """Return ``text`` with everything that could steer a terminal made visible as U+FFFD.

    Control, format (bidi marks, zero-width), surrogate, private, unassigned, line-separator and
    combining characters are replaced one for one; other spaces become a plain space.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_safe, text))


def _safe(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "C" or category in {"Zl", "Zp", "Mn", "Me"}:
        return REPLACEMENT
    return " " if category == "Zs" else char


def to_ascii(text: str) -> str:
    """Return ``text`` in ASCII, cell for cell: our glyphs have stand-ins, the rest is ``?``."""
    text = text.translate(_ASCII)
    if text.isascii():
        return text
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in text)


def width_of(text: str) -> int:
    """Return the width of clean text in terminal cells."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int) -> str:
    """Return clean ``text`` in exactly ``width`` cells, left aligned; ``…`` marks a cut."""
    text = clean(text)
    if width <= 0:
        return ""
    size = width_of(text)
    if size <= width:
        return text + " " * (width - size)
    return set_cell_size(text, width - 1) + "…"


def fit_right(text: str, width: int) -> str:
    """Return clean ``text`` in exactly ``width`` cells, right aligned; ``…`` marks a cut."""
    text = clean(text)
    size = width_of(text)
    return " " * (width - size) + text if size <= width else fit(text, width)


def wrap(text: str, width: int, rows: int) -> list[str]:
    """Return at most ``rows`` lines of clean text, none wider than ``width``; ``…`` marks a cut."""
    if width <= 0 or rows <= 0:
        return []
    text = clean(text)
    # Wide characters take two cells: textwrap counts characters, so it gets half the room.
    measure = width if width_of(text) == len(text) else max(1, width // 2)
    lines = textwrap.wrap(text, measure)
    if len(lines) > rows:
        lines = [*lines[: rows - 1], fit(lines[rows - 1] + " …", width).rstrip()]
        if not lines[-1].endswith("…"):
            lines[-1] = fit(lines[-1], width - 1).rstrip() + "…"
    return lines


def sign_of(text: str | None) -> int:
    """Return -1, 0 or 1: the sign of decimal text; 0 for None and for what is not a number."""
    if text is None or not any(char in "123456789" for char in text):
        return 0
    return -1 if text.lstrip().startswith(("-", "−")) else 1


def money(text: str | None) -> str:
    """Return money for a narrow column: four decimals below 10, else two; ``—`` for not known.

    Rounded for the eye only; the ledger holds all digits. What is no number comes back as it is.
    """
    if text is None:
        return "—"
    try:
        value = Decimal(text)
        shown = round(value, 4 if abs(value) < 10 else 2)
    except ArithmeticError:
        return text
    if not shown.is_finite():
        return text
    plain = f"{shown:f}"
    return plain.rstrip("0").rstrip(".") if abs(value) < 10 and "." in plain else plain


def signed(text: str | None) -> str:
    """Return money with its sign always shown; ``—`` when it is not known."""
    text = money(text)
    return f"+{text}" if sign_of(text) > 0 and not text.startswith("+") else text


def padded(text: str, decimals: int) -> str:
    """Return a decimal number with at least ``decimals`` decimals; other text as it is."""
    whole, _, part = text.partition(".")
    if not decimals or not (whole + part).lstrip("-").isdigit():
        return text
    return f"{whole}.{part.ljust(decimals, '0')}"


def clock_time(text: str) -> str:
    """Return ``hh:mm:ss`` out of an ISO time; other text comes back as it is."""
    return text[11:19] if len(text) >= 19 and text[10] == "T" else text
