"""What a decision point saw, in words, from the payload that holds it; nothing where none does."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from core.errors import Failed, ValueRefused
from core.model.event import Decided, DecisionsTaken
from core.model.point import DecisionPoint
from ledger.envelope import unseal
from ledger.payload_check import get_named
from ledger.reading import Stored

FEATURES_A_LINE = 4


def seen_at(connection: sqlite3.Connection, state_dir: Path, events: list[Stored]) -> list[str]:
    """Return the market, the features and the choices at the decision in ``events``."""
    decided = next((item for item in events if isinstance(item.event, Decided)), None)
    if decided is None or not isinstance(decided.event, Decided):
        return []
    proposal = decided.event.proposal
    found = _naming(connection, decided, proposal.made_ns)
    if found is None:
        return []
    seq, named = found
    try:
        lines = get_named(state_dir, seq, named.digest).splitlines()
        points = msgspec.json.Decoder(DecisionPoint)
        for line in lines:
            if proposal.decision_id.encode() in line:
                point = points.decode(line)
                if point.decision_id == proposal.decision_id:
                    return _words(named, point)
    except (Failed, ValueRefused, msgspec.DecodeError) as error:
        return [f"The decision point cannot be read: {error}"]
    return []


def _naming(
    connection: sqlite3.Connection, decided: Stored, made_ns: int
) -> tuple[int, DecisionsTaken] | None:
    """Return seq and event that names the points of that time; it is written after them."""
    rows = connection.execute(
        "SELECT body FROM events WHERE seq > ? AND instr(body, CAST(? AS BLOB)) ORDER BY seq",
        (decided.seq, '"type":"DECISIONS","v":'),
    )
    for (body,) in rows:
        envelope, event = unseal(body)
        if envelope.run != decided.envelope.run:
            return None
        if isinstance(event, DecisionsTaken) and event.first_ns <= made_ns <= event.last_ns:
            return envelope.seq, event
    return None


def _words(named: DecisionsTaken, point: DecisionPoint) -> list[str]:
    market = point.market
    lines = [
        f"Decision point {point.n} of the run; the row it saw: bid {market.bid_ticks} ticks x "
        f"{market.bid_lots} lots, ask {market.ask_ticks} x {market.ask_lots}, received at "
        f"{market.recv_ns} ns.",
        f"Features (payload {named.digest[:16]}):",
    ]
    pairs = [
        f"{name} {value:.4g}" for name, value in zip(named.features, point.features, strict=False)
    ]
    lines += [
        "  " + ", ".join(pairs[start : start + FEATURES_A_LINE])
        for start in range(0, len(pairs), FEATURES_A_LINE)
    ]
    if point.alternatives:
        lines.append(
            "Weighed: "
            + "; ".join(
                f"{each.action} {each.lots} lots, edge {each.edge_bps:.3f}, cost "
                f"{each.cost_bps:.3f} bps"
                for each in point.alternatives
            )
        )
    return lines
