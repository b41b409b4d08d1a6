"""``status``: the newest snapshot as plain text or JSON, and the latch even without an engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from cli.exit import DONE, TRY_AGAIN, plain, tell
from core.clock import NS_PER_S
from core.control import GetSnapshot, Picture, request
from core.errors import Failed, TryAgain
from core.feed_words import feed_lines
from core.latch import LatchState, latched_scopes
from core.scopes import ALL, words
from core.snapshot import InstrumentView, PositionView, Snapshot
from core.state import StateDir, resolve_state_dir, running_engine

UNKNOWN = "not known"
_FILLS_SHOWN = 5


def status_command(state_dir: Path | None, *, as_json: bool) -> int:
    """Print the state of the engine and the latch to stdout.

    Returns 3 when no engine runs; the latch is printed all the same.
    """
    state = StateDir(resolve_state_dir(state_dir))
    halts = latched_scopes(state.path)
    latch = halts.pop(ALL, LatchState(is_halted=False))
    try:
        snapshot = _newest(state)
        why = ""
    except TryAgain:
        snapshot = None
        holder = running_engine(state)
        why = (
            f"no engine runs on {state.path}"
            if holder is None
            else f"the engine on {state.path} does not answer: {holder}"
        )
    anchors = _anchors(state)
    if as_json:
        print(_as_json(snapshot, latch, halts, anchors))
    else:
        for line in _lines(snapshot, latch, halts):
            print(plain(line))
        if anchors:
            print(plain(f"anchored  {anchors}"))
    if snapshot is None:
        tell(why)
        return TRY_AGAIN
    return DONE


def _newest(state: StateDir) -> Snapshot:
    reply = request(state.path, GetSnapshot())
    if not isinstance(reply, Picture):
        raise Failed(f"the engine gave no snapshot: {reply.text}")
    return reply.snapshot


def _anchors(state: StateDir) -> str:
    """Return what outsiders attest of the ledger; empty where nobody was ever asked.

    Only where somebody was is SQLite loaded: an emergency has no time for it.
    """
    if not (state.path / "anchors").is_dir():
        return ""
    from ledger.anchors import read_status

    return read_status(state.path)


def _as_json(
    snapshot: Snapshot | None, latch: LatchState, halts: dict[str, LatchState], anchors: str
) -> str:
    table = {
        "engine": msgspec.to_builtins(snapshot),
        "latch": {**msgspec.to_builtins(latch), "since": latch.since},
        "halts": {
            scope: {**msgspec.to_builtins(state), "since": state.since}
            for scope, state in halts.items()
        },
        "anchors": anchors,
    }
    return json.dumps(table, ensure_ascii=not _is_utf8())


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _lines(snapshot: Snapshot | None, latch: LatchState, halts: dict[str, LatchState]) -> list[str]:
    latches = [
        _latch_line(latch),
        *(f"{_latch_line(state)} ({words(scope)} alone)" for scope, state in halts.items()),
    ]
    if snapshot is None:
        return latches
    return [
        f"{snapshot.account}  {snapshot.venue}  {snapshot.source}  mode {snapshot.mode}  "
        f"run {snapshot.run_id}  up {(snapshot.made_ns - snapshot.started_ns) // NS_PER_S} s",
        *([f"finished  {snapshot.finished}"] if snapshot.finished else []),
        *latches,
        *_risk_lines(snapshot, latch),
        *(_instrument_line(view) for view in snapshot.instruments),
        *feed_lines(snapshot),
        *_holding_lines(snapshot),
        _pnl_line(snapshot),
        f"ledger    seq {snapshot.health.ledger_seq}  {snapshot.health.ledger_hash or UNKNOWN}",
    ]


def _latch_line(latch: LatchState) -> str:
    if not latch.is_halted:
        return "latch     open"
    by = f" by {latch.actor}" if latch.actor else ""
    since = f" since {latch.since}" if latch.since else ""
    return f"latch     HALTED{since}{by}: {latch.reason}"


def _risk_lines(snapshot: Snapshot, latch: LatchState) -> list[str]:
    lines = []
    risk = snapshot.risk
    if risk.is_halted != latch.is_halted:
        # Doubt is shown, not settled: the engine has not yet read the file, or lost it.
        lines.append(
            f"engine    says {'HALTED: ' + risk.halt_reason if risk.is_halted else 'open'}"
        )
    lines += [f"differs   {each.text}: tapewright reconcile --help" for each in risk.differences]
    if risk.blocked:
        lines.append(f"blocked   {risk.blocked}")
    return lines


def _instrument_line(view: InstrumentView) -> str:
    bid = view.bids[0].price if view.bids else UNKNOWN
    ask = view.asks[0].price if view.asks else UNKNOWN
    age = UNKNOWN if view.feed.age_ms is None else f"{view.feed.age_ms} ms"
    reason = f" ({view.feed.reason})" if view.feed.reason else ""
    return (
        f"{view.name}  {view.feed.state}{reason}  bid {bid}  ask {ask}  age {age}  "
        f"gaps {view.feed.gaps}"
    )


def _exit_words(held: PositionView) -> str:
    exits = held.exits
    if exits is None:
        return ""
    left = "off" if exits.left_s is None else f"{max(0.0, exits.left_s):.0f} s left"
    words = f"  stop {exits.stop or 'off'}  target {exits.target or 'off'}  time {left}"
    return words + (f"  EXITS CANNOT ACT: {exits.blind}" if exits.blind else "")


def _holding_lines(snapshot: Snapshot) -> list[str]:
    lines = [
        f"position  {held.instrument}  {held.qty} at {held.average_price}  "
        f"unrealized {held.unrealized or UNKNOWN}{_exit_words(held)}"
        for held in snapshot.positions
        if held.lots
    ] or ["position  flat"]
    lines += [
        f"order     {order.client_order_id}  {order.instrument}  {order.side} {order.qty} "
        f"at {order.limit}  filled {order.filled}  {order.status}"
        for order in snapshot.orders
    ]
    lines += [
        f"proposal  {idea.decision_id}  {idea.action} {idea.instrument} {idea.qty} "
        f"at {idea.limit}  {idea.left_ms / 1000:.1f} s left"
        for idea in snapshot.proposals
    ]
    lines += [
        f"fill      {fill.time}  {fill.instrument}  {fill.side} {fill.qty} at {fill.price}  "
        f"fee {fill.fee}"
        for fill in snapshot.fills[:_FILLS_SHOWN]
    ]
    return lines


def _pnl_line(snapshot: Snapshot) -> str:
    pnl = snapshot.pnl
    return (
        f"P&L       total {pnl.total or UNKNOWN}  realized {pnl.realized}  "
        f"unrealized {pnl.unrealized or UNKNOWN}  fees {pnl.fees}  {pnl.currency}"
    )
