"""The HTTP calls of one connection, and what faults do to them.

Stands between the client's socket and the pipes, so that the other toxics are
between it and the target. It takes one call at a time: a client that sends
the next request before it has its answer waits, as it would at many a server.
Bodies pass as they come; a request is kept whole only where a fault needs it.

What is not HTTP/1.1, or is framed so that two readers could differ, passes as
it is, and so does a connection from its upgrade on: no fault falls on it, and
nothing is counted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from licensing_harness.faults.call_faults import (
    MOST_ANSWER,
    MOST_KEPT,
    CallFault,
    Copy,
    Held,
    Places,
    call_key,
    corrupted,
    places,
)
from licensing_harness.faults.messages import Head, Kind, Piece, Reader
from licensing_harness.faults.pages import page

if TYPE_CHECKING:
    from licensing_harness.faults.connection import Connection


@dataclass(eq=False, slots=True)
class _Call:
    """One request and its answer."""

    number: int
    head: Head
    faults: dict[str, CallFault]
    """Those that fall on it, by their types."""
    nth: int = 0
    """Which call it is to the one that corrupts bodies: what chance is keyed by."""
    forward: bool = True
    """Whether its request goes to the target as it comes."""
    request: bytearray | None = field(default_factory=bytearray)
    """Its bytes; None when there are too many, or nobody asks for them."""
    body: bytearray = field(default_factory=bytearray)
    asked: bool = False
    """Whether its request is over."""
    reply: bytes | None = None
    """What answers it instead of the target."""
    met: CallFault | None = None
    """Whose reply that is."""
    closes: bool = False
    """Whether the connection ends with its answer."""
    key: bytes = b""
    answer: bytearray | None = None
    """The answer's bytes, to be remembered; None when it is not."""
    begun: bool = False
    """Whether its answer has begun; an interim one is none."""
    done: bool = False
    """Whether its answer is over."""
    passed: int = 0
    """Bytes of the answer's body that were passed on."""
    blocks: int = 0
    at: int = 0
    """Where in the block of the body we are."""
    places: Places = ((), ())
    changed: int = 0
    """Bytes that were changed."""


