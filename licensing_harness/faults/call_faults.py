"""What is done to whole HTTP calls: the extension toxics, how often each falls, and what they share.

A :class:`CallFault` may stand on several proxies at once, on every client's
link for one; it counts their calls together. What it does to one call is done
by ``calls.Calls``, where that call passes.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from licensing_harness.entropy import stream
from licensing_harness.faults.messages import Kind, Reader
from licensing_harness.faults.pages import MOST_CORRUPTED, RETRY_AFTER, STATUSES
from licensing_harness.faults.toxics import Toxic

CALL_ATTRIBUTES: Final[Mapping[str, tuple[str, ...]]] = {
    "http_status": ("status", "retry_after", "first", "every"),
    "http_truncate_body": ("keep", "first", "every"),
    "http_corrupt_body": ("bytes", "first", "every"),
    "http_stale_answer": ("age", "first", "every"),
    "http_duplicate": ("delay", "first", "every"),
    "http_reorder": ("delay", "first", "every"),
    "http_cut_request": ("first", "every"),
    "http_cut_answer": ("first", "every"),
}
"""The extension toxics and their attributes: milliseconds, ``retry_after`` seconds, the others counts."""

MOST_KEPT: Final = 1 << 20
"""Bytes of a request that are kept for a second delivery, or to see whether it was answered before."""
MOST_ANSWER: Final = 1 << 18
"""Bytes that an answer may have and still be remembered."""
_MOST_REMEMBERED: Final = 8 << 20
_MOST_ANSWERS: Final = 4096
_COPY: Final = 30.0
"""Seconds until a second delivery is given up."""


def call_refusal(kind: str, attributes: Mapping[str, int]) -> str | None:
    """Why an extension toxic can't have these attributes; None when it can."""
    for name in CALL_ATTRIBUTES[kind]:
        if attributes[name] < 0:
            return f"invalid attribute: {name} is {attributes[name]}; give 0 or more"
    if attributes["first"] and attributes["every"]:
        return "invalid attribute: first and every exclude each other; give one of them"
    least = {"http_status": "status", "http_corrupt_body": "bytes", "http_stale_answer": "age", "http_reorder": "delay"}
    name = least.get(kind, "")
    if kind == "http_corrupt_body" and attributes["bytes"] > MOST_CORRUPTED:
        return f"invalid attribute: bytes is {attributes['bytes']}; give {MOST_CORRUPTED} or less"
    if kind == "http_status" and attributes["status"] not in STATUSES:
        return f"invalid attribute: status is {attributes['status']}; give one of {', '.join(map(str, STATUSES))}"
    if kind == "http_status" and attributes["retry_after"] and attributes["status"] not in RETRY_AFTER:
        return f"invalid attribute: retry_after goes with 429 and 503, not with {attributes['status']}"
    if name and attributes[name] < 1:
        return f"invalid attribute: {name} is {attributes[name]}; give 1 or more"
    return None


class CallFault:
    """One extension toxic. Lives on a wire's loop."""

    def __init__(self, toxic: Toxic) -> None:
        self.toxic = toxic
        self.calls = 0
        """Calls since its start."""
        self.holding = False
        """Whether it holds a request back now: then later ones pass."""
        self.copies: set[Copy] = set()

    @property
    def kind(self) -> str:
        """Its type of toxic."""
        return self.toxic.type

    def number(self, name: str) -> int:
        """An attribute; 0 when it was not given."""
        return self.toxic.attributes.get(name, 0)

    def falls(self) -> bool:
        """Count a call; whether the fault falls on it."""
        self.calls += 1
        first, every = self.number("first"), self.number("every")
        if first:
            return self.calls <= first
        return not every or self.calls % every == 0

    def met(self) -> None:
        """A call was really changed."""
        self.toxic.hits += 1

    def end(self) -> None:
        """It is taken away: second deliveries that have not begun never will."""
        for copy in tuple(self.copies):
            copy.forget()


@dataclass(eq=False, slots=True)
class Held:
    """A request that is held back until a later one was answered."""

    number: int
    upstream: tuple[str, int]
    fault: CallFault
    let_go: Callable[[], None]
    """Called once."""


