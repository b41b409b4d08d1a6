"""A checkpoint: the root of the tree at one size, signed, in four lines that others can read.

It is a C2SP tlog-checkpoint (a signed note). Whoever holds one can tell later whether the ledger
still begins with the very events it was made over. Source: C2SP tlog-checkpoint and signed-note.

    tapewright/8b1c...            the ledger, by its key
    20                            events covered: seq 1 to 20
    CsUYapGGPo4d...=              root
                                  (an empty line)
    — tapewright/8b1c... Az3g...  key id and signature of the lines above
"""

from __future__ import annotations

import base64
import re

import msgspec

from core.errors import ValueRefused
from ledger.keys import PublicKey, SigningKey

ADOPTED = "adopted: the events so far were written before this ledger had a key"
"""Extension line of the first checkpoint of a ledger that is older than its key."""
NOTE_CHARS_MAX = 8192
SIGNATURES_MAX = 16
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_SIGNATURE = re.compile(r"— ([^\s+]{1,200}) ([A-Za-z0-9+/]+={0,2})")
_ONE_OF_MANY = re.compile(r"(.+?\n\n(?:— [^\n]+\n)+)\n*", re.DOTALL)


class Checkpoint(msgspec.Struct, frozen=True):
    """What a checkpoint says."""

    origin: str
    size: int
    """Events covered, from the first: seq 1 to ``size``."""
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The lines that are signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(
            f"{line}\n" for line in (self.origin, str(self.size), root, *self.extensions)
        )


class SignedNote(msgspec.Struct, frozen=True):
    """A text with signatures, not yet checked."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]
    """Key name, and key id with signature behind it."""

    def is_signed_by(self, key: PublicKey) -> bool:
        """Tell whether ``key`` signed it. Lines of other keys, such as witnesses, say nothing.

        The first line of the key decides, as in the reference implementation.
        """
        for name, blob in self.signatures:
            if name == key.name and blob[:4] == key.key_id:
                return key.is_signed(self.text.encode(), blob[4:])
        return False


def sign(key: SigningKey, size: int, root: bytes, *extensions: str) -> str:
    """Return the note of a checkpoint over the first ``size`` events."""
    text = Checkpoint(key.public.name, size, root, extensions).text
    blob = base64.b64encode(key.public.key_id + key.sign(text.encode())).decode()
    return f"{text}\n— {key.public.name} {blob}\n"


def parse_note(note: str) -> SignedNote:
    """Return text and signatures of a signed note. Errors: ``ValueRefused``."""
    if len(note) > NOTE_CHARS_MAX:
        raise ValueRefused(f"a note had more than {NOTE_CHARS_MAX} characters")
    if any(c < " " and c != "\n" for c in note):
        raise ValueRefused("a note held a control character")
    text, gap, rest = note.rpartition("\n\n")
    if not gap or not text or not rest.endswith("\n"):
        raise ValueRefused("it is not text, an empty line and signature lines")
    lines = rest[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise ValueRefused(f"a note had more than {SIGNATURES_MAX} signatures")
    return SignedNote(text + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise ValueRefused("a signature line was not: dash, name, base64")
    blob = _unbase64(match.group(2))
    if len(blob) < 5:
        raise ValueRefused("a signature was too short")
    return match.group(1), blob


def parse_text(text: str) -> Checkpoint:
    """Return what the signed lines of a checkpoint say. Errors: ``ValueRefused``."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise ValueRefused("it is not origin, size and root on three lines")
    if not _SIZE.fullmatch(lines[1]):
        raise ValueRefused(f"its size was {lines[1]!r:.40}, not a plain number")
    root = _unbase64(lines[2])
    if len(root) != 32:
        raise ValueRefused(f"its root has {len(root)} bytes, not 32")
    return Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:]))


def _unbase64(text: str) -> bytes:
    """Decode strictly: one value has one spelling."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueRefused("its base64 is broken") from error
    if base64.b64encode(value).decode() != text:
        raise ValueRefused("its base64 is not the plain spelling")
    return value


def open_note(note: str, key: PublicKey) -> Checkpoint:
    """Return the checkpoint in ``note`` after checking that ``key`` signed it as its own.

    Errors: ``ValueRefused`` saying what is wrong.
    """
    signed = parse_note(note)
    checkpoint = parse_text(signed.text)
    if checkpoint.origin != key.name:
        raise ValueRefused(f"it is of {checkpoint.origin!r:.80}, this ledger is {key.name}")
    if not signed.is_signed_by(key):
        raise ValueRefused(f"the signature of {key.name} does not hold")
    return checkpoint


def split_notes(text: str) -> list[str]:
    """Return the notes in a file of one or more, such as ``checkpoints.txt``.

    Line ends of a mail program and empty lines around are forgiven. Errors: ``ValueRefused``.
    """
    rest = text.replace("\r\n", "\n").strip("\n") + "\n"
    notes, place = [], 0
    while place < len(rest):
        match = _ONE_OF_MANY.match(rest, place)
        if match is None:
            raise ValueRefused("it is not a checkpoint, nor a file of them")
        notes.append(match.group(1))
        place = match.end()
    return notes
