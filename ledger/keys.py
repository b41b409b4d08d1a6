"""The ledger's Ed25519 key: ``ledger.key`` (secret, 0600) and ``ledger.pub`` beside it.

``to_keyring`` moves the secret half into the OS keyring. A ledger's key changes by a rotation
(``ledger.rotation``) and in no other way. What names a key is its fingerprint, the first 16 bytes
of the SHA-256 of the public key; checkpoints carry it in their name ``tapewright/<fingerprint>``.
The secret is in no repr, log or error text.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from typing_extensions import override

from core.errors import Failed, UserError, ValueRefused
from core.secrets import KeyStore, find_text, forget_text, keep_text

KEY_NAME = "ledger.key"
PUBLIC_NAME = "ledger.pub"
DRAFT_NAME = "ledger.key.new"
"""The next key, from before its rotation is in the ledger until it is the key."""
_ED25519 = b"\x01"
"""The algorithm byte of a C2SP signed note."""
_BYTES_MAX = 4096
_VKEY = re.compile(r"([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})", re.ASCII)


class PublicKey(msgspec.Struct, frozen=True):
    """What checks a signature; ``raw`` is the 32 bytes of the key."""

    name: str
    raw: bytes

    @classmethod
    def of(cls, raw: bytes) -> PublicKey:
        """Return the key under the name that a ledger gives it."""
        return cls(f"tapewright/{hashlib.sha256(raw).hexdigest()[:32]}", raw)

    @property
    def fingerprint(self) -> str:
        """The name's last part, for people to compare: 32 hex digits."""
        return self.name.rpartition("/")[2]

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that lead to this key. Source: C2SP signed-note, Ed25519."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as a line ``NAME+ID+KEY``. Source: C2SP signed-note, verifier keys."""
        text = base64.b64encode(_ED25519 + self.raw).decode()
        return f"{self.name}+{self.key_id.hex()}+{text}"

    @property
    def text(self) -> str:
        """What ``ledger.pub`` holds: a C2SP verifier key, then the same for OpenSSL."""
        pem = Ed25519PublicKey.from_public_bytes(self.raw).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"{self.vkey}\n{pem.decode()}"

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key signed ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def parse_vkey(line: str) -> PublicKey:
    """Return the key of a C2SP verifier-key line. Errors: ``ValueRefused``."""
    match = _VKEY.fullmatch(line)
    if match is None:
        raise ValueRefused("it is not a line NAME+ID+KEY")
    name, key_id, text = match.groups()
    raw = base64.b64decode(text)
    key = PublicKey(name, raw[1:])
    if raw[:1] != _ED25519 or len(key.raw) != 32 or key.key_id.hex() != key_id:
        raise ValueRefused("its id is not that of an Ed25519 key")
    return key


class SigningKey:
    """The secret half. It signs and names itself; only ``pem`` gives the secret away."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: Ed25519PrivateKey) -> None:
        self._secret = secret
        self.public = PublicKey.of(secret.public_key().public_bytes_raw())

    @classmethod
    def made(cls) -> SigningKey:
        """Return a new key."""
        return cls(Ed25519PrivateKey.generate())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature; the same message always gets the same one."""
        return self._secret.sign(message)

    def pem(self) -> bytes:
        """Return the secret itself, for where it is kept and for nothing else."""
        return self._secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @override
    def __repr__(self) -> str:
        return f"SigningKey({self.public.name})"


def create(state_dir: Path, name: str = KEY_NAME) -> SigningKey:
    """Make the key of a new ledger, durably, before anything is signed with it.

    Errors: ``Failed`` if there is one already or it cannot be written.
    """
    key = SigningKey.made()
    write_secret(state_dir / name, key.pem())
    return key


def write_secret(path: Path, pem: bytes) -> None:
    """Write a secret key to a new file, 0600 and durable. Errors: ``Failed``.

    It gets its name when it is whole: a power cut leaves no torn key (``bench/power_loss.py``).
    """
    draft = path.with_name(path.name + ".part")
    try:
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(file, pem)
            os.fsync(file)
        finally:
            os.close(file)
        if os.path.lexists(path):
            draft.unlink()
            raise FileExistsError
        draft.replace(path)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise Failed(f"{path} exists already; a key is never replaced") from error
    except OSError as error:
        raise Failed(f"{path}: the key cannot be written ({error.strerror})") from error


def settle_draft(state_dir: Path, newest: PublicKey | None) -> None:
    """End a rotation that was cut short: finish it if the ledger has it, else forget its key.

    ``newest`` is the key that the last rotation in the ledger brought. Errors: ``Failed``.
    """
    draft = load(state_dir, DRAFT_NAME)
    if draft is None:
        return
    try:
        if newest == draft.public:
            (state_dir / DRAFT_NAME).replace(state_dir / KEY_NAME)
            write_public(state_dir, draft.public)
        else:
            (state_dir / DRAFT_NAME).unlink()
        _sync_folder(state_dir)
    except OSError as error:
        raise Failed(f"{state_dir / DRAFT_NAME}: cannot be settled ({error.strerror})") from error


