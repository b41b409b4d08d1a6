"""A recorded run is lived through again: equal, or the receipt says where it parts."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from agents.registry import SHIPPED, load_model, save_model
from cli.receipt import make_receipt
from core.control import CloseTrade, Confirm, KillAll, Rearm, Stop
from core.errors import UserError
from core.model.event import FilesRemoved
from ledger import canonical, keys
from ledger.payloads import FOLDER
from ledger.receipt import Receipt, words, write_receipt
from ledger.writer import LedgerWriter
from tests.journeys.program import (
    ask,
    command,
    practice,
    sim_capture,
    snapshot,
    start,
    tapewright,
    wait_for,
)

pytestmark = pytest.mark.slow


class Recorded(NamedTuple):
    state: Path
    capture: Path


def practice_with(folder: Path, agent: str, more: str = "") -> Path:
    text = practice(folder).read_text(encoding="utf-8")
    path = folder / "config.toml"
    agent_table = f'[agent]\nid = "{agent}"\n' if agent else "[agent]\nenabled = false\n"
    path.write_text(text.replace("[agent]\nenabled = false\n", agent_table) + more)
    return path


def own_agent(state: Path) -> None:
    """Give the state directory an agent of its own, with the shipped one's weights."""
    policy = load_model(SHIPPED / "ppo-sim")
    card = msgspec.structs.replace(policy.card, id="mine")
    save_model(state / "models" / "mine", card, policy.weights)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("recorded")
    capture = sim_capture(folder / "sim.jsonl.gz", seconds=40)
    own_agent(folder / "s")
    config = practice_with(folder, "mine", "cadence_ms = 100\n")
    done = tapewright(
        "replay", capture, "--headless", "--mode", "auto", "--seed", "7",
        "--state", folder / "s", "--config", config,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Recorded(folder / "s", capture)


def fields(receipt: Receipt) -> list[str]:
    first = receipt.tree()["first"]
    assert first is not None
    return [each["field"] for each in first["fields"]]


def names(receipt: Receipt) -> set[str]:
    return {fact.name for fact in receipt.different_facts}


def test_every_decision_and_every_event_is_equal_to_the_digest(recorded: Recorded) -> None:
    receipt = make_receipt(recorded.state, "last", [])
    assert receipt.is_equal
    assert words(receipt)[-1] == "equal"
    assert not receipt.different_facts
    assert len(receipt.points) > 250
    kinds = {row.what for row in receipt.events}
    assert {"DECISION", "APPROVAL", "RISK_CHECK", "ORDER_INTENT", "FILL"} <= kinds
    # What is called equal is the very hash that stands in the chain.
    in_chain = {kept.seq: kept.hash.hex() for kept in receipt.run.events}
    assert all(row.got == in_chain[row.seq] for row in receipt.events)


def test_another_hash_seed_and_locale_change_nothing(recorded: Recorded, tmp_path: Path) -> None:
    out = tmp_path / "receipt.json"
    done = subprocess.run(
        command("ledger", "replay", "last", "--state", recorded.state, "--out", out),
        env=os.environ | {"PYTHONHASHSEED": "1234", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    mine = make_receipt(recorded.state, "last", []).tree()
    assert json.loads(out.read_bytes())["receipt"] == mine


def test_the_receipt_is_canonical_and_signed_by_the_ledger(
    recorded: Recorded, tmp_path: Path
) -> None:
    out = tmp_path / "receipt.json"
    receipt = make_receipt(recorded.state, "last", [])
    assert write_receipt(recorded.state, receipt, out).startswith("signed by tapewright/")
    whole = json.loads(out.read_bytes())
    key = keys.parse_vkey(whole["key"])
    assert key == keys.read_public(recorded.state)
    signature = base64.b64decode(whole["signature"])
    body = canonical.encode(whole["receipt"], bytes_max=None)
    assert key.is_signed(body, signature)
    assert not key.is_signed(body.replace(b'"equal"', b'"Equal"', 1), signature)


def test_one_changed_limit_is_named_and_where_it_shows_first(
    recorded: Recorded, tmp_path: Path
) -> None:
    config = tmp_path / "limit.toml"
    config.write_text("[risk]\nmax_orders_per_minute = 3\n")
    receipt = make_receipt(recorded.state, "last", [], config)
    assert not receipt.is_equal
    assert {"[risk] max_orders_per_minute", "limits digest"} <= names(receipt)
    first = receipt.tree()["first"]
    assert first["what"].startswith("POINT ")
    (changed,) = [each for each in first["fields"] if each["field"].endswith(".limit")]
    assert (changed["expected"], changed["got"]) == ('"60"', '"3"')
    # The first look at which the limits were asked, and not one later.
    number = int(first["what"].removeprefix("POINT "))
    points = [msgspec.json.decode(line) for _, line in receipt.run.points]
    assert next(point["n"] for point in points if point["checks"]) == number


def test_one_changed_weight_is_named_and_where_it_shows_first(recorded: Recorded) -> None:
    folder = recorded.state / "models" / "mine"
    policy = load_model(folder)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    weights = msgspec.structs.replace(policy.weights, b3=policy.weights.b3.copy())
    weights.b3[0] += 0.001
    try:
        save_model(folder, policy.card, weights)
        receipt = make_receipt(recorded.state, "last", [])
    finally:
        for path, data in kept.items():
            path.write_bytes(data)
    assert not receipt.is_equal
    assert "agent:mine:weights" in names(receipt)
    assert "agent[0]" in fields(receipt)
    assert receipt.first is not None
    equal_before = [row.is_equal for row in receipt.points].index(False)
    assert receipt.first.what == f"POINT {equal_before + 1}"
    points = [msgspec.json.decode(line) for _, line in receipt.run.points]
    assert next(point["n"] for point in points if point["agent"]) == equal_before + 1


def _other(digit: re.Match[str]) -> str:
    return "2" if digit[0] == "1" else "1"


def changed_capture(recorded: Recorded, out: Path) -> int:
    """Write the capture with one digit of one trade changed, past the middle; return its ns."""
    lines = gzip.decompress(recorded.capture.read_bytes()).split(b"\n")
    for place in range(len(lines) // 2, len(lines)):
        record = json.loads(lines[place])
        frame = json.loads(record["d"])
        if frame["trades"]:
            trade = frame["trades"][0]
            trade[1] = re.sub(r"[1-9]", _other, trade[1], count=1)
            record["d"] = json.dumps(frame, separators=(",", ":"))
            lines[place] = json.dumps(record, separators=(",", ":")).encode()
            out.write_bytes(gzip.compress(b"\n".join(lines)))
            return int(record["ns"])
    raise AssertionError("no frame to change")


def test_one_changed_byte_of_the_tape_is_named_and_where_it_shows_first(
    recorded: Recorded, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.jsonl.gz"
    at_ns = changed_capture(recorded, changed)
    receipt = make_receipt(recorded.state, "last", [changed])
    assert not receipt.is_equal
    assert "capture" in names(receipt)
    before = [
        row.is_equal
        for row, (_, line) in zip(receipt.points, receipt.run.points, strict=True)
        if int(msgspec.json.decode(line)["ts_ns"]) < at_ns
    ]
    assert len(before) > 50
    assert all(before)
    assert receipt.first is not None


def test_a_capture_that_breaks_off_is_replayed_so_far(recorded: Recorded, tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    data = recorded.capture.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    receipt = make_receipt(recorded.state, "last", [cut])
    assert not receipt.is_equal
    assert any(not row.got for row in receipt.points)
    assert receipt.points[0].is_equal


def test_what_cannot_be_replayed_is_said_with_the_remedy(
    recorded: Recorded, tmp_path: Path
) -> None:
    receipt = make_receipt(recorded.state, "last", [tmp_path / "gone.jsonl.gz"])
    assert any("cannot be replayed: " in note for note in receipt.notes)
    assert not receipt.is_equal
    with pytest.raises(UserError, match="no run in this ledger"):
        make_receipt(recorded.state, "feedfeed", [])


def test_an_altered_payload_is_no_equal_replay(recorded: Recorded) -> None:
    path = next((recorded.state / FOLDER).rglob("*.gz"))
    kept = path.read_bytes()
    try:
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        receipt = make_receipt(recorded.state, "last", [])
    finally:
        path.write_bytes(kept)
    assert not receipt.is_equal
    assert any("was altered" in note for note in receipt.notes)


def test_points_removed_by_the_bound_are_compared_by_their_digest(
    recorded: Recorded, tmp_path: Path
) -> None:
    state = tmp_path / "s"
    shutil.copytree(recorded.state, state)
    path = next((state / FOLDER).rglob("*.gz"))
    path.unlink()
    assert any("is missing" in note for note in make_receipt(state, "last", []).notes)
    writer = LedgerWriter(state)
    writer.append(FilesRemoved("payload", (path.stem,), 1, 1, "rule"), 2**62)
    writer.close()
    receipt = make_receipt(state, "last", [])
    assert receipt.is_equal
    assert len(receipt.points) > 250
    assert "compared by the digest" in "\n".join(words(receipt))
    config = tmp_path / "limit.toml"
    config.write_text("[risk]\nmax_orders_per_minute = 3\n")
    parted = make_receipt(state, "last", [], config)
    assert not parted.is_equal
    assert any(row.expected == "removed" for row in parted.points)


SIM = "cadence_ms = 100\n[sim]\nhistory_s = 120\nspeed = 20\n[blend]\nmin_labels = 20\n"


def test_a_run_of_the_simulated_market_with_the_traders_words_is_equal(tmp_path: Path) -> None:
    """Orders left when the disk allowed, words came when they came: all of it is in the ledger."""
    state, config = tmp_path / "s", practice_with(tmp_path, "", SIM)
    process = start("run", "--headless", "--state", state, "--config", config)
    try:
        seen = wait_for(state, process, lambda picture: picture.proposals)
        ask(state, Confirm(seen.proposals[0].decision_id))
        wait_for(state, process, lambda picture: picture.fills)
        ask(state, CloseTrade("SIM-USD"))
        ask(state, KillAll("enough"))
        wait_for(state, process, lambda picture: not any(p.lots for p in picture.positions))
        ask(state, Confirm("no-such-decision"))
        ask(state, Rearm("go on"))
        snapshot(state)
        ask(state, Stop("seen enough"))
        process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    receipt = make_receipt(state, "last", [])
    text = "\n".join(words(receipt))
    assert receipt.is_equal, text
    kinds = [row.what for row in receipt.events]
    assert {"APPROVAL", "FILL", "KILL", "COMMAND_REFUSED", "RE_ENABLED"} <= set(kinds)
    tree: dict[str, Any] = receipt.tree()
    assert tree["counts"]["events"] == tree["counts"]["events_equal"] > 10
