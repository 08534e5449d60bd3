"""The record of a run: operations and faults in order, as JSON lines.

The first line is a :class:`Header`. Every other line is a record of one story:
``story`` opens it, ``begin``, ``operation`` and ``fault`` belong to it, ``end``
closes it with its plan. Record numbers ``n`` count within a story, from 1, in
the order in which operations *began*. Times are monotonic seconds from the
start of the story's world.

An operation is written when it ended. Where the process could be killed before
that (the live world), a ``begin`` line goes first; a ``begin`` with no
``operation`` is read back as an operation of unknown outcome.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

import msgspec

from licensing_harness.errors import UsageError
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import Contract, FaultKind, Outcome

SCHEMA: Final = 1


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="header"):
    """The first line: what was judged, and by which numbers."""

    schema: int = SCHEMA
    run: str = ""
    harness: str = ""
    target: str = ""
    capabilities: tuple[str, ...] = ()
    not_applicable: dict[str, str] = {}
    contract: dict[str, float] = {}
    seed: int = 0


class StoryOpened(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="story", omit_defaults=True):
    """A story begins. ``tries``: ids of the promises that its scenario claims to try."""

    story: str
    world: str
    scenario: str
    tries: tuple[str, ...] = ()
    seed: str = ""


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="begin", omit_defaults=True):
    """An operation was sent; its end may never be known."""

    n: int
    story: str
    client: str
    verb: str
    begin: float
    licence: str = ""
    asked: dict[str, Any] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="operation", omit_defaults=True):
    """One call and its outcome.

    ``licence`` is the story's own label (``L1``), ``asked`` what was asked for,
    ``answer`` what the target stated. ``end`` is None when no end was seen.
    """

    n: int
    story: str
    client: str
    verb: str
    begin: float
    end: float | None = None
    outcome: Outcome = Outcome.UNKNOWN
    licence: str = ""
    reason: str = ""
    asked: dict[str, Any] = {}
    answer: dict[str, Any] = {}

    @property
    def accepted(self) -> bool:
        """The target said yes."""
        return self.outcome is Outcome.ACCEPTED

    @property
    def refused(self) -> bool:
        """The target said no."""
        return self.outcome is Outcome.REFUSED

    @property
    def unknown(self) -> bool:
        """It may have taken effect or not."""
        return self.outcome is Outcome.UNKNOWN

    @property
    def ended(self) -> float:
        """``end``, or infinity while it is not known."""
        return float("inf") if self.end is None else self.end


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="fault", omit_defaults=True):
    """Something done to the wire, a process, the clock or a store.

    ``met`` counts how often traffic ran into it: a fault that was set and never
    met proves nothing.
    """

    n: int
    story: str
    fault: FaultKind
    begin: float
    end: float | None = None
    where: str = ""
    met: int = 0
    detail: dict[str, Any] = {}


class StoryEnded(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="end", omit_defaults=True):
    """A story ended. ``plan`` is what ``replay`` runs again."""

    story: str
    plan: list[dict[str, Any]] = []


Record = StoryOpened | Begun | Operation | Fault | StoryEnded
_encode = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_record = msgspec.json.Decoder(Record).decode


@dataclass(slots=True)
class StoryHistory:
    """One story, as checkers read it. ``complete`` is false when the run was cut short in it."""

    story: str
    world: str
    scenario: str
    tries: tuple[str, ...] = ()
    seed: str = ""
    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False

    def record(self, n: int) -> Operation | Fault | None:
        """The operation or fault with number ``n``."""
        operation = next((each for each in self.operations if each.n == n), None)
        return operation or next((each for each in self.faults if each.n == n), None)

    def digest(self) -> str:
        """SHA-256, in hexadecimal, over all operations and faults: equal for equal histories.

        Two empty histories are equal as well: compare digests only of stories in which something happened.
        """
        records: list[Record] = [*self.operations, *self.faults]
        return hashlib.sha256(b"\n".join(map(_encode, records))).hexdigest()


class HistoryWriter:
    """Streams records to a file, masked, one line each; every line is flushed when ``durable``.

    Safe to use from several threads. With no file it only counts, which is what
    a simulated story that nobody keeps wants.
    """

    def __init__(self, path: Path | None, header: Header, masker: Masker | None = None) -> None:
        self._masker = masker or Masker()
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self.lines = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._write(header)
            self.flush()

    def write(self, *records: Record) -> None:
        """Append records in this order."""
        if self._file is not None:
            with self._lock:
                for record in records:
                    self._write(record)

    def _write(self, record: Header | Record) -> None:
        if self._file is not None:
            line = self._masker.mask(_encode(record).decode())
            self._file.write(line.encode() + b"\n")
            self.lines += 1

    def flush(self) -> None:
        """Hand what was written to the operating system: a killed run still reports."""
        if self._file is not None:
            with self._lock:
                self._file.flush()

    def close(self) -> None:
        """Flush and close; harmless when repeated."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class History:
    """A whole run read back. ``torn`` says what was dropped from the end, if anything."""

    header: Header
    stories: dict[str, StoryHistory]
    torn: str = ""

    @property
    def contract(self) -> Contract:
        """The numbers that the target stated when the run was recorded."""
        known = {name: value for name, value in self.header.contract.items() if name in Contract.__slots__}
        return Contract(**known)


