"""What each kind of fault does to the requests and answers of a simulated link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.asgi import Exchange, Lane, SimResponse
from licensing_harness.worlds.breaking import Wanted
from licensing_harness.worlds.network import HOP, LOSS
from licensing_harness.worlds.simulated_wire import MS, LinkFault, Reply, Request, Wire

_UNREADABLE: Final = 0xFF
"""A byte that no UTF-8 text has: what was corrupted must not be read as another answer of the target."""

_PAGE: Final = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr></body></html>\r\n"


class Toxic(LinkFault):
    """A fault of one direction, on a share of what passes."""

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if self.stream == "upstream" and self.falls_on(request.exchange):
            self.met += 1
            self.upstream(request)

    def answer(self, reply: Reply) -> None:
        """Do to an answer what the fault does."""
        if self.stream == "downstream" and self.falls_on(reply.exchange):
            self.met += 1
            self.downstream(reply)

    def upstream(self, request: Request) -> None:
        """Do it to a request."""

    def downstream(self, reply: Reply) -> None:
        """Do it to an answer."""


class LatencyFault(Toxic):
    """Messages take longer."""

    def _more(self, exchange: Exchange) -> float:
        jitter = self.number("jitter")
        drawn = self.chance(exchange, "jitter").uniform(-jitter, jitter) if jitter else 0.0
        return max(0.0, self.number("latency") + drawn) / MS

    def upstream(self, request: Request) -> None:
        """Do it to a request."""
        request.delay += self._more(request.exchange)

    def downstream(self, reply: Reply) -> None:
        """Do it to an answer."""
        reply.delay += self._more(reply.exchange)


class BandwidthFault(Toxic):
    """Messages take as long as their bytes need."""

    def upstream(self, request: Request) -> None:
        """Do it to a request."""
        scope = request.exchange.scope
        head = len(scope["method"]) + len(scope["raw_path"]) + len(scope["query_string"]) + _head(scope["headers"])
        request.delay += (head + len(request.exchange.body)) / self.number("rate")

    def downstream(self, reply: Reply) -> None:
        """Do it to an answer."""
        size = _head(reply.response.raw_headers) + len(reply.response.content)
        reply.delay += size / self.number("rate")


class ResetFault(Toxic):
    """The connection is reset, a while after its first bytes; they do not pass."""

    def upstream(self, request: Request) -> None:
        """Do it to a request."""
        request.lost = self._reset(request.delay)

    def downstream(self, reply: Reply) -> None:
        """Do it to an answer."""
        reply.lost = self._reset(reply.delay)

    def _reset(self, delay: float) -> tuple[float, Exception]:
        return delay + self.number("timeout") / MS, ConnectionResetError("the connection was reset")


class TimeoutFault(Toxic):
    """Nothing passes; the connection is closed after a while, or stays as it is until the fault is gone."""

    def upstream(self, request: Request) -> None:
        """Do it to a request."""
        request.lost = self._closed(request.delay)
        request.swallowed = self

    def downstream(self, reply: Reply) -> None:
        """Do it to an answer."""
        reply.lost = self._closed(reply.delay)
        reply.swallowed = self

    def _closed(self, delay: float) -> tuple[float, Exception] | None:
        timeout = self.number("timeout")
        closed = ConnectionAbortedError("the connection was closed without an answer")
        return (delay + timeout / MS, closed) if timeout else None


class DownFault(LinkFault):
    """Nobody listens. What was open is closed: the target may go on with what it has."""

    def __init__(self, wire: Wire, wanted: Wanted, where: str, *, seed: str) -> None:
        super().__init__(wire, wanted, where, seed=seed)
        for exchange in wire.open_on(self):
            self.met += 1
            wire.hang_up(exchange)

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        self.met += 1
        request.lost = request.delay + HOP, ConnectionRefusedError("nobody listens")


class CutRequestFault(LinkFault):
    """A request is lost."""

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if self.turn():
            self.met += 1
            request.lost = LOSS, ConnectionResetError("the connection was lost")


class CutAnswerFault(LinkFault):
    """An answer is lost."""

    def __init__(self, wire: Wire, wanted: Wanted, where: str, *, seed: str) -> None:
        super().__init__(wire, wanted, where, seed=seed)
        self._marked: dict[Exchange, None] = {}

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if self.turn():
            self._marked[request.exchange] = None

    def answer(self, reply: Reply) -> None:
        """Do to an answer what the fault does."""
        if reply.exchange in self._marked:
            del self._marked[reply.exchange]
            self.change(reply)

    def change(self, reply: Reply) -> None:
        """Do it to an answer whose turn it is."""
        self.met += 1
        reply.lost = LOSS, ConnectionResetError("the connection was lost")


class TruncateFault(CutAnswerFault):
    """A body ends before the length that was announced: the client's library can't take that for an answer."""

    def change(self, reply: Reply) -> None:
        """Do it to an answer whose turn it is."""
        keep, whole = int(self.number("keep")), len(reply.response.content)
        if keep < whole:
            self.met += 1
            text = f"the connection was closed after {keep} of {whole} bytes of the answer's body"
            reply.lost = reply.delay, ConnectionAbortedError(text)


class CorruptFault(CutAnswerFault):
    """Bytes of a body are changed, so that it is no text any more."""

    def change(self, reply: Reply) -> None:
        """Do it to an answer whose turn it is."""
        body = bytearray(reply.response.content)
        if not body:
            return
        self.met += 1
        self.note(reply.exchange)
        count = min(len(body), int(self.number("bytes")))
        for place in self.chance(reply.exchange).sample(range(len(body)), count):
            body[place] = _UNREADABLE
        response = reply.response
        reply.response = SimResponse(response.status_code, response.raw_headers, bytes(body))


class StatusFault(LinkFault):
    """A call is answered by somebody else, with an error."""

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if not self.turn():
            return
        self.met += 1
        status = int(self.number("status"))
        page = status == 502  # noqa: PLR2004 - the one that comes from a gateway
        body = _PAGE % (status, status) if page else b""
        kind = b"text/html" if page else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if "retry_after" in self.given:
            headers.append((b"retry-after", str(int(self.given["retry_after"])).encode()))
        request.answer = SimResponse(status, tuple(headers), body)


class StaleFault(LinkFault):
    """A cache between client and target, that nobody told when to forget. It is empty when the fault begins."""

    def __init__(self, wire: Wire, wanted: Wanted, where: str, *, seed: str) -> None:
        super().__init__(wire, wanted, where, seed=seed)
        self._kept: dict[tuple[Any, ...], list[tuple[float, SimResponse]]] = {}

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        now = self.wire.timeline.now
        kept = self._kept.get(_same(request.exchange), ())
        old = [response for when, response in kept if when <= now - self.number("age")]
        if old and self.turn():
            self.met += 1
            self.note(request.exchange)
            request.answer = old[-1]

    def answer(self, reply: Reply) -> None:
        """Do to an answer what the fault does."""
        if reply.response.status_code < 500:  # noqa: PLR2004 - no cache keeps a server's error
            self._kept.setdefault(_same(reply.exchange), []).append((self.wire.timeline.now, reply.response))


class DuplicateFault(LinkFault):
    """A request arrives twice. The second one comes from the network: it outlives its client, and the process too."""

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if self.turn():
            request.copies.append((self, self.number("delay") / MS))

    def copied(self, exchange: Exchange) -> None:
        """A copy was made: nothing further on the way lost the request first."""
        self.met += 1
        self.note(exchange)


class ReorderFault(LinkFault):
    """A request waits until a later one has passed it. While one waits, those after it pass."""

    def request(self, request: Request) -> None:
        """Do to a request what the fault does."""
        if self.waiting is None and self.turn():
            self.met += 1
            request.held = self

    def mend(self) -> int:
        """Take it off."""
        self.release()
        return super().mend()


class PauseWatch(LinkFault):
    """Counts what is sent to a process that does not run; the messages wait on its doorstep."""

    def __init__(self, wire: Wire, wanted: Wanted, where: str, *, seed: str) -> None:
        super().__init__(wire, wanted, where, seed=seed)
        self.met += len(wire.open_on(self))

    def on_link(self, lane: Lane, to: str) -> bool:  # noqa: ARG002 - whoever sends it
        """Whether a message meets it."""
        return to == self.where

    def request(self, request: Request) -> None:  # noqa: ARG002 - it goes its way
        """Do to a request what the fault does."""
        self.met += 1


LINK_FAULTS: Final[Mapping[FaultKind, type[LinkFault]]] = {
    FaultKind.CUT_REQUEST: CutRequestFault,
    FaultKind.CUT_ANSWER: CutAnswerFault,
    FaultKind.LATENCY: LatencyFault,
    FaultKind.BANDWIDTH: BandwidthFault,
    FaultKind.RESET_PEER: ResetFault,
    FaultKind.TIMEOUT: TimeoutFault,
    FaultKind.PROXY_DOWN: DownFault,
    FaultKind.STATUS: StatusFault,
    FaultKind.TRUNCATE_BODY: TruncateFault,
    FaultKind.CORRUPT_BODY: CorruptFault,
    FaultKind.STALE_ANSWER: StaleFault,
    FaultKind.DUPLICATE: DuplicateFault,
    FaultKind.REORDER: ReorderFault,
}
"""How each kind of fault on a link is carried out here."""


def _same(exchange: Exchange) -> tuple[Any, ...]:
    """What a cache knows a request by: all of it, for an idempotency key may stand in any header."""
    scope = exchange.scope
    return exchange.to, scope["method"], scope["raw_path"], scope["query_string"], exchange.body, *scope["headers"]


def _head(headers: Any) -> int:
    """Bytes of the headers, as HTTP/1.1 writes them."""
    return sum(len(name) + len(value) + 4 for name, value in headers) + 2
