"""What the documents promise, held against the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client.core import Metric

from cli.lazy import LazyGroup
from cli.main import app
from core.metrics import Metrics
from tests.core.sample import SNAPSHOT

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "agents", "ledger", "tui", "cli", "bench")
BANNED = frozenset(
    {
        *("exchange", "orderbook", "candle", "candles", "kline", "klines", "amount", "amounts"),
        *("cancelled", "util", "utils", "helper", "helpers", "manager", "managers"),
    }
)
WIRE_WORDS = frozenset({"candle", "candles", "kline", "klines"})
"""Names of venue channels: allowed where venue text is read."""
OF_VENUES = re.compile(r"coinbase_?exchange", re.IGNORECASE)


def defined_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of everything that ``source`` defines."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name


def words_of(name: str) -> set[str]:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", OF_VENUES.sub("", name))
    return set(re.findall(r"[a-z]+", split.lower()))


def banned_in(source: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    return [
        f"{line}: {name}"
        for line, name in defined_names(source)
        if words_of(name) & (BANNED - allowed)
    ]


@pytest.mark.parametrize(
    "source",
    [
        "amount = 1",
        "def cancelled(): ...",
        "class OrderBook: ...\nclass Orderbook: ...",
        "def f(exchange): ...",
        "self.order_manager = 1",
        "import math as utils",
        "for candle in x: ...",
        "class ExchangeFeed: ...",
    ],
)
def test_banned_word_is_seen(source: str) -> None:
    assert banned_in(source)


def test_words_of_a_venues_name_and_inside_longer_words_are_not_banned() -> None:
    assert (
        banned_in("class CoinbaseExchangeProtocol: ...\nCOINBASE_EXCHANGE = 1\nexchanged = 2") == []
    )


@pytest.mark.slow
def test_no_name_in_the_code_is_a_banned_word() -> None:
    found = []
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            allowed = WIRE_WORDS if "feeds" in file.parts else frozenset()
            place = file.relative_to(ROOT)
            if words_of(file.stem) & BANNED:
                found.append(f"{place}: the file's own name")
            found += [f"{place}:{name}" for name in banned_in(file.read_text("utf-8"), allowed)]
    assert found == []


def test_every_command_is_documented_and_no_other() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    documented = re.findall(r"^\| `tapewright ([a-z]+)` \|", text, re.MULTILINE)
    assert sorted(documented) == sorted(group.list_commands(None))


def test_commands_that_documents_show_exist() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    known = set(group.list_commands(None))
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        shown = re.findall(r"(?:^|`)tapewright ([a-z]+)", file.read_text("utf-8"), re.MULTILINE)
        assert set(shown) <= known, file.name


def test_every_metric_is_documented_with_its_labels_and_no_other() -> None:
    metrics = Metrics()
    metrics.update(SNAPSHOT, {"FILLED": 1})
    made: dict[str, set[str]] = {}
    families: list[Metric] = list(metrics.registry.collect())
    for family in families:
        for sample in family.samples:
            made.setdefault(sample.name, set()).update(sample.labels)
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(tapewright_\w+)` \|([a-z, ]*)\|", text, re.MULTILINE)
    assert {name: set(labels.replace(",", " ").split()) for name, labels in rows} == made


def test_links_between_documents_lead_somewhere() -> None:
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", file.read_text("utf-8")):
            assert (file.parent / target).exists(), f"{file.name} links to {target}"


def test_decisions_are_numbered_without_holes_and_have_the_three_parts() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text("utf-8")
        assert text.startswith(f"# {file.name[:4]} ")
        for part in ("Context", "Decision", "Consequences"):
            assert f"**{part}.**" in text, f"{file.name} has no {part}"


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    explained = re.findall(r"^([a-z]+):.*## .+", text, re.MULTILINE)
    assert sorted(explained) == sorted(phony.split())
