"""The tables of a report page: signals, execution, forecasts, reasons, and their cells."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from cli.backtest_table import money
from core.backtest_report import FileReport, Result


def signals(result: Result) -> str:
    if not result.signals:
        return ""
    most = max(abs(one.realized) for one in result.signals) or Decimal(1)
    rows = [
        f"<tr><td>{escape(one.name)}</td>{money_cell(one.realized)}{cell(str(one.closed_lots))}"
        f"{_part(one.realized, most)}</tr>"
        for one in result.signals
    ]
    shown = table(("signal that spoke for the entry", "realized", "closed lots", ""), rows)
    return f"<h3>Realized P&amp;L by signal, {escape(result.currency)}</h3>{shown}"


def _part(value: Decimal, most: Decimal) -> str:
    """Return a cell with a bar as long as ``value`` is of the ``most``."""
    style = "gain-bar" if value >= 0 else "loss-bar"
    return f'<td class="part"><i class="{style}" style="width:{abs(value) / most:.1%}"></i></td>'


def quality(result: Result) -> str:
    """Return slippage and markouts as a small table."""
    measured = result.quality
    if not measured.orders:
        return ""
    rows = [
        _measure("slippage, mid on arrival to fill", measured.orders, measured.realized_bps,
                 money(measured.cost)),
        _measure("the same, expected by the levels shown", measured.orders, measured.expected_bps,
                 money(measured.expected_cost)),
    ]  # fmt: skip
    rows += [
        _measure(f"markout {one.horizon_s} s after the fill", one.fills, one.mean_bps,
                 money(one.gain))
        for one in measured.markouts
    ]  # fmt: skip
    note = "Slippage above zero costs; a markout above zero went our way. Fees are in neither."
    shown = table(("execution", "orders or fills", "mean bps", result.currency), rows)
    return f'<h3>Execution</h3>{shown}<p class="soft">{note}</p>'


def _measure(name: str, count: int, bps: float | None, money_text: str) -> str:
    shown = "–" if bps is None else f"{bps:+.2f}"
    return f"<tr><td>{escape(name)}</td>{cell(str(count))}{cell(shown)}{cell(money_text)}</tr>"


def skills(file: FileReport) -> str:
    rows = []
    for one in file.skills:
        skill = "unproven" if one.skill is None else f"{one.skill:+.1%}"
        error = "–" if one.calibration_error is None else f"{one.calibration_error:.3f}"
        floor = "–" if one.calibration_floor is None else f"{one.calibration_floor:.3f}"
        cells = (f"{one.horizon_s} s", skill, str(one.labels), f"{one.moved_share:.0%}",
                 f"{one.base_rate:.1%}", error, floor)  # fmt: skip
        rows.append(f"<tr><td>{escape(one.instrument)}</td>{''.join(map(cell, cells))}</tr>")
    heads = ("forecast", "horizon", "skill", "outcomes", "moved", "base rate",
             "calibration error", "its floor")  # fmt: skip
    return f"<h3>Forecasts at the end</h3>{table(heads, rows)}"


def reasons(file: FileReport) -> str:
    if not file.reasons:
        return ""
    rows = [
        f"<tr><td>{escape(one.code)}</td>{cell(str(one.seconds))}{cell(str(one.refused))}"
        f"{words(one.example)}</tr>"
        for one in file.reasons
    ]
    heads = ("reason for not trading", "seconds", "refusals", "newest wording")
    return f"<h3>Not trading</h3>{table(heads, rows, 'words')}"


def table(heads: Sequence[str], rows: Sequence[str], style: str = "") -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<table class="{style}"><tr>{head}</tr>{"".join(rows)}</table>'


def cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def words(text: str) -> str:
    return f'<td class="text">{escape(text)}</td>'


def money_cell(value: Decimal, unit: str = "") -> str:
    style = "loss-text" if value < 0 else "gain-text" if value > 0 else ""
    return f'<td class="{style}">{escape(money(value) + unit)}</td>'
