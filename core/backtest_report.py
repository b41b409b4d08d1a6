"""The report of a backtest: values alone. Money is exact, in the quote currency named beside it.

``core.backtest_json`` makes JSON of it; ``docs/backtest.md`` says what each field means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import reduce

import msgspec

from core.curve import CurvePoint, Reach
from core.quality import Quality

ZERO = Decimal(0)


class RoundTrip(msgspec.Struct, frozen=True):
    """A position of one instrument from flat to flat."""

    instrument: str
    side: str
    """``LONG`` or ``SHORT``."""
    opened_ns: int
    closed_ns: int
    qty: Decimal
    """Quantity closed, base currency."""
    realized: Decimal
    """Net of all fees, quote currency."""
    decision_id: str
    """The decision that opened it."""


class SignalPnl(msgspec.Struct, frozen=True):
    """What one signal is put down to have brought; see ``core.attribution``."""

    name: str
    realized: Decimal
    closed_lots: int
    """Closed lots whose entry it spoke for."""


class Baseline(msgspec.Struct, frozen=True):
    """What doing nothing clever would have come to, at the same marks and fees."""

    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    turnover: Decimal = ZERO


class Result(msgspec.Struct, frozen=True):
    """What came out, of one quote currency: of one file, or of all files one after the other."""

    currency: str
    instruments: tuple[str, ...] = ()
    pnl: Decimal = ZERO
    """Realized plus unrealized at the last mark, net of all fees paid."""
    realized: Decimal = ZERO
    unrealized: Decimal = ZERO
    """Of what is still open, its opening fees included, at the last mid."""
    fees: Decimal = ZERO
    max_drawdown: Decimal = ZERO
    turnover: Decimal = ZERO
    """Sum of the notionals of all fills."""
    fills: int = 0
    round_trips: int = 0
    wins: int = 0
    """Round trips that realized more than zero."""
    slippage: Decimal = ZERO
    """Fill price against the mid at the decision times quantity; plus is against us."""
    decided_notional: Decimal = ZERO
    """The same fills at the mid of their decision."""
    span_ns: int = 0
    in_market_ns: int = 0
    """Time with a position."""
    exposure_max: Decimal = ZERO
    exposure_ns: Decimal = ZERO
    """Absolute position value times nanoseconds."""
    open_positions: dict[str, str] = {}
    """Signed quantity by instrument, base currency, at the end."""
    flat: Baseline = Baseline()
    buy_and_hold: Baseline = Baseline()
    signals: tuple[SignalPnl, ...] = ()
    quality: Quality = Quality()
    """Slippage against the mid as each order was sent, and where the mid went afterwards."""
    reach: Reach = Reach()

    @property
    def pnl_before_fees(self) -> Decimal:
        """What prices alone brought: the first thing to look at where fees eat everything."""
        return self.pnl + self.fees

    @property
    def hit_rate(self) -> float | None:
        """Share of round trips that won; None without any."""
        return round(self.wins / self.round_trips, 6) if self.round_trips else None

    @property
    def slippage_bps(self) -> float | None:
        """Mean slippage against the decision's mid, weighted by notional; None without fills."""
        if not self.decided_notional:
            return None
        return round(float(self.slippage / self.decided_notional) * 10_000, 6)

    @property
    def in_market(self) -> float:
        """Share of the time with a position, in [0, 1]."""
        return round(self.in_market_ns / self.span_ns, 6) if self.span_ns else 0.0

    @property
    def exposure_mean(self) -> Decimal:
        """Absolute position value, mean over all the time, flat time included."""
        if not self.span_ns:
            return ZERO
        return (self.exposure_ns / self.span_ns).quantize(Decimal("1e-8"))


class Reason(msgspec.Struct, frozen=True):
    """One reason for not trading."""

    code: str
    seconds: int
    """Looks at which it stood, one look a second of data and instrument."""
    refused: int
    """Times it was told of a trade that the signal wanted (or of an order on its way)."""
    example: str
    """The newest wording."""


class Skill(msgspec.Struct, frozen=True):
    """What the forecasts of one instrument and horizon had shown by the end."""

    instrument: str
    horizon_s: int
    skill: float | None
    """Brier skill against the base rate over the window; None: too few labels."""
    labels: int
    moved_share: float
    mean_move_ticks: float
    base_rate: float
    calibration_error: float | None
    calibration_floor: float | None
    """What a perfect forecast would still show with so few labels."""


