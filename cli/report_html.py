"""The report of a backtest as one page: tables and charts, nothing from outside, no script."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from cli.backtest_table import money
from cli.svg import Bar, Series, bar_chart, line_chart
from core.backtest_report import FileReport, Report, Result, RoundTrip
from core.clock import NS_PER_S, iso_ns

BARS_MAX = 240
"""More round trips than this are added up in runs of equal length, one bar a run."""
STYLE = """
:root{color-scheme:light dark;--page:#fbfaf7;--ink:#1f2328;--soft:#6a737d;--line:#e3e1da;
--own:#0f7a6c;--hold:#8a6d1f;--gain:#0f7a6c;--loss:#b3372f;--fall:#b3372f33;--warn:#8a4b00}
@media (prefers-color-scheme:dark){:root{--page:#14171a;--ink:#e6e4df;--soft:#98a0a8;--line:#2c3237;
--own:#3fb8a5;--hold:#d3b15a;--gain:#3fb8a5;--loss:#e0736b;--fall:#e0736b40;--warn:#e0a458}}
body{background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
margin:0 auto;max-width:1060px;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:40px 0 4px;overflow-wrap:anywhere}
h3{font-size:14px;margin:22px 0 6px}p{margin:4px 0}.soft{color:var(--soft)}.warn{color:var(--warn)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;
margin:8px 0;font-size:13.5px}th,td{padding:4px 12px 4px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line)}th:first-child,td:first-child,td.text{text-align:left}
td.text{white-space:normal}.words th:last-child{text-align:left}
th{color:var(--soft);font-weight:600}tr.total td{font-weight:600}
.gain-text{color:var(--gain)}.loss-text{color:var(--loss)}
svg{display:block;width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}
.grid{stroke:var(--line)}.zero{stroke:var(--soft)}path{fill:none;stroke-width:1.6}
.own{stroke:var(--own)}.hold{stroke:var(--hold);stroke-dasharray:5 3}
.fall{fill:var(--fall);stroke:var(--loss);stroke-width:1}.gain{fill:var(--gain)}.loss{fill:var(--loss)}
.key{display:inline-block;width:18px;border-top:2px solid var(--own);vertical-align:4px;
margin:0 6px 0 0}.key.dash{border-top:2px dashed var(--hold)}.key.light{opacity:.5}
.key+.key,.key.dash,.key.light{margin-left:16px}.gross{stroke:var(--own);opacity:.5}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px 20px;
margin:14px 0}dt{color:var(--soft);font-size:12.5px}dd{margin:0;font-variant-numeric:tabular-nums}
"""
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
        f"{money(terms.order_notional, 2)}, latency {terms.latency_ms} ms, "
        f"agent {terms.agent or 'none'}."
    )
    digests = f"Code {terms.code[:16]}, settings {terms.config[:16]}."
    words = [f"<h1>Backtest</h1><p>{escape(told)}</p>"]
    if terms.is_practice:
        words.append('<p class="warn">Practice settings: it trades without an edge.</p>')
    words.append(f'<p class="soft">{escape(digests)}</p>')
    return "".join(words)


def _summary(report: Report) -> str:
    rows = [_row(file.name, result) for file in report.files for result in file.results]
    if len(report.files) > 1:
        rows += [_row(f"total {one.currency}", one, "total") for one in report.totals]
    if not rows:
        return "<p>No file could be used.</p>"
    note = (
        "All money in quote currency. Unrealized is at the last mid, opening fees included. "
        "Buy and hold spends one order notional at the first ask, with the same fee, and is "
        "marked at the last mid; flat is doing nothing."
    )
    return f'<div class="wide">{_table(HEADS, rows)}</div><p class="soft">{escape(note)}</p>'


def _row(name: str, result: Result, style: str = "") -> str:
    cells = [
        f"<td>{escape(name)}</td>",
        _money_cell(result.pnl, f" {result.currency}"),
        _money_cell(result.pnl_before_fees),
        _cell(money(result.fees)),
        _cell(money(result.max_drawdown)),
        _cell(str(result.round_trips)),
        _cell(_share(result.hit_rate)),
        _money_cell(result.buy_and_hold.pnl),
        _cell("0"),
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
        ("slippage from the decision's mid", "–" if slip is None else f"{slip:.2f} bps"),
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
    rows = [f"<tr><td>{escape(one.name)}</td>{_words(one.problem)}</tr>"
            for one in report.bad_files]  # fmt: skip
    return f"<h2>Files that gave nothing</h2>{_table(('', 'why'), rows, 'words')}"


def _file(file: FileReport) -> str:
    feed = file.feed
    told = (
        f"{file.venue}, {file.begin[:19]} to {file.end[:19]} UTC, fee {file.fee_bps} bps. "
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
    parts += [_skills(file), _reasons(file)]
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
        _facts(result) if result.fills else "",
        _chart(title, line_chart(lines, _clock, title), key),
        _chart(
            "Drawdown",
            line_chart([Series("drawdown", "fall", falls, is_area=True)], _clock, "Drawdown"),
        ) if result.fills else "",
        _chart(*_trip_bars(trips)),
        _signals(result),
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


def _signals(result: Result) -> str:
    if not result.signals:
        return ""
    rows = [
        f"<tr><td>{escape(one.name)}</td>{_money_cell(one.realized)}{_cell(str(one.closed_lots))}"
        "</tr>"
        for one in result.signals
    ]
    table = _table(("signal that spoke for the entry", "realized", "closed lots"), rows)
    return f"<h3>Realized P&amp;L by signal, {escape(result.currency)}</h3>{table}"


def _skills(file: FileReport) -> str:
    rows = []
    for one in file.skills:
        skill = "unproven" if one.skill is None else f"{one.skill:+.1%}"
        error = "–" if one.calibration_error is None else f"{one.calibration_error:.3f}"
        floor = "–" if one.calibration_floor is None else f"{one.calibration_floor:.3f}"
        cells = (f"{one.horizon_s} s", skill, str(one.labels), f"{one.moved_share:.0%}",
                 f"{one.base_rate:.1%}", error, floor)  # fmt: skip
        rows.append(f"<tr><td>{escape(one.instrument)}</td>{''.join(map(_cell, cells))}</tr>")
    heads = ("forecast", "horizon", "skill", "outcomes", "moved", "base rate",
             "calibration error", "its floor")  # fmt: skip
    return f"<h3>Forecasts at the end</h3>{_table(heads, rows)}"


def _reasons(file: FileReport) -> str:
    if not file.reasons:
        return ""
    rows = [
        f"<tr><td>{escape(one.code)}</td>{_cell(str(one.seconds))}{_cell(str(one.refused))}"
        f"{_words(one.example)}</tr>"
        for one in file.reasons
    ]
    heads = ("reason for not trading", "seconds", "refusals", "newest wording")
    return f"<h3>Not trading</h3>{_table(heads, rows, 'words')}"


def _table(heads: Sequence[str], rows: Sequence[str], style: str = "") -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f'<table class="{style}"><tr>{head}</tr>{"".join(rows)}</table>'


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _words(text: str) -> str:
    return f'<td class="text">{escape(text)}</td>'


def _money_cell(value: Decimal, unit: str = "") -> str:
    style = "loss-text" if value < 0 else "gain-text" if value > 0 else ""
    return f'<td class="{style}">{escape(money(value) + unit)}</td>'
