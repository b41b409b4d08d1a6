"""Ledger events: what happened and why, one Struct a type, written once and never changed.

Fields hold text, integers and bools only where they matter for hashing: the ledger turns floats
into fixed decimal text (``ledger.canonical``). Wall-clock facts of a run stand outside.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from core.model.decision import LimitCheck, Mode, Proposal, Verdict
from core.model.difference import Difference, Remedy
from core.model.exits import ExitKind, Exits
from core.model.halt import PastHalt, RearmAsked
from core.model.market import FeedCause, FeedState
from core.model.order import BrokerStart, Fill, Order
from core.model.slippage import Arrival
from core.model.transfer import Transfer


class LedgerEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Root of all ledger events; the class name is the type tag."""


class RunStarted(LedgerEvent, frozen=True, tag="RUN_STARTED"):
    """A process began to trade; everything that fixes its behaviour."""

    run_id: str
    program_version: str
    code_digest: str
    config_digest: str
    limits_digest: str
    venue: str
    instruments: tuple[dict[str, str], ...]
    """Name, base, quote, tick size, lot size of each, as text; of several venues its venue too."""
    mode: Mode
    broker: str
    seed: int
    source: str
    """``live``, ``sim`` or the sha256 of the capture replayed."""
    agent: dict[str, str]
    """Agent id and digests; empty without an agent."""
    settings: dict[str, Any]
    """The whole configuration in force."""
    lock_digest: str = ""
    """Sha256 of the file that pins every dependency; empty in an older ledger."""
    versions: dict[str, str] = {}
    """Of the interpreter and of the libraries that compute."""
    endpoints: dict[str, str] = {}
    """Where the market data came from, by venue; empty in a replay."""
    previous: dict[str, str] = {}
    """Newest checkpoint before this run: ``size`` and ``root``; empty in a new ledger."""
    halted: str = ""
    """Why the kill latch was set when the run began; empty when it was not."""
    halts: tuple[PastHalt, ...] = ()
    """Every latch that was set when the run began, the one for all included."""
    rearms: tuple[RearmAsked, ...] = ()
    """Requests to re-arm that waited for the run; each one carried out is a RE_ENABLED."""
    watchdog: tuple[str, ...] = ()
    """What the watchdog did since the run before, in its own words, oldest first."""
    broker_start: BrokerStart | None = None
    """What the broker held and told as the run began; None where that was nothing."""


class RunEnded(LedgerEvent, frozen=True, tag="RUN_ENDED"):
    run_id: str
    reason: str
    counters: dict[str, int]


class Recovered(LedgerEvent, frozen=True, tag="RECOVERED"):
    """What a start found left over from before and what it did about it."""

    orders_closed: tuple[str, ...]
    """Client ids of orders that were open when the last process died."""
    positions: dict[str, int]
    """Lots by instrument, rebuilt from fills."""
    note: str


class FeedChanged(LedgerEvent, frozen=True, tag="FEED_CHANGED", omit_defaults=True):
    instrument: str
    state: FeedState
    reason: str
    cause_code: FeedCause | None = None
    """What changed the state, of which ``reason`` is the sentence; None in an older ledger."""


class DecisionsTaken(LedgerEvent, frozen=True, tag="DECISIONS"):
    """Decision points in a row, taken and not taken, kept as a payload file.

    The file holds one JSON line a point (``core.model.point.DecisionPoint``), in order.
    """

    format: str
    """Schema of a line, such as ``points/1``."""
    first: int
    """Number of the first point in this run, counted from 1."""
    count: int
    proposed: int
    """Points that became a proposal; each has a DECISION of its own."""
    first_ns: int
    """Engine time of the first point."""
    last_ns: int
    features: tuple[str, ...]
    """What the numbers in ``features`` of a line are, in order."""
    signals: tuple[str, ...]
    """The same of ``signals`` and ``shares``."""
    agent: str
    """Whose view the lines hold; its digests are in RUN_STARTED."""
    digest: str
    """Sha256 of the lines, hex: the name of the payload."""
    size_bytes: int


