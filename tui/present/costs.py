"""Slippage and markouts in words: a line for the run, rows for one fill; ``no data`` for none."""

from __future__ import annotations

from core.snapshot import CostsView, FillCostView
from tui.present.line import Line, Role, Span

NO_DATA = "no data"


def cost_line(costs: CostsView, width: int) -> Line:
    """Return what the newest orders cost on average, in bps; as much of it as ``width`` holds."""
    name = Span(" slippage   ", "dim")
    if costs.realized_bps is None:
        return (name, Span(f"{NO_DATA} yet", "dim"))
    role: Role = "warn" if costs.bad_in_a_row else "text"
    spans = [name, Span(f"{costs.realized_bps:+.2f} bps", role)]
    bad = f" {costs.bad_in_a_row} of {costs.bad_count} bad"
    words = (
        bad if costs.bad_in_a_row else "",
        f" expected {_bps(costs.expected_bps)}",
        f" 1 s {_bps(costs.markout_1s_bps)}",
        f" 10 s {_bps(costs.markout_10s_bps)}",
    )
    left = width - sum(len(span.text) for span in spans)
    for word in filter(None, words):
        if len(word) > left:
            break
        spans.append(Span(word, "warn" if word == bad else "dim"))
        left -= len(word)
    return tuple(spans)


def cost_rows(cost: FillCostView | None) -> list[tuple[str, str]]:
    """Return name and words of what a fill's order cost."""
    if cost is None:
        return [("slippage", f"{NO_DATA}: filled before this start"), ("markout", NO_DATA)]
    realized = NO_DATA
    if cost.realized_bps is not None:
        bad = ", a bad one" if cost.is_bad else ""
        realized = f"{cost.realized_bps:+.2f} bps of the mid on arrival ({cost.cost}){bad}"
    return [
        ("slippage", realized),
        (
            "expected",
            f"{_bps(cost.expected_bps)} bps" if cost.expected_bps is not None else NO_DATA,
        ),
        ("markout", f"1 s {_bps(cost.markout_1s_bps)}, 10 s {_bps(cost.markout_10s_bps)} bps"),
    ]


def _bps(value: float | None) -> str:
    return NO_DATA if value is None else f"{value:+.2f}"
