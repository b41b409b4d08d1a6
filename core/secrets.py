"""A venue's keys: found in the environment, the OS keyring or a file only we can read.

Never on the command line, in the configuration, in a log or in a capture: a protocol names the
keys by the marks below, and the socket puts them in as it sends. What is printed of the keys here
is where they are, never their text.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import platformdirs
from typing_extensions import override

from core.errors import UserError

KEY_ID, KEY_SECRET = "<KEY-ID>", "<KEY-SECRET>"
"""Marks that stand for the keys in what a protocol asks to send."""
SERVICE = "tapewright"
"""Our name in the OS keyring; the user name of an entry is the venue's."""
FILE_NAME = "secrets.toml"
ENVIRONMENT = {"alpaca": ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")}
"""The names that the venue's own tools read. Source: Alpaca documentation, "Authentication"."""
VENUES_WITH_KEYS = tuple(ENVIRONMENT)
KEY_CHARS_MAX = 256
_QUOTING = frozenset('"\\')


class KeyStore(Protocol):
    """The part of the ``keyring`` library that is used."""

    def get_password(self, service: str, name: str, /) -> str | None: ...
    def set_password(self, service: str, name: str, text: str, /) -> None: ...
    def delete_password(self, service: str, name: str, /) -> None: ...


class VenueKeys:
    """One venue's keys, hidden from ``repr``, ``str`` and tracebacks.

    Errors: ``UserError`` for keys that are no plain text; it never tells them.
    """

    __slots__ = ("_key_id", "_secret", "source")

    def __init__(self, key_id: str, secret: str, source: str) -> None:
        for what, text in (("key id", key_id), ("secret", secret)):
            is_plain = text.isascii() and text.isprintable() and not _QUOTING & set(text)
            if not 0 < len(text) <= KEY_CHARS_MAX or not is_plain or " " in text:
                raise UserError(f"the {what} from {source} was empty or was not plain text")
        self._key_id, self._secret = key_id, secret
        self.source = source
        """Where they were found, for people."""

    @override
    def __repr__(self) -> str:
        return f"VenueKeys(hidden, from {self.source})"

    @override
    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("keys are not copied or written anywhere")

    def fill(self, text: str) -> str:
        """Return ``text`` with the keys in place of their marks."""
        return text.replace(KEY_ID, self._key_id).replace(KEY_SECRET, self._secret)

    def hide(self, text: str) -> str:
        """Return ``text`` with the marks in place of the keys: for what a venue says back."""
        return text.replace(self._secret, KEY_SECRET).replace(self._key_id, KEY_ID)

    def store(self, venue: str, store: KeyStore | None = None) -> str:
        """Keep them in the OS keyring, or in the file where there is none; return where."""
        entry = json.dumps({"key_id": self._key_id, "secret": self._secret})
        try:
            (store or _keyring()).set_password(SERVICE, venue, entry)
        except _no_keyring():
            path = secrets_file()
            table = _read_file(path)
            table[venue] = {"key_id": self._key_id, "secret": self._secret}
            _write_file(path, table)
            return f"the file {path}"
        _drop_from_file(venue)
        return "the OS keyring"


def keep_text(name: str, text: str, store: KeyStore | None = None) -> None:
    """Keep a secret text in the OS keyring. Errors: ``UserError`` where there is none, or shut."""
    from keyring.errors import NoKeyringError

    try:
        (store or _keyring()).set_password(SERVICE, name, text)
    except NoKeyringError as error:
        raise UserError("there is no OS keyring here; a file of mode 0600 is as safe") from error
    except _no_keyring() as error:
        raise _shut(error) from error


def find_text(name: str, store: KeyStore | None = None) -> str | None:
    """Return a secret text of the OS keyring; None where it, or the keyring, is not there.

    Errors: ``UserError`` for a keyring that is there and is locked or denies.
    """
    from keyring.errors import NoKeyringError

    try:
        return (store or _keyring()).get_password(SERVICE, name)
    except NoKeyringError:
        return None
    except _no_keyring() as error:
        raise _shut(error) from error


def forget_text(name: str, store: KeyStore | None = None) -> None:
    """Remove a secret text from the OS keyring, if it is there. Errors: as ``find_text``."""
    from keyring.errors import NoKeyringError, PasswordDeleteError

    try:
        (store or _keyring()).delete_password(SERVICE, name)
    except (NoKeyringError, PasswordDeleteError):
        return
    except _no_keyring() as error:
        raise _shut(error) from error


def _shut(error: Exception) -> UserError:
    said = str(error).strip() or type(error).__name__
    return UserError(
        f"the OS keyring is locked or denies ({said}): unlock it (log in to the desktop, or start "
        "gnome-keyring-daemon --unlock) and repeat"
    )


def loopback_keys() -> VenueKeys:
    """Return the stand-in that a test bed on this machine is given: it needs no real keys."""
    return VenueKeys("loopback-key", "loopback-secret", "the test bed's stand-in")


def find_keys(
    venue: str, environ: Mapping[str, str] | None = None, store: KeyStore | None = None
) -> VenueKeys | None:
    """Return the keys of ``venue``, or None where there are none.

    The environment comes first (it is of this run), then the OS keyring, then the file.

    Errors: ``UserError`` for half a pair, or a file that others can read or that is no TOML.
    """
    environ = os.environ if environ is None else environ
    names = ENVIRONMENT[venue]
    given = [environ.get(name, "") for name in names]
    if any(given):
        if not all(given):
            missing = names[given.index("")]
            raise UserError(f"{venue}: the environment has one key but no {missing}; set both")
        return VenueKeys(given[0], given[1], "the environment")
    with contextlib.suppress(*_no_keyring()):
        entry = (store or _keyring()).get_password(SERVICE, venue)
        if entry is not None:
            return _pair(entry_of(entry), "the OS keyring")
    path = secrets_file()
    table = _read_file(path)
    return _pair(table[venue], f"the file {path}") if venue in table else None


def forget_keys(venue: str, store: KeyStore | None = None) -> list[str]:
    """Remove the keys of ``venue``; return the places that had them."""
    places = []
    with contextlib.suppress(*_no_keyring()):
        keyring = store or _keyring()
        if keyring.get_password(SERVICE, venue) is not None:
            keyring.delete_password(SERVICE, venue)
            places.append("the OS keyring")
    if _drop_from_file(venue):
        places.append(f"the file {secrets_file()}")
    return places


def missing_keys(venue: str) -> UserError:
    """Return the error that says how to give a venue its keys."""
    names = " and ".join(ENVIRONMENT[venue])
    return UserError(
        f"venue {venue} needs keys and there are none: `tapewright secrets set {venue}` stores "
        f"them (free ones do), or set {names}"
    )


def secrets_file() -> Path:
    """Return the place of the file that is used where there is no OS keyring."""
    return platformdirs.user_config_path("tapewright") / FILE_NAME


def entry_of(text: str) -> dict[str, str]:
    """Return the pair kept in a keyring entry; an entry of another make is empty."""
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _pair(entry: Mapping[str, object], source: str) -> VenueKeys:
    return VenueKeys(str(entry.get("key_id", "")), str(entry.get("secret", "")), source)


def _keyring() -> KeyStore:
    # Imported where needed: it looks for back ends on the system, which costs a start 0.1 s.
    import keyring  # a module with these three functions
    from keyring.errors import NoKeyringError

    # Below 1 are those that keep plain text, or nothing: our own file of mode 0600 is no worse,
    # and says what it is. Source: keyring, ``backend.py``, "priority".
    if keyring.get_keyring().priority < 1:
        raise NoKeyringError("no keyring that keeps a secret")
    return keyring


def _no_keyring() -> tuple[type[Exception], ...]:
    """Return what ``keyring`` raises where the system has none, or a locked one."""
    from keyring.errors import KeyringError

    return (KeyringError,)


def _read_file(path: Path) -> dict[str, dict[str, str]]:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid():
            raise UserError(f"{path}: others can read it; `chmod 600 {path}` and new keys")
        try:
            table = tomllib.load(file)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            # The error's own text may quote the line, which may be the secret.
            raise UserError(f"{path}: was not TOML; write [alpaca], key_id, secret") from error
    return {venue: entry for venue, entry in table.items() if isinstance(entry, dict)}


def _write_file(path: Path, table: Mapping[str, Mapping[str, str]]) -> None:
    lines = []
    for venue, entry in table.items():
        lines += [f"[{venue}]", *(f'{name} = "{text}"' for name, text in entry.items()), ""]
    draft = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _drop_from_file(venue: str) -> bool:
    path = secrets_file()
    table = _read_file(path)
    if table.pop(venue, None) is None:
        return False
    if table:
        _write_file(path, table)
    else:
        path.unlink()
    return True
