"""A live engine with a venue, a ledger, a feed and a trader that a test plays, step by step.

Orders wait for the ledger in ``Session.settle_forever``, on an event loop that runs only when
``idle`` is called. Whenever an order leaves, ``check_departure`` looks whether it may.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from decimal import Decimal

import msgspec
from typing_extensions import override

from core.clock import NS_PER_MS, ManualClock
from core.commands import Commands
from core.config import Settings
from core.control import Ack, AnyCommand
from core.engine import Engine, EngineSetup
from core.errors import InvariantError
from core.gate import stamp_of
from core.model import event as ev
from core.model.decision import Mode
from core.model.instrument import Instrument
from core.model.market import BookMoved, FeedState
from core.model.order import Fill, Order, OrderStatus
from core.picture import RunFacts
from core.ports import Latch
from core.reconcile import LeftOrder, hear
from core.session import Session
from tests.fakes import BTC, START_NS, HandFeed, MemoryLatch, MemorySink
from tests.properties.venue_model import VenueModel

ETH = msgspec.structs.replace(BTC, name="ETHUSDT", base="ETH")
FACTS = RunFacts(account="PAPER", source="model", version="0", started_ns=START_NS, agent_note="")
MID = 6_000_000


class ModelLedger(MemorySink):
    """A ledger that is durable when it is let, and remembers what it was refused."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = 0
        self.waiting: list[tuple[int, Future[None]]] = []
        self.unwritten: list[object] = []
        self.is_slow = False

    @override
    def append(self, event: ev.LedgerEvent, ts_ns: int, cause: int | None = None) -> int:
        if self.is_broken:
            self.unwritten.append(event)
        return super().append(event, ts_ns, cause)

    @override
    def flush(self) -> Future[None]:
        if self.is_broken:
            raise InvariantError("disk is full")
        future: Future[None] = Future()
        self.waiting.append((len(self.events), future))
        if not self.is_slow:
            self.settle()
        return future

    def settle(self) -> None:
        """Everything appended is durable."""
        for count, future in self.waiting:
            self.durable = max(self.durable, count)
            future.set_result(None)
        self.waiting.clear()

    def fills(self) -> list[Fill]:
        return [event.fill for event in self.of(ev.Filled)]

    def past_status(self, client_order_id: str) -> OrderStatus | None:
        """Return the status an order has in the ledger, as its table does."""
        status = None
        for _, event, _ in self.events:
            if isinstance(event, ev.OrderIntended) and (
                event.order.client_order_id == client_order_id
            ):
                status = OrderStatus.INITIALIZED
            elif isinstance(event, ev.OrderChanged) and event.client_order_id == client_order_id:
                status = OrderStatus(event.status) if status is not None else None
        return status

    def left_orders(self) -> list[LeftOrder]:
        """Return the orders without an end, as ``ledger.rows`` does."""
        ended = {
            event.client_order_id
            for event in self.of(ev.OrderChanged)
            if OrderStatus(event.status).is_closed
        }
        left = []
        for place, (_, event, _) in enumerate(self.events, 1):
            if isinstance(event, ev.OrderIntended) and event.order.client_order_id not in ended:
                key = event.order.client_order_id
                fills = [fill for fill in self.fills() if fill.client_order_id == key]
                left.append(LeftOrder(event.order, place, fills))
        return left

    def fail(self) -> None:
        """The disk is full: what waits fails, nothing more is taken."""
        self.is_broken = True
        for _, future in self.waiting:
            future.set_exception(InvariantError("disk is full"))
        self.waiting.clear()


