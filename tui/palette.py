"""Palettes: a style for every role. Two of them differ only in what up and down look like.

Contrast of up and down on the pane ground and distances under colour blindness were measured
for the colours chosen; blue and orange (Okabe-Ito) are the two that survive all of them.
Direction is never colour alone: every present function adds ▲ ▼, a sign or a word.
"""

from __future__ import annotations

from typing import Literal

from rich.style import Style

from tui.present.line import Role

PaletteName = Literal["teal-red", "blue-orange"]
_INK, _STRONG, _DIM, _FAINT = "#d3dae3", "#ffffff", "#8593a3", "#3f4b59"
_DIRECTIONS: dict[PaletteName, dict[str, str]] = {
    "teal-red": {
        "up": "#26a69a", "down": "#ef5350", "up_bar": "#1b6f67", "down_bar": "#8e3533",
        "up_bright": "#4fd8ca", "down_bright": "#ff7b78",
        "up_tag": "#11695f", "down_tag": "#a52c2a",
    },
    "blue-orange": {
        "up": "#56b4e9", "down": "#e69f00", "up_bar": "#2b678a", "down_bar": "#80590a",
        "up_bright": "#8fd0f7", "down_bright": "#ffc14d",
        "up_tag": "#1d5c85", "down_tag": "#8a5f00",
    },
}  # fmt: skip


def styles(name: PaletteName) -> dict[Role, Style]:
    """Return the style of every role in one palette."""
    hues = _DIRECTIONS[name]
    return {
        "text": Style(color=_INK),
        "strong": Style(color=_STRONG, bold=True),
        "dim": Style(color=_DIM),
        "faint": Style(color=_FAINT),
        "title": Style(color="#b6c5d6", bold=True),
        "focus": Style(color="#ffd866", bold=True),
        "accent": Style(color="#c4a7e7"),
        "up": Style(color=hues["up"]),
        "down": Style(color=hues["down"]),
        "up_strong": Style(color=hues["up_bright"], bold=True),
        "down_strong": Style(color=hues["down_bright"], bold=True),
        "up_bar": Style(color=hues["up_bar"]),
        "down_bar": Style(color=hues["down_bar"]),
        "up_tag": Style(color=_STRONG, bgcolor=hues["up_tag"], bold=True),
        "down_tag": Style(color=_STRONG, bgcolor=hues["down_tag"], bold=True),
        "ok": Style(color="#8fce6a"),
        "warn": Style(color="#f0c05a"),
        "error": Style(color="#ff6b68", bold=True),
        "caution": Style(color="#161002", bgcolor="#f0c05a", bold=True),
        "alarm": Style(color=_STRONG, bgcolor="#b3201c", bold=True),
        "stale": Style(color="#6b7683"),
        "selected": Style(color=_STRONG, bgcolor="#24313f", bold=True),
        "band": Style(color=_STRONG, bgcolor="#1c2733", bold=True),
        "key": Style(color=_STRONG, bgcolor="#2b3a4a", bold=True),
        "sim": Style(color="#e6f1ff", bgcolor="#2a4d7c", bold=True),
        "paper": Style(color="#10210f", bgcolor="#8fce6a", bold=True),
        "live": Style(color=_STRONG, bgcolor="#b3201c", bold=True, underline=True),
    }
