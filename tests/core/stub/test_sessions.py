"""What each venue's session says to what it is asked, without sockets."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from core.stub.alpaca import REFUSED_KEY
from core.stub.registry import sim_venue
from core.stub.venue import Request, Sent, Session, VenueModel
from tests.core.feeds.wire import MS, T0, S


def venue(name: str, *symbols: str) -> VenueModel:
    return sim_venue(name, symbols, 5, T0, speed=50)


def told(sent: list[Sent]) -> list[Any]:
    return [json.loads(each.data) for each in sent]


def ask(session: Session, message: dict[str, Any]) -> list[Any]:
    return told(session.asked(json.dumps(message).encode()))


def frames(model: VenueModel, session: Session, steps: int = 40) -> list[Any]:
    out = []
    for _ in range(steps):
        model.advance(model.now_ns + 100 * MS)
        out += told(session.flush())
    return out


def test_binance_ids_are_contiguous_and_the_snapshot_meets_them() -> None:
    model = venue("binance", "BTCUSDT")
    streams = "/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker"
    session = model.connect(T0, Request(streams))
    events = [each["data"] for each in frames(model, session)]
    depth = [each for each in events if each.get("e") == "depthUpdate"]
    assert len(depth) > 5
    assert all(one["u"] + 1 == two["U"] for one, two in pairwise(depth))
    answer = model.answer("/api/v3/depth?symbol=BTCUSDT&limit=5")
    assert answer is not None
    body = json.loads(answer.body)
    assert body["lastUpdateId"] == depth[-1]["u"]
    assert len(body["bids"]) == 5
    assert {each["e"] for each in events if "e" in each} == {"depthUpdate", "trade"}
    ids = [each["t"] for each in events if each.get("e") == "trade"]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_binance_tells_every_change_of_the_best_prices_with_the_depth_event() -> None:
    # Found by wrong_quantity 1081: no ticker for two seconds though a best quantity had changed,
    # so a wrong one stood at the best price of a live book that long.
    model = venue("binance", "BTCUSDT")
    session = model.connect(T0, Request("/ws/btcusdt@depth@100ms/btcusdt@bookTicker"))
    told_of, n_depth = None, 0
    for _ in range(100):
        seen = frames(model, session, 1)
        for each in seen:
            if "B" in each:
                told_of = ((each["b"], each["B"]), (each["a"], each["A"]))
        if any(each.get("e") == "depthUpdate" for each in seen):
            n_depth += 1
            assert told_of == session.touch(0)
    assert n_depth > 20


def test_binance_sends_what_is_subscribed_and_nothing_else() -> None:
    model = venue("binance", "BTCUSDT", "ETHUSDT")
    session = model.connect(T0, Request("/ws/ethusdt@trade"))
    assert all(each["e"] == "trade" for each in frames(model, session))
    assert ask(session, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == [
        {"result": ["ethusdt@trade"], "id": 3}
    ]
    ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": 4})
    seen = frames(model, session)
    depth = [each for each in seen if each["e"] == "depthUpdate"]
    # Once a second, and from the subscription on.
    assert 2 <= len(depth) <= 5
    assert all(one["u"] + 1 == two["U"] for one, two in pairwise(depth))
    assert ask(session, {"method": "NONSENSE", "id": 5})[0]["error"]["code"] == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v3/depth?symbol=NOPE", 400), ("/api/v3/depth?symbol=BTCUSDT&limit=x", 400),
     ("/api/v3/exchangeInfo?symbol=BTCUSDT", 200), ("/api/v3/time", 200), ("/nowhere", 404)],
)  # fmt: skip
def test_binance_answers_what_it_has(path: str, status: int) -> None:
    answer = venue("binance", "BTCUSDT").answer(path)
    assert answer is not None
    assert answer.status == status


def test_coinbase_numbers_every_frame_of_a_connection_from_zero() -> None:
    model = venue("coinbase", "BTC-USD", "ETH-USD")
    sessions = [model.connect(T0), model.connect(T0)]
    for session in sessions:
        seen = []
        for channel in ("level2", "market_trades", "heartbeats"):
            wish = {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": channel}
            seen += ask(session, wish)
        seen += frames(model, session)
        seen += told(session.beat())
        assert [each["sequence_num"] for each in seen] == list(range(len(seen)))
        # Data come before the ack, and the ack lists all that is subscribed.
        assert seen[0]["events"][0]["type"] == "snapshot"
        acks = [each for each in seen if each["channel"] == "subscriptions"]
        assert acks[-1]["events"][0]["subscriptions"].keys() == {
            "level2", "market_trades", "heartbeats",
        }  # fmt: skip
        assert session.version_at(seen[-1]["sequence_num"], 0) == model.books[0].version


def test_coinbase_labels_usdc_products_as_the_venue_does() -> None:
    session = venue("coinbase", "BTC-USDC").connect(T0)
    wish = {"type": "subscribe", "product_ids": ["BTC-USDC"], "channel": "level2"}
    assert ask(session, wish)[0]["events"][0]["product_id"] == "BTC-USD"


def test_coinbase_refuses_a_channel_it_does_not_have_as_an_authentication_failure() -> None:
    session = venue("coinbase", "BTC-USD").connect(T0)
    wish = {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "nope"}
    assert ask(session, wish) == [{"type": "error", "message": "authentication failure"}]


@pytest.mark.parametrize("name", ["coinbase", "coinbase-exchange"])
def test_a_client_that_subscribes_nothing_is_cut_after_five_seconds(name: str) -> None:
    model = venue(name, "BTC-USD")
    session = model.connect(T0)
    assert not session.overdue()
    model.now_ns = T0 + 6 * S
    assert session.overdue()


def test_coinbase_exchange_heartbeats_name_the_newest_trade() -> None:
    model = venue("coinbase-exchange", "BTC-USD")
    session = model.connect(T0)
    wish = {"type": "subscribe", "product_ids": ["BTC-USD"],
            "channels": ["level2_batch", "heartbeat", {"name": "matches",
                                                       "product_ids": ["BTC-USD"]}]}  # fmt: skip
    first = ask(session, wish)
    assert [each["type"] for each in first] == ["subscriptions", "snapshot"]
    assert first[0]["channels"][0]["name"] == "level2_50"
    seen = frames(model, session)
    ids = [each["trade_id"] for each in seen if each["type"] == "match"]
    assert ids == list(range(1, len(ids) + 1))
    assert told(session.beat())[0]["last_trade_id"] == ids[-1]
    # Who comes later is told the newest trade once more, as what it is.
    again = ask(model.connect(model.now_ns), wish)
    assert [each["type"] for each in again] == ["subscriptions", "snapshot", "last_match"]


def test_coinbase_exchange_wants_a_key_for_level2() -> None:
    session = venue("coinbase-exchange", "BTC-USD").connect(T0)
    wish = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]}
    assert ask(session, wish)[0]["type"] == "error"


def test_alpaca_wants_a_key_before_it_says_anything() -> None:
    model = venue("alpaca", "SPY")
    session = model.connect(T0, Request("/v2/iex"))
    assert told(session.greeting()) == [[{"T": "success", "msg": "connected"}]]
    assert ask(session, {"action": "subscribe", "quotes": ["SPY"]})[0][0]["code"] == 401
    bad = {"action": "auth", "key": REFUSED_KEY, "secret": "x"}
    assert ask(session, bad)[0][0]["code"] == 402
    good = {"action": "auth", "key": "k", "secret": "s"}
    assert ask(session, good)[0][0]["msg"] == "authenticated"
    assert ask(session, good)[0][0]["code"] == 403
    (state,) = ask(session, {"action": "subscribe", "quotes": ["SPY"], "trades": ["SPY"]})[0]
    assert state["quotes"] == state["corrections"] == ["SPY"]
    assert ask(session, {"action": "subscribe", "orderbooks": ["SPY"]})[0][0]["code"] == 410
    kinds = {each["T"] for frame in frames(model, session) for each in frame}
    assert kinds == {"q", "t"}


def test_alpaca_crypto_books_begin_with_a_reset() -> None:
    model = venue("alpaca", "BTC/USD")
    session = model.connect(T0, Request("/v1beta3/crypto/us", key="k"))
    assert len(session.greeting()) == 2
    ask_all = {"action": "subscribe", "orderbooks": ["BTC/USD"]}
    _, (first,) = ask(session, ask_all)
    assert first["r"] is True
    assert len(first["b"]) == len(model.books[0].sides[0])
    later = [each for frame in frames(model, session) for each in frame]
    assert later
    assert not any(each.get("r") for each in later)


def test_alpaca_speaks_msgpack_to_those_who_ask_for_it() -> None:
    model = venue("alpaca", "SPY")
    session = model.connect(T0, Request("/v2/iex", key="k", wants_msgpack=True))
    session.asked(msgspec.msgpack.encode({"action": "subscribe", "quotes": ["SPY"]}))
    model.advance(T0 + S)
    (frame,) = session.flush()
    assert not frame.is_text
    (quote,) = msgspec.msgpack.decode(frame.data)
    assert quote["T"] == "q"
    assert quote["t"].timestamp() == (T0 + S) / S


def test_alpaca_tells_over_rest_what_a_client_missed() -> None:
    model = venue("alpaca", "SPY")
    model.advance(T0 + 10 * S)
    model.advance(T0 + 20 * S)
    quotes = model.answer("/v2/stocks/quotes/latest?symbols=SPY&feed=iex")
    trades = model.answer("/v2/stocks/trades?symbols=SPY&start=2023-11-14T22%3A13%3A35Z")
    assert quotes is not None
    assert trades is not None
    assert json.loads(quotes.body)["quotes"]["SPY"]["bp"] > 0
    later = [each for each in model.books[0].trades if each.ts_ns >= T0 + 15 * S]
    assert 0 < len(later) < len(model.books[0].trades)
    assert [each["i"] for each in json.loads(trades.body)["trades"]["SPY"]] == [
        each.trade_id for each in later
    ]


def test_the_clock_of_a_venue_can_be_off() -> None:
    model = venue("binance", "BTCUSDT")
    model.offset_ns = 3_600 * S
    answer = model.answer("/api/v3/time")
    assert answer is not None
    assert json.loads(answer.body)["serverTime"] == (T0 + 3_600 * S) // MS
