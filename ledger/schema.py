"""The tables of ``ledger.db``: events are the truth, everything else can be made anew from them.

STRICT tables; money, prices and quantities are plain decimal text; times are ISO text with
nanoseconds. A released version is never edited: changes raise ``SCHEMA_VERSION``. The columns
are explained in ``docs/ledger.md``, and a test holds the two equal.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x54505752
"""``TPWR``: marks the file as a Tapewright ledger."""
SCHEMA_VERSION = 4
"""2 added ``CHECKPOINTS``, 3 ``projected``, 4 ``transfers`` and ``spent``.

An older ledger is brought up to it by the next writer that opens it, which makes all tables anew in
the shape they have now; its events stay as they are.
"""
UNSIGNED_VERSION = 1
TABLES_VERSION = 3
"""The first whose tables say of which event they are."""
TRANSFERS_VERSION = 4
"""The first that has the tables of transfers and of coins spent."""

TRUTH = """
CREATE TABLE events(
  seq INTEGER PRIMARY KEY,
  hash BLOB NOT NULL CHECK(length(hash) = 32),
  body BLOB NOT NULL
) STRICT;

CREATE TRIGGER events_only_next BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
BEGIN SELECT RAISE(ABORT, 'events take only the next seq'); END;

CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;

CREATE TRIGGER events_never_go BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;

CREATE TABLE run_clock(
  run_id TEXT PRIMARY KEY,
  started_wall TEXT NOT NULL,
  ended_wall TEXT
) STRICT;
"""

CHECKPOINTS = """
CREATE TABLE checkpoints(
  seq INTEGER PRIMARY KEY,
  note TEXT NOT NULL
) STRICT;

CREATE TRIGGER checkpoints_only_at_the_head BEFORE INSERT ON checkpoints
WHEN NEW.seq IS NOT (SELECT max(seq) FROM events)
  OR NEW.seq <= (SELECT coalesce(max(seq), 0) FROM checkpoints)
BEGIN SELECT RAISE(ABORT, 'checkpoints are of the newest event'); END;

CREATE TRIGGER checkpoints_never_change BEFORE UPDATE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;

CREATE TRIGGER checkpoints_never_go BEFORE DELETE ON checkpoints
BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;
"""
"""Signatures over the events; statements are apart by an empty line."""

PROJECTIONS = """
CREATE TABLE decisions(
  seq INTEGER PRIMARY KEY,
  ts TEXT NOT NULL,
  run TEXT NOT NULL,
  decision_id TEXT NOT NULL UNIQUE,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  action TEXT NOT NULL,
  side TEXT NOT NULL,
  quantity TEXT NOT NULL,
  limit_price TEXT NOT NULL,
  mid TEXT NOT NULL,
  horizon_s INTEGER NOT NULL,
  p_up TEXT NOT NULL,
  base_rate TEXT NOT NULL,
  skill TEXT,
  edge_bps TEXT NOT NULL,
  cost_bps TEXT NOT NULL,
  agent_id TEXT,
  agent_lean TEXT,
  mode TEXT NOT NULL,
  verdict TEXT,
  answered_by TEXT,
  waited_ns INTEGER,
  drift_ticks TEXT,
  rationale TEXT NOT NULL
) STRICT;

CREATE TABLE orders(
  seq INTEGER PRIMARY KEY,
  ts TEXT NOT NULL,
  run TEXT NOT NULL,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  client_order_id TEXT NOT NULL UNIQUE,
  decision_id TEXT NOT NULL,
  side TEXT NOT NULL,
  quantity TEXT NOT NULL,
  limit_price TEXT NOT NULL,
  tif TEXT NOT NULL,
  reduces INTEGER NOT NULL,
  status TEXT NOT NULL,
  filled TEXT NOT NULL,
  reason TEXT NOT NULL,
  updated_seq INTEGER NOT NULL,
  updated_ts TEXT NOT NULL
) STRICT;

CREATE TABLE fills(
  seq INTEGER PRIMARY KEY,
  ts TEXT NOT NULL,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  side TEXT NOT NULL,
  price TEXT NOT NULL,
  quantity TEXT NOT NULL,
  notional TEXT NOT NULL,
  fee TEXT NOT NULL,
  fee_currency TEXT NOT NULL,
  liquidity TEXT NOT NULL,
  client_order_id TEXT NOT NULL,
  decision_id TEXT NOT NULL,
  realized_pnl TEXT NOT NULL,
  rationale TEXT NOT NULL,
  run TEXT NOT NULL,
  fill_id TEXT NOT NULL,
  position TEXT NOT NULL,
  UNIQUE(client_order_id, fill_id)
) STRICT;

CREATE TABLE transfers(
  seq INTEGER PRIMARY KEY,
  ts TEXT NOT NULL,
  run TEXT NOT NULL,
  transfer_id TEXT NOT NULL UNIQUE,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  way TEXT NOT NULL,
  quantity TEXT NOT NULL,
  basis TEXT NOT NULL,
  acquired_ts TEXT,
  wallet TEXT NOT NULL,
  fee TEXT NOT NULL,
  position TEXT NOT NULL,
  actor TEXT NOT NULL,
  note TEXT NOT NULL
) STRICT;

CREATE TABLE spent(
  seq INTEGER PRIMARY KEY,
  ts TEXT NOT NULL,
  run TEXT NOT NULL,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  coin TEXT NOT NULL,
  quantity TEXT NOT NULL,
  covered TEXT NOT NULL,
  value TEXT,
  currency TEXT NOT NULL,
  value_source TEXT NOT NULL
) STRICT;

CREATE TABLE lots(
  open_seq INTEGER NOT NULL,
  close_seq INTEGER,
  opened_ts TEXT NOT NULL,
  closed_ts TEXT,
  venue TEXT NOT NULL,
  instrument TEXT NOT NULL,
  side TEXT NOT NULL,
  quantity TEXT NOT NULL,
  open_price TEXT NOT NULL,
  close_price TEXT,
  open_fee TEXT NOT NULL,
  close_fee TEXT,
  realized_pnl TEXT,
  closed_by TEXT,
  UNIQUE(open_seq, close_seq, closed_by)
) STRICT;

CREATE TABLE trail(
  ref TEXT NOT NULL,
  seq INTEGER NOT NULL,
  PRIMARY KEY(ref, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE carried(
  seq INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE projected(
  seq INTEGER NOT NULL,
  hash BLOB NOT NULL CHECK(length(hash) = 32)
) STRICT;
"""

PROJECTION_KEYS = {
    "decisions": "seq",
    "orders": "seq",
    "fills": "seq",
    "transfers": "seq",
    "spent": "seq",
    "lots": "open_seq, close_seq, closed_by",
    "trail": "ref, seq",
    "carried": "seq",
}
"""The projection tables and the order in which two copies are compared; beside them stands
``projected``, the one row that says which event they are of."""


def schema_of(connection: sqlite3.Connection) -> dict[str, tuple[str, str, str | None]]:
    """Return kind, table and SQL (automatic indexes have none) of every object, by name."""
    rows = connection.execute("SELECT name, type, tbl_name, sql FROM sqlite_schema")
    return {name: (kind, table, sql) for name, kind, table, sql in rows}
