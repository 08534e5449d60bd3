"""HTTP/1.1 messages found in a stream of bytes, to the byte.

A :class:`Reader` cuts one direction of a connection into pieces: the head of a
message, its body, its end (RFC 9112). The pieces put together again are the
stream, byte for byte, and they are the same however the stream arrived, but
for where a body is cut. It is strict: what is not surely a message, or could
be framed in two ways, makes the rest of the stream ``OPAQUE``, and whoever
reads it passes it on as it is.

h11 gives what a message means and not the bytes that it was; a proxy must
forward those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

MOST_HEAD: Final = 64 * 1024
"""Bytes that a head, or the trailers of a chunked body, may have."""
MOST_LINE: Final = 4 * 1024
"""Bytes that the line of a chunk's size may have."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ASKS: Final = re.compile(rb"([A-Z][A-Z-]{0,19}) ([!-~]+) HTTP/1\.([01])\r\n")
_ASKS_BEGIN: Final = re.compile(rb"[A-Z][A-Z-]{0,19}(?: [ -~]*\r?)?\Z")
_SAYS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*)?\r\n")
_SAYS_BEGIN: Final = b"HTTP/1."
_FIELD: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class Kind(Enum):
    """What a piece of a stream is."""

    HEAD = "head"
    BLOCK = "block"
    """What comes before ``size`` bytes of body: nothing, or a chunk's line. Size None: until the stream ends."""
    BODY = "body"
    FRAME = "frame"
    """What stands between the chunks of a body."""
    END = "end"
    """The end of a message: nothing, or the trailers of a chunked one."""
    OPAQUE = "opaque"
    """No message, or not surely one; all that follows is opaque too."""


@dataclass(frozen=True, slots=True)
class Head:
    """A message's start line and header fields."""

    fields: Mapping[str, str]
    """By name in lower case; several of one name are joined by commas."""
    minor: int
    """The version is HTTP/1.``minor``."""
    method: str = ""
    """Of a request, as ``target``."""
    target: str = ""
    status: int = 0
    """Of an answer."""

    @property
    def interim(self) -> bool:
        """Whether it is an answer after which the real one follows (RFC 9110, 15.2)."""
        return 100 <= self.status < 200  # noqa: PLR2004 - the class of statuses

    @property
    def closes(self) -> bool:
        """Whether its sender ends the connection after this message."""
        options = {each.strip().lower() for each in self.fields.get("connection", "").split(",")}
        return "close" in options or (self.minor == 0 and "keep-alive" not in options)


class Piece(NamedTuple):
    """A piece of a stream: its bytes, and what it is."""

    kind: Kind
    raw: bytes
    head: Head | None = None
    size: int | None = 0


class _Malformed(Exception):
    pass


class _At(Enum):
    HEAD = "head"
    BODY = "body"
    SIZE = "size"
    AFTER = "after"
    TRAILER = "trailer"
    END = "end"
    OPAQUE = "opaque"


