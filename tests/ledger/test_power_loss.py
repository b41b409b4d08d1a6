"""Power cuts: the model of a disk, and a share of what ``bench/power_loss.py`` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import power_loss
from bench.disk_model import Disk, Op, is_recordable


def _image(disk: Disk, folder: Path, seed: int) -> dict[str, bytes]:
    folder.mkdir()
    disk.write_image(folder, np.random.default_rng(seed))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _disk(tmp_path: Path, *ops: Op) -> Disk:
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").write_bytes(b"old")
    disk = Disk(root)
    for op in ops:
        disk.take(op)
    return disk


def test_model_keeps_what_was_synced(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    disk = _disk(
        tmp_path,
        Op("create", f"{root}/a"), Op("write", f"{root}/a", b"x" * 2000), Op("sync", f"{root}/a"),
        Op("rename", f"{root}/a", to=f"{root}/b"), Op("sync_folder", root),
    )  # fmt: skip
    for seed in range(20):
        wanted = {"old": b"old", "b": b"x" * 2000}
        assert _image(disk, tmp_path / f"image-{seed}", seed) == wanted


def test_model_drops_tears_and_forgets_what_was_not(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    disk = _disk(
        tmp_path,
        Op("write", f"{root}/old", b"y" * 2000), Op("create", f"{root}/a"),
        Op("rename", f"{root}/a", to=f"{root}/b"),
    )  # fmt: skip
    images = [_image(disk, tmp_path / f"image-{seed}", seed) for seed in range(60)]
    contents = {image["old"] for image in images}
    assert {b"old", b"y" * 2000} < contents
    assert len(contents) > 4
    assert {frozenset(image) for image in images} == {
        frozenset({"old"}), frozenset({"old", "a"}), frozenset({"old", "b"}),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not is_recordable(), reason="strace is not here to record system calls")
@pytest.mark.parametrize("number", [1, 2])
def test_power_cut_loses_nothing_acknowledged(number: int) -> None:
    chance = np.random.default_rng(number)
    count, losses = power_loss.cut(power_loss.SCENARIOS[number], 12, chance)
    assert count > 300
    assert losses == []


@pytest.mark.slow
@pytest.mark.skipif(not is_recordable(), reason="strace is not here to record system calls")
def test_power_cut_never_undoes_a_kill() -> None:
    chance = np.random.default_rng(7)
    scenario = power_loss.LATCH_SCENARIO
    assert power_loss.cut(scenario, 60, chance, power_loss.latch_fault)[1] == []
