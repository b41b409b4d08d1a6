"""Profit and loss: numbers as the engine gives them, use of the daily loss limit, the curve."""

from __future__ import annotations

from core.snapshot import PnlView
from tui.present.bars import bar_right, curve
from tui.present.costs import cost_line
from tui.present.line import Line, Panel, Role, Span
from tui.present.scene import Scene
from tui.present.text import fit, fit_right, money, sign_of, signed


def present_pnl(scene: Scene, width: int, height: int) -> Panel:
    """Return the P&L panel for ``width`` x ``height`` cells."""
    if scene.snapshot is None:
        return Panel("P&L", (), doubt=scene.doubt())
    pnl = scene.snapshot.pnl
    half = width // 2
    lines: list[Line] = [
        _two(("total", pnl.total, True), ("today", pnl.today, True), half),
        _two(("realized", pnl.realized, True), ("unrealized", pnl.unrealized, True), half),
        _two(("fees", pnl.fees, False), ("exposure", pnl.exposure, False), half),
        loss_line(pnl, width),
        cost_line(scene.snapshot.costs, width),
    ]
    room = height - 1 - len(lines)
    if room >= 2:
        lines += _curve(pnl, width, room)
    return Panel("P&L", lines, pnl.currency, scene.doubt())


def _two(
    left: tuple[str, str | None, bool], right: tuple[str, str | None, bool], half: int
) -> Line:
    return (Span(" "), *_cell(*left, half - 1), *_cell(*right, half))


def _cell(name: str, text: str | None, is_signed: bool, width: int) -> Line:
    value = signed(text) if is_signed else money(text)
    return (
        Span(fit(name, 10), "dim"),
        Span(fit_right(value, max(4, width - 11)), money_role(text) if is_signed else "text"),
        Span(" "),
    )


def money_role(text: str | None) -> Role:
    """Return the role of signed money: up, down, or plain for zero and not known."""
    sign = sign_of(text)
    return "up" if sign > 0 else "down" if sign < 0 else "text"


def loss_share(pnl: PnlView) -> float | None:
    """Return the use of the daily loss limit, 0 to 1 and above; None while it is not known."""
    try:
        limit = float(pnl.daily_loss_limit)
        today = float(pnl.today) if pnl.today is not None else None
    except ValueError:
        return None
    if today is None or limit <= 0:
        return None
    return max(0.0, -today) / limit


def loss_line(pnl: PnlView, width: int) -> Line:
    """Return the use of the daily loss limit as a bar and in words."""
    share = loss_share(pnl)
    limit = f" of {money(pnl.daily_loss_limit)}"
    if share is None:
        return (Span(" loss limit ", "dim"), Span("not known: a mark is missing", "warn"))
    role: Role = "error" if share >= 1 else "warn" if share >= 0.5 else "ok"
    words = f" {share * 100:.0f} %{limit}"
    bar = bar_right(share, max(3, width - 12 - len(words) - 1))
    return (
        Span(" loss limit ", "dim"),
        Span(bar.rstrip(), role),
        Span("░" * (len(bar) - len(bar.rstrip())), "faint"),
        Span(words),
    )


def _curve(pnl: PnlView, width: int, rows: int) -> list[Line]:
    if len(pnl.curve) < 2:
        return [(), (Span(" no curve yet: one point a second", "dim"),)]
    columns = max(1, width - 10)
    lines = curve(pnl.curve, columns, rows)
    newest = pnl.curve[-columns:]
    lines[0] = (*lines[0], Span(f" {max(newest):+.2f}", "dim"))
    if rows > 1:
        lines[-1] = (*lines[-1], Span(f" {min(newest):+.2f}", "dim"))
    return [(Span(" "), *line) for line in lines]
