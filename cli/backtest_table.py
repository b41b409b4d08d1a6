"""The report of a backtest as text for a terminal; rounded for the eye, exact in the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from cli.exit import plain
from core.backtest_report import FileReport, Report, Result, Skill
from core.clock import NS_PER_S
from core.quality import Quality

NAME_CHARS = 28
SIGNALS_SHOWN = 5
REASONS_SHOWN = 5
HEADS = (
    "", "P&L net", "pre-fee", "realized", "open", "fees", "max fall", "turnover", "trips", "hit",
    "slip bps", "in mkt", "buy&hold",
)  # fmt: skip


def table(report: Report) -> str:
    """Return the whole report as lines; all P&L in quote currency, net of fees."""
    rows = [(file.name, result) for file in report.files for result in file.results]
    totals = [(f"total {one.currency}", one) for one in report.sums]
    lines = [_terms(report), "", *_grid([HEADS, *(_row(*row) for row in rows + totals)])]
    lines.append("Trading nothing at all comes to 0. 'open' is unrealized, at the last mid.")
    for file in report.files:
        lines += ["", *_file(file)]
    return "\n".join(lines)


def money(value: Decimal, digits: int = 4) -> str:
    """Return ``value`` rounded for the eye."""
    return f"{value:,.{digits}f}"


def _terms(report: Report) -> str:
    terms = report.terms
    words = [
        f"backtest, mode {terms.mode}, seed {terms.seed}",
        f"threshold {terms.threshold:g} at {terms.horizon_s} s",
        f"least edge {terms.min_edge_bps:g} bps",
        f"least skill {terms.min_skill:g}",
        f"order {money(terms.order_notional, 2)}",
        f"agent {terms.agent or 'none'}",
    ]
    if terms.is_practice:
        words.append("PRACTICE settings: it trades without an edge")
    return ", ".join(words)


def _row(name: str, result: Result) -> tuple[str, ...]:
    hit, slip = result.hit_rate, result.slippage_bps
    return (
        _short(name),
        f"{money(result.pnl)} {result.currency}",
        money(result.pnl_before_fees),
        money(result.realized),
        money(result.unrealized),
        money(result.fees),
        money(result.max_drawdown),
        money(result.turnover, 2),
        str(result.round_trips),
        "-" if hit is None else f"{hit:.0%}",
        "-" if slip is None else f"{slip:.2f}",
        f"{result.in_market:.0%}",
        money(result.buy_and_hold.pnl),
    )


def _short(name: str) -> str:
    name = plain(name).removesuffix(".gz").removesuffix(".jsonl")
    return name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align: the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _file(file: FileReport) -> list[str]:
    feed = file.feed
    lines = [
        f"{plain(file.name)}: {file.venue}, {file.begin[:19]} to {file.end[:19]}, "
        f"fee {file.fee_bps} bps, maker {file.maker_fee_bps} bps",
        f"  feed: {feed.frames:,} frames, {feed.refused} refused, {feed.gaps} gaps, "
        f"{feed.resyncs} resyncs; {file.proposals} proposals, {file.orders} orders",
    ]
    if file.problem:
        lines.append(f"  NOT TO ITS END: {plain(file.problem)}")
    if file.halted:
        lines.append(f"  HALTED at the end: {plain(file.halted)}")
    if file.no_trade:
        lines.append(f"  {plain(file.no_trade)}")
    for result in file.results:
        lines += _result(result)
    lines += [_skill(skill) for skill in file.skills]
    if file.reasons:
        lines.append("  not trading, seconds and refusals by reason:")
    for reason in file.reasons[:REASONS_SHOWN]:
        counts = f"{reason.seconds:>7} s {reason.refused:>5}x"
        lines.append(f"  {counts}  {reason.code}: {plain(reason.example)}")
    return lines


def _result(result: Result) -> list[str]:
    lines = []
    if result.exposure_max:
        lines.append(
            f"  exposure: {money(result.exposure_mean, 2)} mean, "
            f"{money(result.exposure_max, 2)} at most, {result.currency}; "
            f"{result.in_market_ns / NS_PER_S:,.0f} s with a position"
        )
    if result.quality.orders:
        lines.append(f"  {quality_words(result.quality, result.currency)}")
    if result.open_positions:
        held = ", ".join(f"{qty} {name}" for name, qty in result.open_positions.items())
        lines.append(f"  still open at the end: {held}")
    if result.signals:
        best = [f"{one.name} {money(one.realized)}" for one in result.signals]
        shown = best if len(best) <= 2 * SIGNALS_SHOWN else [
            *best[:SIGNALS_SHOWN], "…", *best[-SIGNALS_SHOWN:]
        ]  # fmt: skip
        lines.append(f"  realized by signal that spoke for the entry: {', '.join(shown)}")
    return lines


def quality_words(quality: Quality, currency: str) -> str:
    """Return slippage against arrival and the markouts in one line."""
    words = [
        f"slippage of {quality.orders} orders against the mid on arrival: "
        f"{quality.realized_bps or 0:.2f} bps, {quality.expected_bps or 0:.2f} expected by the "
        f"book; {money(quality.cost)} {currency}"
    ]
    words += [
        f"markout {one.horizon_s} s: {one.mean_bps:+.2f} bps, {money(one.gain)} {currency}"
        for one in quality.markouts
    ]
    return "; ".join(words)


def _skill(skill: Skill) -> str:
    value = "unproven" if skill.skill is None else f"skill {skill.skill:+.1%}"
    return (
        f"  forecast of {skill.instrument} at {skill.horizon_s} s: {value}, "
        f"{skill.labels} outcomes, moved {skill.moved_share:.0%} of the time"
    )
