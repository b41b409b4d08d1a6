"""The lines that never hide: account and feed, instruments, the banner, health, keys."""

from __future__ import annotations

from core.clock import NS_PER_MS, short_time
from core.model.market import FeedState
from core.snapshot import InstrumentView, Notice, Snapshot
from tui.present.chart import decimals_of
from tui.present.line import Line, Role, Span, cut, line_text, line_width, spread_out
from tui.present.pnl import money_role
from tui.present.scene import Scene
from tui.present.text import clock_time, padded, signed

_BADGES: dict[str, Role] = {"SIM": "sim", "PAPER": "paper", "LIVE": "live"}
_SAID: dict[str, Role] = {"info": "ok", "warning": "warn", "error": "alarm"}
_SEVERITY: dict[str, Role] = {"info": "dim", "warning": "warn", "error": "error"}


def header_line(scene: Scene, width: int) -> Line:
    """Return account, venue, mode at the left, feed and engine at the right."""
    snapshot = scene.snapshot
    if snapshot is None:
        left: Line = (Span(" TAPEWRIGHT ", "sim"), Span(f" {scene.doubt()}", "warn"))
        return spread_out(left, (Span(_lost(scene), "error"),), width)
    badge = _BADGES.get(snapshot.account, "alarm")
    where = (Span(f" {snapshot.account} ", badge), Span(f" {snapshot.venue}", "strong"))
    state = (
        Span(f" {snapshot.mode.upper()} ", "key"),
        *((Span(" "), Span(" PAUSED ", "caution")) if scene.paused else ()),
        Span("  P&L ", "dim"),
        Span(signed(snapshot.pnl.total), money_role(snapshot.pnl.total)),
        Span(f" {snapshot.pnl.currency}", "dim"),
    )
    right = (*_feed(scene), *_engine(scene))
    # The source gives way: a file's name may be longer than the line, mode and P&L must show.
    room = width - line_width((*where, *state, *right)) - 1
    source = f" {snapshot.source} " if snapshot.source != snapshot.venue else " "
    named = cut((Span(source, "dim"),), min(max(1, room), line_width((Span(source),))))
    return spread_out((*where, *named, *state), right, width)


def _feed(scene: Scene) -> Line:
    view = scene.view()
    if view is None:
        return (Span(" no instrument", "warn"),)
    feed = view.feed
    if scene.lost_ms is not None:
        return (Span(f" ○ was {feed.state.value} ", "stale"),)
    is_live = feed.state is FeedState.LIVE
    age = "" if feed.age_ms is None else f" {short_time(feed.age_ms)}"
    return (
        Span(" ● " if is_live else " ○ ", "ok" if is_live else "warn"),
        Span(feed.state.value, "ok" if is_live else "warn"),
        Span(f"{age} ", "dim" if is_live else "warn"),
    )


def _engine(scene: Scene) -> Line:
    if scene.lost_ms is not None:
        return (Span(f" {_lost(scene)} ", "alarm"),)
    age = scene.age_ms()
    role: Role = "warn" if scene.doubt() else "dim"
    return (Span(" engine ", "dim"), Span(f"{short_time(age)} ", role))


def _lost(scene: Scene) -> str:
    return "" if scene.lost_ms is None else f"ENGINE LOST {short_time(scene.lost_ms)}"


def instruments_line(scene: Scene, width: int) -> Line:
    """Return the instruments with their keys; the selected one first in the eye."""
    if scene.snapshot is None:
        return cut((), width)
    spans: list[Span] = []
    for index, view in enumerate(scene.snapshot.instruments):
        spans += _instrument(index, view, is_selected=view is scene.view())
    return cut(spans, width)


def _instrument(index: int, view: InstrumentView, *, is_selected: bool) -> list[Span]:
    is_live = view.feed.state is FeedState.LIVE
    mid = "no mid" if view.mid is None or not view.bids or not view.asks else _mid_text(view)
    spans = [
        Span(f" {index + 1} " if index < 9 else " · ", "key" if is_selected else "faint"),
        Span(f" {view.name} ", "strong" if is_selected else "dim"),
        Span(f"{mid} ", "text" if is_live else "stale"),
    ]
    if not is_live:
        spans.append(Span(f"{view.feed.state.value} ", "warn"))
    if is_selected:
        last = view.last_trade
        mark = {1: "▲", -1: "▼"}.get(view.last_trade_side, "")
        role: Role = "up" if view.last_trade_side > 0 else "down"
        shown = padded(last, decimals_of(view.tick_size)) if last else ""
        spans += [Span(f" last {mark}{shown} ", role if mark else "text")] if last else []
        spans.append(Span(f" spread {view.spread or '—'} ", "dim"))
        if view.volatility_bps is not None:
            spans.append(Span(f" vol {view.volatility_bps:.2f} bps ", "dim"))
        if view.volatility_bucket:
            spans.append(Span(f"{view.volatility_bucket} ", "accent"))
    return [*spans, Span("  ")]


def _mid_text(view: InstrumentView) -> str:
    return f"{view.mid:.{decimals_of(view.tick_size) + 1}f}"


def banner_line(scene: Scene, width: int) -> Line:
    """Return the one line that matters most now.

    In this order: a kill that did not arrive, a lost engine, a halt, the last word said, the end
    of the feed, why no order may leave, the newest notice.
    """
    text, role = _banner(scene)
    if role in {"alarm", "caution"}:
        return _block(text, role, width)
    return cut((Span(f" {text}", role),), width)


