"""Makes the receipt of a recorded run: what was pinned, and the run lived through again."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import msgspec

from agents.registry import open_policy
from cli.relive import captures_of, relive
from core.config import Settings, load_settings
from core.errors import Failed, UserError
from core.state import StateDir
from core.versions import code_digest, lock_digest, version, versions
from ledger.manifest import settings_of, settings_tree
from ledger.receipt import Fact, Receipt, receipt_of
from ledger.recorded import RecordedRun, read_run
from ledger.replay import ReplaySink


def make_receipt(
    state_dir: Path, key: str, captures: list[Path], config: Path | None = None
) -> Receipt:
    """Live through the run that ``key`` names and return what came of it.

    Errors: ``UserError`` if no run is called that, ``Failed`` if the ledger cannot be read.
    """
    found = read_run(state_dir, key)
    settings, facts = _settings(found, config)
    sink, notes = ReplaySink(found), list[str]()
    try:
        facts += _facts(state_dir, found, settings)
        sink, notes = _relive(state_dir, found, settings, captures, facts)
    except (UserError, Failed) as error:
        notes.append(f"cannot be replayed: {error}")
    return receipt_of(found, sink, facts, notes)


def _relive(
    state_dir: Path, run: RecordedRun, settings: Settings, given: list[Path], facts: list[Fact]
) -> tuple[ReplaySink, list[str]]:
    captures = captures_of(state_dir, run, given)
    facts += _input_facts(run, captures)
    ending = relive(state_dir, run, settings, captures)
    return ending.sink, ending.notes


def _settings(run: RecordedRun, config: Path | None) -> tuple[Settings, list[Fact]]:
    """Return the settings to replay with, and each that is not the run's."""
    recorded = settings_of(run.started.settings)
    settings = recorded if config is None else _with(recorded, config)
    facts = [
        Fact("config digest", run.started.config_digest, settings.digest()),
        Fact("limits digest", run.started.limits_digest, settings.limits_digest()),
    ]
    was, now = settings_tree(recorded), settings_tree(settings)
    for section, table in now.items():
        for key, value in table.items():
            if was[section][key] != value:
                facts.append(Fact(f"[{section}] {key}", str(was[section][key]), str(value)))
    return settings, facts


def _with(settings: Settings, path: Path) -> Settings:
    """Return ``settings`` with what the file names in its place. Errors: ``ConfigError``."""
    given = load_settings(path)
    named = tomllib.loads(path.read_text(encoding="utf-8"))
    sections = {
        name: msgspec.structs.replace(
            getattr(settings, name), **{key: getattr(getattr(given, name), key) for key in keys}
        )
        for name, keys in named.items()
    }
    return msgspec.structs.replace(settings, **sections)


def _facts(state_dir: Path, run: RecordedRun, settings: Settings) -> list[Fact]:
    started = run.started
    facts = [
        Fact("program", started.program_version, version()),
        Fact("code digest", started.code_digest, code_digest()),
        Fact("lock file digest", started.lock_digest, lock_digest()),
    ]
    facts += _each("version of", started.versions, versions())
    return facts + _each("", started.agent, _agent_digests(state_dir, settings))


def _agent_digests(state_dir: Path, settings: Settings) -> dict[str, str]:
    if not settings.agent.enabled:
        return {}
    return open_policy(settings.agent.id, StateDir(state_dir).models).digests


def _each(what: str, was: dict[str, str], now: dict[str, str]) -> list[Fact]:
    names = dict.fromkeys([*was, *now])
    return [Fact(f"{what} {name}".strip(), was.get(name, ""), now.get(name, "")) for name in names]


def _input_facts(run: RecordedRun, captures: list[Path]) -> list[Fact]:
    """Compare the recordings with what the ledger says of them."""
    if run.started.source == "sim":
        return []
    if run.started.source == "live":
        wanted = {file.name: file.digest for file in run.files}
        return [
            Fact(f"recording {path.name}", wanted.get(path.name, "not in the ledger"), _sha(path))
            for path in captures
        ]
    return [Fact("capture", run.started.source, f"sha256:{_sha(captures[0])}")]


def _sha(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