class Decided(LedgerEvent, frozen=True, tag="DECISION"):
    """A proposal with its whole rationale, before anybody answered it."""

    proposal: Proposal
    mode: Mode
    alternatives: tuple[str, ...] = ()


class NotDecided(LedgerEvent, frozen=True, tag="NO_TRADE"):
    """The signal asked for a trade and a rule said no; written when the reason changes."""

    instrument: str
    reason: str
    p_up: float
    horizon_s: int
    edge_bps: float
    cost_bps: float


class Answered(LedgerEvent, frozen=True, tag="APPROVAL"):
    """How a proposal ended, who said so, after how long and at what drift."""

    decision_id: str
    verdict: Verdict
    actor: str
    """``human:trader``, ``mode:auto``, ``system``."""
    waited_ns: int
    drift_ticks: float
    """Mid now minus mid at the decision, signed by the side: positive is against us."""
    note: str = ""


class RiskChecked(LedgerEvent, frozen=True, tag="RISK_CHECK"):
    client_order_id: str
    decision_id: str
    allowed: bool
    code: str
    """Denial code, empty when allowed."""
    checks: tuple[LimitCheck, ...]
    order: Order | None = None
    """What was denied; None when allowed (ORDER_INTENT has it), and in an older ledger."""


class OrderIntended(LedgerEvent, frozen=True, tag="ORDER_INTENT"):
    """Durable before the order leaves."""

    order: Order
    arrival: Arrival | None = None
    """What it found as it was sent; None without a book, and in an older ledger."""


class OrderChanged(LedgerEvent, frozen=True, tag="ORDER_STATUS"):
    """The venue (or we, for a denial) moved an order to ``status``."""

    client_order_id: str
    status: str
    reason: str
    filled_lots: int


class CancelIntended(LedgerEvent, frozen=True, tag="CANCEL_INTENT"):
    client_order_id: str
    actor: str
    reason: str


class Filled(LedgerEvent, frozen=True, tag="FILL"):
    """Our execution with its cost and what it realized."""

    fill: Fill
    decision_id: str
    price: str
    quantity: str
    notional: str
    realized_pnl: str
    """Realized by this fill, fees of both legs included, in quote currency.

    NaN where the engine could not count the lots; it halts then, and the lots table says it.
    """
    position_lots: int
    """Position after it."""
    rationale: str

    @property
    def is_counted(self) -> bool:
        """Whether the engine could count its lots."""
        return not Decimal(self.realized_pnl).is_nan()


class SlippageMeasured(LedgerEvent, frozen=True, tag="SLIPPAGE"):
    """What an order cost, once it has ended; written again if it fills all the same after that."""

    client_order_id: str
    decision_id: str
    instrument: str
    filled_lots: int
    arrival_mid: str
    """Mid as the order was sent; what follows is against it, and above zero is worse for us."""
    expected_bps: float
    """By the levels shown then."""
    realized_bps: float
    """By its fills, fees left out."""
    cost: str
    """``realized_bps`` as money, exact."""
    currency: str
    is_bad: bool
    """Realized is worse than expected by more than ``[slippage] bad_bps``."""
    bad_in_a_row: int
    """Of the instrument, this one counted."""


class MarkedOut(LedgerEvent, frozen=True, tag="MARKOUT"):
    """Where the mid was a fixed time after a fill; above zero it went our way."""

    fill_id: str
    client_order_id: str
    instrument: str
    horizon_s: int
    mid: str | None
    """None: there was no book to believe at that moment."""
    markout_bps: float | None
    gain: str | None
    """``markout_bps`` as money, exact, fees left out."""
    currency: str


class ExitsSet(LedgerEvent, frozen=True, tag="EXITS"):
    """The exits of a position from here on: after an entry, by the trader's word, at a start."""

    instrument: str
    position_lots: int
    """Signed, what they would close now."""
    entry_price: str
    """Mean of what is held, rounded to a hundredth of a tick for the eye; the exits are exact."""
    exits: Exits
    stop: str | None
    """The same as text, for it outlives a tick size; None: off."""
    target: str | None
    actor: str
    why: str