def read_header(path: Path) -> Header:
    """The first line of a history.

    Raises UsageError when the file is missing, empty, no history, or of a
    schema newer than this harness knows.
    """
    try:
        with path.open("rb") as lines:
            first = lines.readline()
    except OSError as error:
        message = f"{path}: can't be read ({error.strerror}). Give a history.jsonl from a run directory."
        raise UsageError(message) from error
    return _header(path, first)


def _header(path: Path, first: bytes) -> Header:
    try:
        header = _decode_header(first)
    except msgspec.DecodeError as error:
        message = f"{path}:1: not a history: {error}. The first line must be a header record."
        raise UsageError(message) from error
    if header.schema > SCHEMA:
        message = (
            f"{path}:1: written in history schema {header.schema}; this version reads up to {SCHEMA}. "
            "Upgrade licensing-harness to judge it."
        )
        raise UsageError(message)
    return header


def read_history(path: Path) -> History:
    """Read a history back, story by story.

    A torn last line is dropped and said so in ``History.torn``. Raises
    UsageError with file and line for anything else that is off.
    """
    header = read_header(path)
    history = History(header=header, stories={})
    with path.open("rb") as lines:
        next(lines)
        assemble = _Assembler(history.stories)
        for number, line in enumerate(lines, start=2):
            try:
                assemble.add(_decode_record(line))
            except (msgspec.DecodeError, KeyError) as error:
                if not line.endswith(b"\n"):
                    history.torn = f"{path}:{number}: the last line was cut ({len(line)} bytes) and is not judged"
                    break
                what = f"no story {error} was opened before" if isinstance(error, KeyError) else str(error)
                message = f"{path}:{number}: damaged history: {what}. Only a torn last line can be judged without."
                raise UsageError(message) from error
        assemble.close()
    return history


def stories_of(records: Iterable[Record]) -> dict[str, StoryHistory]:
    """Stories assembled from records in memory (hand-written histories, tests)."""
    stories: dict[str, StoryHistory] = {}
    assemble = _Assembler(stories)
    for record in records:
        assemble.add(record)
    assemble.close()
    return stories


class _Assembler:
    def __init__(self, stories: dict[str, StoryHistory]) -> None:
        self._stories = stories
        self._open: dict[tuple[str, int], Begun] = {}

    def add(self, record: Record) -> None:
        match record:
            case Operation():
                self._open.pop((record.story, record.n), None)
                self._stories[record.story].operations.append(record)
            case Begun():
                _ = self._stories[record.story]
                self._open[record.story, record.n] = record
            case Fault():
                self._stories[record.story].faults.append(record)
            case StoryOpened():
                self._stories[record.story] = StoryHistory(
                    story=record.story,
                    world=record.world,
                    scenario=record.scenario,
                    tries=record.tries,
                    seed=record.seed,
                )
            case StoryEnded():
                ended = self._stories[record.story]
                ended.plan = record.plan
                ended.complete = True

    def close(self) -> None:
        for begun in self._open.values():
            self._stories[begun.story].operations.append(
                Operation(
                    n=begun.n,
                    story=begun.story,
                    client=begun.client,
                    verb=begun.verb,
                    begin=begun.begin,
                    licence=begun.licence,
                    asked=begun.asked,
                    reason="the run ended before an answer came",
                )
            )
        for story in self._stories.values():
            story.operations.sort(key=lambda operation: operation.n)


def lines_of(story: StoryHistory) -> Iterator[Record]:
    """The records of one story, in file order."""
    yield StoryOpened(story=story.story, world=story.world, scenario=story.scenario, tries=story.tries, seed=story.seed)
    numbered: list[Operation | Fault] = [*story.operations, *story.faults]
    yield from sorted(numbered, key=lambda record: record.n)
    if story.complete:
        yield StoryEnded(story=story.story, plan=story.plan)


def summary(asked: Mapping[str, Any]) -> str:
    """``asked`` as one short text for evidence lines: ``device=laptop seats=1``."""
    return " ".join(f"{name}={value}" for name, value in asked.items() if value not in (None, "", [], ()))
