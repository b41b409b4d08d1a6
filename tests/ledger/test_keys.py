"""The key: made once, for its owner alone, and silent about its secret."""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

from core.errors import Failed, UserError, ValueRefused
from ledger import keys
from ledger.keys import KEY_NAME, PUBLIC_NAME, PublicKey, SigningKey
from ledger.writer import LedgerWriter

# The key of the example in the documentation of golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


@pytest.fixture
def rfc_key() -> SigningKey:
    return SigningKey(ed25519.Ed25519PrivateKey.from_private_bytes(SECRET))


def test_signature_is_that_of_rfc_8032(rfc_key: SigningKey) -> None:
    assert rfc_key.public.raw == PUBLIC
    assert rfc_key.sign(b"\x72") == SIGNATURE
    assert rfc_key.public.is_signed(b"\x72", SIGNATURE)
    assert not rfc_key.public.is_signed(b"\x73", SIGNATURE)
    assert not rfc_key.public.is_signed(b"\x72", SIGNATURE[:63])
    assert not rfc_key.public.is_signed(b"\x72", bytes(64))


def test_every_flipped_bit_of_a_signature_is_noticed(rfc_key: SigningKey) -> None:
    for bit in range(512):
        other = bytearray(SIGNATURE)
        other[bit // 8] ^= 1 << bit % 8
        assert not rfc_key.public.is_signed(b"\x72", bytes(other))


def test_verifier_key_of_the_reference_implementation_is_read() -> None:
    key = keys.parse_vkey(NEUMANN)
    assert key.name == "PeterNeumann"
    assert key.key_id.hex() == "c74f20a3"
    assert key.text.splitlines()[0] == NEUMANN


@pytest.mark.parametrize(
    "line",
    [
        "",
        NEUMANN + " ",
        NEUMANN + "=",
        NEUMANN.replace("c74f20a3", "c74f20a4"),
        NEUMANN.replace("Peter", "Paul"),
        NEUMANN.replace("+ARpc", "+AhpC"),
        NEUMANN.replace("PeterNeumann", "Peter Neumann"),
        NEUMANN.replace("c74f20a3", "C74F20A3"),
        NEUMANN[:-4],
    ],
)
def test_verifier_key_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(ValueRefused):
        keys.parse_vkey(line)


def test_key_is_made_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    made = keys.create(tmp_path)
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600
    found = keys.load(tmp_path)
    assert found is not None
    assert found.public == made.public
    assert found.sign(b"x") == made.sign(b"x")
    assert made.public.name == f"tapewright/{made.public.fingerprint}"
    assert len(made.public.fingerprint) == 32


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert keys.create(tmp_path / "a").public != keys.create(tmp_path / "b").public


def test_umask_makes_the_key_no_more_open(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.create(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / KEY_NAME).stat().st_mode & 0o777 == 0o600


def test_missing_key_is_none(tmp_path: Path) -> None:
    assert keys.load(tmp_path) is None
    assert keys.read_public(tmp_path) is None


def test_key_is_never_replaced(tmp_path: Path) -> None:
    keys.create(tmp_path)
    before = (tmp_path / KEY_NAME).read_bytes()
    with pytest.raises(Failed, match="never replaced"):
        keys.create(tmp_path)
    assert (tmp_path / KEY_NAME).read_bytes() == before


def test_link_laid_in_wait_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / KEY_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failed, match="exists already"):
        keys.create(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601, 0o777])
def test_key_open_to_others_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    keys.create(tmp_path)
    (tmp_path / KEY_NAME).chmod(mode)
    with pytest.raises(UserError, match=rf"mode {mode:04o}\): chmod 600 .*ledger\.key"):
        keys.load(tmp_path)
    with pytest.raises(UserError, match="chmod 600"):
        LedgerWriter(tmp_path)


def test_key_behind_a_link_is_refused(tmp_path: Path) -> None:
    keys.create(tmp_path)
    (tmp_path / KEY_NAME).rename(tmp_path / "moved")
    (tmp_path / KEY_NAME).symlink_to(tmp_path / "moved")
    with pytest.raises(UserError, match="symbolic link"):
        keys.load(tmp_path)


