"""The agent: what it would do now, how sure it is, where it comes from; or why there is none."""

from __future__ import annotations

from core.snapshot import AgentPane
from tui.present.bars import bar_right, sparkline
from tui.present.line import Line, Panel, Role, Span
from tui.present.scene import Scene
from tui.present.text import fit, wrap


def present_agent(scene: Scene, width: int, height: int) -> Panel:
    """Return the agent's panel for ``width`` x ``height`` cells."""
    view = scene.view()
    if view is None:
        return Panel("AGENT", (), doubt=scene.doubt())
    if view.agent is None:
        why = view.agent_note or "the engine gives no reason"
        lines: list[Line] = [()]
        lines += [(Span(f" {text}", "dim"),) for text in wrap(f"no agent: {why}", width - 2, 4)]
        return Panel("AGENT", lines, doubt=scene.market_doubt())
    agent = view.agent
    lines = [
        _action("▼ short", agent.short, "down", width),
        _action("  flat", agent.flat, "text", width),
        _action("▲ long", agent.long, "up", width),
        _entropy(agent, width),
    ]
    room = height - 1 - len(lines)
    lines += [(Span(f" {text}", "dim"),) for text in wrap(agent.note, width - 2, room)]
    return Panel("AGENT", lines, agent.agent_id, scene.market_doubt())


def _action(name: str, share: float, role: Role, width: int) -> Line:
    return (
        Span(" " + fit(name, 8), role),
        Span(bar_right(share, max(4, width - 18)), role),
        Span(f" {share * 100:5.1f} %"),
    )


def _entropy(agent: AgentPane, width: int) -> Line:
    """Entropy over its maximum: 0 is certain, 1 is a coin with three sides."""
    history = max(4, width - 9 - 8 - 2 - 7)
    bar = bar_right(agent.entropy, 8)
    return (
        Span(" entropy ", "dim"),
        Span(bar.rstrip(), "accent"),
        Span("░" * (len(bar) - len(bar.rstrip())), "faint"),
        Span(" "),
        Span(sparkline(agent.entropy_history, history, 0.0, 1.0), "dim"),
        Span(f" {agent.entropy:5.2f}"),
    )


def agent_word(agent: AgentPane | None, note: str) -> Line:
    """Return the agent in one short line, for the compact screen."""
    if agent is None:
        return (Span(f"no agent: {note or 'the engine gives no reason'}", "dim"),)
    best = max((agent.short, "▼ short"), (agent.flat, "flat"), (agent.long, "▲ long"))
    role: Role = "up" if "long" in best[1] else "down" if "short" in best[1] else "text"
    return (
        Span(f"{best[1]} {best[0] * 100:.0f} %", role),
        Span(f"  entropy {agent.entropy:.2f}  ", "dim"),
        Span(agent.agent_id, "dim"),
    )
