"""What the report tells that is in no table: runs, incidents, clock, reasons for not trading.

Works on the stored trees by event type, so that types added later are counted and told too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

TOLD_MAX = 400
"""Events told one by one in the report of each kind; the rest is counted."""
_INCIDENTS = frozenset(
    {"KILL", "RE_ENABLED", "RECOVERED", "MODE_CHANGED", "COMMAND_REFUSED", "FILES_REMOVED"}
)  # fmt: skip
_ROUTINE = frozenset(
    {"DECISION", "APPROVAL", "RISK_CHECK", "ORDER_INTENT", "ORDER_STATUS", "CANCEL_INTENT", "FILL",
     "INPUT", "EXITS", "EXIT_TRIGGERED", "DAY_MARKED"}
)  # fmt: skip
"""Types that have a place of their own; any other type is an incident until it gets one."""
_QUIET_FEEDS = frozenset({"live", "buffering", "connecting"})
_ACCOUNTS = frozenset({"RECONCILED", "DIFFERENCE_RESOLVED"})
"""Types that compare our books with the venue's."""


class Told(msgspec.Struct, frozen=True):
    """One event in words."""

    seq: int
    ts: str
    type: str
    actor: str
    text: str


class Run(msgspec.Struct):
    """One run, from its start; its end when there was one."""

    seq: int
    ts: str
    started: dict[str, Any]
    ended_ts: str = ""
    reason: str = ""
    counters: dict[str, int] = {}

    @property
    def run_id(self) -> str:
        return str(self.started["run_id"])

    @property
    def file(self) -> bytes:
        """The run's manifest as a readable file."""
        tree = {
            "seq": self.seq, "ts": self.ts, "ended_ts": self.ended_ts, "end_reason": self.reason,
            "counters": self.counters, "started": self.started,
        }  # fmt: skip
        return (json.dumps(tree, sort_keys=True, indent=1) + "\n").encode()


class Listed(msgspec.Struct):
    """The first events of a kind, and how many there were."""

    items: list[Told] = []
    count: int = 0

    def add(self, told: Told) -> None:
        self.count += 1
        if len(self.items) < TOLD_MAX:
            self.items.append(told)


class Mean(msgspec.Struct):
    """A mean in bps, and what it leaves out."""

    total: float = 0.0
    count: int = 0
    unknown: int = 0

    def add(self, text: str | None) -> None:
        if text is None:
            self.unknown += 1
        else:
            self.total, self.count = self.total + float(text), self.count + 1

    @property
    def text(self) -> str:
        known = f"{self.total / self.count:+.3f}" if self.count else "-"
        return f"{known} ({self.unknown} not known)" if self.unknown else known


class Quality(msgspec.Struct):
    """How well orders of one instrument were filled."""

    expected: Mean = msgspec.field(default_factory=Mean)
    realized: Mean = msgspec.field(default_factory=Mean)
    bad: int = 0
    markouts: dict[int, Mean] = {}
    """By horizon in seconds."""


