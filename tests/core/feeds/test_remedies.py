"""The proof that the remedies matter (``bench/remedies.py``) can still be made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.remedies import judge, occurrences
from bench.remedy_table import FEEDS, REMEDIES, TRADING, Remedy

ROOT = Path(__file__).resolve().parents[3]


def named_in(module: str) -> set[str]:
    text = (ROOT / module).read_text("utf-8")
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda each: f"{each.bug}: {each.is_what}")
def test_text_of_the_remedy_stands_once_in_its_file(remedy: Remedy) -> None:
    assert occurrences(remedy) == 1
    assert remedy.new != remedy.old


def test_each_of_the_21_bugs_has_a_remedy_and_a_test_of_its_number() -> None:
    assert {each.bug for each in REMEDIES} == set(range(1, 22))
    for each in REMEDIES:
        assert each.test.startswith(f"test_bug_{each.bug:02d}_")


def test_every_test_of_a_known_bug_has_a_remedy_that_is_taken_out() -> None:
    for module in (FEEDS, TRADING):
        assert named_in(module) == {each.test for each in REMEDIES if each.module == module}


def test_text_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    remedy = Remedy(1, "", "a.py", "x = 1", "x = 2", "test_bug_01_x")
    assert judge(tmp_path, remedy) == "TEXT FOUND 2 TIMES"


def test_page_on_known_bugs_has_a_row_for_each_and_the_count_of_remedies() -> None:
    page = (ROOT / "docs" / "venues" / "known-bugs.md").read_text("utf-8")
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert rows == list(range(1, 22))
    assert f"({len(REMEDIES)} remedies, all proved)" in page
