"""Fourteen classes of tampering and single bytes: a share of what ``bench/tamper.py`` does."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench import tamper
from bench.sqlite_map import UNUSED, region_of
from bench.tamper import Attacker
from ledger.store import DB_NAME

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evidence")
    state = tamper.make_evidence(root)
    assert not tamper.judge(state, root / tamper.OUTSIDE).found
    return root


@pytest.mark.parametrize("name", tamper.CLASSES)
def test_class_is_found_without_the_key(evidence: Path, name: str) -> None:
    for level in (Attacker.HAND, Attacker.PROGRAM):
        for run in tamper.RUNS.values():
            trial = tamper.attack(evidence, name, level, run)
            assert trial.alone.found
            assert trial.against.found
            if level is Attacker.HAND and trial.expected is not None:
                # A wrong link has two ends: the event changed, or the one after that names it.
                assert trial.alone.first_seq in {trial.expected, trial.expected + 1}


@pytest.mark.slow
def test_documentation_tells_what_finds_each_class(evidence: Path) -> None:
    table = re.search(r"\| class \|.*?\n\n", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    assert table.group(0).splitlines()[:-1] == tamper.table(evidence)


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> tamper.ByteEditor:
    return tamper.ByteEditor(tamper.make_evidence(tmp_path_factory.mktemp("bytes")))


def test_changed_bytes_are_found_or_mean_nothing() -> None:
    tally = tamper.byte_edits(150, seed=5)
    assert tally.unseen == []
    assert sum(tally.found.values()) > 80
    allowed = {UNUSED, "newer copy", "library", "spelling"}
    for (_, region), _ in tally.without_meaning.items():
        assert any(word in region for word in allowed), region


def test_every_byte_of_a_wall_clock_row_is_found(editor: tamper.ByteEditor) -> None:
    path = editor.state / DB_NAME
    with closing(sqlite3.connect(path)) as connection:
        text = "".join(connection.execute("SELECT * FROM run_clock").fetchone()).encode()
    start = editor.before[path].index(text)
    tally = tamper.Tally()
    for offset in range(start, start + len(text)):
        editor.try_one(tamper.Edit("database", path, offset, 0x01), tally)
    assert tally.unseen == []
    assert tally.found["database"] == len(text)


def test_map_of_a_database_knows_what_is_in_use(editor: tamper.ByteEditor) -> None:
    path = editor.state / DB_NAME
    data = editor.before[path]
    with closing(sqlite3.connect(path)) as connection:
        used = [row[0] for row in connection.execute("SELECT body FROM events")]
        free = connection.execute("PRAGMA page_size").fetchone()[0]
    assert free == 4096
    for body in used:
        if body in data:  # long ones are cut over two pages
            place = data.index(body)
            assert "in use" in region_of(data, place)
            assert "in use" in region_of(data, place + len(body) - 1)
    assert region_of(data, 99) == "header: version of the library that wrote last"
