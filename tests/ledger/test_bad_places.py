"""A disk or a folder that does not do what it should: said plainly, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import Failed, TryAgain
from core.state import EngineLock, StateDir
from ledger.reading import read_head
from ledger.rebuild import rebuild_tables
from ledger.verify import verify
from ledger.writer import LedgerWriter
from tests.ledger import attacker, factory

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65_534


@contextmanager
def _as_somebody() -> Iterator[None]:
    """Root may write everywhere; be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="tapewright-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_new_ledger_in_a_read_only_folder_is_refused(shared: Path) -> None:
    shared.chmod(0o555)
    with _as_somebody(), pytest.raises(Failed, match=r"a ledger cannot be made here \(Permission"):
        LedgerWriter(shared / "state")
    shared.chmod(0o755)
    assert list(shared.iterdir()) == []


def test_ledger_in_a_read_only_folder_is_read_and_not_written(shared: Path) -> None:
    factory.write_day(shared)
    for path in shared.iterdir():
        path.chmod(0o444)
    (shared / "ledger.key").unlink()  # an auditor's copy on a DVD
    shared.chmod(0o555)
    before = {path.name: path.read_bytes() for path in shared.iterdir()}
    with _as_somebody():
        assert verify(shared).findings == ()
        assert read_head(shared).seq == 20
        with pytest.raises(Failed, match="cannot be opened"):
            LedgerWriter(shared)
    shared.chmod(0o755)
    assert {path.name: path.read_bytes() for path in shared.iterdir()} == before


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    with pytest.raises(Failed, match="a ledger cannot be made here"):
        LedgerWriter(tmp_path / "state")


def test_rebuild_makes_changed_tables_right(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    attacker.run_sql(
        tmp_path, "UPDATE fills SET price = '1'", "DELETE FROM trail", "DROP TABLE decisions"
    )
    assert verify(tmp_path).findings
    assert rebuild_tables(StateDir(tmp_path), 0) == 20
    assert verify(tmp_path).findings == ()


def test_rebuild_leaves_a_ledger_alone_whose_events_are_not_in_order(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    attacker.run_sql(tmp_path, "UPDATE events SET hash = zeroblob(32) WHERE seq = 9")
    with pytest.raises(Failed, match="seq 9"):
        rebuild_tables(StateDir(tmp_path), 0)


def test_rebuild_waits_for_no_engine(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    state = StateDir(tmp_path)
    with EngineLock(state, venue="sim", command="run", started_ns=0), pytest.raises(TryAgain):
        rebuild_tables(state, 0)


def test_tables_of_other_events_are_made_anew_by_the_next_start(tmp_path: Path) -> None:
    factory.write_day(tmp_path)
    attacker.run_sql(tmp_path, "UPDATE projected SET seq = 19", "DELETE FROM fills WHERE seq = 18")
    assert verify(tmp_path).findings
    LedgerWriter(tmp_path).close()
    assert verify(tmp_path).findings == ()


# --- a disk that fails ----------------------------------------------------------------------------

STREAM = """
import os, sys
from pathlib import Path
from core.errors import InvariantError
from ledger.writer import LedgerWriter
from tests.ledger import factory

writer = LedgerWriter(Path(sys.argv[1]))
os.write(1, b"begun\\n")
try:
    for number in range(50):
        for event, ts_ns, _ in factory.day(f"run-{number}"):
            seq = writer.append(event, ts_ns)
            writer.flush().result()
            os.write(1, b"%d\\n" % seq)
except InvariantError as error:
    os.write(1, f"failed: {error}\\n".encode())
writer.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not here to fail a system call"
)
@pytest.mark.parametrize(
    ("call", "error", "after", "said"),
    [
        ("fdatasync", "EIO", 40, "disk I/O error"),
        ("fsync", "EIO", 40, "Input/output error"),
        ("pwrite64", "ENOSPC", 300, "full"),
        ("pwrite64", "EIO", 301, "disk I/O error"),
        ("rename", "ENOSPC", 12, "No space left"),
    ],
)
def test_failing_disk_stops_the_writer_and_loses_nothing_acknowledged(
    tmp_path: Path, call: str, error: str, after: int, said: str
) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", f"trace={call}",
         "-e", f"inject={call}:error={error}:when={after}+", sys.executable, "-c", STREAM, state],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0] == "begun", done.stderr
    assert lines[-1].startswith("failed: ledger failed"), lines[-3:]
    assert said in lines[-1]
    acknowledged = int(lines[-2])
    LedgerWriter(state).close()
    assert read_head(state).seq >= acknowledged > 0
    assert verify(state).findings == ()
