"""The action registry: every key of the screen, once.

Bindings, footer, palette, help sheet and the table in ``docs/screen.md`` are made from it.
A key bound twice in one place stops the program at import.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from textual.binding import Binding

Where = Literal["everywhere", "desk"]


class ActionSpec(msgspec.Struct, frozen=True):
    """One thing the trader can do."""

    name: str
    """Method ``action_<name>`` of the app (everywhere) or the desk screen (desk)."""
    keys: str
    """Textual key names, comma separated; the first is shown."""
    shown: str
    label: str
    help: str
    group: str
    where: Where = "desk"
    in_footer: bool = False
    in_palette: bool = True


ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec(
        "confirm", "y", "y", "confirm",
        "Send the proposal on show. Ignored for 0.3 s after a proposal appears, while the screen "
        "is paused and while the engine is lost.",
        "Proposal", in_footer=True,
    ),
    ActionSpec(
        "reject", "n", "n", "reject",
        "Reject the proposal on show. No answer in time rejects too.",
        "Proposal", in_footer=True,
    ),
    ActionSpec(
        "close_trade", "k", "k", "kill trade",
        "Kill one trade at once: cancel the instrument's orders, close its position. Takes the "
        "chosen row of positions or orders, else the selected instrument.",
        "Exit", in_footer=True,
    ),
    ActionSpec(
        "cancel_order", "c", "c", "cancel order",
        "Cancel the chosen working order; the position stays.",
        "Exit",
    ),
    ActionSpec(
        "kill_all", "f12", "F12", "KILL ALL",
        "Kill everything at once, from any state of the screen: cancel all orders, flatten if the "
        "configuration says so, halt until re-armed. Asks nothing.",
        "Exit", where="everywhere", in_footer=True,
    ),
    ActionSpec(
        "halt_instrument", "K", "K", "halt instrument",
        "Kill the instrument at once, as k, and halt it until re-armed; the others trade on.",
        "Exit",
    ),
    ActionSpec(
        "halt_strategy", "S", "S", "halt strategy",
        "Halt the strategy at once: cancel its entries, let it open nothing more until re-armed. "
        "Positions keep their exits, and your own keys work.",
        "Exit",
    ),
    ActionSpec(
        "rearm", "r", "r", "re-arm",
        "Allow trading again after a halt: of all, else of the selected instrument, else of what "
        "is halted. Asks for a typed reason, which goes to the ledger.",
        "Engine", in_footer=True,
    ),
    ActionSpec(
        "difference", "d", "d", "broker differs",
        "Resolve a difference between us and the broker: take its position, cancel or keep an "
        "order that is not ours, mark one that is gone. Asks for a typed reason.",
        "Engine",
    ),
    ActionSpec(
        "mode", "m", "m", "mode",
        "Choose observe, confirm or auto.",
        "Engine", in_footer=True,
    ),
    ActionSpec(
        "pause", "space", "space", "pause",
        "Freeze the panes to read them; receiving, the header and the banner go on.",
        "View", in_footer=True,
    ),
    *(
        ActionSpec(
            f"instrument({n})", str(n), str(n), f"instrument {n}",
            f"Show instrument {n}.", "View", in_palette=False,
        )
        for n in range(1, 10)
    ),
    ActionSpec("up", "up", "↑", "up", "Choose the row above, or the proposal before.", "View",
               in_palette=False),
    ActionSpec("down", "down", "↓", "down", "Choose the row below, or the next proposal.", "View",
               in_palette=False),
    ActionSpec("focus_next", "tab", "tab", "next pane",
               "Move to the next pane with rows: proposal, positions, orders, fills.", "View",
               in_palette=False),
    ActionSpec("focus_last", "shift+tab", "shift+tab", "last pane", "Move to the pane before.",
               "View", in_palette=False),
    ActionSpec("detail", "enter", "enter", "detail",
               "Show the chosen fill with its whole story from the ledger.", "View",
               in_palette=False),
    ActionSpec("feeds", "f", "f", "feeds",
               "Show every feed: state, since when and why, what was lost, sockets, recordings.",
               "View", in_footer=True),
    ActionSpec(
        "set_stop", "s", "s", "stop",
        "Move or cancel the stop of the position: a price, off, auto, or even for the entry price. "
        "Takes the chosen row of positions or orders, else the selected instrument.",
        "Position", in_footer=True,
    ),
    ActionSpec("set_target", "t", "t", "target",
               "Move or cancel the target, likewise: a price, off or auto.",
               "Position", in_footer=True),
    ActionSpec("set_time", "e", "e", "time stop",
               "Move or cancel the time stop, likewise: seconds from now, off or auto.",
               "Position"),
    ActionSpec("reduce", "h", "h", "half",
               "Close half of the position with one order, at once.",
               "Position", in_footer=True),
    ActionSpec(
        "reverse", "v", "v", "reverse",
        "Turn the position over: close it, then enter the opposite through the gate. Asks first.",
        "Position", in_footer=True,
    ),
    ActionSpec(
        "flatten_all", "x", "x", "flatten all",
        "Cancel all orders and close all positions; trading goes on, and auto mode may enter "
        "again. Asks first.",
        "Position", in_footer=True,
    ),
    ActionSpec("help", "question_mark,f1", "?", "help", "Show this sheet.", "Screen",
               in_footer=True),
    ActionSpec(
        "leave", "ctrl+q", "ctrl+q", "quit",
        "Leave. The screen that started the engine stops it, and asks first when something is "
        "open; an attached screen just leaves.",
        "Screen", where="everywhere", in_footer=True,
    ),
)  # fmt: skip


def bindings(where: Where) -> list[Binding]:
    """Return Textual's bindings of one place; everywhere means priority: modals, inputs, palette.

    Errors: ``ValueError`` for a key bound twice.
    """
    specs = [spec for spec in ACTIONS if spec.where == where]
    refuse_duplicates(ACTIONS)
    return [
        Binding(
            spec.keys,
            spec.name,
            spec.label,
            show=False,
            priority=where == "everywhere",
            id=spec.name,
        )
        for spec in specs
    ]


def refuse_duplicates(specs: Iterable[ActionSpec]) -> None:
    """Raise ``ValueError`` when a key has two meanings: clashes of keys lose money."""
    seen: dict[str, str] = {}
    for spec in specs:
        for key in spec.keys.split(","):
            if key in seen:
                raise ValueError(f"key {key} was bound to {seen[key]} and to {spec.name}")
            seen[key] = spec.name


def help_rows() -> list[tuple[str, str, str]]:
    """Return group, key and help of every action, the nine instrument keys as one row."""
    rows = []
    for spec in ACTIONS:
        if spec.name.startswith("instrument("):
            if spec.shown == "1":
                rows.append((spec.group, "1..9", "Show the instrument with that number."))
            continue
        rows.append((spec.group, spec.shown, spec.help))
    return rows


def key_table() -> str:
    """Return the Markdown table of ``docs/screen.md``."""
    rows = [f"| `{key}` | {group} | {text} |" for group, key, text in help_rows()]
    return "\n".join(["| key | group | what it does |", "| --- | --- | --- |", *rows])
