"""Which books no number proves, and for how long a loss in them can stay unseen."""

from __future__ import annotations

from decimal import Decimal

import pytest

from core.config import FeedSettings
from core.feeds.continuity import unseen_s
from core.model.instrument import Instrument


@pytest.mark.parametrize(
    ("venue", "name", "expected"),
    [
        ("binance", "BTCUSDT", None),
        ("coinbase", "BTC-USD", None),
        ("sim", "SIM-USD", None),
        ("alpaca", "SPY", None),
        ("alpaca", "BTC/USD", 600),
        ("coinbase-exchange", "BTC-USD", 600),
    ],
)
def test_only_books_that_the_venue_does_not_number_are_unproven(
    venue: str, name: str, expected: int | None
) -> None:
    instrument = Instrument(venue, name, "BTC", "USD", Decimal("0.01"), Decimal("0.01"))
    assert unseen_s(instrument, FeedSettings(refresh_after_s=600)) == expected
