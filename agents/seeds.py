"""Which market seeds are for what. The sets do not overlap, and a test says so."""

from __future__ import annotations

VALIDATION_SEEDS = range(1_000_000, 1_000_128)
"""Seeds of training and thresholds of rules are chosen here."""
TEST_SEEDS = range(2_000_000, 2_000_128)
"""The chosen ones are reported here, and nothing is chosen."""
FIT_SEEDS = range(5_000_000, 5_000_128)
"""The linear forecast among the baselines is fitted here."""
TRAINING_SEEDS_FROM = 10_000_000
"""Training draws its markets from here upwards."""
