"""The envelope: every event goes in and comes out the same; every other form is refused."""

from __future__ import annotations

import json
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import iso_ns
from core.errors import InvariantError, ValueRefused
from core.model.decision import AgentView, Forecast, LimitCheck, Proposal
from core.model.event import AnyEvent, Decided, Filled, LedgerEvent, OrderChanged, RunStarted
from core.model.order import BrokerStart, Fill, OrderReport
from ledger import canonical
from ledger.envelope import actor_of, seal, tail_of, type_of, unseal
from tests.ledger import factory

PREV = "ab" * 32
_texts = st.text(st.characters(codec="utf-8"), max_size=12)
_numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
st.register_type_strategy(str, _texts)
st.register_type_strategy(float, _numbers)
_json_values = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | _texts | _numbers
_settings = st.dictionaries(
    st.text(st.characters(max_codepoint=127), max_size=8),
    st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=8), _json_values),
    max_size=3,
)
_decimals = st.decimals(-(10**9), 10**9, places=12)
_fills = st.builds(Fill, fee=_decimals)
_forecasts = st.builds(Forecast, skill=st.none() | _numbers)
_proposals = st.builds(
    Proposal, forecast=_forecasts, agent=st.none() | st.builds(AgentView),
    checks=st.lists(st.builds(LimitCheck), max_size=2).map(tuple),
)  # fmt: skip
_ascii = st.text(st.characters(max_codepoint=127), max_size=8)


def _tables_of(kind: type[LedgerEvent]) -> dict[str, Any]:
    """Return strategies for the fields that are tables: their keys are ASCII, as ours are."""
    hints = {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is dict}
    return {
        name: st.dictionaries(_ascii, st.from_type(get_args(hint)[1]), max_size=2)
        for name, hint in hints.items()
    }


def _events() -> st.SearchStrategy[LedgerEvent]:
    special = {
        Filled: st.builds(Filled, fill=_fills),
        Decided: st.builds(Decided, proposal=_proposals),
        RunStarted: st.builds(
            RunStarted,
            **(_tables_of(RunStarted) | {"settings": _settings}),
            instruments=st.lists(st.dictionaries(_ascii, _texts), max_size=2).map(tuple),
            broker_start=st.none()
            | st.builds(
                BrokerStart,
                held=st.dictionaries(_ascii, st.integers(), max_size=2),
                told=st.lists(st.builds(OrderReport, fill=st.none() | _fills), max_size=2).map(
                    tuple
                ),
            ),
        ),
    }
    kinds = [
        st.builds(kind, **_tables_of(kind)) for kind in AnyEvent.__args__ if kind not in special
    ]
    return st.one_of(*special.values(), *kinds)


def _sealed(event: LedgerEvent, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "seq": 2, "ts_ns": factory.START_NS, "run": "run-1", "cause": 1,
        "actor": "system", "prev": PREV,
    }  # fmt: skip
    return seal(event, **(fields | changes))


def _with(body: bytes, **changes: Any) -> bytes:
    return canonical.encode(json.loads(body) | changes)


@given(_events(), st.integers(0, 2**62), _texts)
def test_every_event_comes_back_as_the_same_bytes(event: LedgerEvent, ts_ns: int, run: str) -> None:
    body = _sealed(event, ts_ns=ts_ns, run=run)
    envelope, again = unseal(body)
    assert type(again) is type(event)
    assert (envelope.ts, envelope.run, envelope.type) == (iso_ns(ts_ns), run, type_of(event))
    assert _sealed(again, ts_ns=ts_ns, run=run) == body
    tail = tail_of(body)
    assert tail is not None
    assert (tail.prev, tail.seq, tail.type) == (PREV.encode(), b"2", envelope.type.encode())


@pytest.mark.parametrize("event", factory.one_of_each(), ids=lambda event: type(event).__name__)
def test_event_without_long_fractions_comes_back_equal(event: LedgerEvent) -> None:
    again = unseal(_sealed(event))[1]
    if isinstance(again, RunStarted):  # settings have no schema here, so their floats stay text
        assert again.settings["strategy"]["threshold"] == "0.05"
        again = msgspec.structs.replace(again, settings=event.settings)  # type: ignore[attr-defined]
    assert again == event


def test_tail_is_not_fooled_by_text_that_looks_like_one() -> None:
    lure = '"prev":"' + "0" * 64 + '","run":"x","seq":9,"ts":"t","type":"FILL","v":"ev/1"}'
    tail = tail_of(_sealed(OrderChanged("o-1", "SUBMITTED", lure, 0), run=lure))
    assert tail is not None
    assert (tail.prev, tail.seq, tail.type) == (PREV.encode(), b"2", b"ORDER_STATUS")
    assert tail_of(b"{}") is None


@pytest.mark.parametrize("cause", [0, -1, 2, 3])
def test_cause_must_be_an_event_before(cause: int) -> None:
    with pytest.raises(InvariantError, match="cause"):
        _sealed(factory.run_started(), cause=cause)
    with pytest.raises(ValueRefused, match="cause"):
        unseal(_with(_sealed(factory.run_started()), cause=cause))


@pytest.mark.parametrize(
    "changes",
    [
        {"v": "ev/2"},
        {"ts": "2026-01-01T00:00:00Z"},
        {"ts": "2026-01-01 00:00:00.000000000Z"},
        {"type": "NO_SUCH_TYPE"},
        {"type": "FILL"},
        {"seq": "2"},
        {"prev": None},
        {"extra": 1},
        {"payload": []},
        {"payload": {"client_order_id": "o", "status": "FILLED", "reason": ""}},
        {"payload": {"client_order_id": "o", "status": "F", "reason": "", "filled_lots": "7"}},
        {"payload": {"client_order_id": "o", "status": "F", "reason": "", "filled_lots": True}},
        {
            "payload": {
                "client_order_id": "o", "status": "F", "reason": "", "filled_lots": 7, "more": 1,
            }
        },
    ],
)  # fmt: skip
def test_envelope_that_does_not_fit_the_schema_is_refused(changes: dict[str, Any]) -> None:
    body = _sealed(OrderChanged("o", "F", "", 7))
    unseal(body)
    with pytest.raises(ValueRefused):
        unseal(_with(body, **changes))


def test_older_event_may_lack_a_field_that_was_added_with_a_default() -> None:
    tree = json.loads(_sealed(factory.day()[4].event))
    del tree["payload"]["note"]
    assert unseal(canonical.encode(tree))[1].note == ""  # type: ignore[attr-defined]


def test_number_in_another_spelling_than_ours_is_refused() -> None:
    tree = json.loads(_sealed(factory.day()[4].event))
    tree["payload"]["drift_ticks"] = "0.50"
    with pytest.raises(ValueRefused, match="as its schema says"):
        unseal(canonical.encode(tree))


def test_actor_says_who_acted() -> None:
    actors = {type_of(event): actor_of(event, "sim") for event in factory.one_of_each()}
    assert actors["APPROVAL"] == "human:trader"
    assert actors["DECISION"] == "algo:strategy"
    assert actors["RISK_CHECK"] == "algo:risk"
    assert actors["FILL"] == "venue:sim"
    assert actors["RUN_STARTED"] == "system"
    assert actor_of(OrderChanged("o", "SUBMITTED", "", 0), "sim") == "system"
