from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.clock import short_time
from tui.present.text import (
    clean,
    clock_time,
    fit,
    fit_right,
    money,
    padded,
    sign_of,
    signed,
    to_ascii,
    wrap,
)

NASTY = "a\x1b[31mred\x07\x9b2J\u202eevil\u2066\u200b\ufeff\u0301\tz\n"


def test_control_bidi_and_zero_width_characters_become_visible() -> None:
    assert clean(NASTY) == "a\ufffd[31mred\ufffd\ufffd2J\ufffdevil" + "\ufffd" * 5 + "z\ufffd"


def test_markup_is_only_text() -> None:
    assert clean("[red]x[/red]") == "[red]x[/red]"


@given(st.text())
def test_cleaning_twice_changes_nothing_and_keeps_the_length(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert len(once) == len(text)
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs"} for char in once)


@given(st.text(), st.integers(0, 60))
def test_fitted_text_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(fit(text, width)) == width
    assert cell_len(fit_right(text, width)) == width


@given(st.text(), st.integers(1, 40), st.integers(1, 5))
def test_wrapped_lines_fit_the_pane(text: str, width: int, rows: int) -> None:
    lines = wrap(text, width, rows)
    assert len(lines) <= rows
    assert all(cell_len(line) <= max(width, 2) for line in lines)


@given(st.text())
def test_ascii_glyphs_are_ascii_and_keep_the_width(text: str) -> None:
    safe = clean(text)
    assert to_ascii(safe).isascii()
    assert len(to_ascii(safe)) == cell_len(safe)


def test_a_cut_is_marked() -> None:
    assert fit("abcdef", 4) == "abc…"
    assert wrap("one two three four", 9, 1) == ["one two …"]


def test_wrap_uses_the_whole_width_for_narrow_signs() -> None:
    assert wrap("0.31 ± 0.12 bps", 15, 2) == ["0.31 ± 0.12 bps"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.4244475", "0.4244"), ("12.9044475", "12.90"), ("-34.5", "-34.50"), ("0", "0"),
        ("200", "200.00"), (None, "—"), ("n/a", "n/a"), ("NaN", "NaN"), ("1E-8", "0"),
    ],
)  # fmt: skip
def test_money_is_rounded_for_the_eye_only(text: str | None, shown: str) -> None:
    assert money(text) == shown


@pytest.mark.parametrize(
    ("text", "sign", "shown"),
    [("1.5", 1, "+1.5"), ("-2", -1, "-2"), ("0.00", 0, "0"), (None, 0, "—"), ("-0.0", 0, "-0")],
)
def test_sign_of_money_is_always_shown(text: str | None, sign: int, shown: str) -> None:
    assert sign_of(text) == sign
    assert signed(text) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(12, "12 ms"), (3_200, "3.2 s"), (754_000, "13 min"), (7_200_000, "2.0 h")],
)
def test_durations_read_at_a_glance(ms: int, shown: str) -> None:
    assert short_time(ms) == shown


def test_iso_time_is_cut_to_the_clock() -> None:
    assert clock_time("2026-09-21T14:13:20.000000000Z") == "14:13:20"
    assert clock_time("soon") == "soon"


@pytest.mark.parametrize(
    ("text", "decimals", "shown"),
    [("100", 2, "100.00"), ("-1.5", 2, "-1.50"), ("1.234", 2, "1.234"), ("7", 0, "7"),
     ("n/a", 2, "n/a"), ("1e5", 2, "1e5"), ("", 2, "")],
)  # fmt: skip
def test_padded_adds_zeros_and_never_rounds(text: str, decimals: int, shown: str) -> None:
    assert padded(text, decimals) == shown