class Gathering:
    """Takes the events of the range in order."""

    def __init__(self) -> None:
        self.types: Counter[str] = Counter()
        self.runs: dict[str, Run] = {}
        self.incidents, self.feeds, self.clock, self.accounts = (
            Listed(), Listed(), Listed(), Listed(),
        )  # fmt: skip
        self.not_traded: Counter[tuple[str, str]] = Counter()
        """By instrument and reason, the numbers in the reason left out."""
        self.tiers: Counter[str] = Counter()
        self.payloads: dict[str, int] = {}
        """Digest to the newest event that names it."""
        self.payloads_removed: dict[str, int] = {}
        """Of these, what went by a rule, to the event that says so."""
        self.recorded: list[dict[str, Any]] = []
        self.anchored: list[dict[str, Any]] = []
        """Every ANCHORED of the binder, as its canonical tree."""
        self.rotated: list[dict[str, Any]] = []
        """Every KEY_ROTATED of the ledger, likewise."""
        self.points = 0
        self.quality: dict[str, Quality] = {}

    def take(self, tree: dict[str, Any]) -> None:
        """Take one event as its canonical tree."""
        kind = tree["type"]
        self.types[kind] += 1
        take = _TAKES.get(kind)
        if take is not None:
            take(self, tree)
        elif kind in _INCIDENTS:
            self.incidents.add(told_of(tree))
        elif kind not in _ROUTINE:
            (self.accounts if kind in _ACCOUNTS else self.incidents).add(told_of(tree))

    def end(self, tree: dict[str, Any]) -> None:
        """Take a RUN_ENDED."""
        payload = tree["payload"]
        run = self.runs.get(payload["run_id"])
        if run is not None:
            run.ended_ts, run.reason, run.counters = (
                tree["ts"], payload["reason"], payload["counters"],
            )  # fmt: skip

    def stop(self, tree: dict[str, Any]) -> None:
        """Take a NO_TRADE."""
        payload = tree["payload"]
        self.not_traded[payload["instrument"], without_numbers(payload["reason"])] += 1

    def change_feed(self, tree: dict[str, Any]) -> None:
        """Take a FEED_CHANGED."""
        if tree["payload"]["state"] not in _QUIET_FEEDS:
            self.feeds.add(told_of(tree))

    def read_clock(self, tree: dict[str, Any]) -> None:
        """Take a CLOCK."""
        self.clock.add(told_of(tree))
        self.tiers[str(tree["payload"].get("tier", "not known"))] += 1

    def decide(self, tree: dict[str, Any]) -> None:
        """Take a DECISIONS, whose points are a payload."""
        payload = tree["payload"]
        self.payloads[payload["digest"]] = tree["seq"]
        self.points += payload["count"]

    def record(self, tree: dict[str, Any]) -> None:
        """Take a FILE_RECORDED."""
        self.recorded.append({**tree["payload"], "run": tree["run"], "seq": tree["seq"]})

    def anchor(self, tree: dict[str, Any]) -> None:
        """Take an ANCHORED, also one from after the range."""
        self.anchored.append(tree)

    def change_key(self, tree: dict[str, Any]) -> None:
        """Take a KEY_ROTATED; its keys are in a chapter of their own."""
        self.incidents.add(told_of({**tree, "payload": {"reason": tree["payload"]["reason"]}}))

    def measure(self, tree: dict[str, Any]) -> None:
        """Take a SLIPPAGE or a MARKOUT."""
        payload = tree["payload"]
        quality = self.quality.setdefault(payload["instrument"], Quality())
        if tree["type"] == "MARKOUT":
            mean = quality.markouts.setdefault(payload["horizon_s"], Mean())
            mean.add(payload["markout_bps"])
            return
        quality.expected.add(payload["expected_bps"])
        quality.realized.add(payload["realized_bps"])
        quality.bad += payload["is_bad"]

    def begin(self, tree: dict[str, Any]) -> None:
        """Take a RUN_STARTED, also one from before the range that is in force in it."""
        run = Run(tree["seq"], tree["ts"], tree["payload"])
        self.runs.setdefault(run.run_id, run)


_TAKES: dict[str, Callable[[Gathering, dict[str, Any]], None]] = {
    "RUN_STARTED": Gathering.begin, "RUN_ENDED": Gathering.end, "NO_TRADE": Gathering.stop,
    "FEED_CHANGED": Gathering.change_feed, "CLOCK": Gathering.read_clock,
    "DECISIONS": Gathering.decide, "FILE_RECORDED": Gathering.record,
    "SLIPPAGE": Gathering.measure, "MARKOUT": Gathering.measure, "ANCHORED": Gathering.anchor,
    "KEY_ROTATED": Gathering.change_key,
}  # fmt: skip


def told_of(tree: dict[str, Any]) -> Told:
    """Return an event with its fields in words, whatever its type."""
    parts = [
        f"{name} {_short(value)}"
        for name, value in sorted(tree["payload"].items())
        if value not in ("", None, [], {}) and name != "actor"
    ]
    return Told(tree["seq"], tree["ts"], tree["type"], tree["actor"], "; ".join(parts))


def _short(value: Any) -> str:
    match value:
        case dict():
            text = ", ".join(f"{name} {_short(each)}" for name, each in sorted(value.items()))
        case list():
            text = ", ".join(map(_short, value))
        case _:
            text = str(value)
    return text if len(text) <= 300 else text[:300] + "..."


def without_numbers(reason: str) -> str:
    """Return a reason with its numbers as ``#``, so that equal reasons count together."""
    words = ["#" if any(char.isdigit() for char in word) else word for word in reason[:200].split()]
    return " ".join(words)