class Calls:
    """See the module. Is to the downstream pipe what a transport is: ``write``, ``close``, ``is_closing``."""

    def __init__(self, connection: Connection, client: asyncio.Transport) -> None:
        self._connection = connection
        self._proxy = connection.proxy
        self._client = client
        self._requests = Reader(answers=False)
        self._answers = Reader(answers=True)
        self._call: _Call | None = None
        self._held: Held | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    # Requests

    def request(self, data: bytes) -> None:
        """Bytes from the client."""
        self._requests.feed(data)
        self._go()
        if self._requests.waiting and self._blocked and not self._over:
            self._connection.hold("upstream", "turn")

    def request_end(self) -> None:
        """The client sends no more; what it began passes as it is."""
        if self._held is not None:
            self._forget_held()
            self._over = True
        self._go()
        if not self._over:
            rest = self._requests.over() if not self._blocked else None
            if rest is not None and rest.raw:
                self._connection.forward(rest.raw)

    @property
    def _blocked(self) -> bool:
        return self._held is not None or (self._call is not None and self._call.asked)

    def _go(self) -> None:
        while not self._blocked and not self._over and (piece := self._requests.take()) is not None:
            self._take(piece)

    def _take(self, piece: Piece) -> None:
        match piece.kind:
            case Kind.OPAQUE if self._call is not None and self._call.reply is not None:
                self._call.closes = True  # the rest of the request can't be told from the next one
                self._answer_ourselves(self._call)
            case Kind.OPAQUE:
                self._pass_all()
                self._connection.forward(piece.raw)
            case Kind.HEAD if piece.head is not None:
                self._begin(piece.raw, piece.head)
            case _:
                self._more(piece)

    def _pass_all(self) -> None:
        """From here on no message can be told from another: let everything pass."""
        call, self._call = self._call, None
        if call is not None and not call.forward and call.request:
            self._connection.forward(bytes(call.request))
        self._requests.give_up()
        self._answers.give_up()
        self._answer()
        self._go()
        self._connection.release("upstream", "turn")

    def _begin(self, raw: bytes, head: Head) -> None:
        proxy = self._proxy
        faults: dict[str, CallFault] = {}
        for fault in proxy.call_faults:
            if self._connection.falls_on_calls(fault.toxic) and fault.falls():
                faults.setdefault(fault.kind, fault)
        nth = faults["http_corrupt_body"].calls if "http_corrupt_body" in faults else 0
        call = self._call = _Call(proxy.board.number(), head, faults, nth)
        self._answers.method = head.method
        if "http_cut_request" in faults:
            faults["http_cut_request"].met()
            self._reset()
            return
        reorder = faults.get("http_reorder")
        if reorder is not None and not reorder.holding and "http_status" not in faults:
            self._hold(reorder, raw)
            return
        self._start(call, raw)

    def _start(self, call: _Call, raw: bytes) -> None:
        """The request's head, on its way."""
        waits = "expect" in call.head.fields
        """For an interim answer, before it sends the body."""
        if "http_status" in call.faults:
            fault = call.faults["http_status"]
            call.forward, call.request, call.met = False, None, fault
            call.closes = call.head.closes or waits
            retry_after = fault.number("retry_after") or None
            given = page(fault.number("status"), retry_after)
            call.reply = given.message(method=call.head.method, close=call.closes)
            if waits:
                self._answer_ourselves(call)
            return
        stale = "http_stale_answer" in call.faults and not waits
        if call.request is not None:
            if stale or "http_duplicate" in call.faults or self._proxy.remembers:
                call.request += raw
            else:
                call.request = None
        call.forward = not stale
        if call.forward:
            self._connection.forward(raw)

    def _more(self, piece: Piece) -> None:
        call = self._call
        if call is None:
            return
        if call.forward and piece.raw:
            self._connection.forward(piece.raw)
        if call.request is not None:
            call.request += piece.raw
            if piece.kind is Kind.BODY:
                call.body += piece.raw
            if len(call.request) > MOST_KEPT:
                if not call.forward:
                    call.forward = True
                    self._connection.forward(bytes(call.request))
                call.request, call.body = None, bytearray()
        if piece.kind is Kind.END:
            self._asked(call)

    def _asked(self, call: _Call) -> None:
        """The request is over."""
        call.asked = True
        if call.reply is not None:
            self._answer_ourselves(call)
            return
        if call.request is not None:
            call.key = call_key(call.head.method, call.head.target, bytes(call.body))
            call.answer = bytearray() if self._proxy.remembers and not call.begun else None
        stale = call.faults.get("http_stale_answer")
        if not call.forward and stale is not None and call.request is not None:
            until = self._proxy.loop.time() - stale.number("age") / 1000
            call.reply = self._proxy.answers.find(call.key, until)
            if call.reply is not None:
                call.met, call.closes = stale, call.head.closes
                self._answer_ourselves(call)
                return
            call.forward = True
            self._connection.forward(bytes(call.request))
        duplicate = call.faults.get("http_duplicate")
        if duplicate is not None and call.request is not None:
            self._proxy.send_copy(Copy(self._proxy.loop, duplicate, self._proxy.upstream, call.head.method,
                                       bytes(call.request)))  # fmt: skip
        if call.done:  # the answer was over before the request was
            self._finish()

    def _answer_ourselves(self, call: _Call) -> None:
        if call.met is not None:
            call.met.met()
        if not self._client.is_closing():
            self._client.write(call.reply or b"")
        self._connection.answered()
        if call.closes:
            self._over = True
            self._client.close()
            return
        self._finish()

    # A request that is held back

    def _hold(self, fault: CallFault, raw: bytes) -> None:
        call = self._call
        if call is None:
            return

        def let_go() -> None:
            self._forget_held()
            if not self._over:
                self._start(call, raw)
                self._go()
                if not self._blocked:
                    self._connection.release("upstream", "turn")

        fault.holding = True
        self._held = Held(call.number, self._proxy.upstream, fault, let_go)
        self._proxy.board.held.append(self._held)
        self._timer = self._proxy.loop.call_later(fault.number("delay") / 1000, let_go)

    def _forget_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.fault.holding = False
            self._proxy.board.held.remove(held)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Answers, from the downstream pipe

    def write(self, data: bytes) -> None:
        """Bytes from the target."""
        self._answers.feed(data)
        self._answer()

    def close(self) -> None:
        """The target sends no more."""
        self._answer()
        rest = self._answers.over() if not self._over else None
        if rest is not None:
            self._answer_piece(rest)
        self._over = True
        self._client.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._over or self._client.is_closing()

    def _answer(self) -> None:
        while not self._over and (piece := self._answers.take()) is not None:
            self._answer_piece(piece)

    def _answer_piece(self, piece: Piece) -> None:
        call = self._call
        if self._answers.opaque or call is None or not call.forward:
            # Nobody asked, it is no answer, or the connection is no longer HTTP's.
            self._client.write(piece.raw)
            if not self._requests.opaque:
                self._pass_all()
            return
        if piece.head is not None and piece.head.interim:
            self._client.write(piece.raw)
            return
        if piece.head is not None:
            call.begun = True
            self._proxy.board.passed(call.number, self._proxy.upstream)
            if "http_cut_answer" in call.faults:
                call.faults["http_cut_answer"].met()
                self._reset()
                return
            call.closes = piece.head.closes
        self._remember(call, piece)
        out = self._changed(call, piece)
        if out:
            self._client.write(out)
        if piece.kind is Kind.END and not self._over:
            self._answered(call)

    def _changed(self, call: _Call, piece: Piece) -> bytes:
        """What the client gets of it."""
        if piece.kind is Kind.BLOCK:
            corrupt = call.faults.get("http_corrupt_body")
            if corrupt is not None:
                left = corrupt.number("bytes") - call.changed
                call.places = places(self._proxy.seed, call.nth, call.blocks, piece.size, left)
                call.blocks, call.at = call.blocks + 1, 0
        if piece.kind is not Kind.BODY:
            return piece.raw
        data = piece.raw
        truncate = call.faults.get("http_truncate_body")
        if truncate is not None and call.passed + len(data) > truncate.number("keep"):
            data = data[: truncate.number("keep") - call.passed]
        if call.places[0]:
            data, changed = corrupted(data, call.at, call.places)
            if changed and not call.changed:
                call.faults["http_corrupt_body"].met()
            call.changed += changed
        call.passed += len(data)
        call.at += len(data)
        if truncate is not None and len(data) < len(piece.raw):
            truncate.met()
            self._client.write(data)
            self._over = True
            self._client.close()
            return b""
        return data

    def _remember(self, call: _Call, piece: Piece) -> None:
        if call.answer is None:
            return
        call.answer += piece.raw
        if len(call.answer) > MOST_ANSWER or (piece.kind is Kind.BLOCK and piece.size is None) or call.closes:
            call.answer = None
        elif piece.kind is Kind.END:
            self._proxy.answers.add(call.key, self._proxy.loop.time(), bytes(call.answer))

    def _answered(self, call: _Call) -> None:
        if call.asked:
            self._finish()
        else:
            call.done = True

    def _finish(self) -> None:
        """The next call's turn."""
        self._call = None
        self._go()
        if not self._blocked:
            self._connection.release("upstream", "turn")

    # The end

    def _reset(self) -> None:
        self._over = True
        self._connection.abort(reset=True)

    def lost(self) -> None:
        """The connection is gone."""
        self._over = True
        self._forget_held()
