"""Verify a Tapewright binder with nothing but Python's standard library (3.9 or newer).

    python3 verify.py [FOLDER or ZIP] [--fingerprint HEX] [--against FILE]

It is one file on purpose. It reads, prints one line a check, and exits with 0 if all hold, else 1.
It needs no network, no package and not the program that made the binder. Run a copy that you trust:
the one inside a binder can be changed like any other file. ``README.txt`` says what is in a binder.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = "binder/1"
MANIFEST, SIGNATURE, PUBLIC = "manifest.json", "manifest.sig", "ledger.pub"
REMOVED = "payloads_removed.jsonl"
TOLD_MAX = 20
"""Faults told of one check; what more there is, is counted."""


# --- Ed25519 (RFC 8032, 5.1), verification only ---------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z."""


def _add(a: Point, b: Point) -> Point:
    p, q = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    r, s = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = q - p, s - r, s + r, q + p
    return e * f % P, g * h % P, f * g % P, e * h % P


def _double(a: Point) -> Point:
    x, y, z = a[0] * a[0] % P, a[1] * a[1] % P, 2 * a[2] * a[2] % P
    h = x + y
    e, g = h - (a[0] + a[1]) ** 2, x - y
    f = z + g
    return e * f % P, g * h % P, f * g % P, e * h % P


def _sum_of_two(m: int, a: Point, n: int, b: Point) -> Point:
    """Return m times a plus n times b, bit by bit and both at once."""
    total: Point = (0, 1, 1, 0)
    of_bits = (total, a, b, _add(a, b))
    for place in range(max(m, n).bit_length() - 1, -1, -1):
        total = _double(total)
        which = (m >> place & 1) + 2 * (n >> place & 1)
        if which:
            total = _add(total, of_bits[which])
    return total


