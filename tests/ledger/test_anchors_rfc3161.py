"""Time-stamping tokens: of a real ``openssl ts``, and everything that is not one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError, ValueRefused
from ledger import anchors_rfc3161 as rfc3161
from tests.ledger.authority import HAS_OPENSSL, Authority

pytestmark = pytest.mark.skipif(
    not (HAS_OPENSSL and rfc3161.is_available()), reason="needs openssl and the extra `anchors`"
)
NOTE = b"a checkpoint\n"
DIGEST = hashlib.sha256(NOTE).digest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def roots(authority: Authority) -> bytes:
    return authority.ca.read_bytes()


@pytest.fixture(scope="module")
def asked(authority: Authority) -> tuple[rfc3161.Query, bytes]:
    query = rfc3161.query_for(NOTE)
    return query, authority.reply(query.data)


def refused(answer: bytes, roots: bytes, nonce: int | None = None, digest: bytes = DIGEST) -> str:
    with pytest.raises(ValueRefused) as found:
        rfc3161.check(answer, digest, roots, nonce)
    return str(found.value)


def test_a_token_says_the_time_who_signed_and_until_when_that_can_be_checked(
    asked: tuple[rfc3161.Query, bytes], roots: bytes
) -> None:
    query, answer = asked
    token = rfc3161.check(answer, DIGEST, roots, query.nonce)
    assert token.authority == "CN=Test TSA"
    assert token.at.endswith("Z")
    assert len(token.at) == 30
    assert token.until > token.at[:10]
    assert "CN=Test TSA root" in rfc3161.fingerprint_of(roots)


def test_a_query_holds_the_digest_and_not_the_checkpoint(
    asked: tuple[rfc3161.Query, bytes],
) -> None:
    query, _ = asked
    assert DIGEST in query.data
    assert NOTE not in query.data
    assert rfc3161.query_for(NOTE).nonce != query.nonce


def test_another_text_nonce_hash_or_ca_is_refused(
    authority: Authority, asked: tuple[rfc3161.Query, bytes], roots: bytes, tmp_path: Path
) -> None:
    query, answer = asked
    other = hashlib.sha256(b"another checkpoint\n").digest()
    assert "of another text" in refused(answer, roots, query.nonce, other)
    assert "nonce is not ours" in refused(answer, roots, query.nonce + 1)
    without = authority.reply(authority.query(NOTE, "-sha256", "-cert", "-no_nonce"))
    assert "nonce is not ours" in refused(without, roots, query.nonce)
    longer = authority.reply(authority.query(NOTE, "-sha512", "-cert"))
    assert "another kind of hash" in refused(longer, roots)
    stranger = Authority(tmp_path / "other", name="Stranger")
    assert "certificate verify error" in refused(answer, stranger.ca.read_bytes(), query.nonce)
    forged = stranger.reply(query.data)
    assert "certificate verify error" in refused(forged, roots, query.nonce)


def test_an_authority_that_leaves_its_certificate_out_is_checked_with_that_in_the_users_file(
    authority: Authority, roots: bytes
) -> None:
    answer = authority.reply(authority.query(NOTE, "-sha256"))
    assert "neither in the token nor in the CA file" in refused(answer, roots)
    both = (authority.folder / "tsa.pem").read_bytes() + roots
    assert rfc3161.check(answer, DIGEST, both).authority == "CN=Test TSA"
    assert "of another text" in refused(answer, both, digest=bytes(32))


def test_what_is_no_answer_or_a_refusal_is_refused(authority: Authority, roots: bytes) -> None:
    assert "not an RFC 3161 response" in refused(b"", roots)
    assert "not an RFC 3161 response" in refused(b"<html>busy</html>", roots)
    assert "the authority refused: status 2" in refused(authority.reply(b"garbage"), roots)


def test_a_changed_byte_never_gives_another_time_or_name(
    asked: tuple[rfc3161.Query, bytes], roots: bytes
) -> None:
    """Some bytes of CMS are signed by nobody; the digest in the event covers those."""
    query, answer = asked
    right = rfc3161.check(answer, DIGEST, roots, query.nonce)
    random, refusals = np.random.default_rng(11), 0
    for place in random.integers(0, len(answer), 150).tolist():
        spoilt = bytearray(answer)
        spoilt[place] ^= int(random.integers(1, 256))
        try:
            assert rfc3161.check(bytes(spoilt), DIGEST, roots, query.nonce) == right
        except ValueRefused:
            refusals += 1
    assert refusals > 100


def test_roots_that_are_none_are_refused(asked: tuple[rfc3161.Query, bytes]) -> None:
    for pem in (b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        assert "no certificates" in refused(asked[1], pem)


def test_without_the_extra_the_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, roots: bytes
) -> None:
    monkeypatch.setattr(rfc3161, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'tapewright\[anchors\]'"):
        rfc3161.query_for(NOTE)
    with pytest.raises(UserError, match="extra `anchors`"):
        rfc3161.check(b"", DIGEST, roots)