class Reader:
    """Reads requests, or answers. ``feed`` it, then take pieces by ``take`` until it gives None.

    Answers are framed by what was asked: set ``method`` to the request's before each.
    """

    def __init__(self, *, answers: bool) -> None:
        self.method = "GET"
        self._answers = answers
        self._buffer = bytearray()
        self._at = _At.HEAD
        self._block: int | None = None
        """The size of the block that is to be announced, then what is left of it; None: until the end."""
        self._announced = True
        self._chunked = False

    @property
    def waiting(self) -> int:
        """Bytes that were fed and not yet taken."""
        return len(self._buffer)

    @property
    def opaque(self) -> bool:
        """Whether all that follows is opaque."""
        return self._at is _At.OPAQUE

    def feed(self, data: bytes) -> None:
        """Bytes that came."""
        self._buffer += data

    def take(self) -> Piece | None:
        """The next piece; None when more bytes are needed for it."""
        try:
            match self._at:
                case _At.HEAD:
                    return self._head()
                case _At.BODY:
                    return self._body()
                case _At.SIZE:
                    return self._size()
                case _At.AFTER:
                    return self._after()
                case _At.TRAILER:
                    return self._trailer()
                case _At.END:
                    self._at = _At.HEAD
                    return Piece(Kind.END, b"")
                case _At.OPAQUE:
                    return Piece(Kind.OPAQUE, self._cut(len(self._buffer))) if self._buffer else None
        except _Malformed:
            self.give_up()
            return Piece(Kind.OPAQUE, self._cut(len(self._buffer)))

    def over(self) -> Piece | None:
        """The stream is over; call it when ``take`` gave None. The end that this makes, or what was not taken."""
        if self._at is _At.BODY and self._block is None:
            self._at = _At.HEAD
            return Piece(Kind.END, b"")
        self.give_up()
        return self.take()

    def give_up(self) -> None:
        """All that follows is opaque."""
        self._at = _At.OPAQUE

    def _cut(self, size: int) -> bytes:
        if size == len(self._buffer):
            taken = bytes(self._buffer)
            self._buffer = bytearray()
            return taken
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    # Heads

    def _head(self) -> Piece | None:
        buffer = self._buffer
        if not buffer:
            return None
        end = buffer.find(b"\r\n\r\n") + 4
        if end < 4:  # noqa: PLR2004 - not found
            if len(buffer) >= MOST_HEAD or not self._may_become_head():
                raise _Malformed
            return None
        if end > MOST_HEAD:
            raise _Malformed
        raw = bytes(buffer[:end])
        head = self._parse(raw)
        self._frame(head)
        return Piece(Kind.HEAD, self._cut(end), head)

    def _may_become_head(self) -> bool:
        """Whether these bytes begin a head: what is none must not wait for an end that never comes."""
        buffer = self._buffer
        line = buffer.find(b"\n") + 1
        if line:
            # No line of a head ends by a line feed alone.
            start = (_SAYS if self._answers else _ASKS).match(buffer)
            return start is not None and buffer.count(b"\n") == buffer.count(b"\r\n")
        if self._answers:
            size = min(len(buffer), len(_SAYS_BEGIN))
            return buffer[:size] == _SAYS_BEGIN[:size]
        return _ASKS_BEGIN.match(buffer) is not None

    def _parse(self, raw: bytes) -> Head:
        start = (_SAYS if self._answers else _ASKS).match(raw)
        if start is None:
            raise _Malformed
        fields: dict[str, str] = {}
        at, end = start.end(), len(raw) - 2
        while at < end:
            found = _FIELD.match(raw, at, end)
            if found is None:
                raise _Malformed
            name, value = found[1].decode("latin-1").lower(), found[2].decode("latin-1")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
            at = found.end()
        if self._answers:
            return Head(fields, int(start[1]), status=int(start[2]))
        return Head(fields, int(start[3]), method=start[1].decode(), target=start[2].decode())

    def _frame(self, head: Head) -> None:
        """What follows the head (RFC 9112, 6.3)."""
        self._chunked = False
        coding, length = head.fields.get("transfer-encoding"), head.fields.get("content-length")
        if self._answers:
            if head.status == 101 or (self.method == "CONNECT" and 200 <= head.status < 300):  # noqa: PLR2004
                self._at = _At.OPAQUE
                return
            if head.interim:
                self._at = _At.HEAD
                return
            if self.method == "HEAD" or head.status in {204, 304}:
                self._at = _At.END
                return
        if coding is not None:
            if coding.lower() != "chunked" or length is not None or head.minor == 0:
                raise _Malformed
            self._chunked = True
            self._at = _At.SIZE
        elif length is not None:
            lengths = {each.strip() for each in length.split(",")}
            if len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,18}", length := lengths.pop()):
                raise _Malformed
            self._begin(int(length))
        else:
            self._begin(None if self._answers else 0)

    def _begin(self, size: int | None) -> None:
        self._block = size
        self._announced = False
        self._at = _At.END if size == 0 else _At.BODY

    # Bodies

    def _body(self) -> Piece | None:
        if not self._announced:
            self._announced = True
            return Piece(Kind.BLOCK, b"", size=self._block)
        if not self._buffer:
            return None
        size = len(self._buffer)
        if self._block is not None:
            size = min(size, self._block)
            self._block -= size
            if self._block == 0:
                self._at = _At.AFTER if self._chunked else _At.END
        return Piece(Kind.BODY, self._cut(size))

    def _size(self) -> Piece | None:
        end = self._buffer.find(b"\r\n") + 2
        if end < 2:  # noqa: PLR2004 - not found
            if len(self._buffer) >= MOST_LINE:
                raise _Malformed
            return None
        found = _SIZE.fullmatch(self._buffer, 0, end)
        if found is None or end > MOST_LINE:
            raise _Malformed
        size = int(found[1], 16)
        del found  # it holds on to the buffer
        raw = self._cut(end)
        if size == 0:
            self._at = _At.TRAILER
            return Piece(Kind.FRAME, raw)
        self._block = size
        self._announced = True
        self._at = _At.BODY
        return Piece(Kind.BLOCK, raw, size=size)

    def _after(self) -> Piece | None:
        start = bytes(self._buffer[:2])
        if not b"\r\n".startswith(start):
            raise _Malformed
        if len(start) < 2:  # noqa: PLR2004 - a carriage return and a line feed
            return None
        self._at = _At.SIZE
        return Piece(Kind.FRAME, self._cut(2))

    def _trailer(self) -> Piece | None:
        buffer = self._buffer
        end = 2 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n") + 4
        if end == 3:  # noqa: PLR2004 - not found
            if len(buffer) >= MOST_HEAD:
                raise _Malformed
            return None
        if end > MOST_HEAD:
            raise _Malformed
        self._at = _At.HEAD
        return Piece(Kind.END, self._cut(end))


def begins_request(data: bytes) -> bool:
    """Whether bytes look like the beginning of a request."""
    return _ASKS.match(data) is not None or _ASKS_BEGIN.match(data) is not None
