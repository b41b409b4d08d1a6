"""A FEED_CHANGED names its cause beside the sentence; an older one does not and stays sound."""

from __future__ import annotations

import pytest

from core.model.event import FeedChanged
from core.model.market import FeedCause, FeedState
from ledger import form
from ledger.binder.gather import told_of
from ledger.canonical import read
from ledger.envelope import seal, unseal

SENTENCE = "update ids 106 to 109 were lost"


def body_of(event: FeedChanged) -> bytes:
    return seal(
        event, seq=7, ts_ns=1, run="run-1", cause=3, actor="venue:binance", prev="0" * 64
    )  # fmt: skip


@pytest.mark.parametrize("cause", [None, *FeedCause])
def test_every_cause_is_kept_in_the_form_and_read_back(cause: FeedCause | None) -> None:
    event = FeedChanged("BTCUSDT", FeedState.RESYNCING, SENTENCE, cause)
    body = body_of(event)
    assert form.is_in_form(body, "FEED_CHANGED")
    assert unseal(body)[1] == event


def test_body_of_an_older_ledger_is_the_same_bytes_and_has_no_cause() -> None:
    older = (
        b'{"actor":"venue:binance","cause":3,"payload":{"instrument":"BTCUSDT","reason":"'
        + SENTENCE.encode()
        + b'","state":"resyncing"},"prev":"'
        + b"0" * 64
        + b'","run":"run-1","seq":7,"ts":"1970-01-01T00:00:00.000000001Z",'
        b'"type":"FEED_CHANGED","v":"ev/1"}'
    )
    event = FeedChanged("BTCUSDT", FeedState.RESYNCING, SENTENCE)
    assert body_of(event) == older
    assert form.is_in_form(older, "FEED_CHANGED")
    assert unseal(older)[1] == event


def test_binder_tells_the_code_with_the_sentence() -> None:
    event = FeedChanged("BTCUSDT", FeedState.RESYNCING, SENTENCE, FeedCause.GAP)
    told = told_of(read(body_of(event)))
    assert told.text == (f"cause_code gap; instrument BTCUSDT; reason {SENTENCE}; state resyncing")
