"""A small trading day as ledger events: one round trip through confirm mode, and what surrounds it.

Numbers agree with each other (prices on ticks, realized from FIFO lots), since ``verify`` checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from core.clock import NS_PER_S
from core.lots import FifoBook
from core.model.decision import (
    Action,
    AgentView,
    Forecast,
    LimitCheck,
    Mode,
    Proposal,
    SignalShare,
    Verdict,
)
from core.model.difference import Difference, DifferenceKind, Remedy
from core.model.event import (
    Anchored,
    AnchorFailed,
    Answered,
    CancelIntended,
    ClockRead,
    CommandRefused,
    DayMarked,
    Decided,
    DecisionsTaken,
    DifferenceResolved,
    ExitsBlind,
    ExitsSet,
    ExitTriggered,
    FeedChanged,
    FileRecorded,
    FilesRemoved,
    Filled,
    InputTaken,
    KeyRotated,
    KillTripped,
    LedgerEvent,
    MarkedOut,
    ModeChanged,
    NotDecided,
    OrderChanged,
    OrderIntended,
    Rearmed,
    Reconciled,
    Recovered,
    RiskChecked,
    RunEnded,
    RunStarted,
    SlippageMeasured,
    Transferred,
)
from core.model.exits import ExitKind, Exits
from core.model.instrument import Instrument, plain
from core.model.market import FeedState
from core.model.order import Fill, Order, Side, TimeInForce
from core.model.transfer import Transfer, TransferWay
from core.transfers import move, moved_lots
from ledger import witness
from ledger.keys import KEY_NAME, PUBLIC_NAME
from ledger.store import DB_NAME, NOTES_NAME
from ledger.writer import LedgerWriter

FILES = (DB_NAME, witness.NAME, KEY_NAME, PUBLIC_NAME, NOTES_NAME)
"""What a closed ledger consists of."""
START_NS = 1_767_225_600 * NS_PER_S  # 2026-01-01
INSTRUMENT = Instrument("sim", "SIM-USD", "SIM", "USD", Decimal("0.01"), Decimal("0.001"))
DIFFERENCE = Difference(DifferenceKind.POSITION, "SIM-USD", "SIM-USD", "0", "0.003")
CHECKS = (
    LimitCheck("max_order_notional", "1000.5", "2000", passed=True),
    LimitCheck("price_collar_bps", "3.2", "25", passed=True),
)
FORECAST = Forecast(
    horizon_s=5,
    p_up=0.573125,
    base_rate=0.5012,
    skill=0.0123,
    n_resolved=612,
    moved_share=0.63,
    mean_move_ticks=2.4,
    bias_share=0.01,
    shares=(SignalShare("pressure", 0.55, 0.21), SignalShare("trend", -0.1, 0.0745)),
)


_days: dict[str, tuple[tuple[int, str], dict[str, bytes]]] = {}


class Dated(NamedTuple):
    event: LedgerEvent
    ts_ns: int
    cause: int | None = None


def run_started(
    run_id: str = "run-1", instruments: Iterable[Instrument] = (INSTRUMENT,)
) -> RunStarted:
    listed = tuple(instruments)
    return RunStarted(
        run_id=run_id,
        program_version="0.1.0",
        code_digest="c" * 64,
        config_digest="d" * 64,
        limits_digest="e" * 64,
        venue=listed[0].venue,
        instruments=tuple(
            {
                "name": item.name,
                "base": item.base,
                "quote": item.quote,
                "tick_size": plain(item.tick_size),
                "lot_size": plain(item.lot_size),
            }
            for item in listed
        ),
        mode=Mode.CONFIRM,
        broker="paper",
        seed=7,
        source="sim",
        agent={"id": "ppo-sim", "digest": "f" * 64},
        settings={"strategy": {"threshold": 0.05, "symbols": ["SIM-USD"], "record": True}},
    )


def proposal(decision_id: str, side: Side, action: Action, mid2_ticks: int) -> Proposal:
    return Proposal(
        decision_id=decision_id,
        instrument="SIM-USD",
        action=action,
        side=side,
        qty_lots=10_000,
        limit_ticks=mid2_ticks // 2 + 3 * side.sign,
        mid2_ticks=mid2_ticks,
        forecast=FORECAST,
        agent=AgentView("ppo-sim", (0.12, 0.3, 0.58), 0.85),
        edge_bps=1.2,
        cost_bps=0.8,
        checks=CHECKS,
        made_ns=START_NS,
        expires_ns=START_NS + 10 * NS_PER_S,
        rationale=f"{side.value}: P(up) 0.573 at 5 s (skill +1.2%).",
    )


def filled(
    book: FifoBook, fill_id: str, order_id: str, decision_id: str, side: Side, ticks: int, lots: int
) -> Filled:
    """Return the event of a fill, applying it to ``book``."""
    instrument = book.instrument
    notional = instrument.notional(ticks, lots)
    fill = Fill(
        fill_id=fill_id,
        client_order_id=order_id,
        instrument=instrument.name,
        side=side,
        price_ticks=ticks,
        qty_lots=lots,
        fee=notional / 100_000,
        fee_currency=instrument.quote,
        is_maker=False,
        ts_ns=START_NS,
    )
    realized = sum((lot.realized for lot in book.apply(fill)), Decimal(0))
    return Filled(
        fill=fill,
        decision_id=decision_id,
        price=instrument.price_text(ticks),
        quantity=instrument.qty_text(lots),
        notional=plain(notional),
        realized_pnl=plain(realized),
        position_lots=book.position_lots,
        rationale=f"because of {decision_id}",
    )


def order(order_id: str, decision_id: str, side: Side, ticks: int, lots: int = 10_000) -> Order:
    return Order(
        client_order_id=order_id,
        decision_id=decision_id,
        instrument="SIM-USD",
        side=side,
        qty_lots=lots,
        limit_ticks=ticks,
        tif=TimeInForce.IOC,
        reduces=side is Side.SELL,
        decided_ns=START_NS,
    )


def trade(  # one decision from proposal to fills, each event caused by one before
    book: FifoBook, name: str, side: Side, mid2_ticks: int, parts: tuple[tuple[int, int], ...]
) -> list[LedgerEvent]:
    decision_id, order_id = f"d-{name}", f"o-{name}"
    action = Action.ENTER_LONG if side is Side.BUY else Action.EXIT
    idea = proposal(decision_id, side, action, mid2_ticks)
    events: list[LedgerEvent] = [
        Decided(idea, Mode.CONFIRM, ("wait",)),
        Answered(decision_id, Verdict.APPROVED, "human:trader", 1_234_000_000, 0.5, "go"),
        RiskChecked(order_id, decision_id, allowed=True, code="", checks=CHECKS),
        OrderIntended(order(order_id, decision_id, side, idea.limit_ticks)),
        OrderChanged(order_id, "SUBMITTED", "", 0),
    ]
    done = 0
    for number, (ticks, lots) in enumerate(parts, 1):
        done += lots
        events.append(filled(book, f"f-{name}-{number}", order_id, decision_id, side, ticks, lots))
        status = "FILLED" if done == idea.qty_lots else "PARTIALLY_FILLED"
        events.append(OrderChanged(order_id, status, "", done))
    return events


def points_taken(lines: bytes) -> DecisionsTaken:
    """Return the event that names a payload of decision points, one a line."""
    count = lines.count(b"\n")
    return DecisionsTaken(
        format="points/1", first=1, count=count, proposed=0, first_ns=START_NS, last_ns=START_NS,
        features=(), signals=(), agent="", digest=hashlib.sha256(lines).hexdigest(),
        size_bytes=len(lines),
    )  # fmt: skip


def day(run_id: str = "run-1") -> list[Dated]:
    """Return a run with one round trip (bought in two parts, sold in one), flat at the end."""
    book = FifoBook(INSTRUMENT)
    events: list[LedgerEvent] = [
        run_started(run_id),
        FeedChanged("SIM-USD", FeedState.LIVE, "first book"),
        NotDecided("SIM-USD", "edge 0.10 bps does not pay", 0.51, 5, 0.1, 0.8),
        *trade(book, f"{run_id}-in", Side.BUY, 20_003, ((10_002, 4_000), (10_003, 6_000))),
        *trade(book, f"{run_id}-out", Side.SELL, 20_021, ((10_009, 10_000),)),
        RunEnded(run_id, "asked to stop", {"frames": 1234, "orders": 2}),
    ]
    return [
        Dated(event, START_NS + number * NS_PER_S // 10, number or None)
        for number, event in enumerate(events)
    ]


def transferred(book: FifoBook, fee_lots: int = 5) -> list[Transferred]:
    """Return coins that came, and some of them that went with a fee; ``book`` takes both."""
    coming = Transfer(
        "t-1", "SIM-USD", TransferWay.IN, 1_000, "cold wallet", START_NS, START_NS - NS_PER_S,
        Decimal("80.005"),
    )  # fmt: skip
    going = Transfer(
        "t-2", "SIM-USD", TransferWay.OUT, 400, "cold wallet", START_NS, fee_lots=fee_lots,
        fee_value=Decimal("0.5"), fee_value_source="sim SIM-USD mid",
    )  # fmt: skip
    return [moved(book, transfer) for transfer in (coming, going)]


def moved(book: FifoBook, transfer: Transfer) -> Transferred:
    """Return a transfer that agrees with the lots of ``book``, which takes it."""
    done, instrument = move(book, transfer), book.instrument
    return Transferred(
        transfer=transfer,
        quantity=instrument.qty_text(transfer.qty_lots),
        fee_quantity=instrument.qty_text(transfer.fee_lots),
        lots=moved_lots(book, done.given),
        realized_pnl=plain(done.realized),
        position_lots=book.position_lots,
        actor="human:trader",
        note="to sell it here",
    )


def one_of_each() -> list[LedgerEvent]:
    """Return at least one event of every type, in an order the tables take."""
    events = [dated.event for dated in day()]
    return [
        *events,
        run_started("run-2"),
        Recovered(("o-left",), {"SIM-USD": 0}, "paper orders died with the process"),
        CancelIntended("o-run-1-out", "human:trader", "x"),
        KillTripped("all", "human:trader", "F12"),
        Rearmed("human:trader", "checked"),
        ModeChanged(Mode.AUTO, "human:trader"),
        ExitsSet(
            instrument="SIM-USD",
            position_lots=5,
            entry_price="100.1",
            exits=Exits(1, 9_980, 10_050, START_NS, (ExitKind.STOP,)),
            stop="99.8",
            target="100.5",
            actor="human:trader",
            why="stop set to 99.8",
        ),
        ExitTriggered(
            "SIM-USD", ExitKind.STOP, "99.8", "99.79", 5, "stop at 99.8 touched by bid 99.79"
        ),
        ExitsBlind("SIM-USD", True, 5, "feed stale: no frame for 7 s"),
        CommandRefused("Confirm", "human:trader", "the proposal had expired"),
        DecisionsTaken(
            "points/1",
            1,
            256,
            2,
            START_NS,
            START_NS + NS_PER_S,
            ("spread_ticks",),
            ("pressure",),
            "ppo-sim",
            "ab" * 32,
            123_456,
        ),
        InputTaken("command", "human:trader", 1_200, START_NS, '{"c":"kill"}'),
        ClockRead("adjtimex", True, "amber", 16_000, 900, -12_345, 8193),
        FileRecorded("capture", "binance-2026-03-01T000000-000.jsonl.gz", "cd" * 32, 16_777_216),
        KeyRotated("old+00+key", "new+00+key", "left the laptop on a train", "b2xk", "bmV3"),
        SlippageMeasured(
            "o-1", "d-1", "SIM-USD", 900, "100.015", 0.5, 0.75, "0.0675", "USD", False, 0
        ),
        MarkedOut("o-1-1", "o-1", "SIM-USD", 1, "100.03", 1.0, "0.09", "USD"),
        MarkedOut("o-1-1", "o-1", "SIM-USD", 10, None, None, None, "USD"),
        Reconciled("sim", {"SIM-USD": 3}, ("web-1",), 2, (DIFFERENCE,)),
        DifferenceResolved(DIFFERENCE, Remedy.ADOPT, "human:trader", "filled on the web page"),
        DayMarked(20_454, ("sim:SIM-USD",), {"USD": "-1.25"}),
        *transferred(FifoBook(INSTRUMENT)),
        FilesRemoved("tape", ("sim-2026-03-01T000000-000-000000.tape",), 16_777_216, 2_147_483_648),
        Anchored(
            "rfc3161",
            512,
            "12" * 32,
            "http://tsa.example/tsr",
            "ab" * 32,
            881,
            at="2026-03-01T09:00:00.000000000Z",
            roots="cd" * 32,
        ),
        AnchorFailed("ots", 512, "https://calendar.example", "it did not answer in time"),
    ]


def write_day(state_dir: Path, run_id: str = "run-1") -> tuple[int, str]:
    """Write ``day`` into a ledger, close it, and return its head.

    A new ledger comes from the same bytes each time: the tests need the day, not its fsyncs.
    """
    if (state_dir / DB_NAME).exists():
        return write(state_dir, day(run_id))
    if run_id not in _days:
        head = write(state_dir, day(run_id))
        files = {name: (state_dir / name).read_bytes() for name in FILES}
        _days[run_id] = (head, files)
    head, files = _days[run_id]
    state_dir.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (state_dir / name).touch(mode=0o600)
        (state_dir / name).write_bytes(data)
    return head


def write(state_dir: Path, events: Iterable[Dated]) -> tuple[int, str]:
    writer = LedgerWriter(state_dir)
    try:
        for event, ts_ns, cause in events:
            writer.append(event, ts_ns, cause)
        writer.flush().result(10)
        return writer.head()
    finally:
        writer.close()
        assert writer.failure is None, writer.failure