def _is_equal(a: Point, b: Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _point(data: bytes) -> Point | None:
    """Return the point of 32 bytes, or None for bytes that are not one spelling of one."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if len(data) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


_BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether the Ed25519 key ``public`` (32 bytes) signed ``message``."""
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or _BASE is None or len(signature) != 64 or scalar >= L:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % L
    minus_key = (P - key[0], key[1], 1, P - key[3])
    return _is_equal(_sum_of_two(scalar, _BASE, challenge, minus_key), commitment)


# --- the Merkle tree (RFC 9162, 2.1) --------------------------------------------------------


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree: the roots of its complete subtrees, largest first."""

    def __init__(self, size: int, roots: Sequence[bytes]) -> None:
        if format(size, "b").count("1") != len(roots) or any(len(root) != 32 for root in roots):
            raise ValueError(f"a tree of {size} leaves is not given by {len(roots)} roots")
        self.size, self._roots = size, list(roots)

    def push(self, leaf: bytes) -> None:
        size = self.size
        while size & 1:
            leaf = node_hash(self._roots.pop(), leaf)
            size >>= 1
        self._roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        found = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            found = node_hash(left, found)
        return found


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether ``proof`` leads from ``leaf`` at ``index`` to ``root`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def is_consistent(
    old_size: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the tree with ``root`` extends that with ``old_root`` (RFC 9162, 2.1.4.2)."""
    if old_size == size > 0:
        return not proof and old_root == root
    if not 0 < old_size < size or not proof:
        return False
    nodes = list(proof)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_found = found = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_found, found = node_hash(node, old_found), node_hash(node, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, node)
        place, last = place >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root


# --- keys and checkpoints (C2SP signed-note and tlog-checkpoint) ------------------------------


class Key(NamedTuple):
    """The ledger's public key."""

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n\x01" + self.raw).digest()[:4]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()[:32]


class Note(NamedTuple):
    """A checkpoint: who signed how many events with which root."""

    text: str
    origin: str
    size: int
    root: bytes
    signature: bytes


def parse_key(line: str) -> Key:
    """Return the key of a C2SP verifier-key line. Errors: ``ValueError``."""
    match = re.fullmatch(r"(\S+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", line, re.ASCII)
    if match is None:
        raise ValueError("a key is not a line NAME+ID+KEY")
    raw = base64.b64decode(match.group(3))
    key = Key(match.group(1), raw[1:])
    if raw[:1] != b"\x01" or len(key.raw) != 32 or key.key_id.hex() != match.group(2):
        raise ValueError("a key is not an Ed25519 key under its own id")
    if not key.name.endswith("/" + key.fingerprint):
        raise ValueError("a key has a name that is not its fingerprint")
    return key


def parse_notes(text: str, keys: dict[str, Key]) -> list[Note]:
    """Return the checkpoints in a file, each with the signature of the key that it names.

    Errors: ``ValueError``.
    """
    notes = []
    whole = text.replace("\r\n", "\n").strip("\n") + "\n"
    for part in re.split(r"(?<=\n)\n(?=[^\n—])", whole):
        head, gap, tail = part.rstrip("\n").partition("\n\n")
        lines = head.split("\n")
        if not gap or len(lines) < 3 or not re.fullmatch(r"[1-9][0-9]{0,15}", lines[1], re.ASCII):
            raise ValueError("it is not origin, size, root and signature")
        root = base64.b64decode(lines[2], validate=True)
        signature = _signature_of(tail, keys.get(lines[0]))
        notes.append(Note(head + "\n", lines[0], int(lines[1]), root, signature))
    return notes


def _signature_of(tail: str, key: Key | None) -> bytes:
    found = b""
    for line in tail.split("\n"):
        match = re.fullmatch(r"— (\S+) ([A-Za-z0-9+/]+={0,2})", line)
        if match is None:
            raise ValueError("a signature line is not: dash, name, base64")
        blob = base64.b64decode(match.group(2), validate=True)
        if key is not None and match.group(1) == key.name and blob[:4] == key.key_id and not found:
            found = blob[4:]
    return found


# --- schemas: as much of JSON Schema as the binder's own use -----------------------------------


def schema_fault(value: Any, schema: Any, defs: Any, place: str) -> str:
    """Return where ``value`` is not as ``schema`` says, or nothing."""
    if "$ref" in schema:
        return schema_fault(value, defs[schema["$ref"].rpartition("/")[2]], defs, place)
    if "anyOf" in schema:
        if any(not schema_fault(value, each, defs, place) for each in schema["anyOf"]):
            return ""
        return f"{place} fits none of {len(schema['anyOf'])} forms"
    if "enum" in schema and value not in schema["enum"]:
        return f"{place} is not one of {schema['enum']}"
    kind = schema.get("type")
    if kind is not None and not _is_kind(value, kind):
        return f"{place} is not of type {kind}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value, re.ASCII):
        return f"{place} does not have its form"
    if isinstance(value, dict):
        return _fields_fault(value, schema, defs, place)
    if isinstance(value, list):
        return _items_fault(value, schema, defs, place)
    return ""


def _is_kind(value: Any, kind: str) -> bool:
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
        "null": type(None),
    }  # fmt: skip
    return isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _fields_fault(value: dict[str, Any], schema: Any, defs: Any, place: str) -> str:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            return f"{place}.{name} is missing"
    for name, item in value.items():
        if name not in known and others is False:
            return f"{place}.{name} is not known"
        inner = known.get(name, others)
        fault = "" if inner is True else schema_fault(item, inner, defs, f"{place}.{name}")
        if fault:
            return fault
    return ""


def _items_fault(value: list[Any], schema: Any, defs: Any, place: str) -> str:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return f"{place} has {len(value)} items"
    first = schema.get("prefixItems", [])
    rest = schema.get("items", True)
    for number, item in enumerate(value):
        inner = first[number] if number < len(first) else rest
        fault = "" if inner in (True, {}) else schema_fault(item, inner, defs, f"{place}[{number}]")
        if fault:
            return fault
    return ""


# --- anchors (RFC 3161 and 5652 in DER; OpenTimestamps) -----------------------------------------

SHA256_OID, TST_INFO_OID = (
    bytes.fromhex(text) for text in ("608648016503040201", "2a864886f70d0109100104")
)


def der(data: bytes, *kinds: int) -> list[bytes]:
    """Return the contents of the first items of a DER body; 0 takes any kind.

    Errors: ``ValueError`` unless they begin with items of these kinds.
    """
    found, place = [], 0
    for kind in kinds:
        size, start = data[place + 1], place + 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[place + 2 : start], "big")
        if kind not in (0, data[place]) or start + size > len(data):
            raise ValueError("it is not the DER that it should be")
        found.append(data[start : start + size])
        place = start + size
    return found


