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
from typing import IO, Any, Final, Literal, Self

import msgspec

from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import Contract, FaultKind, Outcome

SCHEMA: Final = 1


# Records hold plain JSON values and never each other, so no cycle can go through one: ``gc=False`` spares the garbage
# collector a look at each of a long history.


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
    settings: dict[str, str] = {}
    """How the target was named: ``target``, ``adapter``, ``control``, ``defect``. What replay starts again."""


class StoryOpened(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="story", omit_defaults=True):
    """A story begins. ``tries``: ids of the promises that its scenario claims to try."""

    story: str
    world: str
    scenario: str
    tries: tuple[str, ...] = ()
    seed: str = ""
    drill: dict[str, Any] = {}
    """The drill that this story is the outage of, as its file has it; empty for every other story."""


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="begin", omit_defaults=True, gc=False):
    """An operation was sent; its end may never be known."""

    n: int
    story: str
    client: str
    verb: str
    begin: float
    licence: str = ""
    asked: dict[str, Any] = {}


class Operation(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="operation", omit_defaults=True, gc=False
):
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


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="fault", omit_defaults=True, gc=False):
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
    """A story ended. ``plan`` is what ``replay`` runs again; ``not_run`` says why it stopped before its point."""

    story: str
    plan: list[dict[str, Any]] = []
    not_run: str = ""
    called_off: str = ""
    """Why a drill was stopped before its end, if it was."""
    clean_up: int = 0
    """The number of the first record of a drill's clean-up; 0: there was none."""


Record = StoryOpened | Begun | Operation | Fault | StoryEnded
_encode = msgspec.json.Encoder().encode


class _Version(msgspec.Struct):
    kind: Literal["header"]
    schema: int = SCHEMA


_decode_version = msgspec.json.Decoder(_Version).decode
_decode_header = msgspec.json.Decoder(Header).decode
_decode_record = msgspec.json.Decoder(Record).decode


