"""Shows that every remedy matters: takes each out of a copy of the program and sees its test fail.

The 21 bugs and their tests: ``tests/core/feeds/test_known_bugs*.py``. A remedy here is a piece of
source text and what would stand there without it. In a temporary copy of the tree all named tests
must pass; then, one remedy after the other, the text is replaced, its test must fail, and the text
is put back. Exit code 1 when a test survives, when one fails in the whole copy, or when a text is
not there exactly once.

    python bench/remedies.py
    python bench/remedies.py --bug 4 --bug 18
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file, its neighbours are not packages of the path

from bench.remedy_table import REMEDIES, Remedy  # noqa: E402 (path above)

TREE = ("core", "agents", "ledger", "tui", "cli", "tests", "bench", "docs")
FILES = ("pyproject.toml", "config.toml", "README.md")
LONGEST_S = 120
"""A test that hangs without its remedy has failed; none takes this long with it."""


def occurrences(remedy: Remedy, root: Path = ROOT) -> int:
    """Return how often the text of a remedy stands in its file."""
    return (root / remedy.file).read_text("utf-8").count(remedy.old)


def copy_tree(to: Path) -> None:
    """Copy what the tests need, without what was compiled."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in TREE:
        shutil.copytree(ROOT / name, to / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, to / name)


def run_tests(root: Path, *tests: str) -> int | None:
    """Run tests in a copy and return pytest's exit code; None if they hang."""
    # Sources change within one second: compiled modules would be taken for current.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        ran = subprocess.run(
            command, cwd=root, env=environment, timeout=LONGEST_S, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return ran.returncode


def judge(root: Path, remedy: Remedy) -> str:
    """Take the remedy out of the copy, run its test, put it back; return what came of it."""
    if occurrences(remedy, root) != 1:
        return f"TEXT FOUND {occurrences(remedy, root)} TIMES"
    file = root / remedy.file
    whole = file.read_text("utf-8")
    file.write_text(whole.replace(remedy.old, remedy.new), "utf-8")
    try:
        code = run_tests(root, f"{remedy.module}::{remedy.test}")
    finally:
        file.write_text(whole, "utf-8")
    if code is None:
        return "fails (hangs)"
    return {0: "SURVIVES", 1: "fails"}.get(code, f"PYTEST CODE {code}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bug", type=int, action="append", help="only this one; repeatable")
    options = parser.parse_args()
    chosen = [each for each in REMEDIES if not options.bug or each.bug in options.bug]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="remedies-") as folder:
        root = Path(folder)
        copy_tree(root)
        tests = dict.fromkeys(f"{each.module}::{each.test}" for each in chosen)
        if run_tests(root, *tests) != 0:
            print("the tests do not pass in a whole copy", file=sys.stderr)
            return 1
        print("| bug | remedy | file | its test without it |")
        print("| ---: | --- | --- | --- |")
        results = []
        for each in chosen:
            results.append(judge(root, each))
            print(f"| {each.bug} | {each.is_what} | {each.file} | {results[-1]} |", flush=True)
    good = sum(result.startswith("fails") for result in results)
    took = time.perf_counter() - began
    print(f"{good} of {len(results)} remedies are proved, {took:.0f} s", file=sys.stderr)
    return 0 if good == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
