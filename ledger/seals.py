"""Verification's side of signing: the files beside the ledger, and checkpoints kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import Failed, UserError, ValueRefused
from ledger import keys
from ledger.checkpoint import Checkpoint, SignedNote, parse_note, parse_text, split_notes
from ledger.coverage import Coverage, Problem, Stored, file_problem, problems
from ledger.keys import PublicKey
from ledger.rotation import Turns
from ledger.schema import UNSIGNED_VERSION
from ledger.store import NOTES_NAME

FILE_BYTES_MAX = 64 * 1024 * 1024


class Seals(msgspec.Struct, frozen=True):
    """What stands beside the database about its signatures."""

    key: PublicKey | None
    """The key that checks them; None if there is none, or none that can be read."""
    held: bytes | None
    """The bytes of ``checkpoints.txt``."""
    names: tuple[str, ...]
    """Which of the files are there."""
    faults: tuple[str, ...]


def read_seals(state_dir: Path) -> Seals:
    """Read key and ``checkpoints.txt``; what is wrong with them is told in ``faults``."""
    faults: list[str] = []
    held: bytes | None = None
    try:
        held = (state_dir / NOTES_NAME).read_bytes()
    except FileNotFoundError:
        pass
    except OSError as error:
        faults.append(f"{NOTES_NAME} cannot be read ({error.strerror})")
    secret = _secret_half(state_dir, faults)
    public: PublicKey | None = None
    try:
        public = keys.read_public(state_dir)
    except Failed as error:
        faults.append(str(error))
    if secret is not None and public is not None and secret != public:
        faults.append(keys.mismatch_text(public, secret))
    files = (keys.KEY_NAME, keys.PUBLIC_NAME, NOTES_NAME)
    names = tuple(name for name in files if (state_dir / name).exists())
    return Seals(public or secret, held, names, tuple(faults))


def _secret_half(state_dir: Path, faults: list[str]) -> PublicKey | None:
    """Return the public key of ``ledger.key``; an auditor who may not read it does not need it."""
    try:
        key = keys.load(state_dir)
    except (Failed, UserError) as error:
        if not isinstance(error.__cause__, PermissionError):
            faults.append(str(error))
        return None
    return key.public if key is not None else None


def seal_problems(
    seals: Seals, version: int, stored: list[Stored], coverage: Coverage
) -> Iterator[Problem]:
    """Yield what is wrong with key, checkpoints and ``checkpoints.txt``."""
    yield from ((None, fault) for fault in seals.faults)
    if version == UNSIGNED_VERSION:
        if seals.names:
            yield None, f"the database says it was never signed, but {seals.names[0]} is there"
        return
    if coverage.head_seq == 0 and not seals.names:
        return  # cut short before its key was made
    if keys.PUBLIC_NAME not in seals.names:
        yield None, f"{keys.PUBLIC_NAME} is missing; the next start writes it from {keys.KEY_NAME}"
    if seals.key is not None:
        yield from problems(seals.key, stored, coverage)
    spoilt = file_problem(seals.held, stored, coverage.head_seq)
    if spoilt is not None:
        yield spoilt


def signed_text(
    seals: Seals, version: int, stored: list[Stored], head_seq: int, older: Older | None
) -> str:
    """Return in words what is signed, of a ledger without problems."""
    if version == UNSIGNED_VERSION:
        text = "not signed: it is older than checkpoints, the next run signs it"
    elif not stored or seals.key is None:
        text = "no checkpoint yet"
    else:
        last = stored[-1].seq
        rest = f", seq {last + 1} to {head_seq} are not signed yet" if last < head_seq else ""
        count = f"{len(stored)} checkpoint{'s' if len(stored) > 1 else ''}"
        text = f"{count} of {seals.key.name} hold up to seq {last}{rest}"
    if older is not None:
        text += f"; seq 1 to {max(older.sizes)} are as signed in {older.name}"
    return text


class Older(msgspec.Struct, frozen=True):
    """Checkpoints from a file kept elsewhere, smallest first."""

    name: str
    notes: tuple[tuple[SignedNote, Checkpoint], ...]

    @property
    def sizes(self) -> set[int]:
        return {checkpoint.size for _, checkpoint in self.notes}

    def judged_by(self, key: PublicKey | None, turns: Turns) -> list[tuple[Checkpoint, str | None]]:
        """Return each with what is wrong with its signature, or None.

        ``key`` is the ledger's now; ``turns`` says whose it was before.
        """
        return [
            (checkpoint, _fault(note, checkpoint, key and turns.key_at(checkpoint.size, key)))
            for note, checkpoint in self.notes
        ]


def _fault(note: SignedNote, checkpoint: Checkpoint, key: PublicKey | None) -> str | None:
    if key is None:
        return "its signature cannot be checked: the ledger's public key is not there"
    if checkpoint.origin != key.name:
        return (
            f"it is of {checkpoint.origin!r:.80}, this ledger is {key.name}: another ledger, or "
            "its key was replaced"
        )
    if not note.is_signed_by(key):
        return f"the signature of {key.name} does not hold"
    return None


def read_older(path: Path) -> Older:
    """Return the checkpoints in ``path``. Errors: ``UserError`` unless it holds at least one."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX)
        notes = [parse_note(note) for note in split_notes(data.decode("utf-8"))]
        found = [(note, parse_text(note.text)) for note in notes]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, ValueRefused) as error:
        raise UserError(f"{path} is not a checkpoint: {error}") from error
    if not all(checkpoint.size for _, checkpoint in found):
        raise UserError(f"{path} holds a checkpoint that covers no events")
    return Older(path.name, tuple(sorted(found, key=lambda pair: pair[1].size)))
