"""Nobody says how it stands with an order: nothing is guessed, doubled or understated."""

from __future__ import annotations

import pytest

from tests.properties.unknown import FAMILIES, play


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_order_in_doubt_is_never_guessed_doubled_or_understated(family: str) -> None:
    tallies = [play(family, seed) for seed in range(12)]
    assert sum(each.guessed for each in tallies) == 0
    assert sum(each.doubled for each in tallies) == 0
    assert sum(each.understated for each in tallies) == 0
    assert all(each.is_right for each in tallies)


def test_the_scripts_do_make_orders_unknown() -> None:
    families = ("reply lost, order live", "reply lost, order not there")
    assert all(any(play(family, seed).was_unknown for seed in range(12)) for family in families)
