"""The audit trail as a story read it: every page, put together by sequence number.

A page that came out of a cache has entries and the outcome unknown: what it shows
was in the trail, and what it does not show may have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from licensing_harness.checkers.index import Index, Licence, began
from licensing_harness.history import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, and the reading that showed it first."""

    seq: int
    actor: str
    action: str
    licence: str
    event: Mapping[str, Any]
    previous: str
    hash: str
    read_by: Operation
    device: str | None
    """The device that the event names, when it names one."""


@dataclass(slots=True, kw_only=True)
class Trail:
    """All entries by sequence number; ``last`` is the reading that began last."""

    entries: list[Entry] = field(default_factory=list)
    last: Operation | None = None
    until: float = 0.0
    """When the latest answer to a reading came: nothing sent later can be in it."""
    rewritten: list[tuple[Entry, Entry]] = field(default_factory=list)
    """Entries that a later reading showed with other content."""


def trail_of(index: Index) -> Trail:
    """The trail that a story read, put together once."""
    if "trail" not in index.kept:
        index.kept["trail"] = _assemble(index)
    trail: Trail = index.kept["trail"]
    return trail


def _assemble(index: Index) -> Trail:
    trail = Trail()
    known: dict[int, Entry] = {}
    for reading in index.verbs.get("audit_log", ()):
        if not reading.accepted and not reading.answer:
            continue
        if reading.accepted and (trail.last is None or began(trail.last) < began(reading)):
            trail.last = reading
        trail.until = max(trail.until, reading.ended)
        for entry in _entries(reading):
            before = known.setdefault(entry.seq, entry)
            if before is not entry and _content(before) != _content(entry):
                trail.rewritten.append((before, entry))
    trail.entries = [known[seq] for seq in sorted(known)]
    return trail


def _content(entry: Entry) -> tuple[Any, ...]:
    return entry.actor, entry.action, entry.licence, entry.event, entry.previous, entry.hash


def _entries(reading: Operation) -> Iterator[Entry]:
    for raw in reading.answer.get("entries", ()):
        event = raw.get("event") or {}
        yield Entry(
            seq=int(raw["seq"]),
            actor=str(raw.get("actor") or ""),
            action=str(raw.get("action") or ""),
            licence=str(raw.get("licence") or ""),
            event=event,
            device=next((each for each in fields_of(event, "device") if isinstance(each, str)), None),
            previous=str(raw.get("previous") or ""),
            hash=str(raw.get("hash") or ""),
            read_by=reading,
        )


def licences_by_id(index: Index) -> dict[str, Licence]:
    """The licences of a story by every id that an issue answered for them."""
    return {
        str(each.answer["id"]): licence
        for licence in index.licences.values()
        for each in licence.of("issue")
        if each.accepted and each.answer.get("id") is not None
    }


def fields_of(value: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Every value under ``name`` in nested JSON objects."""
    for key, inner in value.items():
        if key == name:
            yield inner
        elif isinstance(inner, Mapping):
            yield from fields_of(inner, name)