class ExitTriggered(LedgerEvent, frozen=True, tag="EXIT_TRIGGERED"):
    """An attached exit is due: what follows is a close."""

    instrument: str
    kind: ExitKind
    level: str
    """Price of the stop or the target; of a time stop the seconds it allows."""
    seen: str
    """The price that touched it; of a time stop the seconds held."""
    position_lots: int
    rationale: str


class ExitsBlind(LedgerEvent, frozen=True, tag="EXITS_BLIND"):
    """The exits of a position cannot act, or can again."""

    instrument: str
    is_blind: bool
    position_lots: int
    reason: str


class KillTripped(LedgerEvent, frozen=True, tag="KILL"):
    scope: str
    """``all``, ``strategy``, ``instrument:NAME`` or ``order:ID`` (``core.scopes``).

    A bare instrument is a trade closed by ``k``, which halts nothing.
    """
    actor: str
    reason: str


class Rearmed(LedgerEvent, frozen=True, tag="RE_ENABLED"):
    actor: str
    reason: str
    scope: str = "all"
    """As in KILL."""


class ModeChanged(LedgerEvent, frozen=True, tag="MODE_CHANGED"):
    mode: Mode
    actor: str


class CommandRefused(LedgerEvent, frozen=True, tag="COMMAND_REFUSED"):
    """A human command that could not be carried out, and why."""

    command: str
    actor: str
    reason: str


class InputTaken(LedgerEvent, frozen=True, tag="INPUT"):
    """What entered the run beside the recorded market data: a replay gives it again, here."""

    kind: str
    """``command``, ``sent``, ``time``, ``http_failed``, ``screen_lost``, ``past_over``,
    ``handover``, ``watchdog`` (why none guards the run; empty: one does) or ``stop``."""
    actor: str
    frames: int
    """Frames taken before it."""
    brought_ns: int
    """How far time had been brought to the engine."""
    text: str = ""
    """The command as JSON, the order that was sent, or the reason."""


class ClockRead(LedgerEvent, frozen=True, tag="CLOCK"):
    """What the system said of its own clock: at start, hourly and when it changes."""

    source: str
    """``adjtimex``, or why nothing is known."""
    is_synchronized: bool | None
    """None: not known."""
    tier: str
    """``green`` within 1 ms of UTC, ``amber`` within 50 ms, ``red`` beyond or not synchronized,
    ``unknown``."""
    max_error_us: int | None = None
    """Bound of the error that the kernel claims."""
    estimated_error_us: int | None = None
    offset_ns: int | None = None
    """What is still being slewed away."""
    status: int | None = None
    """Status word of the kernel, ``STA_*`` bits."""
    step_ns: int = 0
    """How far wall time jumped against the monotonic clock since the last look."""


class FileRecorded(LedgerEvent, frozen=True, tag="FILE_RECORDED"):
    """A recording of this run was finished; with it the run can be replayed."""

    kind: str
    """``capture`` or ``tape``."""
    name: str
    digest: str
    """Sha256 of the file, hex; empty if it could not be read."""
    size_bytes: int


class KeyRotated(LedgerEvent, frozen=True, tag="KEY_ROTATED"):
    """From here on checkpoints are of another key; the old and the new one signed that."""

    old_key: str
    """Verifier key line of the key that signed so far."""
    new_key: str
    reason: str
    old_signature: str
    """Over ``ledger.rotation.statement``, base64."""
    new_signature: str


class Reconciled(LedgerEvent, frozen=True, tag="RECONCILED"):
    """What the broker said when it was compared with us, and where the two differ."""

    broker: str
    positions: dict[str, int]
    """Lots held at the broker by instrument; none is not listed."""
    open_orders: tuple[str, ...]
    """Client ids of what works at the broker, whoever sent it."""
    told: int
    """Reports that a start found waiting; they are in RUN_STARTED."""
    differences: tuple[Difference, ...]
    """Empty: they agree. While not empty nothing new is traded."""