class Board:
    """Numbers the calls of all proxies of one loop in the order of their beginnings, and lets held ones go."""

    def __init__(self) -> None:
        self._last = 0
        self.held: list[Held] = []

    def number(self) -> int:
        """A new call's number."""
        self._last += 1
        return self._last

    def passed(self, number: int, upstream: tuple[str, int]) -> None:
        """``upstream`` began to answer a call; earlier requests to it that are held have been overtaken."""
        if self.held:
            for held in [each for each in self.held if each.number < number and each.upstream == upstream]:
                held.fault.met()
                held.let_go()

    def end(self, fault: CallFault) -> None:
        """A fault is taken away; let go what it holds."""
        for held in [each for each in self.held if each.fault is fault]:
            held.let_go()


@dataclass(slots=True)
class _Answered:
    times: list[float] = field(default_factory=list)
    answers: deque[bytes] = field(default_factory=deque)


class Answers:
    """What calls were answered, by method, target and body: 4096 answers and 8 MiB, the oldest go first."""

    def __init__(self) -> None:
        self._by_call: dict[bytes, _Answered] = {}
        self._order: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._bytes = 0
        self._last = 0

    def add(self, call: bytes, now: float, answer: bytes) -> None:
        """Remember an answer."""
        known = self._by_call.setdefault(call, _Answered())
        known.times.append(now)
        known.answers.append(answer)
        self._last += 1
        self._order[self._last] = (call, len(answer))
        self._bytes += len(answer)
        while self._bytes > _MOST_REMEMBERED or len(self._order) > _MOST_ANSWERS:
            _, (oldest, size) = self._order.popitem(last=False)
            self._bytes -= size
            known = self._by_call[oldest]
            known.times.pop(0)
            known.answers.popleft()
            if not known.times:
                del self._by_call[oldest]

    def find(self, call: bytes, until: float) -> bytes | None:
        """The last answer to this call that is not younger than ``until``."""
        known = self._by_call.get(call)
        at = bisect.bisect_right(known.times, until) if known is not None else 0
        return known.answers[at - 1] if known is not None and at else None


def call_key(method: str, target: str, body: bytes) -> bytes:
    """What makes two calls the same."""
    return sha256(f"{method} {target}\n".encode("latin-1") + body).digest()


Places = tuple[Sequence[int], Sequence[int]]
"""Where bytes are changed, in order, and by which masks."""


def places(seed: int, call: int, block: int, size: int | None, count: int) -> Places:
    """Where in a block of ``size`` bytes up to ``count`` bytes are changed, drawn from the seed.

    Of a block whose size nobody knows, the first ones.
    """
    if count < 1:
        return (), ()
    chance = stream(seed, "corrupt-body", call, block)
    chosen = range(count) if size is None else sorted(chance.sample(range(size), min(count, size)))
    return chosen, [chance.randrange(1, 256) for _ in chosen]


def corrupted(data: bytes, offset: int, changes: Places) -> tuple[bytes, int]:
    """``data``, which begins at ``offset`` of its block, changed; and how many bytes were."""
    where, masks = changes
    first, end = bisect.bisect_left(where, offset), bisect.bisect_left(where, offset + len(data))
    if first == end:
        return data, 0
    changed = bytearray(data)
    for each in range(first, end):
        changed[where[each] - offset] ^= masks[each]
    return bytes(changed), end - first


class Copy:
    """A request that is sent a second time, on a connection of its own; the answer is read and dropped."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fault: CallFault, upstream: tuple[str, int], method: str, raw: bytes
    ) -> None:
        self._fault = fault
        self._sent = False
        fault.copies.add(self)
        self.task = loop.create_task(self._run(upstream, method, raw, fault.number("delay") / 1000))

    def forget(self) -> None:
        """Never send it, unless it was sent already."""
        if not self._sent:
            self.task.cancel()

    async def _run(self, upstream: tuple[str, int], method: str, raw: bytes, delay: float) -> None:
        try:
            await asyncio.sleep(delay)
            async with asyncio.timeout(_COPY):
                reader, writer = await asyncio.open_connection(*upstream)
                try:
                    self._sent = True
                    writer.write(raw)
                    await writer.drain()
                    self._fault.met()
                    await _answered(reader, method)
                finally:
                    writer.close()
        except OSError:  # nobody there, or no answer in time: the copy is lost
            pass
        finally:
            self._fault.copies.discard(self)


async def _answered(stream_: asyncio.StreamReader, method: str) -> None:
    """Return when one answer was read, or what came is none."""
    answers = Reader(answers=True)
    answers.method = method
    with contextlib.suppress(OSError):
        while data := await stream_.read(1 << 16):
            answers.feed(data)
            while (piece := answers.take()) is not None:
                if piece.kind in {Kind.END, Kind.OPAQUE}:
                    return