class Feed(msgspec.Struct, frozen=True):
    """What the feed went through."""

    frames: int = 0
    refused: int = 0
    gaps: int = 0
    resyncs: int = 0


class Head(msgspec.Struct, frozen=True):
    """The head of the run's ledger: proof that two runs were the same."""

    seq: int
    hash: str


class FileReport(msgspec.Struct, frozen=True):
    """One capture."""

    name: str
    sha256: str
    venue: str
    begin: str
    """Time of the first record, ISO 8601, UTC; empty where there was none."""
    end: str
    fee_bps: Decimal
    """For taking."""
    maker_fee_bps: Decimal
    feed: Feed
    proposals: int
    orders: int
    """Orders with an intent in the ledger."""
    results: tuple[Result, ...]
    """One a quote currency."""
    reasons: tuple[Reason, ...]
    skills: tuple[Skill, ...]
    no_trade: str
    """Why nothing was traded, in words; empty if something was."""
    trips: tuple[RoundTrip, ...]
    curves: dict[str, tuple[CurvePoint, ...]]
    """By quote currency, thinned to at most ``core.curve.POINTS_MAX`` points."""
    ledger: Head
    halted: str = ""
    """Why trading was halted at the end; empty if it was not."""
    problem: str = ""
    """Why the file was not used to its end; empty if it was."""


class BadFile(msgspec.Struct, frozen=True):
    """A file that gave nothing."""

    name: str
    problem: str


class Terms(msgspec.Struct, frozen=True):
    """Under what the files were run."""

    program: str
    code: str
    """Digest of the source."""
    config: str
    """Digest of the settings."""
    mode: str
    seed: int
    is_practice: bool
    agent: str
    horizon_s: int
    threshold: float
    min_edge_bps: float
    min_skill: float
    order_notional: Decimal
    latency_ms: int
    report_latency_ms: int


class Report(msgspec.Struct, frozen=True):
    """The whole backtest."""

    terms: Terms
    files: tuple[FileReport, ...]
    bad_files: tuple[BadFile, ...] = ()

    @property
    def sums(self) -> tuple[Result, ...]:
        """The totals that say more than a line of a file: of currencies that several files have."""
        counts = Counter(result.currency for file in self.files for result in file.results)
        return tuple(one for one in self.totals if counts[one.currency] > 1)

    @property
    def totals(self) -> tuple[Result, ...]:
        """The results of all files put end to end in the order given, one a quote currency."""
        found: dict[str, list[Result]] = {}
        for file in self.files:
            for result in file.results:
                found.setdefault(result.currency, []).append(result)
        return tuple(reduce(join, results) for results in found.values())


def join(a: Result, b: Result) -> Result:
    """Return the result of ``a`` followed by ``b``; both of one currency."""
    reach = a.reach.then(b.reach)
    added = {name: getattr(a, name) + getattr(b, name) for name in _ADDED}
    return Result(
        currency=a.currency,
        instruments=tuple(dict.fromkeys((*a.instruments, *b.instruments))),
        max_drawdown=reach.drawdown,
        exposure_max=max(a.exposure_max, b.exposure_max),
        open_positions={},
        flat=Baseline(),
        buy_and_hold=Baseline(
            a.buy_and_hold.pnl + b.buy_and_hold.pnl,
            a.buy_and_hold.fees + b.buy_and_hold.fees,
            a.buy_and_hold.turnover + b.buy_and_hold.turnover,
        ),
        signals=_signals(a.signals + b.signals),
        quality=a.quality.then(b.quality),
        reach=reach,
        **added,
    )


_ADDED = (
    "pnl", "realized", "unrealized", "fees", "turnover", "fills", "round_trips", "wins",
    "slippage", "decided_notional", "span_ns", "in_market_ns", "exposure_ns",
)  # fmt: skip


def _signals(parts: Sequence[SignalPnl]) -> tuple[SignalPnl, ...]:
    found: dict[str, SignalPnl] = {}
    for one in parts:
        old = found.get(one.name)
        found[one.name] = one if old is None else SignalPnl(
            one.name, old.realized + one.realized, old.closed_lots + one.closed_lots
        )  # fmt: skip
    return tuple(sorted(found.values(), key=lambda one: (-one.realized, one.name)))
