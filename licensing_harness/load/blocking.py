"""``target.http`` over one blocking keep-alive connection, for adapters with ``async def`` verbs.

``request`` never suspends, so a verb that waits for ``target.http`` alone runs to
its end in one step, without an event loop. In Locust's process the socket is
gevent's, and other users go on while one waits.

Nothing is ever sent twice: a request whose answer did not come may have taken
effect, and sending it again would hide that from the history.
"""

from __future__ import annotations

import http.client
import json as stdlib_json
import socket
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Final, cast
from urllib.parse import quote, urlencode, urlsplit

from licensing_harness.errors import UsageError
from licensing_harness.load.plan import PORTS, address
from licensing_harness.target.adapter import Reply
from licensing_harness.vocabulary import Answer

_SAFE: Final = "/?:@&=+$,;~!*'()%[]"
"""Left as they are in the path that an adapter gives: what RFC 3986 allows there, and escapes."""


class Headers(Mapping[str, str]):
    """An answer's headers, looked up in any case."""

    def __init__(self, message: http.client.HTTPMessage) -> None:
        self._message = message

    def __getitem__(self, name: str) -> str:
        value = self._message.get(name)
        if value is None:
            raise KeyError(name)
        return str(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._message.keys())

    def __len__(self) -> int:
        return len(self._message)


class BlockingResponse:
    """What came back, read to its end."""

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, status_code: int, headers: Headers, content: bytes) -> None:
        self.status_code = status_code
        self.headers: Mapping[str, str] = headers
        self.content = content

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises json.JSONDecodeError when it is none."""
        return stdlib_json.loads(self.content)


class BlockingHttp:
    """One connection to the base URL ``url``; ``timeout`` is in seconds and for each wait."""

    def __init__(self, url: str, timeout: float) -> None:
        scheme, host, port, self._prefix = address(url)
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=timeout)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> BlockingResponse:
        """Send one request below the base URL and read the whole answer.

        Raises OSError or http.client.HTTPException when no answer came; the
        connection is then closed, and the next request opens a new one.
        """
        path = f"{self._prefix}/{quote(url.lstrip('/'), safe=_SAFE)}"
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params, doseq=True)
        fields = {"Host": self._host, "Accept": "application/json", **(headers or {})}
        body = content or b""
        if json is not None:
            body = stdlib_json.dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
            fields.setdefault("Content-Type", "application/json")
        if body or method in {"POST", "PUT", "PATCH"}:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if head.count("\n") != len(fields) or head.count("\r") != len(fields):
            message = "a header holds a line break"
            raise ValueError(message)
        return self._exchange(method, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def _exchange(self, method: str, message: bytes) -> BlockingResponse:
        """Send in one piece (http.client would take two) and read one answer."""
        self._drop_if_stale()
        try:
            if self._connection.sock is None:
                self._connection.connect()
            sock = cast("socket.socket", self._connection.sock)
            sock.sendall(message)
            answer = http.client.HTTPResponse(sock, method=method)
            try:
                answer.begin()
                response = BlockingResponse(answer.status, Headers(answer.headers), answer.read())
            finally:
                answer.close()
        except BaseException:
            self._connection.close()
            raise
        if answer.will_close:
            self._connection.close()
        return response

    def _drop_if_stale(self) -> None:
        """Close a connection that the target closed while it was idle: that is no lost answer."""
        sock = self._connection.sock
        if sock is None:
            return
        patience = sock.gettimeout()
        try:
            sock.settimeout(0.0)
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            sock.settimeout(patience)
            return
        except (OSError, ValueError):  # ValueError: TLS sockets can't peek, so they are taken as they are
            sock.settimeout(patience)
            if self._connection.default_port == PORTS["https"]:
                return
        self._connection.close()  # readable while idle: closed by the target, or out of step

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self._connection.close()


def finish(reply: Reply) -> Answer:
    """The answer of a verb; a coroutine is run to its end in one step.

    Raises UsageError when it waits for anything but ``target.http``.
    """
    if not isinstance(reply, Awaitable):
        return reply
    run = reply.__await__()
    try:
        next(run)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    if (close := getattr(reply, "close", None)) is not None:
        close()
    message = (
        "an async verb waits for something other than target.http; under load it can't. "
        "Use target.http alone, or a def verb with a blocking client."
    )
    raise UsageError(message)
