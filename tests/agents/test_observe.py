"""The observation: documented, bounded whatever comes in, and the same formulas as when trained."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.observe import OBSERVATION, OBSERVATION_NAMES, SCHEMA_HASH, observe
from core.kernels.features import FEATURE_NAMES, N_FEATURES
from tests.agents import made

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agents" / "ppo-sim.md"
finite = st.floats(allow_nan=False, allow_infinity=False)


def test_formulas_are_those_the_schema_hash_stands_for() -> None:
    """If this fails, a formula changed: raise FORMULA_VERSION and train anew."""
    vector = np.array([2, 0.5, -0.25, 0.1, -0.2, 0.3, -0.4, 0.6, 1.5, -3, 0.7, -1.2, 0.5, 2.0])
    golden = [
        1 / 3,
        0.5,
        -0.25,
        0.1,
        -0.2,
        0.3,
        -0.4,
        0.6,
        0.75,
        -1.5,
        0.7,
        -0.6,
        -0.25,
        0.5,
        -1,
        1,
    ]
    assert observe(vector, -1.0).tolist() == np.array(golden, np.float32).tolist()
    assert SCHEMA_HASH.startswith("7678952dfd9880e9")


def test_each_row_reads_the_feature_it_names() -> None:
    base = made.features()
    for index, name in enumerate(FEATURE_NAMES):
        changed = base.copy()
        changed[index] += 0.01 if name != "spread_ticks" else 1
        moved = np.flatnonzero(observe(changed, 0.0) != observe(base, 0.0))
        for row in (OBSERVATION[i] for i in moved):
            assert re.search(rf"\b{name}\b", row.formula), (name, row)
        assert len(moved) >= 1, name


@given(st.lists(finite, min_size=N_FEATURES, max_size=N_FEATURES), finite)
def test_observation_is_finite_and_inside_its_bounds(values: list[float], position: float) -> None:
    seen = observe(np.array(values, np.float64), position)
    assert seen.dtype == np.float32
    for value, row in zip(seen.tolist(), OBSERVATION, strict=True):
        assert row.low <= value <= row.high


def test_a_tight_market_is_at_the_bound_not_beyond_it() -> None:
    """BTC on a large venue: a spread of 0.002 bp against a second's move of 0.5 bp."""
    vector = made.features()
    vector[FEATURE_NAMES.index("spread_bps")] = 0.002
    vector[FEATURE_NAMES.index("volatility_bps")] = 0.5
    assert observe(vector, 0.0)[OBSERVATION_NAMES.index("cost_log")] == -1.0


def test_unknown_volatility_is_zero_not_an_extreme() -> None:
    vector = made.features()
    vector[FEATURE_NAMES.index("volatility_bps")] = 0.0
    seen = observe(vector, 0.0)
    assert seen[OBSERVATION_NAMES.index("volatility_log")] == 0.0
    assert seen[OBSERVATION_NAMES.index("cost_log")] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad: float) -> None:
    for index in range(N_FEATURES):
        vector = made.features()
        vector[index] = bad
        with pytest.raises(ValueError, match="not finite"):
            observe(vector, 0.0)
    with pytest.raises(ValueError, match="not finite"):
        observe(made.features(), bad)


def test_a_wrong_shape_or_type_is_refused() -> None:
    for bad in (np.zeros(N_FEATURES - 1), np.zeros(N_FEATURES, np.float32)):
        with pytest.raises(ValueError, match=r"allowed is float64"):
            observe(bad, 0.0)


def test_the_page_shows_the_table_in_force() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for row in OBSERVATION:
        assert f"| `{row.name}` | {row.formula} | {row.low:g} … {row.high:g} |" in text