@dataclass(slots=True)
class StoryHistory:
    """One story, as checkers read it. ``complete`` is false when the run was cut short in it.

    ``not_run`` says why the scenario could not be tried to its end, if so.
    """

    story: str
    world: str
    scenario: str
    tries: tuple[str, ...] = ()
    seed: str = ""
    operations: list[Operation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    plan: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False
    not_run: str = ""
    drill: dict[str, Any] = field(default_factory=dict)
    called_off: str = ""
    clean_up: int = 0
    announced: bool = False
    """Calls were written down before they were sent, so that none is missing even when the run was killed."""

    @property
    def judgeable(self) -> bool:
        """Whether every call that was sent is in the record."""
        return self.complete or self.announced

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
    """Streams records to a file, masked, one line each; every write is flushed when ``durable``.

    Safe to use from several threads. With no file it does nothing, which is what
    a simulated story that nobody keeps wants. Raises HarnessError when the disk
    does not take a record: a history with holes can't be judged.
    """

    def __init__(
        self, path: Path | None, header: Header, masker: Masker | None = None, *, durable: bool = False
    ) -> None:
        self._masker = masker or Masker()
        self._durable = durable
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self.lines = 0
        if path is not None:
            self._path = path
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("wb")
            except OSError as error:
                raise self._failed(error) from error
            self._write(header)
            self.flush()

    def write(self, *records: Record) -> None:
        """Append records in this order."""
        if self._file is not None:
            with self._lock:
                for record in records:
                    self._write(record)
                if self._durable:
                    self._flush()

    def _write(self, record: Header | Record) -> None:
        if self._file is not None:
            line = self._masker.mask(_encode(record).decode())
            try:
                self._file.write(line.encode() + b"\n")
            except OSError as error:
                raise self._failed(error) from error
            self.lines += 1

    def _flush(self) -> None:
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> HarnessError:
        return HarnessError(
            f"{self._path}: the history can't be written ({error.strerror}). Free space, or choose another folder "
            "with --licensing-report."
        )

    def flush(self) -> None:
        """Hand what was written to the operating system: a killed run still reports."""
        with self._lock:
            self._flush()

    def close(self) -> None:
        """Flush and close; harmless when repeated."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                try:
                    file.close()
                except OSError as error:
                    raise self._failed(error) from error

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
        return stated(self.header)


def stated(header: Header) -> Contract:
    """The numbers of a header as a contract; a number that this version doesn't know is left out.

    Raises UsageError when one of them is no number of seconds.
    """
    known = {name: value for name, value in header.contract.items() if name in Contract.__slots__}
    try:
        return Contract(**known)
    except ValueError as error:
        message = f"the history's header can't be used: {error}"
        raise UsageError(message) from error


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
    if not first:
        message = f"{path}: empty. Give a history.jsonl from a run directory."
        raise UsageError(message)
    try:
        schema = _decode_version(first).schema
        if schema > SCHEMA:
            message = (
                f"{path}:1: written in history schema {schema}; this version reads up to {SCHEMA}. "
                "Upgrade licensing-harness to judge it."
            )
            raise UsageError(message)
        header = _decode_header(first)
    except msgspec.DecodeError as error:
        message = f"{path}:1: not a history: {error}. The first line must be a header record."
        raise UsageError(message) from error
    stated(header)
    return header


class HistoryReader:
    """A history file, story by story: each is given out at its end and not kept.

    Memory is that of the stories which are open at the same time. ``torn`` says,
    after the last story, what was dropped from the end of the file. Reading raises
    UsageError with file and line for anything that is off but a torn last line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_header(path)
        self.torn = ""

    @property
    def contract(self) -> Contract:
        """The numbers that the target stated when the run was recorded."""
        return stated(self.header)

    def __iter__(self) -> Iterator[StoryHistory]:
        """Stories in the order in which they ended, then those that never did, in the order of their opening."""
        self.torn = ""
        assembler = _Assembler()
        with self.path.open("rb") as lines:
            next(lines)
            for number, line in enumerate(lines, start=2):
                try:
                    ended = assembler.add(_decode_record(line))
                except (msgspec.DecodeError, _OutOfPlace) as error:
                    if not line.endswith(b"\n"):
                        self.torn = f"{self.path}:{number}: the last line was cut ({len(line)} bytes) and is not judged"
                        break
                    message = f"{self.path}:{number}: damaged history: {error}. Only a torn last line is dropped."
                    raise UsageError(message) from error
                if ended is not None:
                    yield ended
        yield from assembler.rest()


def iter_stories(path: Path) -> Iterator[StoryHistory]:
    """The stories of a history file, one at a time; see HistoryReader."""
    return iter(HistoryReader(path))


def read_history(path: Path) -> History:
    """Read a whole history back.

    A torn last line is dropped and said so in ``History.torn``. Raises
    UsageError with file and line for anything else that is off.
    """
    reader = HistoryReader(path)
    stories = {story.story: story for story in reader}
    return History(header=reader.header, stories=stories, torn=reader.torn)


def stories_of(records: Iterable[Record]) -> dict[str, StoryHistory]:
    """Stories assembled from records in memory (hand-written histories, tests)."""
    assembler = _Assembler()
    found = [ended for record in records if (ended := assembler.add(record)) is not None]
    found.extend(assembler.rest())
    return {story.story: story for story in found}


class _OutOfPlace(Exception):
    """A record that can't stand where it does."""


class _Assembler:
    """Puts records together to stories, and gives each out when it ended."""

    def __init__(self) -> None:
        self._stories: dict[str, StoryHistory] = {}
        self._sent: dict[str, dict[int, Begun]] = {}
        self._ended: set[str] = set()

    def add(self, record: Record) -> StoryHistory | None:
        """Sort a record in; the story, when this record ended it. Raises _OutOfPlace."""
        if isinstance(record, StoryOpened):
            self._open(record)
            return None
        story = self._stories.get(record.story)
        if story is None:
            why = "was already over" if record.story in self._ended else "was never opened"
            message = f"the story {record.story!r} {why}"
            raise _OutOfPlace(message)
        match record:
            case Operation():
                if story.announced:
                    self._sent[record.story].pop(record.n, None)
                story.operations.append(record)
            case Begun():
                story.announced = True
                self._sent.setdefault(record.story, {})[record.n] = record
            case Fault():
                story.faults.append(record)
            case StoryEnded():
                story.plan = record.plan
                story.not_run = record.not_run
                story.called_off = record.called_off
                story.clean_up = record.clean_up
                story.complete = True
                return self._close(story)
        return None

    def _open(self, record: StoryOpened) -> None:
        if record.story in self._stories or record.story in self._ended:
            message = f"the story {record.story!r} was opened before"
            raise _OutOfPlace(message)
        self._stories[record.story] = StoryHistory(
            story=record.story,
            world=record.world,
            scenario=record.scenario,
            tries=record.tries,
            seed=record.seed,
            drill=record.drill,
        )

    def rest(self) -> Iterator[StoryHistory]:
        """The stories that never ended."""
        for story in list(self._stories.values()):
            yield self._close(story)

    def _close(self, story: StoryHistory) -> StoryHistory:
        del self._stories[story.story]
        self._ended.add(story.story)
        for begun in self._sent.pop(story.story, {}).values():
            story.operations.append(
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
        story.operations.sort(key=_number)
        return story


def _number(operation: Operation) -> int:
    return operation.n


def lines_of(story: StoryHistory) -> Iterator[Record]:
    """The records of one story, in file order."""
    yield StoryOpened(
        story=story.story,
        world=story.world,
        scenario=story.scenario,
        tries=story.tries,
        seed=story.seed,
        drill=story.drill,
    )
    numbered: list[Operation | Fault] = [*story.operations, *story.faults]
    yield from sorted(numbered, key=lambda record: record.n)
    if story.complete:
        yield ending(story)


def ending(story: StoryHistory) -> StoryEnded:
    """The last record of a story that is over."""
    return StoryEnded(
        story=story.story,
        plan=story.plan,
        not_run=story.not_run,
        called_off=story.called_off,
        clean_up=story.clean_up,
    )


def summary(asked: Mapping[str, Any]) -> str:
    """``asked`` as one short text for evidence lines: ``device=laptop seats=1``."""
    return " ".join(f"{name}={value}" for name, value in asked.items() if value not in (None, "", [], ()))
