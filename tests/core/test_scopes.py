from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import scopes
from core.scopes import Scope


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("all", Scope("all")),
        ("strategy", Scope("strategy")),
        ("instrument:BTC/USD", Scope("instrument", "BTC/USD")),
        ("order:cafe-o1", Scope("order", "cafe-o1")),
        ("instrument:a:b", Scope("instrument", "a:b")),
    ],
)
def test_a_scope_is_read_from_its_text(text: str, scope: Scope) -> None:
    assert scopes.parse(text) == scope


@pytest.mark.parametrize("text", ["", "ALL", "BTCUSDT", "instrument:", "order", "order:", "x:y"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is all, strategy"):
        scopes.parse(text)


@given(st.text(min_size=1, max_size=40))
def test_every_instrument_has_one_file_name_that_leads_back_to_it(name: str) -> None:
    scope = scopes.of_instrument(name)
    try:
        file = scopes.file_of(scope)
    except UnicodeEncodeError:
        return  # a lone surrogate names no instrument
    assert "/" not in file
    assert "." not in file
    assert scopes.of_file(file) == scope


@pytest.mark.parametrize(
    "name", ["KILL", "instrument", "instrument-", "order-x", "strategy-x", "strategy.1.tmp", "all",
             "instrument-a.b", "instrument-%zz", "instrument-a%2fb"],
)  # fmt: skip
def test_a_file_that_is_none_of_ours_says_no_scope(name: str) -> None:
    assert scopes.of_file(name) is None


def test_scopes_are_told_in_words() -> None:
    told = [scopes.words(text) for text in ("all", "strategy", "instrument:ETHUSDT", "order:o1")]
    assert told == ["everything", "the strategy", "ETHUSDT", "o1"]
