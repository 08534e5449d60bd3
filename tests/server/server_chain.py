"""The tests' own reading of the audit trail's byte format; it shares nothing with the server."""

from __future__ import annotations

import hashlib
from typing import Any

SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def jcs(value: Any) -> str:
    """RFC 8785, for values without fractions, by the letter."""
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(member)}" for name, member in members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, str):
        return (
            '"'
            + "".join(SHORT.get(each) or (each if ord(each) > 0x1F else f"\\u{ord(each):04x}") for each in value)
            + '"'
        )
    return "null" if value is None else str(int(value))


def verify(entries: list[dict[str, Any]]) -> None:
    """Every entry's hash covers its event and the entry before; numbers have no gaps and times never fall."""
    previous, last = bytes(32), 0
    for number, entry in enumerate(entries, 1):
        event = entry["event"]
        assert event["seq"] == number
        assert event["time"] >= last
        assert entry["previous"] == previous.hex()
        previous, last = hashlib.sha256(previous + jcs(event).encode()).digest(), event["time"]
        assert entry["hash"] == previous.hex()
