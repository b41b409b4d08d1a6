"""The binder: everything somebody needs who trusts nothing, in one folder and one zip.

Report, spreadsheets, events, proofs, checkpoints, schemas, models, a signed manifest, and a
verifier that needs only Python. Made of a ledger that verifies, at rest; the same ledger, time
and program give the same bytes. ``docs/binder.md`` lists the files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from core.errors import Failed, UserError
from ledger import holds, keys
from ledger.binder.make import Maker
from ledger.binder.models import FindModel
from ledger.binder.seal import seal, zip_bytes_to
from ledger.export.kinds import Period
from ledger.keys import SigningKey
from ledger.store import reading
from ledger.verify import verify as check_ledger

Say = Callable[[str], object]


class Made(msgspec.Struct, frozen=True):
    """A binder that was made."""

    folder: Path
    zip_file: Path
    zip_sha256: str
    verifier_sha256: str
    fingerprint: str
    first: int
    last: int
    files: int


def make_binder(
    state_dir: Path,
    period: Period,
    out: Path,
    *,
    find_model: FindModel,
    program: str,
    say: Say,
    receipts: Sequence[Path] = (),
) -> Made:
    """Make the binder of ``period`` in the folder ``out`` and return what was made.

    The head has been signed before (``ledger.issue.sign_head``). ``receipts``: signed receipts of
    replays to put in (``ledger replay --out``). Errors: ``Failed`` for a ledger
    that does not verify: a binder of it would prove nothing; ``UserError`` without a ledger, its
    key or an event in that time, or for a place that is taken or cannot be written.
    """
    say("checking the whole ledger")
    report = check_ledger(state_dir)
    if report.findings:
        raise Failed(
            f"{report.findings[0].text}; no binder is made of a ledger that does not hold "
            "(see: tapewright ledger verify)"
        )
    key = _key(state_dir)
    holds.add(state_dir, period, "a binder was made of it")
    draft = out / ".binder.new"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        with reading(state_dir) as connection:
            maker = Maker(connection, state_dir, draft, key, find_model, say)
            maker.run(period, report, program)
        _add_receipts(draft, receipts)
        seal(draft, key, maker.facts(program))
        folder = out / maker.name
        zip_file = out / f"{maker.name}.zip"
        for place in (folder, zip_file):
            if place.exists():
                raise UserError(f"{place} is there already; choose another --out, or move it away")
        say("packing")
        digest = zip_bytes_to(draft, maker.name, zip_file)
        count = sum(1 for path in draft.rglob("*") if path.is_file())
        draft.rename(folder)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Made(
        folder, zip_file, digest, maker.verifier_sha256, key.public.fingerprint,
        maker.span.first, maker.span.last, count,
    )  # fmt: skip


def _add_receipts(draft: Path, receipts: Sequence[Path]) -> None:
    """Copy receipts as they are; two of one name would be one. Errors: ``UserError``."""
    for path in receipts:
        target = draft / "receipts" / path.name
        if target.exists() or path.suffix != ".json" or not path.name.isascii():
            raise UserError(f"{path}: a receipt is a .json of its own name, in ASCII")
        target.parent.mkdir(exist_ok=True)
        try:
            target.write_bytes(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _key(state_dir: Path) -> SigningKey:
    key = keys.load(state_dir) or keys.load_kept(state_dir)
    if key is None:
        raise UserError(
            f"{keys.KEY_NAME} is not in {state_dir}: a binder is signed by the ledger's own key"
        )
    return key
