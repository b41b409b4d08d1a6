"""JSON Schemas of every event type as stored, for readers without this program.

Derived from the types themselves. Stored events differ from them in two ways: floats are decimal
text, and integers beyond 2**53 - 1 are text (``ledger.canonical``).
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec

from core.model.event import AnyEvent
from ledger.envelope import Envelope

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DECIMAL = r"-?[0-9]+(\.[0-9]+)?"
_LARGE = {"type": "string", "pattern": "-?[0-9]{16,}"}
"""An integer that not every JSON reader would keep exact."""


def schema_files() -> dict[str, bytes]:
    """Return the schemas by file name: one an event type for its payload, one for the envelope."""
    kinds = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)}
    files = {f"{tag}.json": _as_json(_schema_of(kind, tag)) for tag, kind in kinds.items()}
    envelope = _schema_of(Envelope, "envelope")
    envelope["properties"]["payload"] = {"type": "object"}
    return {"envelope.json": _as_json(envelope), **files}


def _schema_of(kind: type, title: str) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind])
    stored = {name: _as_stored(each) for name, each in components.items()}
    top: dict[str, Any] = stored.pop(kind.__name__)
    top["properties"].pop("type" if title != "envelope" else "", None)
    top["required"] = [name for name in top.get("required", []) if name in top["properties"]]
    return {"$schema": DIALECT, **top, "title": title, "$defs": stored}


def _as_stored(schema: Any) -> Any:
    """Return a schema of values as that of their canonical form."""
    if isinstance(schema, list):
        return [_as_stored(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number" or schema.get("format") == "decimal":
        return {"type": "string", "pattern": DECIMAL}
    if schema.get("type") == "integer":
        return {"anyOf": [{"type": "integer"}, _LARGE]}
    kept = {name: _as_stored(each) for name, each in schema.items() if name != "default"}
    if "properties" in schema:
        kept["properties"] = {name: _as_stored(each) for name, each in schema["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def _as_json(schema: dict[str, Any]) -> bytes:
    return (json.dumps(schema, indent=1, sort_keys=True) + "\n").encode()