def stamped(answer: bytes) -> tuple[str, str]:
    """Return digest and time that an RFC 3161 answer states. Nobody's signature is checked.

    Errors: ``ValueError`` for what is no such answer.
    """
    status, token = der(der(answer, 0x30)[0], 0x30, 0x30)
    if der(status, 0x02) != [b"\x00"]:
        raise ValueError("the authority did not grant it")
    signed = der(der(token, 0x06, 0xA0)[1], 0x30)[0]
    oid, content = der(der(signed, 0x02, 0x31, 0x30)[2], 0x06, 0xA0)
    info = der(der(content, 0x04)[0], 0x30)[0]
    _, _, imprint, _, at = der(info, 0x02, 0x06, 0x30, 0x02, 0x18)
    algorithm, digest = der(imprint, 0x30, 0x04)
    if oid != TST_INFO_OID or der(algorithm, 0x06) != [SHA256_OID]:
        raise ValueError("it is no time stamp over a SHA-256")
    match = re.fullmatch(r"(....)(..)(..)(..)(..)(..)(?:\.(\d{1,9}))?Z", at.decode("ascii"))
    if match is None:
        raise ValueError("its time is not in the form of RFC 3161")
    year, month, day, hour, minute, second, rest = match.groups("")
    return digest.hex(), f"{year}-{month}-{day}T{hour}:{minute}:{second}.{rest:0<9}Z"


class Ots:
    """An OpenTimestamps proof: follows every way from the digest to an attestation."""

    MAGIC = bytes.fromhex("004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e8929401")
    PENDING, BITCOIN = bytes.fromhex("83dfe30d2ef90c8e"), bytes.fromhex("0588960d73d71901")

    def __init__(self, data: bytes) -> None:
        """Errors: ``ValueError`` for what is no proof."""
        self._file = io.BytesIO(data)
        if self._take(32) != self.MAGIC or self._take(1) != b"\x08":
            raise ValueError("it is no OpenTimestamps proof over a SHA-256")
        digest = self._take(32)
        self.digest = digest.hex()
        self.blocks: list[tuple[int, str]] = []
        """Height, and what the Merkle root of that block must be."""
        self.promises: list[str] = []
        self._follow(digest, 256)
        if self._file.read(1):
            raise ValueError("something follows the proof")

    def _take(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) != count:
            raise ValueError("the proof is cut short")
        return found

    def _number(self) -> int:
        value = 0
        for place in range(0, 63, 7):
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << place
            if not byte & 0x80:
                return value
        raise ValueError("a number of the proof is too large")

    def _follow(self, message: bytes, depth_left: int) -> None:
        if not depth_left or len(message) > 4096:
            raise ValueError("the proof is too deep or too long")
        tag = b"\xff"
        while tag == b"\xff":
            tag = self._take(1)
            step = self._take(1) if tag == b"\xff" else tag
            if step == b"\x00":
                self._attest(message)
            elif step == b"\x08":
                self._follow(hashlib.sha256(message).digest(), depth_left - 1)
            elif step in (b"\xf0", b"\xf1"):
                text = self._take(self._number())
                self._follow(message + text if step == b"\xf0" else text + message, depth_left - 1)
            else:
                raise ValueError(f"the operation {step.hex()} is not known here")

    def _attest(self, message: bytes) -> None:
        tag, outer = self._take(8), self._file
        payload = self._take(self._number())
        self._file = io.BytesIO(payload)
        if tag == self.BITCOIN:
            self.blocks.append((self._number(), message[::-1].hex()))
        elif tag == self.PENDING:
            self.promises.append(self._take(self._number()).decode("ascii"))
        self._file = outer


# --- the zip (PKWARE APPNOTE 6.3, stored files only) --------------------------------------------


def zip_layout(entries: Sequence[tuple[str, int, int]]) -> tuple[list[bytes], bytes]:
    """Return the header before each file and what follows the last, for (name, size, CRC-32).

    Every byte of a binder's zip is either one of these or a byte of a file.
    """
    headers, central, offset = [], b"", 0
    for name, size, crc in entries:
        path = name.encode("ascii")
        shared = struct.pack("<4H3I2H", 0, 0, 0, 0x21, crc, size, size, len(path), 0)
        headers.append(b"PK\x03\x04" + struct.pack("<H", 20) + shared + path)
        central += b"PK\x01\x02" + struct.pack("<2H", 0x314, 20) + shared
        central += struct.pack("<3H2I", 0, 0, 0, 0o100644 << 16, offset) + path
        offset += len(headers[-1]) + size
    count = len(headers)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(central), offset, 0)
    return headers, central + end


# --- the binder ---------------------------------------------------------------------------------