class DifferenceResolved(LedgerEvent, frozen=True, tag="DIFFERENCE_RESOLVED"):
    """What the trader said about a difference."""

    difference: Difference
    remedy: Remedy
    actor: str
    reason: str


class DayMarked(LedgerEvent, frozen=True, tag="DAY_MARKED"):
    """Midnight UTC passed with a position: what it was worth then, so that a day has a start."""

    day: int
    """Days since 1970-01-01 of the day that begins."""
    instruments: tuple[str, ...]
    """Those of the run, as ``venue:name``."""
    unrealized: dict[str, str]
    """By quote currency, at the marks; a currency without a mark is not listed."""


class FilesRemoved(LedgerEvent, frozen=True, tag="FILES_REMOVED"):
    """Files that went to keep a folder within its bound: they can prove nothing any more."""

    kind: str
    """``tape``, ``capture`` or ``payload``."""
    names: tuple[str, ...]
    """Oldest first; of payloads the digests."""
    size_bytes: int
    bound_bytes: int
    """``[storage]``, of all runs together."""
    rule: str = ""
    """Of payloads: by which rule. What no rule named is missing, and ``ledger verify`` says so."""


class Anchored(LedgerEvent, frozen=True, tag="ANCHORED"):
    """Somebody outside attested a checkpoint: from then on it cannot have been made later."""

    method: str
    """``rfc3161`` (a time-stamping authority signed) or ``ots`` (OpenTimestamps)."""
    size: int
    """The checkpoint is that over seq 1 to this one."""
    note_digest: str
    """Sha256 of its text with signature, hex: all that left the machine."""
    source: str
    """Address of the authority, or of the calendars."""
    digest: str
    """Sha256 of the answer (``.tsr``, ``.ots``), which is a payload."""
    size_bytes: int
    at: str = ""
    """The time attested, ISO 8601 UTC; empty where the proof names a block or is pending."""
    roots: str = ""
    """Sha256 of the CA certificates (PEM) that it was checked against, which are a payload."""
    is_pending: bool = False
    """A calendar has promised; nothing is proved until the upgrade, which is an event too."""


class AnchorFailed(LedgerEvent, frozen=True, tag="ANCHOR_FAILED"):
    """An anchor was asked for and did not come, or was not right; trading goes on."""

    method: str
    size: int
    source: str
    reason: str


class MovedLot(msgspec.Struct, frozen=True):
    """A parcel that left with a transfer, with what the other wallet needs to know of it."""

    name: str
    """Fill id or transfer id that opened it."""
    quantity: str
    basis: str
    """What it cost, its share of the fee included, quote currency."""
    acquired_ns: int


class Transferred(LedgerEvent, frozen=True, tag="TRANSFER"):
    """Coins came into the account from another wallet of the trader, or went to one."""

    transfer: Transfer
    quantity: str
    fee_quantity: str
    lots: tuple[MovedLot, ...]
    """OUT: what went, oldest first; IN: empty, ``transfer`` has basis and date."""
    realized_pnl: str
    """Of the coins that paid the fee: their worth less their basis; 0 without a fee."""
    position_lots: int
    """Position after it."""
    actor: str
    note: str


AnyEvent = (
    RunStarted | RunEnded | Recovered | FeedChanged | Decided | NotDecided | Answered | RiskChecked
    | OrderIntended | OrderChanged | CancelIntended | Filled | KillTripped | Rearmed | ModeChanged
    | CommandRefused | FilesRemoved | DecisionsTaken | InputTaken | ClockRead | FileRecorded
    | KeyRotated | SlippageMeasured | MarkedOut | Reconciled | DifferenceResolved | DayMarked
    | Transferred | ExitsSet | ExitTriggered | ExitsBlind | Anchored | AnchorFailed
)  # fmt: skip
