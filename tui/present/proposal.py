"""The proposal: everything needed to say yes or no in the seconds that are left."""

from __future__ import annotations

from core.clock import short_time
from core.snapshot import ProposalView
from tui.present.bars import bar_right
from tui.present.line import Line, Panel, Role, Span, line_width
from tui.present.positions import planned_lines
from tui.present.scene import Scene
from tui.present.text import wrap

TALL = 13
"""Rows from which the exits have a line each."""
_KEYS_NOTE = "new: keys wake in a moment"


def present_proposal(scene: Scene, width: int, height: int) -> Panel:
    """Return the proposal's panel for ``width`` x ``height`` cells, or why there is none."""
    if scene.snapshot is None:
        return Panel("PROPOSAL", (), doubt=scene.doubt())
    proposal = scene.proposal()
    if proposal is None:
        return Panel("PROPOSAL", _none(scene, width, height), "none", scene.doubt())
    ids = [p.decision_id for p in scene.snapshot.proposals]
    # The run's digits are the same in every id of the screen.
    number = proposal.decision_id.rpartition("-")[2]
    note = f"{ids.index(proposal.decision_id) + 1} of {len(ids)} · {number}"
    lines = _facts(proposal, width)
    lines += _exits(proposal, width, height)
    keys = _keys(scene)
    room = height - 1 - len(lines) - 1
    if room > 4:
        lines.append(())
        room -= 1
    reason = wrap(proposal.rationale, width - 2, max(1, min(room - 1, 4)))
    lines += [(Span(f" {text}"),) for text in reason]
    room -= len(reason)
    if room > 0:
        lines.append(_shares(proposal, width))
        room -= 1
    lines += [()] * room
    lines.append(keys)
    return Panel("PROPOSAL", lines, note, scene.doubt())


def _none(scene: Scene, width: int, height: int) -> list[Line]:
    view = scene.view()
    why = "" if view is None else view.waiting_for
    lines: list[Line] = [(), (Span(" no proposal", "title"),)]
    text = why or "the engine gives no reason"
    lines += [(Span(f" {line}", "dim"),) for line in wrap(text, width - 2, max(1, height - 4))]
    return lines


def _facts(proposal: ProposalView, width: int) -> list[Line]:
    is_buy = proposal.side == "BUY"
    role: Role = "up_tag" if is_buy else "down_tag"
    mark = "▲" if is_buy else "▼"
    net = proposal.edge_bps - proposal.cost_bps
    net_role: Role = "ok" if net > 0 else "warn"
    limit = "≤" if is_buy else "≥"
    up_mark = "▲" if proposal.p_up > 0.5 else "▼"
    return [
        (
            Span(" "),
            Span(f" {mark} {proposal.action.replace('_', ' ')} ", role),
            Span(f"  {proposal.side} {proposal.qty} {proposal.instrument}", "strong"),
        ),
        (
            Span(f" limit {limit} ", "dim"),
            Span(proposal.limit, "strong"),
            Span("   notional ", "dim"),
            Span(proposal.notional),
        ),
        (
            Span(f" P(up) {proposal.horizon_s} s ", "dim"),
            Span(f"{up_mark} {proposal.p_up * 100:.1f} %", "up" if up_mark == "▲" else "down"),
        ),
        (
            Span(" edge ", "dim"),
            Span(f"{proposal.edge_bps:.2f}", "strong"),
            Span(" − cost ", "dim"),
            Span(f"{proposal.cost_bps:.2f}", "strong"),
            Span(" = ", "dim"),
            Span(f"{net:+.2f} bps", net_role),
            Span("" if net > 0 else " loss", "warn"),
        ),
        _drift(proposal),
        _countdown(proposal, width),
    ]


def _exits(proposal: ProposalView, width: int, height: int) -> list[Line]:
    """Return the exits that the entry will carry; nothing for an exit."""
    if proposal.exits_note:
        return [(Span(" exits ", "dim"), Span(proposal.exits_note))]
    if proposal.exits is None:
        return []
    return planned_lines(proposal.exits, width, is_tall=height >= TALL)


def _drift(proposal: ProposalView) -> Line:
    drift = proposal.drift_ticks
    word = "against us" if drift > 0 else "for us"
    role: Role = "warn" if drift > 0 else "ok" if drift < 0 else "text"
    return (
        Span(" drift ", "dim"),
        Span(f"{drift:+.1f} ticks {word}" if drift else "none", role),
        Span(" since made" if drift else "", "dim"),
    )


def _countdown(proposal: ProposalView, width: int) -> Line:
    share = proposal.left_ms / proposal.life_ms if proposal.life_ms > 0 else 0.0
    role: Role = "ok" if share > 0.5 else "warn" if share > 0.2 else "error"
    words = f" {short_time(max(0, proposal.left_ms))} of {short_time(proposal.life_ms)} "
    bar = bar_right(share, max(4, width - len(words) - 2))
    done = bar.rstrip()
    return (Span(" "), Span(done, "caution" if role == "error" else role),
            Span("░" * (len(bar) - len(done)), "faint"), Span(words))  # fmt: skip


def _shares(proposal: ProposalView, width: int) -> Line:
    """Return the shares in the log-odds, the largest first, as many as fit whole."""
    spans: list[Span] = []
    for share in sorted(proposal.shares, key=lambda s: -abs(s.share)):
        role: Role = "up" if share.share > 0 else "down" if share.share < 0 else "dim"
        group = [Span(f" {share.name} ", "dim"), Span(f"{share.share:+.2f} ", role)]
        if line_width([*spans, *group]) > width:
            break
        spans += group
    return tuple(spans)


def _keys(scene: Scene) -> Line:
    if scene.paused:
        return (Span(" paused: press space before you confirm", "warn"),)
    if not scene.is_armed:
        return (Span(f" {_KEYS_NOTE}", "dim"),)
    return (
        Span(" "), Span(" y ", "key"), Span(" confirm "),
        Span(" n ", "key"), Span(" reject "), Span(" or it lapses", "dim"),
    )  # fmt: skip