class Source:
    """The files of a binder, in a folder or in its zip."""

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._zip = None if self._folder else zipfile.ZipFile(path)
        self._prefix = ""
        if self._zip is not None:
            tops = {name.partition("/")[0] for name in self._zip.namelist()}
            if len(tops) != 1:
                raise ValueError("the zip does not hold one folder")
            self._prefix = tops.pop() + "/"

    @property
    def is_zip(self) -> bool:
        return self._zip is not None

    def container_fault(self, path: Path) -> str:
        """Return what of the zip is neither a file nor the plain frame around files, or nothing."""
        assert self._zip is not None
        found = self._zip.infolist()
        if len({each.filename for each in found}) != len(found):
            return "it holds two files of one name"
        headers, tail = zip_layout([(each.filename, each.file_size, each.CRC) for each in found])
        with path.open("rb") as file:
            for place, header in enumerate(headers):
                each = found[place]
                if file.read(len(header)) != header:
                    return f"the header of {each.filename} was changed"
                file.seek(each.file_size, 1)
            if file.read() != tail:
                return "the directory at its end was changed"
        return ""

    def names(self) -> list[str]:
        """Return every file there is; a link is a file that no manifest allows."""
        if self._zip is not None:
            return sorted(name[len(self._prefix) :] for name in self._zip.namelist())
        assert self._folder is not None
        found = [path for path in self._folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    def open(self, name: str) -> Any:
        if self._zip is not None:
            return self._zip.open(self._prefix + name)
        assert self._folder is not None
        path = self._folder / name
        if path.is_symlink():
            raise OSError(f"{name} is a link")
        return path.open("rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            data: bytes = file.read()
        return data


Row = dict[str, Any]
_UNREADABLE = (
    ValueError, OSError, TypeError, IndexError, AttributeError, RuntimeError, OverflowError,
    EOFError, zipfile.BadZipFile, zlib.error, csv.Error, struct.error, re.error,
)  # fmt: skip
"""What reading a file that somebody changed can raise; each is a fault, never a crash."""


class Binder:
    """One binder being checked; every check adds what it found."""

    def __init__(self, source: Source, say: Callable[[str], object]) -> None:
        self._source, self._say = source, say
        self._faults: list[str] = []
        self.fault_count = 0
        self.manifest: dict[str, Any] = {}
        self.key = Key("", b"")
        self.keys: dict[str, Key] = {}
        self._turns: list[tuple[int, Key]] = []
        """Up to which seq, not included, checkpoints are of which older key."""
        self._anchors: list[Row] = []
        self._named: list[str] = []
        """Digests of the payloads that events of the range name."""
        self.notes: dict[int, Note] = {}
        self.leaves: dict[int, bytes] = {}
        """Leaf hashes of the events that a proof is there for."""
        self._fills: dict[int, Row] = {}
        self._runs: list[Row] = []
        self.newest = 0

    def fault(self, text: str) -> None:
        self._faults.append(text)

    def check(self, title: str, work: Callable[[], str]) -> bool:
        """Run one check and tell its outcome; a file that cannot be read is a fault."""
        self._faults = []
        try:
            text = work()
        except KeyError as error:
            text = ""
            self.fault(f"{error} is missing")
        except _UNREADABLE as error:
            text = ""
            self.fault(str(error) or type(error).__name__)
        if not self._faults:
            self._say(f"ok   {title}: {text}")
            return True
        for line in self._faults[:TOLD_MAX]:
            self._say(f"BAD  {title}: {printable(line)}")
        if len(self._faults) > TOLD_MAX:
            self._say(f"BAD  {title}: and {len(self._faults) - TOLD_MAX} more")
        self.fault_count += len(self._faults)
        return False

    # --- files

    def container(self, path: Path) -> str:
        """Check that a zip is nothing but its files."""
        fault = self._source.container_fault(path)
        if fault:
            self.fault(fault)
        return "it is nothing but its files"

    def key_and_manifest(self) -> str:
        """Check who signed the list of files."""
        self.key = parse_key(self._source.read(PUBLIC).decode("ascii").partition("\n")[0])
        data = self._source.read(MANIFEST)
        if not is_signed(self.key.raw, data, self._source.read(SIGNATURE)):
            raise ValueError(f"{SIGNATURE} is not the key's signature of {MANIFEST}")
        self.manifest = json.loads(data)
        if self.manifest["format"] != FORMAT:
            raise ValueError(f"the format is {self.manifest['format']!r}, this reads {FORMAT}")
        spaced = " ".join(self.key.fingerprint[n : n + 4] for n in range(0, 32, 4))
        return f"signed by the key with the fingerprint {spaced}"

    def files(self) -> str:
        """Check that every file is there as it was signed, and no other."""
        listed = self.manifest["files"]
        there = [name for name in self._source.names() if name not in (MANIFEST, SIGNATURE)]
        for name in there:
            if name not in listed:
                self.fault(f"{name} is not in the manifest")
        for name, said in sorted(listed.items()):
            if name not in there:
                self.fault(f"{name} is missing")
                continue
            digest, size = self._digest(name)
            if digest != said["sha256"] or size != said["bytes"]:
                self.fault(f"{name} was changed: its SHA-256 is {digest}")
        return f"{len(listed)} files are as they were signed, and there are no others"

    def _digest(self, name: str) -> tuple[str, int]:
        digest, size = hashlib.sha256(), 0
        with self._source.open(name) as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                digest.update(chunk)
                size += len(chunk)
        return digest.hexdigest(), size

    # --- checkpoints and events

    def rotations(self, fingerprint: str) -> str:
        """Check that each change of key is signed by the old and the new one, up to this one.

        ``fingerprint``, where given, must be of one of them: a key vouches for those after it.
        """
        self.keys = {self.key.name: self.key}
        last: Key | None = None
        for event in sorted(self._rotations(), key=lambda each: int(each["seq"])):
            seq, payload = event["seq"], event["payload"]
            old, new = parse_key(payload["old_key"]), parse_key(payload["new_key"])
            said = {
                "form": "tapewright-rotation/1", "new_key": payload["new_key"],
                "old_key": payload["old_key"], "prev": event["prev"],
                "reason": payload["reason"], "seq": seq,
            }  # fmt: skip
            message = json.dumps(
                said, sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
            for key, name in ((old, "old_signature"), (new, "new_signature")):
                signature = base64.b64decode(payload[name], validate=True)
                if not is_signed(key.raw, message, signature):
                    self.fault(f"seq {seq}: the {name} of this change of key does not hold")
            if last is not None and last != old:
                self.fault(f"seq {seq} changes the key {old.name}, but it was {last.name}")
            last = new
            self.keys[old.name] = old
            self._turns.append((seq, old))
        if last is not None and last != self.key:
            self.fault(f"the key became {last.name}, but the binder is signed by {self.key.name}")
        wanted = fingerprint.replace(" ", "").lower()
        if wanted and wanted not in [key.fingerprint for key in self.keys.values()]:
            self.fault(f"no key of this ledger has the fingerprint {fingerprint}")
        text = f"the key changed {len(self._turns)} times, each time signed by the old and the new"
        if wanted and wanted != self.key.fingerprint:
            text += f"; {wanted} is of an older key, which handed over to the one above"
        return text

    def _rotations(self) -> Iterator[Row]:
        for name in ("context.jsonl", "events.jsonl"):
            with self._source.open(name) as file:
                for line in file:
                    if b'"type":"KEY_ROTATED"' in line:
                        event: Row = json.loads(line)
                        if event["type"] == "KEY_ROTATED":
                            yield event

    def _note_fault(self, note: Note) -> str:
        """Return what is wrong with who signed a checkpoint, or nothing."""
        key = next((old for seq, old in self._turns if note.size < seq), self.key)
        if note.origin != key.name:
            return f"the checkpoint over {note.size} events is of {note.origin}, not {key.name}"
        if not is_signed(key.raw, note.text.encode(), note.signature):
            return f"the signature of the checkpoint over {note.size} events is wrong"
        return ""

    def checkpoints(self) -> str:
        """Check the signature of every checkpoint."""
        for note in parse_notes(self._source.read("checkpoints.txt").decode(), self.keys):
            fault = self._note_fault(note)
            if fault:
                self.fault(fault)
            if note.size in self.notes:
                self.fault(f"there are two checkpoints over {note.size} events")
            self.notes[note.size] = note
        self.newest = max(self.notes)
        return f"{len(self.notes)} are signed, the newest over seq 1 to {self.newest}"

    def events(self) -> str:
        """Check form, schema, hash, order and chain of every event, and the roots signed."""
        span = json.loads(self._source.read("proofs/range.json"))
        first, last = span["first"], span["last"]
        tree = Frontier(first - 1, [bytes.fromhex(text) for text in span["before"]])
        schemas, before, seq = self._schemas(), b"", first - 1
        for seq, (body, event) in enumerate(self._bodies("events.jsonl"), first):
            if event["seq"] != seq:
                raise ValueError(f"seq {event['seq']} stands where seq {seq} should")
            if before and event["prev"] != before.hex():
                self.fault(f"seq {seq} does not name the hash of seq {seq - 1}")
            self._look_at(event, schemas)
            before = leaf_hash(body)
            self.leaves[seq] = before
            tree.push(before)
            if seq in self.notes and self.notes[seq].root != tree.root():
                self.fault(f"seq 1 to {seq} are not what the checkpoint over them signs")
        if seq != last:
            self.fault(f"the events end with seq {seq}, not {last}")
        proof = [bytes.fromhex(text) for text in span["consistency"]]
        newest = self.notes[self.newest]
        if not is_consistent(seq, self.newest, tree.root(), newest.root, proof):
            self.fault(f"the checkpoint over seq 1 to {self.newest} does not contain these events")
        return (
            f"seq {first} to {last}, none left out: form, schema, hash and chain hold, and the "
            f"checkpoint over seq 1 to {self.newest} contains them"
        )

    def _schemas(self) -> dict[str, Any]:
        names = [name for name in self.manifest["files"] if name.startswith("schemas/")]
        return {name[8:-5]: json.loads(self._source.read(name)) for name in names}

    def _bodies(self, name: str) -> Iterator[tuple[bytes, Row]]:
        with self._source.open(name) as file:
            for line in file:
                body = line[:-1]
                event = json.loads(body, parse_float=_refuse, parse_constant=_refuse)
                again = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
                if again.encode() + b"\n" != line:
                    raise ValueError(f"{name}: an event is not in canonical form")
                yield body, event

    def _look_at(self, event: Row, schemas: dict[str, Any]) -> None:
        kind, seq = event["type"], event["seq"]
        for name, value in (("envelope", event), (kind, event["payload"])):
            if name not in schemas:
                self.fault(f"seq {seq}: there is no schema for {name}")
                return
            fault = schema_fault(value, schemas[name], schemas[name].get("$defs", {}), name)
            if fault:
                self.fault(f"seq {seq}: {fault}")
        if kind == "FILL":
            self._fills[seq] = event
        elif kind == "ANCHORED":
            self._anchors.append(event)
        elif kind == "DECISIONS":
            self._named.append(event["payload"]["digest"])
        elif kind == "RUN_STARTED":
            self._runs.append(event["payload"])

    def inclusion(self) -> str:
        """Check the events from before the range, and the proofs for handing out single fills."""
        schemas, unproved = self._schemas(), set()
        for body, event in self._bodies("context.jsonl"):
            if event["seq"] in self.leaves:
                self.fault(f"seq {event['seq']} is in context.jsonl and stands elsewhere too")
                continue
            self.leaves[event["seq"]] = leaf_hash(body)
            unproved.add(event["seq"])
            self._look_at(event, schemas)
        count, newest = 0, self.notes[self.newest]
        for line in self._source.read("proofs/inclusion.jsonl").splitlines():
            said = json.loads(line)
            proof = [bytes.fromhex(text) for text in said["proof"]]
            seq, count = said["seq"], count + 1
            if not is_included(self.leaves[seq], seq - 1, self.newest, proof, newest.root):
                self.fault(f"the proof of seq {seq} does not lead to the newest checkpoint")
            unproved.discard(seq)
        for seq in sorted(unproved):
            self.fault(f"seq {seq} is in context.jsonl without a proof")
        return f"{count} events are in the newest checkpoint, each by a proof of its own"

    def consistency(self) -> str:
        """Check that the newest checkpoint extends all others."""
        count, newest = 0, self.notes[self.newest]
        span = json.loads(self._source.read("proofs/range.json"))
        inside = range(span["first"], span["last"] + 1)
        unproved = {size for size in self.notes if size not in inside and size != self.newest}
        for line in self._source.read("proofs/consistency.jsonl").splitlines():
            said = json.loads(line)
            old = self.notes[said["size"]]
            proof = [bytes.fromhex(text) for text in said["proof"]]
            if not is_consistent(old.size, self.newest, old.root, newest.root, proof):
                self.fault(f"the newest checkpoint does not extend that over {old.size} events")
            unproved.discard(old.size)
            count += 1
        for size in sorted(unproved):
            self.fault(f"nothing shows that the newest checkpoint extends that over {size} events")
        return f"the newest checkpoint extends {count} others from outside the range"

    def against(self, text: str) -> str:
        """Check checkpoints that were kept elsewhere."""
        kept = parse_notes(text, self.keys)
        for note in kept:
            known = self.notes.get(note.size)
            fault = self._note_fault(note)
            if fault:
                self.fault(fault)
            elif known is None:
                self.fault(f"the binder knows no checkpoint over {note.size} events")
            elif known.root != note.root:
                self.fault(f"seq 1 to {note.size} were rewritten since that checkpoint was kept")
        return f"{len(kept)} kept elsewhere are as in this binder"

    # --- who else attests it

    def anchors(self) -> str:
        """Check that each anchor is of its checkpoint, and tell what the newest of each kind say.

        The signature of an authority is not checked: that takes OpenSSL and its CA.
        """
        told: dict[str, str] = {}
        for event in sorted(self._anchors, key=lambda each: int(each["seq"])):
            said, seq = event["payload"], event["seq"]
            try:
                text = self._anchored(said)
            except KeyError as error:
                self.fault(f"seq {seq}: {error} is missing")
            except _UNREADABLE as error:
                self.fault(f"seq {seq}: {error}")
            else:
                told[said["method"]] = f"seq 1 to {said['size']} {text}"
        count = len(self._anchors)
        return f"{count} by somebody outside" + "".join(f"; {text}" for text in told.values())

    def _anchored(self, said: Row) -> str:
        """Return what an anchor says. Errors: ``ValueError`` for one that is not as its event."""
        size, note = said["size"], f"anchors/{said['note_digest']}.txt"
        name = f"anchors/{said['digest']}" + {"rfc3161": ".tsr", "ots": ".ots"}[said["method"]]
        for each in (note, name):
            if self._digest(each)[0] != each[8:72]:
                raise ValueError(f"{each} does not have the digest that is its name")
        if parse_notes(self._source.read(note).decode(), self.keys) != [self.notes[size]]:
            raise ValueError(f"its checkpoint is not the one over {size} events")
        if said["method"] == "ots":
            return self._promised(said, Ots(self._source.read(name)))
        digest, at = stamped(self._source.read(name))
        if digest != said["note_digest"] or at != said["at"]:
            raise ValueError("the token is over another digest, or says another time")
        roots = f"anchors/{said['roots']}.pem"
        if self._digest(roots)[0] != said["roots"]:
            raise ValueError(f"{roots} does not have the digest that is its name")
        command = f"openssl ts -verify -in {name} -data {note} -CAfile {roots}"
        return f"stamped {at}, to be checked: {command}"

    def _promised(self, said: Row, proof: Ots) -> str:
        if proof.digest != said["note_digest"] or said["is_pending"] == bool(proof.blocks):
            raise ValueError("the proof is of another digest, or not as pending as its event says")
        if not proof.blocks:
            return f"promised by {', '.join(proof.promises)}, which proves nothing yet"
        height, root = min(proof.blocks)
        return f"in Bitcoin block {height} if its Merkle root is {root}: look it up"

    # --- what was made of the events

    def trades(self) -> str:
        """Check the spreadsheet of fills against the events."""
        text = self._source.read("trades.csv").decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        since, until = self.manifest["since"], self.manifest["until"]
        span = json.loads(self._source.read("proofs/range.json"))
        wanted = {
            seq: event for seq, event in self._fills.items()
            if since <= event["ts"] < until and span["first"] <= seq <= span["last"]
        }  # fmt: skip
        for row in rows:
            event = wanted.pop(int(row["seq"]), None)
            if event is None:
                self.fault(f"seq {row['seq']} is no fill of this time")
                continue
            for name, value in _fill_cells(event).items():
                if row[name] != value:
                    self.fault(f"seq {row['seq']}: {name} is {row[name]}, the event says {value}")
        for seq in wanted:
            self.fault(f"the fill of seq {seq} is not in trades.csv")
        return f"trades.csv has the {len(rows)} fills of the events, number for number"

    def models(self) -> str:
        """Check that cards, weights and attestations are of the models that the runs used."""
        used = {
            name.split(":")[1]: value
            for run in self._runs
            for name, value in run["agent"].items()
            if name.startswith("agent:") and name.endswith(":weights")
        }
        files = self.manifest["files"]
        attested = [name for name in files if name.startswith("attest/")]
        for name in attested:
            statement = self._attested(name)
            for subject in statement["subject"]:
                if files.get(subject["name"], {}).get("sha256") != subject["digest"]["sha256"]:
                    self.fault(f"{name}: {subject['name']} is not the file that it speaks of")
        for agent, digest in sorted(used.items()):
            card = f"cards/{agent}.json"
            if card in files and json.loads(self._source.read(card))["weights_sha256"] != digest:
                self.fault(f"{card} is of other weights than the runs used")
        return f"{len(used)} models used, {len(attested)} attestations signed and of these files"

    def _attested(self, name: str) -> Row:
        envelope = json.loads(self._source.read(name))
        payload = base64.b64decode(envelope["payload"], validate=True)
        kind = envelope["payloadType"].encode()
        message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        if not is_signed(self.key.raw, message, signature):
            self.fault(f"{name}: the signature does not hold")
        statement: Row = json.loads(payload)
        return statement

    def receipts(self) -> str:
        """Check that every receipt of a replay is signed by a key of this ledger."""
        names = [name for name in self.manifest["files"] if name.startswith("receipts/")]
        for name in names:
            whole = json.loads(self._source.read(name))
            body = json.dumps(
                whole["receipt"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
            )
            key = parse_key(whole["key"])
            signature = base64.b64decode(whole["signature"], validate=True)
            if key not in self.keys.values():
                self.fault(f"{name} is signed by {key.name}, which is no key of this ledger")
            elif not is_signed(key.raw, body.encode(), signature):
                self.fault(f"{name}: the signature does not hold")
        return f"{len(names)} receipts of replays are signed by this ledger's key"

    def payloads(self) -> str:
        """Check that every payload has the digest that is its name."""
        names = [name for name in self.manifest["files"] if name.startswith("payloads/")]
        for name in names:
            digest, _ = self._digest(name)
            if name.rpartition("/")[2].partition(".")[0] != digest:
                self.fault(f"{name} does not have the digest that is its name")
        there = {name.rpartition("/")[2].partition(".")[0] for name in names}
        if REMOVED in self.manifest["files"]:
            there |= {
                json.loads(line)["digest"] for line in self._source.read(REMOVED).splitlines()
            }
        for digest in sorted(set(self._named) - there):
            self.fault(f"the payload {digest} is missing")
        return f"{len(names)} payloads are what their names say"


def _fill_cells(event: Row) -> dict[str, str]:
    """Return what ``trades.csv`` must say of a fill; text is guarded as in every export."""
    payload, fill = event["payload"], event["payload"]["fill"]
    rationale = payload["rationale"]
    return {
        "ts": event["ts"], "run": event["run"], "side": fill["side"], "price": payload["price"],
        "quantity": payload["quantity"], "notional": payload["notional"], "fee": fill["fee"],
        "realized_pnl": payload["realized_pnl"],
        "liquidity": "maker" if fill["is_maker"] else "taker",
        "rationale": "'" * rationale.startswith(("=", "+", "-", "@", "\t", "\r")) + rationale,
    }  # fmt: skip


def _refuse(text: str) -> Any:
    raise ValueError(f"{text[:20]} is no number of a ledger event")


def printable(text: str) -> str:
    """Return ``text`` without what could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)[:500]


def verify(
    path: Path, say: Callable[[str], object], fingerprint: str = "", against: Path | None = None
) -> int:
    """Check the binder at ``path`` and return the number of faults, told line by line."""
    try:
        source = Source(path)
        binder = Binder(source, say)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        say(f"BAD  {printable(str(error))}")
        return 1
    if source.is_zip:
        binder.check("zip", lambda: binder.container(path))
    if not binder.check("signature", binder.key_and_manifest):
        return binder.fault_count
    binder.check("files", binder.files)
    is_keyed = binder.check("keys", lambda: binder.rotations(fingerprint))
    if binder.check("checkpoints", binder.checkpoints) and is_keyed:
        binder.check("events", binder.events)
        binder.check("inclusion", binder.inclusion)
        binder.check("consistency", binder.consistency)
        binder.check("anchors", binder.anchors)
        binder.check("trades", binder.trades)
        binder.check("models", binder.models)
        binder.check("payloads", binder.payloads)
        binder.check("receipts", binder.receipts)
        if against is not None:
            binder.check("kept", lambda: binder.against(against.read_bytes().decode()))
    return binder.fault_count


def main(words: list[str]) -> int:
    """Run from the command line; return the exit code."""
    named = {"--fingerprint": "", "--against": ""}
    paths: list[str] = []
    while words:
        word = words.pop(0)
        if word in named and words:
            named[word] = words.pop(0)
        elif word.startswith("-"):
            sys.stderr.write(f"{__doc__}\n")
            return 0 if word in ("-h", "--help") else 2
        else:
            paths.append(word)
    folder = Path(paths[0]) if paths else Path(__file__).resolve().parent
    against = Path(named["--against"]) if named["--against"] else None
    faults = verify(folder, lambda line: sys.stdout.write(line + "\n"),
                    named["--fingerprint"], against)  # fmt: skip
    if faults:
        sys.stdout.write(f"THIS BINDER DOES NOT HOLD: {faults} faults\n")
        return 1
    sys.stdout.write("This binder holds.\n")
    if not named["--fingerprint"]:
        sys.stdout.write("Compare the fingerprint above with one that you got another way.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
