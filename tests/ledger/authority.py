"""A time-stamping authority and a calendar on this machine, for tests of anchors.

The authority is ``openssl ts`` with a CA made for the test, behind a loopback HTTP server; both
can be told to misbehave. Nothing leaves the machine.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from ledger import anchors_ots as ots

HAS_OPENSSL = shutil.which("openssl") is not None
CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[tsa_cert]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[web_cert]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
[tsa]
default_tsa = tsa1
[tsa1]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
signer_digest = sha256
accuracy = secs:1
"""


def _openssl(folder: Path, *words: str) -> bytes:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=True)
    return done.stdout


class Authority:
    """A CA, and an authority whose certificate it signed."""

    def __init__(self, folder: Path, *, name: str = "Test TSA", use: str = "tsa_cert") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca = folder / "ca.pem"
        (folder / "serial").write_text("01\n")
        for file, subject in (("ca.cnf", f"{name} root"), ("tsa.cnf", name)):
            (folder / file).write_text(CONFIG.format(name=subject, folder=folder))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        _openssl(folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem",
                 "-days", "3650", "-config", "ca.cnf", "-extensions", "ca")  # fmt: skip
        _openssl(folder, "req", "-new", *curve, "-keyout", "tsa.key", "-out", "tsa.csr",
                 "-config", "tsa.cnf")  # fmt: skip
        _openssl(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                 "-set_serial", "2", "-days", "365", "-out", "tsa.pem", "-extfile", "tsa.cnf",
                 "-extensions", use)  # fmt: skip

    def reply(self, query: bytes) -> bytes:
        """Return what ``openssl ts`` answers."""
        (self.folder / "query.tsq").write_bytes(query)
        return _openssl(self.folder, "ts", "-reply", "-queryfile", "query.tsq", "-config",
                        "tsa.cnf", "-section", "tsa1")  # fmt: skip

    def query(self, data: bytes, *words: str) -> bytes:
        """Return a request over ``data`` by openssl; ``-cert`` asks for certificates."""
        (self.folder / "data").write_bytes(data)
        return _openssl(self.folder, "ts", "-query", "-data", "data", *words)


class Calendar:
    """A stub of an OpenTimestamps calendar; ``confirm`` puts all it has into a block."""

    def __init__(self) -> None:
        self.address = ""
        self.block: int | None = None
        self.asked: list[bytes] = []

    def submit(self, digest: bytes) -> bytes:
        self.asked.append(digest)
        stamp, tip = ots.begin(digest, b"of the calendar")
        tip.attested.add(ots.pending(self.address))
        return ots.answer_of(stamp)

    def timestamp(self, digest: bytes) -> bytes | None:
        """Return the rest of the way into the block, or None while there is none."""
        if self.block is None:
            return None
        stamp, tip = ots.begin(digest, b"a transaction")
        tip.attested.add(ots.bitcoin(self.block))
        return ots.answer_of(stamp)

    @staticmethod
    def root(commitment: bytes) -> str:
        """Return the Merkle root that a block explorer would show for ``commitment``."""
        return hashlib.sha256(commitment + b"a transaction").digest()[::-1].hex()


class Reply(msgspec.Struct, frozen=True):
    """One HTTP answer."""

    body: bytes
    status: int = 200
    kind: str = "application/timestamp-reply"
    drips: bool = False
    """A byte every tenth of a second, until the one who asked has gone."""


@contextmanager
def serving(answer: Callable[[str, bytes], Reply | None]) -> Iterator[str]:
    """Serve ``answer(path, body)`` on the loopback and yield the address; None never answers."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def do_GET(self) -> None:
            self._serve(b"")

        def _serve(self, body: bytes) -> None:
            reply = answer(self.path, body)
            if reply is None:
                over.wait(30)
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if not reply.drips:
                self.wfile.write(reply.body)
                return
            for place in range(len(reply.body)):
                try:
                    self.wfile.write(reply.body[place : place + 1])
                    self.wfile.flush()
                except OSError:
                    return
                if over.wait(0.1):
                    return

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def calendar_answer(calendar: Calendar) -> Callable[[str, bytes], Reply]:
    """Return the HTTP face of a calendar."""

    def answer(path: str, body: bytes) -> Reply:
        kind = "application/vnd.opentimestamps.v1"
        if path == "/digest":
            return Reply(calendar.submit(body), kind=kind)
        found = calendar.timestamp(bytes.fromhex(path.rpartition("/")[2]))
        if found is None:
            return Reply(b"Pending confirmation in Bitcoin blockchain", 404, "text/plain")
        return Reply(found, kind=kind)

    return answer
