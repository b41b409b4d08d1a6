"""Signals and forecasts: what leans where, by how much, and whether it has earned belief."""

from __future__ import annotations

from collections.abc import Sequence

from core.model.decision import Forecast
from core.snapshot import InstrumentView, SignalView
from tui.present.bars import gauge, signed_bar
from tui.present.line import Line, Panel, Role, Span, line_width, spread_out
from tui.present.scene import Scene
from tui.present.text import fit, fit_right

_NARROW = (0.4, 0.6)
"""Range of the gauge while everything fits in it: a second's forecast lives near one half."""
_NAME = 18
"""Cells for a signal's name: the longest, ``trade pressure 30s``."""
_WIDE = 56
"""Width from which a signal's value stands beside its bar."""


def present_signals(scene: Scene, width: int, height: int) -> Panel:
    """Return the panel of forecasts and signals for ``width`` x ``height`` cells."""
    view = scene.view()
    if view is None:
        return Panel("SIGNALS", (), doubt=scene.doubt())
    lines: list[Line] = []
    for forecast in view.forecasts:
        lines += [*forecast_lines(forecast, width, scene.min_labels)]
    if not view.forecasts:
        lines.append((Span(" no forecast yet: waiting for signals", "dim"),))
    room = height - 1 - len(lines) - len(view.signals)
    if room >= 2:
        lines.append(())
    if room >= 1 and view.signals:
        lines.append(_signal_head(width))
    lines += _signal_lines(view.signals, width, height - 1 - len(lines))
    if not view.signals:
        lines.append((Span(" no signals yet", "dim"),))
    return Panel("SIGNALS", lines, _volatility(view), scene.market_doubt())


def _signal_lines(signals: Sequence[SignalView], width: int, rows: int) -> list[Line]:
    """Return one line a signal; where room is short the last line counts what is left out."""
    if len(signals) <= rows:
        return [signal_line(signal, width) for signal in signals]
    shown = max(0, rows - 1)
    lines = [signal_line(signal, width) for signal in signals[:shown]]
    return [*lines, (Span(f" and {len(signals) - shown} more signals", "dim"),)]


def _volatility(view: InstrumentView) -> str:
    if view.volatility_bps is None:
        return "volatility not known yet"
    bucket = f" {view.volatility_bucket}" if view.volatility_bucket else ""
    return f"vol {view.volatility_bps:.2f} bps{bucket}"


def is_proven(forecast: Forecast) -> bool:
    """Return True if the forecast beat its base rate over the resolved labels."""
    return forecast.skill is not None and forecast.skill > 0


def badge(forecast: Forecast, min_labels: int | None, room: int) -> Span:
    """Return the skill in words that fit: proven, no better than the base rate, or unproven."""
    n = forecast.n_resolved
    if forecast.skill is None:
        of = "" if min_labels is None else f" of {min_labels}"
        short = "" if min_labels is None else f"/{min_labels}"
        return Span(_fitting(f"unproven: {n}{of} labels", f"unproven {n}{short}", room), "dim")
    skill = f"{forecast.skill * 100:+.1f} %"
    if forecast.skill > 0:
        return Span(_fitting(f"skill {skill} · n {n}", f"skill {skill} n {n}", room), "ok")
    return Span(_fitting(f"no edge: skill {skill} · n {n}", f"no edge {skill}", room), "dim")


def _fitting(long: str, short: str, room: int) -> str:
    return long if len(long) <= room else short


def forecast_lines(forecast: Forecast, width: int, min_labels: int | None) -> tuple[Line, Line]:
    """Return the line of numbers and the gauge under it; grey while the forecast is unproven."""
    low, high = _NARROW
    if not all(low <= x <= high for x in (forecast.p_up, forecast.base_rate)):
        low, high = 0.0, 1.0
    role: Role = "up_strong" if forecast.p_up > 0.5 else "down_strong"
    mark = "▲" if forecast.p_up > 0.5 else "▼" if forecast.p_up < 0.5 else " "
    base = f" base {forecast.base_rate * 100:.1f} %"
    bars = gauge(forecast.p_up, forecast.base_rate, max(5, width - 9 - len(base)), low, high)
    if not is_proven(forecast):
        role = "dim"
        bars = tuple(Span(s.text, "dim" if s.role in {"up", "down"} else s.role) for s in bars)
    numbers: Line = (
        Span(f" P(up) {forecast.horizon_s} s ", "title"),
        Span(f"{mark}{forecast.p_up * 100:.1f} %", role),
    )
    words = badge(forecast, min_labels, width - line_width(numbers) - 2)
    head = spread_out(numbers, (words, Span(" ")), width)
    scale = (
        Span(f" {low * 100:2.0f} ", "dim"),
        *bars,
        Span(f" {high * 100:<3.0f}", "dim"),
        Span(base, "accent"),
    )
    return head, scale


def _half(width: int) -> int:
    """Return the cells on each side of a signal's centre line."""
    return max(3, (width - _NAME - 3 - (17 if width >= _WIDE else 10)) // 2)


def _signal_head(width: int) -> Line:
    half = _half(width)
    value = "  value" if width >= _WIDE else ""
    return (
        Span(f" {fit('signal', _NAME + 1)}", "dim"),
        Span(fit("▼ down", half), "dim"),
        Span(" "),
        Span(fit_right("up ▲", half), "dim"),
        Span(f"{value}   share", "dim"),
    )


def signal_line(signal: SignalView, width: int) -> Line:
    """Return one signal: name, signed bar, value where there is room, share in the log-odds."""
    share = round(signal.share, 3)
    mark = "▲" if share > 0 else "▼" if share < 0 else " "
    role: Role = "up" if share > 0 else "down" if share < 0 else "dim"
    value = (Span(f" {signal.value:+6.2f}", "dim"),) if width >= _WIDE else ()
    return (
        Span(f" {fit(signal.name, _NAME)} "),
        *signed_bar(signal.value, _half(width)),
        *value,
        Span(f" {mark}{share:+7.3f} ", role),
    )
