"""The schema: documented column by column, exported completely, strict throughout."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from core.model.order import OrderStatus
from ledger import schema
from ledger.envelope import type_of
from ledger.export.tables import TABLES
from ledger.projections import WARMING
from tests.ledger import factory

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ledger.md"


def _columns() -> dict[str, list[str]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema.TRUTH + schema.CHECKPOINTS + schema.PROJECTIONS)
        names = [row[0] for row in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL"
        )]  # fmt: skip
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for name in names
        }


def test_every_table_and_column_is_documented_in_order() -> None:
    tables = DOCS.read_text(encoding="utf-8").split("## Tables")[1].split("## Reading it")[0]
    documented: dict[str, list[str]] = {}
    for part in tables.split("### ")[1:]:
        name = part.splitlines()[0].strip()
        rows = re.findall(r"^\| (\w+) \| .*\S.* \|$", part, re.MULTILINE)
        documented[name] = [row for row in rows if row != "column"]
    assert documented == _columns()


def test_every_table_is_strict() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema.TRUTH + schema.CHECKPOINTS + schema.PROJECTIONS)
        kinds = connection.execute("PRAGMA table_list").fetchall()
    strict = {row[1]: row[5] for row in kinds if not row[1].startswith("sqlite_")}
    assert strict == dict.fromkeys(_columns(), 1)


@pytest.mark.parametrize("table", ["decisions", "orders", "fills", "lots"])
def test_export_leaves_no_column_out(table: str) -> None:
    assert list(TABLES[table].columns) == _columns()[table]


def test_compared_tables_are_all_but_the_truth() -> None:
    assert schema.PROJECTION_KEYS.keys() == _columns().keys() - {
        "events",
        "run_clock",
        "checkpoints",
        "projected",
    }


def test_statuses_that_recovery_leaves_alone_are_the_closed_ones() -> None:
    source = (DOCS.parents[1] / "ledger" / "projections.py").read_text(encoding="utf-8")
    listed = re.search(r"status NOT IN\"\s+\" \(([^)]*)\)", source)
    assert listed is not None
    assert set(re.findall(r"'(\w+)'", listed.group(1))) == {
        s.value for s in OrderStatus if s.is_closed
    }


def test_types_that_warm_the_projector_exist() -> None:
    types = {type_of(event) for event in factory.one_of_each()}
    assert types >= WARMING
