"""The gate at work: no way past it, in the source and in a run; its stamp; its view of a run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec
import pytest
from typing_extensions import override

from core.brokers.kept import KeptBroker
from core.brokers.sim import SimBroker
from core.clock import NS_PER_S
from core.config import BlendSettings, Settings, StrategySettings
from core.engine import Engine, EngineSetup
from core.errors import InvariantError
from core.feeds.sim import SimProtocol
from core.gate import stamp_of
from core.live import run_sim_until
from core.model import event as ev
from core.model.decision import LimitCheck, Mode, Verdict
from core.model.market import BookMoved, FeedState, TradePrint
from core.model.order import Order, OrderStatus, Side
from core.orders import Submit
from core.risk import GateVerdict
from core.session import Session
from core.sim.market import SimMarket, sim_instrument
from core.sim.params import SET_C
from core.sim.venue import SimVenue
from tests.core.gate_cases import limits, order
from tests.core.test_engine import ASKS, BIDS, Bench
from tests.fakes import BTC, START_NS, HandBroker, HandFeed, MemoryLatch, MemorySink

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "agents", "ledger", "tui", "cli")
NAME = "BTCUSDT"
ETH = msgspec.structs.replace(BTC, name="ETHUSDT", base="ETH")


# --- no other way out: the source of the program -------------------------------------------------


def calls(name: str, node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a function or method ``name``, each with the function it stands in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from calls(name, child, f"{inside}.{child.name}".lstrip("."))
            continue
        if isinstance(child, ast.Call):
            called = child.func
            if getattr(called, "attr", getattr(called, "id", "")) == name:
                yield inside, child
        yield from calls(name, child, inside)


@cache
def sources() -> dict[str, str]:
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file.read_text("utf-8")
        for package in PACKAGES
        for file in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def tree(place: str) -> ast.Module:
    return ast.parse(sources()[place])


def callers(name: str, how: Callable[[ast.Call], bool] = lambda _: True) -> set[str]:
    """Return ``module:function`` of everything in the program that calls ``name``."""
    return {
        f"{place}:{inside}"
        for place, source in sources().items()
        if f"{name}(" in source
        for inside, call in calls(name, tree(place))
        if how(call)
    }


@pytest.mark.parametrize(
    "source",
    ["Submit(order, 1)", "def f():\n    orders.Submit(order, 1)", "[Submit(o, 1) for o in x]"],
)
def test_a_call_is_seen_wherever_it_stands(source: str) -> None:
    assert len(list(calls("Submit", ast.parse(source)))) == 1


def called_as(ending: str) -> Callable[[ast.Call], bool]:
    return lambda call: ast.unparse(call.func).endswith(ending)


@pytest.mark.slow
def test_only_one_function_makes_a_submit_and_only_send_asks_it_to() -> None:
    assert callers("Submit") == {"core.orders:Orders.put"}
    assert callers("put", called_as("orders.put")) == {"core.execution:Execution.send"}


@pytest.mark.slow
def test_only_the_gate_makes_a_stamp_and_only_send_asks_it_to() -> None:
    assert callers("stamp_of") == {"core.gate:Gate.stamp"}
    assert callers("stamp", called_as("guard.stamp")) == {"core.execution:Execution.send"}

    def gives_one(call: ast.Call) -> bool:
        return any(word.arg == "stamp" for word in call.keywords)

    giving = callers("Order", gives_one) | callers("replace", gives_one)
    assert giving == {"core.gate:Gate.stamp", "core.gate:stamp_of"}


@pytest.mark.slow
def test_only_the_session_hands_an_order_to_a_broker_and_only_after_the_last_look() -> None:
    handing = callers("submit", lambda call: "pool" not in ast.unparse(call.func))
    outside = {place for place in handing if not place.startswith("core.brokers.")}
    assert outside == {"core.session:Session._submit"}
    (function,) = (
        node for node in ast.walk(tree("core.session"))
        if isinstance(node, ast.FunctionDef) and node.name == "_submit"
    )  # fmt: skip
    (guard,) = (node for node in function.body if isinstance(node, ast.If))
    assert ast.unparse(guard.test) == "self.engine.execution.leave(submit.order)"
    within = ast.unparse(ast.Module(guard.body, []))
    assert ast.unparse(function).count("broker.submit(") == within.count("broker.submit(") == 1


@pytest.mark.slow
def test_nothing_that_decides_knows_a_broker() -> None:
    knowing = {
        place
        for place, source in sources().items()
        if "core.brokers" in source
        for node in ast.walk(tree(place))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("core.brokers")
        and node.module != "core.brokers.fees"
    }
    assert {place for place in knowing if not place.startswith(("core.brokers", "cli."))} == set()


# --- no other way out: a broker that looks at every stamp --------------------------------------


def check_stamp(of: Order, sink: MemorySink) -> None:
    """Refuse an order unless the ledger holds its passing, and its stamp is of just that."""
    passed = [
        event for event in sink.of(ev.RiskChecked)
        if event.client_order_id == of.client_order_id and event.allowed
    ]  # fmt: skip
    assert len(passed) == 1, f"{of.client_order_id} did not pass the gate once"
    assert of.stamp == stamp_of(of, passed[0].checks), f"{of.client_order_id} has no valid stamp"
    intents = [each.order for each in sink.of(ev.OrderIntended)]
    assert intents.count(of) == 1


class StampBroker(SimBroker):
    """The broker of the simulated market; it takes nothing without a valid stamp."""

    sink: MemorySink
    taken = 0

    @override
    def submit(self, order: Order, now_ns: int) -> None:
        check_stamp(order, self.sink)
        self.taken += 1
        super().submit(order, now_ns)


@pytest.mark.slow
def test_a_broker_that_refuses_what_has_no_stamp_takes_every_order_of_a_run() -> None:
    strategy = StrategySettings(
        threshold=0.0, min_edge_bps=-1_000, min_skill=-1, hold_s=2.0, cooldown_s=0.5
    )
    settings = Settings(strategy=strategy, blend=BlendSettings(min_labels=10))
    instrument, sink = sim_instrument(), MemorySink()
    venue = SimVenue([SimMarket(instrument, 5, SET_C, start_ns=START_NS, start_ticks=10_000)])
    engine = Engine(
        EngineSetup(
            protocol=SimProtocol([instrument], settings), settings=settings, mode=Mode.AUTO,
            sink=sink, latch=MemoryLatch(), run_id="ab" * 16, fee_bps=Decimal(1),
        )
    )  # fmt: skip
    broker = StampBroker(venue, settings)
    broker.sink = sink
    session = Session(engine, KeptBroker(broker, [instrument], {}), sink)
    session.on_open(START_NS)
    venue.connect(START_NS)
    run_sim_until(session, venue, START_NS + 60 * NS_PER_S)
    engine.kill_all("human:trader", "F12")
    session.hand_over()
    run_sim_until(session, venue, START_NS + 70 * NS_PER_S)
    assert broker.taken == len(sink.of(ev.OrderIntended)) >= 10
    kinds = {intent.order.reduces for intent in sink.of(ev.OrderIntended)}
    assert kinds == {False, True}


@pytest.mark.parametrize(
    "change", [{}, {"qty_lots": 1_501}, {"limit_ticks": 1}, {"side": Side.SELL}, {"stamp": ""}]
)
def test_that_broker_refuses_an_order_without_a_stamp_or_changed_after_it(change: dict) -> None:
    sink = MemorySink()
    checks = (LimitCheck("feed_state", "live", "live", passed=True),)
    passed = msgspec.structs.replace(order(), stamp=stamp_of(order(), checks))
    sink.append(ev.RiskChecked("o1", "d1", allowed=True, code="", checks=checks), 1)
    sink.append(ev.OrderIntended(passed), 1)
    if not change:
        check_stamp(passed, sink)
        return
    with pytest.raises(AssertionError):
        check_stamp(msgspec.structs.replace(passed, **change), sink)


# --- the stamp ------------------------------------------------------------------------------------


def test_a_refused_order_gets_no_stamp() -> None:
    guard = Bench().engine.execution.guard
    with pytest.raises(ValueError, match="o1 was refused: pause was slippage, limit none"):
        guard.stamp(order(), GateVerdict(False, "pause", (
            LimitCheck("pause", "slippage", "none", passed=False),
        )))  # fmt: skip


def test_an_order_changed_after_its_stamp_stops_the_program_and_never_leaves() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    orders = bench.engine.execution.orders
    (state,) = orders.open_states()
    larger = msgspec.structs.replace(state.order, qty_lots=state.order.qty_lots + 1)
    orders._submits[0] = Submit(larger, 1)
    with pytest.raises(InvariantError, match="had no stamp of the gate"):
        bench.take()
    assert bench.broker.submitted == []


def test_a_stamp_is_of_the_order_and_of_every_control_with_its_value_and_limit() -> None:
    check = LimitCheck("feed_state", "live", "live", passed=True)
    stamp = stamp_of(order(), (check,))
    assert stamp_of(msgspec.structs.replace(order(), stamp=stamp), (check,)) == stamp
    others = [
        stamp_of(order(), ()),
        *(stamp_of(order(), (msgspec.structs.replace(check, **{field: "x"}),))
          for field in ("control", "value", "limit")),
        *(stamp_of(order(**{field: value}), (check,))
          for field, value in (("client_order_id", "o2"), ("instrument", "X"), ("qty_lots", 1),
                               ("limit_ticks", 1), ("reduces", True), ("decided_ns", 2),
                               ("post_only", True))),
    ]  # fmt: skip
    assert len({stamp, *others}) == 1 + len(others)


def test_stamps_of_orders_that_never_leave_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.gate.STAMPS_KEPT", 2)
    guard = Bench().engine.execution.guard
    allowed = GateVerdict(True, "", ())
    first, *rest = (guard.stamp(order(client_order_id=key), allowed) for key in "abc")
    assert not guard.spend_stamp(first)
    assert all(map(guard.spend_stamp, rest))


def test_a_denial_in_the_ledger_says_what_was_denied_with_code_value_and_limit() -> None:
    bench = TwoBench(max_order_notional=Decimal(800))
    told = bench.engine.execution.send(order(client_order_id=""), "d1", None)
    (checked,) = bench.sink.of(ev.RiskChecked)
    assert (checked.allowed, checked.code) == (False, "max_order_notional")
    assert checked.order == order(client_order_id=checked.client_order_id)
    (failed,) = (each for each in checked.checks if not each.passed)
    assert (failed.control, failed.value, failed.limit) == (
        "max_order_notional", "900.00015", "800"
    )  # fmt: skip
    assert told.endswith("denied: max_order_notional was 900.00015, limit 800")
    assert bench.engine.execution.last_denial == told
    bench.take()
    assert bench.broker.submitted == []


def test_a_stamp_serves_once() -> None:
    bench = Bench()
    bench.engine.proposals.answer(bench.propose(), Verdict.APPROVED, "human:trader")
    bench.take()
    (left,) = bench.broker.submitted
    check_stamp(left, bench.sink)
    with pytest.raises(InvariantError, match="had no stamp of the gate"):
        bench.engine.execution.leave(left)


# --- what the gate sees of a run ------------------------------------------------------------------


class TwoBench(Bench):
    """A bench with a second instrument in the same currency."""

    def __init__(self, **risk: object) -> None:
        self.feed = HandFeed(BTC, ETH)
        self.sink, self.latch, self.broker = MemorySink(), MemoryLatch(), HandBroker()
        self.engine = Engine(
            EngineSetup(
                protocol=self.feed, settings=Settings(risk=limits(**risk)), mode=Mode.CONFIRM,
                sink=self.sink, latch=self.latch, run_id="cafe0123" * 4, fee_bps=Decimal(10),
            )
        )  # fmt: skip
        for desk in self.engine.desks:
            desk.think = lambda *_: None  # type: ignore[method-assign]
        self.session = Session(self.engine, self.broker, self.sink)
        self.now_ns = START_NS
        for index in range(2):
            self.take(self.feed.set_state(self.now_ns, FeedState.LIVE, index=index))
            self.take(self.feed.set_book(self.now_ns, BIDS, ASKS, index))
        self.pass_ms(1_000)

    def gate(self, **changes: object) -> GateVerdict:
        return self.engine.execution.gate(order(client_order_id="", **changes))

    def send(self, **changes: object) -> Order:
        """Send an order through the gate to the broker and return it."""
        self.engine.execution.send(order(client_order_id="", **changes), "d1", None)
        self.take()
        return self.broker.submitted[-1]

    def fill(self, sent: Order, ticks: int = 6_000_000, lots: int = 0) -> None:
        self.broker.fill(sent, lots or sent.qty_lots, ticks, self.now_ns, fee="0")
        self.take()


def value(verdict: GateVerdict, code: str) -> str:
    (found,) = (each for each in verdict.checks if each.control == code)
    return found.value


def test_exposure_is_all_instruments_of_the_currency_with_what_still_works() -> None:
    bench = TwoBench()
    assert value(bench.gate(), "max_gross_exposure") == "900.00015"
    bench.fill(bench.send(instrument="ETHUSDT", side=Side.SELL, limit_ticks=5_999_999))
    assert value(bench.gate(), "max_gross_exposure") == "1800.00015"
    bench.pass_ms(1_000)
    bench.send(instrument="ETHUSDT", side=Side.SELL, limit_ticks=5_999_999, qty_lots=1_000)
    assert value(bench.gate(), "max_gross_exposure") == "2400.00015"
    # A buy that would only close the short makes it no smaller until it has filled.
    bench.send(instrument="ETHUSDT", limit_ticks=5_999_998, qty_lots=500)
    assert value(bench.gate(), "max_gross_exposure") == "2400.00015"


def test_one_instrument_fills_the_room_of_another() -> None:
    bench = TwoBench(max_position_notional=Decimal(5_000), max_gross_exposure=Decimal(1_500))
    bench.fill(bench.send(instrument="ETHUSDT", qty_lots=1_100))
    verdict = bench.gate()
    assert verdict.why == "max_gross_exposure was 1560.00015, limit 1500"


def test_the_same_order_twice_in_a_second_is_refused_and_then_is_not() -> None:
    bench = TwoBench()
    bench.fill(bench.send())
    bench.pass_ms(250)
    assert bench.gate().why == "duplicate_window_ms was 250 ms ago, limit 1000 ms"
    assert bench.gate(qty_lots=1_499).allowed
    bench.pass_ms(750)
    assert bench.gate().allowed


def test_more_orders_in_a_second_than_allowed_are_refused() -> None:
    bench = TwoBench(max_orders_per_second=3)
    for lots in (100, 101, 102):
        bench.fill(bench.send(qty_lots=lots))
    assert bench.gate().why == "max_orders_per_second was 3, limit 3"
    bench.pass_ms(1_000)
    assert bench.gate().allowed


def test_cancels_count_as_messages_and_are_never_refused() -> None:
    bench = TwoBench(max_messages_per_second=5, max_open_orders=9)
    sent = bench.send()
    for _ in range(6):
        assert bench.engine.execution.cancel_order(sent.client_order_id, "human:trader", "x")
    assert value(bench.gate(), "max_messages_per_second") == "7"
    assert "max_messages_per_second was 7, limit 4" in bench.gate().why


def test_orders_that_repeat_themselves_kill_everything() -> None:
    bench = TwoBench(max_repeated_fills=3, max_orders_per_second=9)
    for lots in (100, 101):
        bench.fill(bench.send(qty_lots=lots))
    assert bench.gate().allowed
    assert not bench.engine.context.halted
    bench.fill(bench.send(qty_lots=102))
    assert bench.engine.context.halted == (
        "repeated execution: 3 BUY orders in BTCUSDT filled within 60 s and none on the other "
        "side, limit 3"
    )
    assert "by system" in bench.latch.reason
    (kill,) = bench.sink.of(ev.KillTripped)
    assert kill.actor == "system"


def test_the_fill_that_realizes_the_limit_is_the_last_before_the_kill() -> None:
    bench = TwoBench(max_daily_loss=Decimal(10))
    bench.fill(bench.send())
    closing = bench.send(side=Side.SELL, limit_ticks=5_999_999, reduces=True)
    bench.fill(closing, ticks=5_900_000)
    assert bench.engine.context.halted == "daily loss -15 USDT reached its limit -10"
    fill_at = max(n for n, (_, e, _) in enumerate(bench.sink.events) if isinstance(e, ev.Filled))
    kill_at = next(n for n, (_, e, _) in enumerate(bench.sink.events)
                   if isinstance(e, ev.KillTripped))  # fmt: skip
    between = [type(event).__name__ for _, event, _ in bench.sink.events[fill_at + 1 : kill_at]]
    assert set(between) <= {"OrderChanged", "SlippageMeasured", "CancelIntended"}


def test_losses_in_a_row_are_told_once_and_refused_until_the_pause_is_over() -> None:
    bench = TwoBench(max_consecutive_losses=2, loss_pause_s=5.0)
    for _ in range(2):
        bench.fill(bench.send())
        bench.fill(bench.send(side=Side.SELL, limit_ticks=5_999_999, reduces=True), 5_999_000)
        bench.pass_ms(1_000)
    assert bench.gate().why == "max_consecutive_losses was 2, limit 2"
    told = [n.text for n in bench.engine.context.notices if "in a row lost" in n.text]
    assert told == ["2 round trips in a row lost: no entry for 5 s"]
    bench.pass_ms(4_000)
    assert bench.gate().allowed


def test_the_newest_trade_is_a_second_reference_for_the_price() -> None:
    bench = TwoBench()
    assert value(bench.gate(), "last_trade_collar_bps") == "no trade told yet"
    print_of = TradePrint(0, 5_900_000, 1, 1, "t", bench.now_ns, bench.now_ns)
    bench.feed.instruments[0].note_trade(print_of)
    bench.take(print_of)
    assert bench.gate().why == "last_trade_collar_bps was 169.493, limit 100"


def test_a_book_that_moved_between_the_intent_and_the_leaving_is_judged_again() -> None:
    bench = TwoBench()
    bench.engine.execution.send(order(client_order_id=""), "d1", None)
    bench.session._take([BookMoved(1, bench.now_ns, bench.now_ns)])  # nothing of its own moved
    assert len(bench.broker.submitted) == 1
    bench.pass_ms(1_000)
    bench.engine.execution.send(order(client_order_id="", qty_lots=7), "d1", None)
    bench.engine.execution.guard.stops.stop(NAME, bench.now_ns + NS_PER_S, "slippage")
    bench.take()
    assert len(bench.broker.submitted) == 1
    state = list(bench.engine.execution.orders.states.values())[-1]
    assert state.status in {OrderStatus.DENIED, OrderStatus.REJECTED}
    assert "pause was slippage, 1 s left, limit none" in state.reason
