"""Pages of ``docs/venues`` that are made from code: the table of states, the continuity policies.

``python -m core.feeds.pages`` writes them anew; a test fails where they differ from the code.
"""

from __future__ import annotations

from pathlib import Path

from core.feeds.continuity import POLICIES
from core.feeds.states import BELIEVED, TRANSITIONS
from core.feeds.summary import CONTRACT_WORDS
from core.model.market import FeedCause, FeedState

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "venues"

_MEANINGS = {
    FeedState.CONNECTING: "no connection",
    FeedState.BUFFERING: "connected, waiting for the first snapshot",
    FeedState.LIVE: "the book is believed; the only state in which a new order may leave",
    FeedState.SUSPECT: "something speaks against the book: drawn, not traded on",
    FeedState.STALE: "nothing came for the stale time: drawn, not traded on",
    FeedState.RESYNCING: "the book lost its place: empty until a new snapshot",
    FeedState.HALTED: "the venue stopped trading: empty until it goes on",
}


def states_page() -> str:
    """Return ``docs/venues/states.md``."""
    lines = [
        "# Feed states",
        "",
        "Made from `core/feeds/states.py` by `python -m core.feeds.pages`; do not edit.",
        "",
        "One state an instrument. Every change goes through one table of (state, cause) and is",
        "counted by its cause, per instrument. A cause that does not fit the state is a bug of",
        "ours: in tests it raises, in a run the book is doubted, the connection is made anew and",
        "the cause `impossible` is counted.",
        "",
        "| state | meaning | levels in the book | word in `replay --summary` |",
        "|---|---|---|---|",
    ]
    for state in FeedState:
        held = "yes" if state in BELIEVED else "no"
        lines.append(f"| `{state}` | {_MEANINGS[state]} | {held} | `{CONTRACT_WORDS[state]}` |")
    lines += [
        "",
        "The first sign of doubt keeps the book and trades nothing on it, the second costs it. A",
        "doubt ends when what raised it is over, or by a snapshot; a doubt that nothing settles",
        "for three stale times is settled by asking for a snapshot. A suspect book whose",
        "connection falls silent stays suspect. A book that comes crossed in the snapshot itself",
        "is suspect for as long as the venue shows it so, and is not asked for again.",
        "",
        "## Diagram",
        "",
        "Without the connection's end and beginning, which lead from everywhere to `connecting`",
        "and `buffering`, without `halted`, and without causes that only change the reason.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> connecting",
        *_arrows(),
        "```",
        "",
        "## Table",
        "",
        "| cause | from | to |",
        "|---|---|---|",
        *_rows(),
        "",
    ]
    return "\n".join(lines)


def _arrows() -> list[str]:
    left_out = {FeedCause.OPENED, FeedCause.CLOSED, FeedCause.IMPOSSIBLE, FeedCause.TAKEN_OVER}
    causes: dict[tuple[FeedState, FeedState], list[str]] = {
        (FeedState.CONNECTING, FeedState.BUFFERING): [FeedCause.OPENED.value]
    }
    for (source, cause), target in TRANSITIONS.items():
        # A frame while connecting is a capture that lacks its opening.
        is_shown = source not in {target, FeedState.CONNECTING, FeedState.HALTED}
        if is_shown and target is not FeedState.HALTED and cause not in left_out:
            causes.setdefault((source, target), []).append(cause.value)
    return [f"    {a} --> {b}: {', '.join(each)}" for (a, b), each in causes.items()]


def _rows() -> list[str]:
    sources: dict[tuple[FeedCause, FeedState | None], list[str]] = {}
    for (source, cause), target in TRANSITIONS.items():
        key = (cause, None if source is target else target)
        sources.setdefault(key, []).append(source.value)
    ordered = sorted(sources.items(), key=lambda each: list(FeedCause).index(each[0][0]))
    order = [state.value for state in FeedState]
    return [
        f"| `{cause}` | {', '.join(sorted(names, key=order.index))} | {target or 'the same'} |"
        for (cause, target), names in ordered
    ]


def continuity_page() -> str:
    """Return ``docs/venues/continuity.md``."""
    lines = [
        "# Continuity: what proves that nothing was lost, channel by channel",
        "",
        "Made from `core/feeds/continuity.py` by `python -m core.feeds.pages`; do not edit. The",
        "sources are on each venue's page. On every venue besides: a message that cannot be used",
        "costs the books it may have been of (`refused`), and a book that stays crossed for",
        "`[feed] crossed_after_ms` is suspect, for twice that asked for anew (`crossed`; not on",
        "quotes of several venues, which cross for real).",
        "",
        "| venue | channel | proof | a gap taints | repair | causes |",
        "|---|---|---|---|---|---|",
    ]
    for one in POLICIES:
        causes = ", ".join(f"`{cause}`" for cause in one.causes)
        cells = (one.venue, one.channel, one.proof, one.taints, one.repair, causes)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


PAGES = {"states.md": states_page, "continuity.md": continuity_page}


def main() -> None:
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
