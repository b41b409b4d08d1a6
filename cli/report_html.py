"""The report of a backtest as one page: tables and charts, nothing from outside, no script."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from cli.backtest_table import money
from cli.report_style import STYLE
from cli.report_tables import cell, money_cell, quality, reasons, signals, skills, table, words
from cli.svg import Bar, Series, bar_chart, line_chart
from core.backtest_report import FileReport, Report, Result, RoundTrip
from core.clock import NS_PER_S, iso_ns

BARS_MAX = 240
"""More round trips than this are added up in runs of equal length, one bar a run."""
HEADS = (
    "", "P&L net", "before fees", "fees", "max drawdown", "round trips", "hit rate",
    "buy and hold", "flat",
)  # fmt: skip


def page(report: Report) -> str:
    """Return the whole page as HTML."""
    body = [_head(report), _summary(report)]
    body += [_bad(report)] if report.bad_files else []
    body += [_file(file) for file in report.files]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Tapewright backtest</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _head(report: Report) -> str:
    terms = report.terms
    told = (
        f"Tapewright {terms.program}, mode {terms.mode}, seed {terms.seed}. "
        f"Threshold {terms.threshold:g} at {terms.horizon_s} s, least edge "
        f"{terms.min_edge_bps:g} bps, least skill {terms.min_skill:g}, order notional "
        f"{money(terms.order_notional, 2)}, latency {terms.latency_ms} ms "
        f"out and {terms.report_latency_ms} ms back, agent {terms.agent or 'none'}."
    )
    digests = f"Code {terms.code[:16]}, settings {terms.config[:16]}."
    words = [f"<h1>Backtest</h1><p>{escape(told)}</p>"]
    if terms.is_practice:
        words.append('<p class="warn">Practice settings: it trades without an edge.</p>')
    words.append(f'<p class="soft">{escape(digests)}</p>')
    return "".join(words)


def _summary(report: Report) -> str:
    rows = [_row(file.name, result) for file in report.files for result in file.results]
    rows += [_row(f"total {one.currency}", one, "total") for one in report.sums]
    if not rows:
        return "<p>No file could be used.</p>"
    note = (
        "All money in quote currency. Unrealized is at the last mid, opening fees included. "
        "Buy and hold spends one order notional at the first ask, with the same fee, and is "
        "marked at the last mid; flat is doing nothing."
    )
    return (
        f'<div class="wide">{table(HEADS, rows, "files")}</div><p class="soft">{escape(note)}</p>'
    )


def _row(name: str, result: Result, style: str = "") -> str:
    cells = [
        f"<td>{escape(name)}</td>",
        money_cell(result.pnl, f" {result.currency}"),
        money_cell(result.pnl_before_fees),
        cell(money(result.fees)),
        cell(money(result.max_drawdown)),
        cell(str(result.round_trips)),
        cell(_share(result.hit_rate)),
        money_cell(result.buy_and_hold.pnl),
        cell("0"),
    ]
    return f'<tr class="{style}">{"".join(cells)}</tr>'


def _facts(result: Result) -> str:
    """Return what the summary has no room for."""
    slip = result.slippage_bps
    facts = (
        ("realized", money(result.realized)),
        ("unrealized at the last mid", money(result.unrealized)),
        ("turnover", money(result.turnover, 2)),
        ("fills", str(result.fills)),
        ("slippage, decision to fill", "–" if slip is None else f"{slip:.2f} bps"),
        ("in market", f"{_share(result.in_market)}, {result.in_market_ns / NS_PER_S:,.0f} s"),
        ("exposure, mean", money(result.exposure_mean, 2)),
        ("exposure, most", money(result.exposure_max, 2)),
        ("still open", _open(result) or "nothing"),
    )
    rows = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f"<dl>{''.join(rows)}</dl>"


def _open(result: Result) -> str:
    return ", ".join(f"{qty} {name}" for name, qty in result.open_positions.items())


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _bad(report: Report) -> str:
    rows = [f"<tr><td>{escape(one.name)}</td>{words(one.problem)}</tr>"
            for one in report.bad_files]  # fmt: skip
    return f"<h2>Files that gave nothing</h2>{table(('', 'why'), rows, 'words')}"


def _file(file: FileReport) -> str:
    feed = file.feed
    told = (
        f"{file.venue}, {file.begin[:19]} to {file.end[:19]} UTC, "
        f"fee {file.fee_bps} bps, maker {file.maker_fee_bps} bps. "
        f"{feed.frames:,} frames, {feed.refused} refused, {feed.gaps} gaps, {feed.resyncs} "
        f"resyncs. {file.proposals} proposals, {file.orders} orders."
    )
    parts = [f"<h2>{escape(file.name)}</h2><p>{escape(told)}</p>"]
    warnings = (
        (file.problem, f"Not used to its end: {file.problem}"),
        (file.halted, f"Halted at the end: {file.halted}"),
        (file.no_trade, file.no_trade),
    )
    parts += [f'<p class="warn">{escape(text)}</p>' for applies, text in warnings if applies]
    for result in file.results:
        parts.append(_charts(result, file))
    parts += [skills(file), reasons(file)]
    digest = f"sha256 {file.sha256}; ledger head seq {file.ledger.seq}, {file.ledger.hash}"
    parts.append(f'<p class="soft" style="overflow-wrap:anywhere">{escape(digest)}</p>')
    return "".join(parts)


def _charts(result: Result, file: FileReport) -> str:
    points = file.curves[result.currency]
    lines = [
        Series("buy and hold", "hold", [(float(p.ts_ns), float(p.hold)) for p in points]),
        Series(
            "before fees", "gross", [(float(p.ts_ns), float(p.pnl + p.fees)) for p in points],
            is_stepped=True,
        ),
        Series(
            "strategy", "own", [(float(p.ts_ns), float(p.pnl)) for p in points], is_stepped=True
        ),
    ]  # fmt: skip
    falls = [(float(point.ts_ns), -float(point.drawdown)) for point in points]
    trips = [trip for trip in file.trips if trip.instrument in result.instruments]
    title = f"P&L, {result.currency}"
    key = (
        '<span class="key"></span>strategy<span class="key light"></span>before fees'
        '<span class="key dash"></span>buy and hold'
    )
    parts = [
        f'<p class="lead">{escape(_verdict(result))}</p>' if result.fills else "",
        _facts(result) if result.fills else "",
        _chart(title, line_chart(lines, _clock, title), key),
        _chart(
            "Drawdown",
            line_chart(
                [
                    Series("drawdown", "fall", falls, is_area=True),
                    Series("drawdown", "fall-line", falls),
                ],
                _clock,
                "Drawdown",
            ),
        ) if result.fills else "",
        _chart(*_trip_bars(trips)),
        quality(result),
        signals(result),
    ]  # fmt: skip
    return "".join(parts)


def _clock(ns: float) -> str:
    return iso_ns(int(ns))[:19].replace("T", " ")


def _chart(title: str, svg: str, key: str = "") -> str:
    if not svg:
        return ""
    note = f'<p class="soft">{key}</p>' if key else ""
    return f"<h3>{escape(title)}</h3>{note}{svg}"


def _trip_bars(trips: Sequence[RoundTrip]) -> tuple[str, str]:
    """Return title and chart of the P&L of the round trips, in order of their end."""
    run = -(-len(trips) // BARS_MAX)
    title = "P&L of each round trip" if run <= 1 else f"P&L of each {run} round trips"
    bars = []
    for start in range(0, len(trips), max(1, run)):
        some = trips[start : start + run]
        total = sum((trip.realized for trip in some), Decimal(0))
        seconds = (some[-1].closed_ns - some[0].opened_ns) / NS_PER_S
        sides = " ".join(dict.fromkeys(trip.side for trip in some))
        told = f"{_clock(some[-1].closed_ns)}: {money(total)}, {sides}, {seconds:.1f} s"
        bars.append(Bar(float(total), told))
    return title, bar_chart(bars, title)


def _verdict(result: Result) -> str:
    """Return in a sentence what came out and of what it is made."""
    unit = result.currency
    return (
        f"{signed(result.pnl)} {unit} net: prices brought {signed(result.pnl_before_fees)}, fees "
        f"took {money(result.fees, 2)}. Buy and hold came to {signed(result.buy_and_hold.pnl)}, "
        "doing nothing to 0."
    )


def signed(value: Decimal) -> str:
    """Return money to the cent with its sign."""
    return f"{value:+,.2f}".replace("-", "−")
