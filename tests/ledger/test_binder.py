"""The binder: whole, the same bytes each time, true to the ledger, and checkable without us."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from core.clock import iso_ns
from core.errors import Failed, UserError
from core.state import StateDir
from ledger import keys
from ledger.binder.seal import files_in
from ledger.canonical import encode
from ledger.export.kinds import Period
from ledger.issue import newest_checkpoint
from ledger.key_change import rotate
from ledger.store import DB_NAME
from tests.ledger import attacker, binding, factory
from tests.ledger.binding import Copies


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return binding.copies(tmp_path_factory.mktemp("binder"))


def test_binder_holds_and_says_what_was_checked(copies: Copies) -> None:
    count, lines = binding.faults(copies.one.folder)
    assert count == 0, lines
    checks = [line.split(":")[0] for line in lines]
    assert checks == [
        "ok   signature", "ok   files", "ok   keys", "ok   checkpoints", "ok   events",
        "ok   inclusion", "ok   consistency", "ok   anchors", "ok   trades", "ok   models",
        "ok   payloads", "ok   receipts",
    ]  # fmt: skip
    assert "seq 1 to 28, none left out" in lines[4]


def test_zip_holds_as_it_is(copies: Copies) -> None:
    count, lines = binding.faults(copies.one.zip_file)
    assert count == 0, lines
    assert lines[0] == "ok   zip: it is nothing but its files"
    with zipfile.ZipFile(copies.one.zip_file) as packed:
        assert packed.testzip() is None
        inside = {name.partition("/")[2] for name in packed.namelist()}
    assert inside == {name for name, _, _ in files_in(copies.one.folder)}


def test_same_ledger_gives_the_same_bytes(copies: Copies, tmp_path: Path) -> None:
    again = binding.made(copies.state, tmp_path)
    assert files_in(again.folder) == files_in(copies.one.folder)
    assert again.zip_sha256 == copies.one.zip_sha256
    assert hashlib.sha256(again.zip_file.read_bytes()).hexdigest() == again.zip_sha256


@pytest.mark.slow
def test_verifier_runs_alone_in_an_empty_environment(copies: Copies, tmp_path: Path) -> None:
    folder = copies.into(tmp_path)
    for target in ([], [str(folder)], [str(copies.one.zip_file)]):
        script = folder / "verify.py" if not target else copies.one.folder / "verify.py"
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-B", str(script), *target],
            cwd=tmp_path, env={}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "This binder holds." in ran.stdout
        assert ran.stderr == ""
    (folder / "trades.csv").write_text("")
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-B", str(folder / "verify.py")],
        cwd=tmp_path, env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "BAD  files: trades.csv was changed" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("THIS BINDER DOES NOT HOLD")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
@pytest.mark.slow
def test_openssl_finds_the_signature_right_as_the_readme_says(
    copies: Copies, tmp_path: Path
) -> None:
    folder = copies.one.folder
    pem = tmp_path / "key.pem"
    pem.write_text((folder / "ledger.pub").read_text().partition("\n")[2])
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(pem), "-rawin"]
    signed = ["-in", str(folder / "manifest.json"), "-sigfile", str(folder / "manifest.sig")]
    ran = subprocess.run([*words, *signed], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    wrong = ["-in", str(folder / "trades.csv"), "-sigfile", str(folder / "manifest.sig")]
    assert subprocess.run([*words, *wrong], capture_output=True, check=False).returncode != 0


def test_spreadsheets_open_with_their_numbers(copies: Copies) -> None:
    trades = pl.read_csv(copies.one.folder / "trades.csv", infer_schema=False)
    assert trades["side"].to_list() == ["BUY", "BUY", "SELL", "BUY"]
    assert trades["price"].to_list() == ["100.02", "100.03", "100.09", "100"]
    assert trades["rationale"][3] == '\'=HYPERLINK("http://x","y")'
    for name in ("decisions.csv", "orders.csv", "lots.csv", "orders_rts24.csv"):
        assert pl.read_csv(copies.one.folder / name, infer_schema=False).height > 0


def test_orders_come_event_by_event_with_what_they_left(copies: Copies) -> None:
    text = (copies.one.folder / "orders_rts24.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    told = [(r["client_order_id"], r["event"], r["status"], r["qty_done"], r["qty_left"])
            for r in rows]  # fmt: skip
    assert told == [
        ("o-run-1-in", "new", "INITIALIZED", "0", "10"),
        ("o-run-1-in", "part fill", "PARTIALLY_FILLED", "4", "6"),
        ("o-run-1-in", "fill", "FILLED", "10", "0"),
        ("o-run-1-out", "new", "INITIALIZED", "0", "10"),
        ("o-run-1-out", "fill", "FILLED", "10", "0"),
        ("o-no", "new", "INITIALIZED", "0", "10"),
        ("o-x", "new", "INITIALIZED", "0", "1"),
        ("o-x", "fill", "FILLED", "1", "0"),
    ]
    assert rows[1]["operator"] == "human:trader"
    assert rows[1]["arrival_mid"] == "100.015"
    assert float(rows[1]["slippage_bps"]) == pytest.approx(0.49992501)
    assert (rows[1]["fee"], rows[1]["fee_usd"], rows[1]["px"]) == (
        "0.0040008",
        "0.0040008",
        "100.02",
    )
    assert rows[1]["t_sent"] == "2026-01-01T00:00:00.700000000Z"
    assert rows[0]["rts24_02"].startswith("n/a: ")


def test_tax_file_adds_up_to_the_trades(copies: Copies) -> None:
    text = (copies.one.folder / "tax/8949-2026.csv").read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert sum(Decimal(row["Gain"]) for row in rows) == Decimal("0.62")


def test_one_fill_can_be_shown_alone(copies: Copies) -> None:
    folder = copies.one.folder
    bodies = {json.loads(line)["seq"]: line for line in
              (folder / "events.jsonl").read_bytes().splitlines()}  # fmt: skip
    proofs = [json.loads(line) for line in
              (folder / "proofs/inclusion.jsonl").read_bytes().splitlines()]  # fmt: skip
    note = (folder / "checkpoints.txt").read_text().strip().split("\n\n")[-2].split("\n")
    root = base64.b64decode(note[2])
    assert [each["seq"] for each in proofs] == [9, 11, 18, 26]
    for each in proofs:
        leaf = hashlib.sha256(b"\x00" + bodies[each["seq"]]).digest()
        nodes = [bytes.fromhex(node) for node in each["proof"]]
        from ledger.tree import is_included

        assert is_included(leaf, each["seq"] - 1, int(note[1]), nodes, root)


def test_model_is_tied_by_digest_and_its_attestation_says_how_it_was_trained(
    copies: Copies,
) -> None:
    folder = copies.one.folder
    envelope = json.loads((folder / "attest/ppo-sim.dsse.json").read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["digest"]["sha256"] == binding.WEIGHTS
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"]["hyperparameters"]["learning_rate"] == 0.001
    assert build["resolvedDependencies"][0]["digest"]["sha256"] == binding.MARKET
    lineage = json.loads((folder / "datasets/lineage.json").read_bytes())
    assert lineage["training"][0]["steps"][0]["made_again_at_export"] == binding.MARKET
    assert "9. Caveats" in (folder / "cards/ppo-sim.txt").read_text()


def test_model_that_is_not_there_is_told_not_invented(copies: Copies, tmp_path: Path) -> None:
    made = binding.made(copies.state, tmp_path, find_model=lambda agent_id: None)
    assert not (made.folder / "cards").exists()
    count, lines = binding.faults(made.folder)
    assert count == 0, lines
    assert "ok   models: 1 models used, 0 attestations" in lines[9]


def test_time_asked_for_takes_whole_events_with_what_they_lean_on(
    copies: Copies, tmp_path: Path
) -> None:
    """From inside the first run: its start and the fills whose lots it closes come as context."""
    period = Period("2026-01-01T00:00:01.300000000Z", "2026-01-01T00:00:02.000000000Z")
    made = binding.made(copies.state, tmp_path, period)
    assert (made.first, made.last) == (14, 20)
    count, lines = binding.faults(made.folder)
    assert count == 0, lines
    context = [json.loads(line)["seq"] for line in
               (made.folder / "context.jsonl").read_bytes().splitlines()]  # fmt: skip
    assert context == [1, 9, 11]
    assert (made.folder / "trades.csv").read_text().count("\n") == 2
    assert made.folder.name == "binder-2026-01-01-2026-01-01"


def test_checkpoint_kept_elsewhere_is_found_inside(copies: Copies, tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    kept.write_text(newest_checkpoint(copies.state).note)
    count, lines = binding.faults(copies.one.folder, against=kept)
    assert count == 0
    assert lines[-1].startswith("ok   kept: 1 kept elsewhere")


def test_history_rewritten_with_the_key_is_found_by_a_checkpoint_kept_elsewhere(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    factory.write(state, attacker.two_days("first book"))
    kept = tmp_path / "kept.txt"
    kept.write_text(newest_checkpoint(state).note)
    attacker.forge(state, with_key=True)
    made = binding.made(state, tmp_path / "out")
    assert binding.faults(made.folder)[0] == 0, "right in itself: the key signed all of it"
    count, lines = binding.faults(made.folder, against=kept)
    assert count == 1
    assert "were rewritten since that checkpoint was kept" in lines[-1]


def test_other_key_is_found_by_the_fingerprint(copies: Copies) -> None:
    fingerprint = copies.one.fingerprint
    assert binding.faults(copies.one.folder, fingerprint)[0] == 0
    spaced = " ".join(fingerprint[n : n + 4] for n in range(0, 32, 4)).upper()
    assert binding.faults(copies.one.folder, spaced)[0] == 0
    assert binding.faults(copies.one.folder, "0" * 32)[0] == 1


def test_ledger_that_does_not_verify_gets_no_binder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    factory.write_day(state)
    data = (state / DB_NAME).read_bytes()
    (state / DB_NAME).write_bytes(data.replace(b"first book", b"worst book"))
    with pytest.raises(Failed, match="seq 2: the hash is not that of the body"):
        binding.made(state, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_place_that_is_taken_and_missing_key_and_empty_time_are_told(
    copies: Copies, tmp_path: Path
) -> None:
    binding.made(copies.state, tmp_path / "out")
    with pytest.raises(UserError, match="is there already"):
        binding.made(copies.state, tmp_path / "out")
    with pytest.raises(UserError, match=r"no event .* it has 2026-01-01"):
        binding.made(copies.state, tmp_path, Period("2030-01-01T00:00:00.000000000Z"))
    shutil.copytree(copies.state, tmp_path / "state")
    (tmp_path / "state" / keys.KEY_NAME).unlink()
    with pytest.raises(UserError, match="signed by the ledger's own key"):
        binding.made(tmp_path / "state", tmp_path / "other")
    assert not list(tmp_path.rglob(".binder.new"))


def test_key_that_changed_is_followed_by_its_rotations(tmp_path: Path) -> None:
    """Two runs, a rotation between them; a binder of the first run needs it from outside."""
    state, ns = tmp_path / "state", factory.day()[-1].ts_ns
    factory.write(state, factory.day("run-1"))
    kept = tmp_path / "kept.txt"
    kept.write_text(newest_checkpoint(state).note)
    old = keys.load(state)
    rotate(StateDir(state), "the laptop was stolen", ns + 1)
    assert old is not None
    for name, period in (("all", Period()), ("first", Period(until=iso_ns(ns + 1)))):
        made = binding.made(state, tmp_path / name, period)
        count, lines = binding.faults(made.folder, against=kept)
        assert count == 0, lines
        assert "ok   keys: the key changed 1 times" in lines[2]
        assert made.fingerprint != old.public.fingerprint
    path = made.folder / ("context.jsonl" if made.last == 20 else "events.jsonl")
    body = path.read_bytes()
    path.write_bytes(body.replace(b"stolen", b"fallen"))
    assert any(
        "this change of key does not hold" in line for line in binding.faults(made.folder)[1]
    )


def test_receipt_goes_in_as_it_is_and_one_that_another_key_signed_is_found(
    copies: Copies, tmp_path: Path
) -> None:
    key = keys.load(copies.state)
    assert key is not None
    tree = {"format": "receipt/1", "is_equal": True}
    for name, signer in (("ours", key), ("other", keys.SigningKey.made())):
        whole = {
            "receipt": tree, "key": signer.public.vkey,
            "signature": base64.b64encode(signer.sign(encode(tree))).decode(),
        }  # fmt: skip
        path = tmp_path / f"{name}.json"
        path.write_bytes(encode(whole))
        made = binding.made(copies.state, tmp_path / name, receipts=(path,))
        assert (made.folder / "receipts" / path.name).read_bytes() == path.read_bytes()
        count, lines = binding.faults(made.folder)
        assert (count == 0) is (name == "ours"), lines
    with pytest.raises(UserError, match="cannot be read"):
        binding.made(copies.state, tmp_path / "x", receipts=(tmp_path / "no.json",))