def _banner(scene: Scene) -> tuple[str, Role]:
    snapshot, said = scene.snapshot, scene.said
    if said is not None and said.sticks:
        return said.text, "alarm"
    if scene.lost_ms is not None and snapshot is not None:
        return f"{_lost(scene)}: {scene.lost_reason or 'no answer'} · the picture is old", "alarm"
    if snapshot is not None and snapshot.risk.is_halted:
        return _halted(scene, snapshot), "alarm"
    if said is not None:
        return said.text, _SAID.get(said.severity, "alarm")
    if snapshot is None:
        return f"no engine answers yet: {scene.lost_reason or 'asking'}", "caution"
    return _banner_of_engine(scene, snapshot)


def _banner_of_engine(scene: Scene, snapshot: Snapshot) -> tuple[str, Role]:
    if snapshot.finished:
        return f"FINISHED: {snapshot.finished}", "caution"
    if snapshot.risk.blocked:
        return f"no new orders: {snapshot.risk.blocked}", "caution"
    if snapshot.recording is not None and snapshot.recording.trouble:
        return f"{snapshot.recording.trouble} · f shows the feeds", "caution"
    notice = scene.newest_notice()
    if snapshot.risk.last_denial and (notice is None or notice.severity == "info"):
        return f"last denial: {snapshot.risk.last_denial}", "dim"
    if notice is None:
        return "", "dim"
    return line_text(notice_line(notice)).strip(), _SEVERITY.get(notice.severity, "warn")


def _halted(scene: Scene, snapshot: Snapshot) -> str:
    since = f" since {clock_time(snapshot.risk.halt_since)}" if snapshot.risk.halt_since else ""
    reason = snapshot.risk.halt_reason or "no reason recorded"
    said = f" · {scene.said.text}" if scene.said is not None else ""
    return f"■ HALTED{since}: {reason} · r re-arms{said}"


def _block(text: str, role: Role, width: int) -> Line:
    return tuple(Span(span.text, role) for span in cut((Span(f" {text}"),), width))


def notice_line(notice: Notice) -> Line:
    """Return one engine notice with its time and severity."""
    role = _SEVERITY.get(notice.severity, "warn")
    word = "" if notice.severity == "info" else f"{notice.severity}: "
    return (Span(f" {clock_time(notice.time)} ", "dim"), Span(f"{word}{notice.text}", role))


def status_line(scene: Scene, width: int) -> Line:
    """Return the engine's health at the left, the screen's own cost at the right.

    What does not fit whole is left out, the least needed first.
    """
    role: Role = "warn" if scene.cost_ms > 500 / scene.hz else "dim"
    right: Line = (Span(f" UI {scene.hz} Hz · {scene.cost_ms:.0f} ms ", role),)
    groups = [] if scene.snapshot is None else _health(scene, scene.snapshot)
    left: list[Span] = []
    room = width - line_width(right)
    for group in groups:
        room -= line_width(group)
        if room < 0:
            break
        left += group
    return spread_out(tuple(left), right, width)


def _micro(us: float) -> str:
    return f"{us:.0f} µs" if us < 10_000 else f"{us / 1000:.0f} ms"


def _losses(snapshot: Snapshot, view: InstrumentView) -> list[Line]:
    """Return what was lost, where anything was; the sheet of ``f`` has all counts."""
    feed, kept = view.feed, snapshot.recording
    counts = [
        ("gaps", feed.gaps), ("resyncs", feed.resyncs), ("refused", feed.refused),
        ("checks failed", sum(each.checks_failed for each in snapshot.connections)),
        ("trades lost", sum(each.trades_lost for each in snapshot.connections)),
        ("not recorded", 0 if kept is None else kept.records_dropped),
        ("tape lost", 0 if kept is None else kept.tape_rows_lost),
        ("clients cut", snapshot.clients.slow + snapshot.clients.displaced),
    ]  # fmt: skip
    return [(Span(f"  {name} {count}", "warn"),) for name, count in counts if count]


def _health(scene: Scene, snapshot: Snapshot) -> list[Line]:
    health, view = snapshot.health, scene.view()
    share = health.queue_depth / health.queue_bound if health.queue_bound > 0 else 0.0
    queue: Role = "error" if share >= 0.8 else "warn" if share >= 0.3 else "text"
    head = f"#{health.ledger_seq} {health.ledger_hash[:8]}".rstrip()
    groups: list[Line] = [
        (Span(" queue ", "dim"), Span(f"{health.queue_depth}/{health.queue_bound}", queue)),
        (Span("  ledger ", "dim"), Span(head)),
    ]
    if view is not None:
        groups += _losses(snapshot, view)
    for name, value in (("feed", health.feed_us_p99), ("decide", health.decision_us_p99)):
        if value is not None:
            groups.append((Span(f"  {name} p99 ", "dim"), Span(_micro(value))))
    if view is not None and view.feed.latency_ms is not None:
        groups.append((Span("  venue lag ", "dim"), Span(f"{view.feed.latency_ms:.0f} ms")))
    groups.append((Span("  mem ", "dim"), Span(f"{health.rss_mib:.0f} MiB")))
    up_ms = (snapshot.made_ns - snapshot.started_ns) / NS_PER_MS
    if up_ms > 0:
        groups.append((Span("  up ", "dim"), Span(short_time(up_ms))))
    return groups
