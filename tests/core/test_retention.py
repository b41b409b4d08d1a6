"""The disk bound: the oldest closed files go first, open ones and strangers never."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.retention import remove_oldest

TAPES = (".tape",)


def make(folder: Path, name: str, age: int, size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, ns=(10**18 - age, 10**18 - age))
    return path


def test_oldest_files_go_until_the_rest_fits(tmp_path: Path) -> None:
    for age in range(5):
        make(tmp_path, f"run{9 - age}.tape", age)
    removed = remove_oldest(tmp_path, TAPES, 250, ())
    assert removed.names == ("run5.tape", "run6.tape", "run7.tape")
    assert (removed.size_bytes, removed.kept_bytes, removed.failure) == (300, 200, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run8.tape", "run9.tape"]


def test_what_fits_stays(tmp_path: Path) -> None:
    make(tmp_path, "a.tape", 1)
    assert remove_oldest(tmp_path, TAPES, 100, ()).names == ()


def test_open_file_counts_and_stays_even_when_it_alone_is_too_big(tmp_path: Path) -> None:
    open_now = make(tmp_path, "old.tape", 9, size=500)
    make(tmp_path, "new.tape", 0)
    removed = remove_oldest(tmp_path, TAPES, 100, {open_now})
    assert removed.names == ("new.tape",)
    assert removed.kept_bytes == 500


def test_strange_files_links_and_folders_are_not_touched(tmp_path: Path) -> None:
    stranger = make(tmp_path, "notes.txt", 9, size=10_000)
    (tmp_path / "folder.tape").mkdir()
    (tmp_path / "link.tape").symlink_to(stranger)
    assert remove_oldest(tmp_path, TAPES, 0, ()).names == ()
    assert stranger.exists()
    assert (tmp_path / "link.tape").is_symlink()


def test_absent_folder_holds_nothing(tmp_path: Path) -> None:
    assert remove_oldest(tmp_path / "absent", TAPES, 0, ()).kept_bytes == 0


def test_file_that_cannot_be_removed_is_told_and_the_next_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = make(tmp_path, "stuck.tape", 9)
    make(tmp_path, "next.tape", 5)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    removed = remove_oldest(tmp_path, TAPES, 0, ())
    assert removed.names == ("next.tape",)
    assert removed.failure == f"{stuck}: cannot be removed (Permission denied)"
