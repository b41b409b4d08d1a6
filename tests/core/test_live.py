"""The simulated market in real time: nothing due is overtaken by market data."""

from __future__ import annotations

from decimal import Decimal

from typing_extensions import override

from core.brokers.kept import KeptBroker
from core.brokers.sim import SimBroker
from core.clock import NS_PER_MS, NS_PER_S
from core.config import Settings
from core.engine import Engine, EngineSetup
from core.feeds.sim import SimProtocol
from core.live import run_sim_until
from core.model.decision import Mode
from core.model.market import MarketEvent
from core.session import Session
from core.sim.market import SimMarket, sim_instrument
from core.sim.params import SET_C
from core.sim.venue import SimVenue
from tests.fakes import START_NS, MemoryLatch, MemorySink


class Watched(Engine):
    """An engine that keeps the order of what it is given."""

    def __init__(self, setup: EngineSetup) -> None:
        super().__init__(setup)
        self.log: list[tuple[str, int]] = []

    @override
    def on_market(self, event: MarketEvent) -> None:
        self.log.append(("market", event.ts_recv_ns))
        super().on_market(event)

    @override
    def advance(self, now_ns: int) -> None:
        self.log.append(("timer", now_ns))
        super().advance(now_ns)


def started() -> tuple[Session, Watched, SimVenue]:
    instrument, settings = sim_instrument(), Settings()
    market = SimMarket(instrument, 5, SET_C, start_ns=START_NS, start_ticks=10_000)
    venue = SimVenue([market])
    protocol = SimProtocol([instrument], settings)
    engine = Watched(
        EngineSetup(
            protocol=protocol,
            settings=settings,
            mode=Mode.OBSERVE,
            sink=MemorySink(),
            latch=MemoryLatch(),
            run_id="ab" * 16,
            fee_bps=Decimal(1),
        )
    )
    broker = KeptBroker(SimBroker(venue, settings), [instrument], {})
    session = Session(engine, broker, MemorySink())
    session.on_open(START_NS)
    venue.connect(START_NS)
    return session, engine, venue


def test_market_and_timers_come_in_the_order_of_their_times() -> None:
    session, engine, venue = started()
    run_sim_until(session, venue, START_NS + 3 * NS_PER_S)
    times = [ns for _, ns in engine.log]
    assert times == sorted(times)
    assert {kind for kind, _ in engine.log} == {"market", "timer"}
    timers = [ns for kind, ns in engine.log if kind == "timer"]
    assert all(ns % (250 * NS_PER_MS) == 0 for ns in timers)
    assert len(timers) == 12


def test_time_cut_into_other_pieces_gives_the_same_run() -> None:
    logs = []
    for step_ms in (1_000, 37):
        session, engine, venue = started()
        for now_ms in [*range(step_ms, 1_000, step_ms), 1_000]:
            run_sim_until(session, venue, START_NS + now_ms * NS_PER_MS)
        logs.append(engine.log)
    assert logs[0] == logs[1]


def test_nothing_after_the_present_is_taken() -> None:
    session, engine, venue = started()
    run_sim_until(session, venue, START_NS + NS_PER_S)
    assert max(ns for _, ns in engine.log) <= START_NS + NS_PER_S
    assert engine.context.now_ns <= START_NS + NS_PER_S
