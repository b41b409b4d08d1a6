"""Tests for core.signals.volatility: quantiles, hysteresis, dwell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.signals.volatility import (
    BUCKETS,
    DWELL_S,
    HISTORY_S,
    HYSTERESIS,
    MIN_HISTORY_S,
    VolatilityBucket,
)


def settled() -> tuple[VolatilityBucket, int]:
    """Return a bucket whose history is 1..100 bps evenly, and the time after it."""
    bucket = VolatilityBucket()
    for second in range(1_000):
        bucket.update(second * NS_PER_S, 1.0 + (second * 37) % 100)
    return bucket, 1_000 * NS_PER_S


def rest(bucket: VolatilityBucket, now_ns: int, volatility_bps: float) -> tuple[str | None, int]:
    """Hold a volatility for longer than the dwell, sampling no new second of history."""
    bucket.update(now_ns, volatility_bps)
    now_ns += (DWELL_S + 1) * NS_PER_S
    return bucket.update(now_ns, volatility_bps), now_ns


def test_there_is_no_bucket_until_there_is_a_history() -> None:
    bucket = VolatilityBucket()
    seen = [bucket.update(s * NS_PER_S, 5.0 + s % 3) for s in range(MIN_HISTORY_S + 20)]
    assert all(each is None for each in seen[: MIN_HISTORY_S - 1])
    assert seen[-1] is not None


def test_edges_are_the_quantiles_of_the_past() -> None:
    bucket, _ = settled()
    assert bucket.edges_bps == pytest.approx((50.0, 80.0, 95.0), abs=1.0)


@pytest.mark.parametrize(("bps", "name"), [(10, 0), (60, 1), (90, 2), (99, 3)])
def test_each_level_has_its_bucket(bps: float, name: int) -> None:
    bucket, now_ns = settled()
    assert rest(bucket, now_ns, bps)[0] == BUCKETS[name]


def test_a_bucket_is_left_downwards_only_well_below_its_edge() -> None:
    bucket, now_ns = settled()
    edge = bucket.edges_bps[1]
    name, now_ns = rest(bucket, now_ns, edge + 0.5)
    assert name == "lively"
    name, now_ns = rest(bucket, now_ns, edge * (1.0 - HYSTERESIS) + 0.5)
    assert name == "lively"
    name, now_ns = rest(bucket, now_ns, edge * (1.0 - HYSTERESIS) - 2.0)
    assert name == "normal"


def test_a_bucket_is_kept_for_the_dwell() -> None:
    bucket, now_ns = settled()
    _, now_ns = rest(bucket, now_ns, 10.0)
    now_ns += (DWELL_S + 1) * NS_PER_S
    assert bucket.update(now_ns, 99.0) == "wild"
    assert bucket.update(now_ns + (DWELL_S - 1) * NS_PER_S, 10.0) == "wild"
    assert bucket.update(now_ns + DWELL_S * NS_PER_S, 10.0) == "calm"


def test_unknown_volatility_has_no_bucket() -> None:
    bucket, now_ns = settled()
    rest(bucket, now_ns, 60.0)
    assert bucket.update(now_ns + 100 * NS_PER_S, 0.0) is None
    assert bucket.bucket is None


def test_the_history_is_bounded() -> None:
    bucket = VolatilityBucket()
    for second in range(HISTORY_S):
        bucket.update(second * NS_PER_S, 1.0)
    for second in range(HISTORY_S, 2 * HISTORY_S):
        bucket.update(second * NS_PER_S, 7.0)
    assert bucket.edges_bps == (7.0, 7.0, 7.0)
    assert len(bucket._ring) == HISTORY_S


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_change_never_comes_sooner_than_the_dwell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bucket, now_ns = settled()
    changed_ns, last = None, bucket.bucket
    for volatility in np.exp(rng.normal(4.0, 0.6, 300)):
        now_ns += NS_PER_S
        name = bucket.update(now_ns, float(volatility))
        if name != last:
            assert changed_ns is None or now_ns - changed_ns >= DWELL_S * NS_PER_S
            changed_ns, last = now_ns, name
