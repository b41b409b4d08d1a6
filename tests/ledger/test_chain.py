"""The chain: known hashes, and the first bad seq of each kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Failed
from ledger import witness
from ledger.chain import EMPTY_HEAD, GENESIS, ChainWalk, leaf_hash
from ledger.envelope import seal
from tests.ledger import factory

DAY_HASH = "0cc9d8aa1988c870740f89b387ad4601eedc108c413e7701a9851aab278f17a6"


def _rows(count: int) -> list[tuple[int, bytes, bytes]]:
    rows, prev = [], GENESIS
    for seq in range(1, count + 1):
        body = seal(
            factory.KillTripped("all", "human:trader", "F12"), seq=seq, ts_ns=seq, run="r",
            cause=None, actor="human:trader", prev=prev.hex(),
        )  # fmt: skip
        prev = leaf_hash(body)
        rows.append((seq, prev, body))
    return rows


def test_leaf_hash_is_the_one_of_rfc_9162() -> None:
    assert leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )


def test_same_day_has_had_the_same_hash_since_the_format_was_fixed(tmp_path: Path) -> None:
    assert factory.write_day(tmp_path) == (20, DAY_HASH)


def test_walk_over_a_sound_chain_ends_at_its_head() -> None:
    walk, rows = ChainWalk(), _rows(5)
    assert walk.head == EMPTY_HEAD
    assert [walk.step(*row) for row in rows] == [None] * 5
    assert walk.head == (5, rows[-1][1])


def test_walk_names_the_first_bad_seq() -> None:
    rows = _rows(4)
    walk = ChainWalk()
    walk.step(*rows[0])
    assert walk.step(*rows[2]) == (2, "the event is missing; the next one found is seq 3")
    walk = ChainWalk()
    changed = walk.step(1, rows[1][1], rows[0][2])
    assert changed == (1, "the hash is not that of the body: one of them was changed")
    walk = ChainWalk()
    assert walk.step(1, rows[1][1], rows[1][2]) == (
        1,
        "prev does not name the hash of seq 0: the chain is broken",
    )
    walk = ChainWalk()
    assert walk.step(1, leaf_hash(b"{}"), b"{}") == (
        1,
        "the body does not end like an event of version ev/1",
    )


@pytest.mark.parametrize("hash_text", ["", "00", "zz" * 32])
def test_witness_without_a_whole_hash_is_refused(tmp_path: Path, hash_text: str) -> None:
    (tmp_path / witness.NAME).write_text(f'{{"seq":1,"hash":"{hash_text}"}}')
    with pytest.raises(Failed, match="witness"):
        witness.read(tmp_path)