class Stage:
    """See the module docstring."""

    settings = Settings()

    def __init__(self, latch: Latch | None = None, second: Instrument = ETH) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = ModelLedger()
        self.latch = latch or MemoryLatch()
        self.second = second
        self.halted = ""
        """Why the latch is set when the engine starts."""
        self.now_ns = self.started_ns = START_NS
        self.runs = 0
        self.killed = False
        self.task: asyncio.Task[None] | None = None

    def start(self, mode: Mode) -> None:
        """Build the engine from the ledger, as the composition root does."""
        self.runs += 1
        self.started_ns = self.now_ns
        past = [event for _, event, _ in self.ledger.events]
        fills = tuple(event.fill for event in past if isinstance(event, ev.Filled))
        self.feed = HandFeed(BTC, self.second)
        if not hasattr(self, "venue"):
            self.venue = VenueModel(self.check_departure)
            self.venue.quotes = {each.name: each.quote for each in (BTC, self.second)}
        self.engine = Engine(
            EngineSetup(
                protocol=self.feed,
                settings=self.settings,
                mode=mode,
                sink=self.ledger,
                latch=self.latch,
                run_id=f"{self.runs:08x}" * 4,
                fee_bps=Decimal(10),
                fills=fills,
                halted=self.halted,
            )
        )
        self.kept = {name: self.engine.account.position(name) for name in self.engine.by_name}
        self.engine.context.move_to(self.now_ns)
        for desk in self.engine.desks:
            # What the desk believes is set by a rule, not learnt.
            desk.think = lambda *_: None  # type: ignore[method-assign]
        self.engine.execution.past_status = self.ledger.past_status
        self.engine.execution.knows_fill = lambda fill: fill in self.ledger.fills()
        self.session = Session(self.engine, self.venue, self.ledger)
        left = self.ledger.left_orders()
        self.venue.left_over = {each.order.client_order_id for each in left}
        told = hear(self.venue, left, fills, self.ledger.past_status, self.now_ns)
        self.session.reconciler.start(left, told)
        self.clock = self.session.clock = ManualClock(self.now_ns)
        self.commands = Commands(
            self.session, FACTS, self.clock, lambda: (0, ""), lambda reason: None
        )
        self.session.wake = asyncio.Event()
        self.task = self.loop.create_task(self.session.settle_forever())
        self.killed = False
        for index in range(2):
            self.take(self.feed.set_state(self.now_ns, FeedState.LIVE, index=index))
            self.take(self.book(index, MID, 1))
        self.idle()

    def end(self) -> None:
        """Stop the loop."""
        if self.task is not None:
            self.stop_task()
        self.loop.close()

    def stop_task(self) -> None:
        assert self.task is not None
        self.task.cancel()
        self.loop.run_until_complete(asyncio.wait([self.task]))

    # --- tools ----------------------------------------------------------------------------------

    def idle(self) -> None:
        """Let the settling task do all it can."""
        assert self.task is not None

        async def turns() -> None:
            for _ in range(6):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        assert not self.task.done(), f"settling ended: {self.task.exception()!r}"

    def take(self, *outputs: object) -> None:
        self.session._take(outputs)  # type: ignore[arg-type]

    def book(self, index: int, mid: int, half: int) -> BookMoved:
        return self.feed.set_book(
            self.now_ns, [(mid - half, 90_000)], [(mid + half, 90_000)], index
        )

    def command(self, command: AnyCommand) -> Ack:
        reply = self.commands.carry_out(command)
        assert isinstance(reply, Ack)
        assert reply.text, "a command went unanswered"
        self.idle()
        return reply

    def pass_ms(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * NS_PER_MS
        self.venue.now_ns = self.now_ns
        self.clock.move_to(self.now_ns)
        self.session.run_timers(self.now_ns)
        self.idle()

    def check_departure(self, order: Order) -> None:
        """Called by the venue at the moment an order leaves."""
        engine, name = self.engine, order.instrument
        intents = [
            place
            for place, (_, event, _) in enumerate(self.ledger.events)
            if isinstance(event, ev.OrderIntended) and event.order == order
        ]
        assert len(intents) == 1
        assert intents[0] < self.ledger.durable, "an order left before its intent was durable"
        (passed,) = (
            event
            for _, event, _ in self.ledger.events
            if isinstance(event, ev.RiskChecked)
            and event.client_order_id == order.client_order_id
            and event.allowed
        )
        assert order.stamp == stamp_of(order, passed.checks), "an order left without its stamp"
        assert engine.by_name[name].is_live, "an order left on a feed in doubt"
        others = engine.execution.orders.working_lots(name, order.side) - order.qty_lots
        if order.reduces:
            room = -order.side.sign * engine.account.position(name) - others
            assert 0 < order.qty_lots <= room, "an exit could flip the position"
        else:
            assert not engine.context.halted, "an entry left while halted"
            assert not engine.context.ledger_failure

    def feed_recovers(self, index: int) -> None:
        self.take(self.feed.set_state(self.now_ns, FeedState.LIVE, index=index))
        self.take(self.book(index, MID, 1))
        self.idle()

    def settle_venue(self, *, twice: bool = False) -> None:
        """Let everything arrive and fill; each report is told once or ``twice``."""
        venue = self.venue
        for ticket in venue.traveling:
            venue.arrive(ticket)
        for ticket in venue.working:
            venue.fill(ticket, ticket.rest_lots, MID, Decimal("0.5"))
        while venue.cancels:
            venue.cancel_arrives(0)
        while venue.outbox:
            if twice:
                venue.deliver(0, twice=True)
            venue.deliver(0)
        self.take()
        self.idle()
