"""The paper broker in a session: what the market does to a resting order is heard of in time."""

from __future__ import annotations

from decimal import Decimal

from core.brokers.paper import PaperBroker
from core.config import PaperSettings, Settings
from core.engine import Engine, EngineSetup
from core.model.decision import Mode
from core.model.market import FeedState, TradePrint
from core.model.order import OrderReport, ReportKind, Side, TimeInForce
from core.session import Session
from tests.core.brokers.rig import MS, make_order
from tests.fakes import BTC, START_NS, HandFeed, MemoryLatch, MemorySink


def test_report_of_a_resting_fill_is_heard_at_its_own_time_between_two_frames() -> None:
    """A trade at 0 ms fills; the next frame says nothing and comes at 100 ms; heard at 20 ms."""
    feed, sink = HandFeed(), MemorySink()
    settings = Settings(paper=PaperSettings(latency_ms=0, report_latency_ms=20))
    engine = Engine(
        EngineSetup(
            protocol=feed, settings=settings, mode=Mode.OBSERVE, sink=sink, latch=MemoryLatch(),
            run_id="cafe0123" * 4, fee_bps=Decimal(10),
        )
    )  # fmt: skip
    broker = PaperBroker(feed.instruments, settings)
    session = Session(engine, broker, sink)  # type: ignore[arg-type]
    heard: list[tuple[int, OrderReport]] = []
    engine.on_report = lambda report: heard.append((engine.context.now_ns, report))  # type: ignore[method-assign]
    session._take([feed.set_state(START_NS, FeedState.LIVE)])
    session._take([feed.set_book(START_NS, [(5_000, 10)], [(5_002, 10)])])
    broker.submit(
        make_order("o", Side.BUY, 10, 5_001, TimeInForce.GTC, instrument=BTC.name), START_NS
    )
    session.run_timers(START_NS + 30 * MS)
    session.receive(b"{}", START_NS + 40 * MS)  # everything due is done: the session knows the next
    at_ns = START_NS + 50 * MS
    session._take([TradePrint(0, 5_001, 10, -1, "t", at_ns, at_ns)])
    session.receive(b"{}", at_ns + 100 * MS)
    assert [report.kind for _, report in heard] == [ReportKind.ACCEPTED, ReportKind.FILLED]
    fill = heard[-1][1].fill
    assert fill is not None
    assert (fill.ts_ns, heard[-1][1].ts_ns) == (at_ns, at_ns + 20 * MS)
    assert (fill.is_maker, fill.fee) == (True, Decimal("0.00000500"))  # 0.1 % of 0.005001