def test_pipe_in_place_of_the_key_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / KEY_NAME, 0o600)
    with pytest.raises(UserError, match="not a plain file"):
        keys.load(tmp_path)


def _pem(secret: x25519.X25519PrivateKey | ed25519.Ed25519PrivateKey, password: bytes = b"") -> str:
    lock = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    return secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock
    ).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a private key"),
        ("-----BEGIN PRIVATE KEY-----\n", "not a private key"),
        (_pem(x25519.X25519PrivateKey.generate()), "another kind"),
        (_pem(ed25519.Ed25519PrivateKey.generate(), b"secret"), "not a private key"),
    ],
)
def test_file_that_is_no_key_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / KEY_NAME).touch(mode=0o600)
    (tmp_path / KEY_NAME).write_text(text)
    with pytest.raises(Failed, match=why):
        keys.load(tmp_path)


def test_secret_shows_nowhere(rfc_key: SigningKey, tmp_path: Path) -> None:
    spellings = {SECRET.hex(), base64.b64encode(SECRET).decode(), repr(SECRET), str(list(SECRET))}
    shown = f"{rfc_key!r} {rfc_key} {rfc_key.public!r} {rfc_key.public.text}"
    assert repr(rfc_key) == f"SigningKey({rfc_key.public.name})"
    assert not any(spelling in shown for spelling in spellings)
    with pytest.raises(TypeError):
        pickle.dumps(rfc_key)
    # A key spoilt in its middle: the error says which file, never what was in it.
    (tmp_path / KEY_NAME).touch(mode=0o600)
    (tmp_path / KEY_NAME).write_text(_pem(rfc_key._secret).replace("END", "ENDE"))
    with pytest.raises(Failed) as refusal:
        keys.load(tmp_path)
    assert refusal.value.__cause__ is None
    body = _pem(rfc_key._secret).splitlines()[1]
    assert body not in str(refusal.value)


def test_public_half_is_written_and_read(tmp_path: Path, rfc_key: SigningKey) -> None:
    keys.write_public(tmp_path, rfc_key.public)
    assert keys.read_public(tmp_path) == rfc_key.public
    keys.write_public(tmp_path, rfc_key.public)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PUBLIC_NAME]


def test_public_half_that_was_edited_is_refused(tmp_path: Path, rfc_key: SigningKey) -> None:
    keys.write_public(tmp_path, rfc_key.public)
    path = tmp_path / PUBLIC_NAME
    text = path.read_bytes()
    for place in range(len(text)):
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
        with pytest.raises(Failed):
            keys.read_public(tmp_path)
    path.write_bytes(text + b"\n")
    with pytest.raises(Failed, match="not as this program wrote it"):
        keys.read_public(tmp_path)


def test_public_half_under_a_borrowed_name_is_refused(tmp_path: Path, rfc_key: SigningKey) -> None:
    keys.write_public(tmp_path, PublicKey("tapewright/" + "0" * 32, rfc_key.public.raw))
    with pytest.raises(Failed, match="not as this program wrote it"):
        keys.read_public(tmp_path)


def test_public_half_that_cannot_be_written_is_a_failure(
    tmp_path: Path, rfc_key: SigningKey
) -> None:
    (tmp_path / PUBLIC_NAME).mkdir()
    with pytest.raises(Failed, match="cannot be written"):
        keys.write_public(tmp_path, rfc_key.public)
    with pytest.raises(Failed, match="cannot be written"):
        keys.create(tmp_path / "nowhere")


def test_openssl_checks_a_signature_with_the_public_half(
    tmp_path: Path, rfc_key: SigningKey
) -> None:
    keys.write_public(tmp_path, rfc_key.public)
    (tmp_path / "text").write_bytes(b"what was signed\n")
    (tmp_path / "signature").write_bytes(rfc_key.sign(b"what was signed\n"))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", PUBLIC_NAME, "-rawin",
             "-in", "text", "-sigfile", "signature"]  # fmt: skip
    try:
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        pytest.skip("openssl is not on this machine")
    assert "Verified Successfully" in done.stdout, done.stderr