def load(state_dir: Path, name: str = KEY_NAME) -> SigningKey | None:
    """Return the ledger's key, or None if there is none.

    Errors: ``UserError`` for a key that others may read or that is no plain file of ours, with the
    remedy; ``Failed`` for one that is not an Ed25519 key.
    """
    path = state_dir / name
    try:
        pem = _read_secret(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{path}: the key cannot be read ({error.strerror})") from error
    return _parse_secret(pem, path)


def _parse_secret(pem: bytes, path: Path | str) -> SigningKey:
    # ``from None``: the parser's own error could speak of what it read.
    try:
        secret = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Failed(f"{path} is not a private key in PEM form; put the right one back") from None
    if not isinstance(secret, Ed25519PrivateKey):
        raise Failed(f"{path} is a key of another kind than Ed25519; put the right one back")
    return SigningKey(secret)


def _read_secret(path: Path) -> bytes:
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link; put the key itself there")
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a plain file; put the key itself there")
        if found.st_uid != os.geteuid():
            raise UserError(f"{path} belongs to another user; make it yours: chown")
        if found.st_mode & 0o077:
            raise UserError(
                f"{path} was open to others (mode {found.st_mode & 0o777:04o}): chmod 600 {path}; "
                "if somebody else may have read it, begin a new ledger with --state DIR"
            )
        return os.read(file, _BYTES_MAX)
    finally:
        os.close(file)


def entry_name(public: PublicKey) -> str:
    """Return the name of a ledger's key in the OS keyring."""
    return f"ledger-{public.fingerprint}"


def load_kept(state_dir: Path, store: KeyStore | None = None) -> SigningKey | None:
    """Return the key that ``ledger.pub`` names from the OS keyring, or None.

    Only whoever signs asks there: a keyring may want its owner's password. Errors: ``Failed``,
    ``UserError`` for a keyring that is locked or denies.
    """
    public = read_public(state_dir)
    try:
        text = find_text(entry_name(public), store) if public is not None else None
    except UserError as error:
        raise UserError(
            f"{error}, or put your copy of the key back as {_place(state_dir)}"
        ) from error
    return None if text is None else _parse_secret(text.encode(), "the entry in the OS keyring")


def to_keyring(state_dir: Path, store: KeyStore | None = None) -> PublicKey:
    """Move the key from its file to the OS keyring.

    Errors: ``UserError`` without a keyring, ``Failed`` without a key file.
    """
    key = load(state_dir)
    if key is None:
        raise Failed(f"{state_dir / KEY_NAME} is not there")
    try:
        keep_text(entry_name(key.public), key.pem().decode(), store)
        found = find_text(entry_name(key.public), store)
    except UserError as error:
        raise UserError(f"{error}; the key stays in {_place(state_dir)}") from error
    if found is None or _parse_secret(found.encode(), "the keyring").public != key.public:
        raise Failed("the OS keyring did not give the key back; it stays in its file")
    (state_dir / KEY_NAME).unlink()
    _sync_folder(state_dir)
    return key.public


def to_file(state_dir: Path, store: KeyStore | None = None) -> PublicKey:
    """Move the key from the OS keyring to its file. Errors: ``Failed``, ``UserError``."""
    key = load_kept(state_dir, store)
    if key is None:
        raise Failed("the key that ledger.pub names is not in the OS keyring")
    write_secret(state_dir / KEY_NAME, key.pem())
    forget_kept(key.public, store)
    return key.public


def forget_kept(public: PublicKey, store: KeyStore | None = None) -> None:
    """Remove a key from the OS keyring, if it is there. Errors: ``Failed`` if it stays."""
    try:
        forget_text(entry_name(public), store)
    except UserError as error:
        raise Failed(
            f"the key {public.fingerprint} is still in the OS keyring, as {entry_name(public)}: "
            f"remove it there by hand ({error})"
        ) from error


def _place(state_dir: Path) -> str:
    return f"{state_dir / KEY_NAME}, mode 0600"


def write_public(state_dir: Path, key: PublicKey) -> None:
    """Write ``ledger.pub`` as one act. Errors: ``Failed``."""
    path = state_dir / PUBLIC_NAME
    draft = path.with_name(PUBLIC_NAME + ".new")
    try:
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        try:
            os.write(file, key.text.encode())
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(path)
        _sync_folder(state_dir)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise Failed(f"{path}: the public key cannot be written ({error.strerror})") from error


def read_public(state_dir: Path) -> PublicKey | None:
    """Return what ``ledger.pub`` says, or None if there is none.

    Errors: ``Failed`` unless it is byte for byte what ``write_public`` writes.
    """
    path = state_dir / PUBLIC_NAME
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX)
        key = parse_vkey(data.decode("ascii").partition("\n")[0])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValueRefused) as error:
        raise Failed(f"{path}: the public key cannot be read ({error})") from error
    if key != PublicKey.of(key.raw) or data != key.text.encode():
        raise Failed(f"{path}: the public key is not as this program wrote it")
    return key


def mismatch_text(public: PublicKey, secret: PublicKey) -> str:
    """Return what to say of a ``ledger.pub`` that is not the public half of ``ledger.key``."""
    return (
        f"{PUBLIC_NAME} is of {public.name}, {KEY_NAME} of {secret.name}: one of them was replaced"
    )


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
