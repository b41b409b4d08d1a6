"""RFC 3161: asking a time-stamping authority, and checking what it answers.

The answer is checked for status, imprint, nonce, signature and a chain of certificates to the CA
that the user trusts, valid at the time it states. ``rfc3161-client`` does the ASN.1 and the CMS
(Apache-2.0, by Trail of Bits, on the ``cryptography`` that we have); it is the extra ``anchors``,
and without it a token is kept but its signature is not checked.
Source: RFC 3161, 2.4.1 (request), 2.4.2 (response), 3.4 (HTTP).
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from core.clock import iso_ns
from core.errors import UserError, ValueRefused

if TYPE_CHECKING:
    from rfc3161_client import SignerInfo, TimeStampTokenInfo

CONTENT_TYPE, ANSWER_TYPE = "application/timestamp-query", "application/timestamp-reply"
ANSWER_BYTES_MAX = 65_536
ROOTS_BYTES_MAX = 1_048_576
MISSING = "this needs the extra `anchors`: pip install 'tapewright[anchors]'"
_UNREADABLE = (
    ValueError, TypeError, LookupError, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType, UnsupportedAlgorithm, UserWarning,
)  # fmt: skip
"""What the libraries raise for bytes that are not what they should be."""
_SHA256_OID = x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1")


class Query(msgspec.Struct, frozen=True):
    """What is sent, and the nonce that must come back."""

    data: bytes
    nonce: int


class Token(msgspec.Struct, frozen=True):
    """What a token that holds says."""

    at: str
    """The time that the authority states, ISO 8601 UTC."""
    authority: str
    """Subject of the certificate that signed."""
    until: str
    """The day on which that certificate ends."""


def is_available() -> bool:
    """Tell whether the extra is installed."""
    return importlib.util.find_spec("rfc3161_client") is not None


def query_for(note: bytes) -> Query:
    """Return the request for a time stamp of ``note``, whose digest alone is in it.

    Errors: ``UserError`` without the extra.
    """
    if not is_available():
        raise UserError(MISSING)
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    request = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256).build()
    assert request.nonce is not None  # the builder always asks for one
    return Query(request.as_bytes(), request.nonce)


def roots_of(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a PEM file. Errors: ``ValueRefused``."""
    try:
        roots = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueRefused("it holds no certificates in PEM form") from error
    if not roots:
        raise ValueRefused("it holds no certificates in PEM form")
    return roots


def read_roots(path: Path) -> bytes:
    """Return a PEM file of certificates. Errors: ``UserError`` for one that is none."""
    try:
        with path.expanduser().open("rb") as file:
            pem = file.read(ROOTS_BYTES_MAX)
        roots_of(pem)
    except OSError as error:
        raise UserError(f"the CA file {path} cannot be read ({error.strerror})") from error
    except ValueRefused as error:
        raise UserError(f"the CA file {path}: {error}") from error
    return pem


def fingerprint_of(pem: bytes) -> str:
    """Return SHA-256 and subject of the first CA of a PEM file, as the CA publishes them."""
    root = roots_of(pem)[0]
    return f"{root.fingerprint(hashes.SHA256()).hex()} ({root.subject.rfc4514_string()})"


def check(answer: bytes, digest: bytes, roots: bytes, nonce: int | None = None) -> Token:
    """Return what ``answer`` proves of the text with SHA-256 ``digest``.

    ``nonce``: that of the request; None for a stored answer, where it proves nothing more.
    Errors: ``ValueRefused`` with what is wrong, ``UserError`` without the extra.
    """
    if not is_available():
        raise UserError(MISSING)
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    trusted = roots_of(roots)
    try:
        found = decode_timestamp_response(answer)
        status, words = int(found.status), " ".join(found.status_string)
    except _UNREADABLE as error:
        raise ValueRefused("the answer is not an RFC 3161 response") from error
    if status != 0:
        raise ValueRefused(f"the authority refused: status {status} {words!r:.200}")
    try:
        stated = found.tst_info
        _check_stated(stated, digest, nonce)
        with warnings.catch_warnings():  # what the library merely frowns at is refused here
            warnings.simplefilter("error", UserWarning)
            sent = [x509.load_der_x509_certificate(each) for each in found.signed_data.certificates]
            leaf = _leaf_of([*sent, *trusted], found.signed_data.signer_infos)
            # An authority may leave its certificate out; then it is in the user's file.
            alone = None if sent else leaf
            VerifierBuilder(roots=trusted, tsa_certificate=alone).build().verify(found, digest)
    except (VerificationError, *_UNREADABLE) as error:
        raise ValueRefused(f"the token does not hold: {_reason(error)}") from error
    at_ns = int(stated.gen_time.timestamp()) * 1_000_000_000 + stated.gen_time.microsecond * 1_000
    until = leaf.not_valid_after_utc.date().isoformat()
    return Token(iso_ns(at_ns), leaf.subject.rfc4514_string(), until)


def _check_stated(stated: TimeStampTokenInfo, digest: bytes, nonce: int | None) -> None:
    if stated.message_imprint.hash_algorithm != _SHA256_OID:
        raise ValueRefused("the token is over another kind of hash than SHA-256")
    if stated.message_imprint.message != digest:
        raise ValueRefused("the token is of another text: its imprint is not this digest")
    if nonce is not None and stated.nonce != nonce:
        raise ValueRefused("the token answers another request: its nonce is not ours")


def _reason(error: Exception) -> str:
    """Return what OpenSSL says, without the addresses of its source."""
    reasons: list[str] = re.findall(r'reason: "([^"]*)"', str(error))
    return ", ".join(reasons) or str(error)[:200]


def _leaf_of(certificates: list[x509.Certificate], signers: set[SignerInfo]) -> x509.Certificate:
    """Return the certificate that signed, of those in the token or the user's file."""
    (signer,) = signers
    for found in certificates:
        if found.issuer == signer.issuer and found.serial_number == signer.serial_number:
            return found
    raise ValueRefused("the certificate that signed is neither in the token nor in the CA file")
