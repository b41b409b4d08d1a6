"""Every panel is exactly its size, and no text of others steers the terminal."""

from __future__ import annotations

import msgspec
import pytest

from core.snapshot import Snapshot
from tests.tui import snapshots as made
from tests.tui.test_panels import ALL, Present, scene
from tui.present.line import compose_panel, cut, line_text, line_width
from tui.present.status import banner_line, header_line, instruments_line, status_line

EVIL = "\x1b[31m[red]\u202e宽字\u200b🙂\n"


def hostile() -> Snapshot:
    """Return the normal desk with hostile text in every free text field."""
    view = made.instrument(name=EVIL, waiting_for=EVIL * 9, agent=None, agent_note=EVIL * 9,
                           volatility_bucket=EVIL, last_trade=EVIL, spread=EVIL)  # fmt: skip
    return made.normal(
        venue=EVIL, source=EVIL, mode=EVIL, account=EVIL, finished="",
        instruments=(view,),
        proposals=(made.proposal(instrument=EVIL, rationale=EVIL * 30, notional=EVIL),),
        positions=(made.position(instrument=EVIL, qty=EVIL, average_price=EVIL, mark=EVIL),),
        orders=(made.order(instrument=EVIL, qty=EVIL, limit=EVIL, status=EVIL),),
        fills=(made.fill(1, time=EVIL, price=EVIL, rationale=EVIL * 30, realized=EVIL),),
        risk=msgspec.structs.replace(made.RISK, blocked=EVIL, last_denial=EVIL),
        pnl=msgspec.structs.replace(made.PNL, currency=EVIL, total=EVIL, fees=EVIL),
        notices=(msgspec.structs.replace(made.NOTICES[0], text=EVIL, time=EVIL, severity=EVIL),),
    )  # fmt: skip


@pytest.mark.parametrize("present", ALL)
@pytest.mark.parametrize("size", [(20, 3), (36, 8), (63, 17), (120, 40)])
@pytest.mark.parametrize("snapshot", [made.normal(), made.empty(), hostile()])
def test_every_panel_fits_its_pane_whatever_the_text(
    present: Present, size: tuple[int, int], snapshot: Snapshot
) -> None:
    shown = scene(snapshot)
    lines = compose_panel(present(shown, *size), *size, focused=True)
    assert len(lines) == size[1]
    for line in lines:
        words = line_text(line)
        assert "\x1b" not in words
        assert "\u202e" not in words


@pytest.mark.parametrize("width", [1, 20, 80, 120, 200])
@pytest.mark.parametrize("snapshot", [None, made.normal(), made.empty(), made.halted(), hostile()])
def test_chrome_lines_are_exactly_as_wide_as_the_screen(
    width: int, snapshot: Snapshot | None
) -> None:
    for present in (header_line, instruments_line, banner_line, status_line):
        assert line_width(cut(present(scene(snapshot), width), width)) == width
